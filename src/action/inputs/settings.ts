/**
 * The only reader of inputs and environment: one frozen, validated record. A value that is not
 * allowed throws `invalid-input`, naming the input, the value and what is allowed.
 */
import { readFileSync, realpathSync } from 'node:fs';
import { basename, dirname, isAbsolute, join, relative, resolve, sep } from 'node:path';
import { getInput } from '@actions/core';
import { deriveCacheScopes } from '../cache-scopes.ts';
import { parseDuration } from '../../lib/durations.ts';
import { MirrorError } from '../../lib/errors.ts';
import type { SshIdentity } from '../../git/ssh.ts';
import {
  EVERY_REF,
  findRefspecFault,
  normalizeRefspecs,
  type Refspecs,
} from '../../mirror/refspecs.ts';
import type { Verification } from '../../restore/unpack-snapshot.ts';
import { findKnownHostsFault, parsePrivateKey } from './ssh.ts';
import type { StoreChoice } from '../../stores/open.ts';
import { findLowTrust } from '../trust.ts';

export interface Settings {
  upstream: {
    /** Without a secret. */
    url: string;
    /** Empty for none, and for SSH. */
    token: string;
    /** Undefined where upstream is reached by HTTP. */
    ssh: SshIdentity | undefined;
    refspecs: Refspecs;
  };
  /** Undefined for the default, which depends on the key. */
  mirrorPath: string | undefined;
  /** Folder in the workspace that is to be primed, or undefined for none. */
  primedFolder: string | undefined;
  store: StoreChoice;
  cacheKey: string;
  lockTimeoutMs: number;
  fetchTimeoutMs: number;
  verification: Verification;
  save: 'auto' | 'always' | 'never';
  publish: 'post' | 'early';
  maxSnapshots: number;
  runner: {
    /** Where default mirrors go: on the file system of the job's workspace, and not inside it. */
    mirrorsFolder: string;
    /** Emptied by the runner after each job. */
    temporaryFolder: string;
  };
  /** For people: which run this is. */
  run: string;
  /** Why this event is not to be trusted with what others will restore, or undefined. */
  lowTrust: string | undefined;
  /** What git may inherit a part of. */
  environment: NodeJS.ProcessEnv;
}

/** Reads this process's inputs and environment. */
export function readSettings(): Readonly<Settings> {
  return Object.freeze(parseSettings(getInput, process.env));
}

/** The settings that inputs and an environment make. */
export function parseSettings(
  input: (name: string) => string,
  environment: NodeJS.ProcessEnv,
): Settings {
  const store = parseStore(input, environment);
  const ssh = parseSsh(input);
  const token = parseToken(input('token'));
  return {
    upstream: {
      url: parseUpstream(input, environment, ssh !== undefined),
      token: ssh === undefined ? token : '',
      ssh,
      refspecs: parseRefs(input('refs')),
    },
    mirrorPath: parseMirrorPath(input('mirror-path'), store, environment),
    primedFolder: parsePrime(input, environment),
    store,
    cacheKey: parseCacheKey(input('cache-key')),
    lockTimeoutMs: parseTimeout('lock-timeout', input('lock-timeout'), 0),
    fetchTimeoutMs: parseTimeout('fetch-timeout', input('fetch-timeout'), 1_000),
    verification: parseChoice('verify', input('verify'), ['standard', 'tip', 'full']),
    save: parseChoice('save', input('save'), ['auto', 'always', 'never']),
    publish: parseChoice('publish', input('publish'), ['post', 'early']),
    maxSnapshots: parseCount('max-snapshots', input('max-snapshots')),
    runner: parseRunner(environment),
    run: describeRun(environment),
    lowTrust: findLowTrust(environment['GITHUB_EVENT_NAME'] ?? '', () => readEvent(environment)),
    environment,
  };
}

function invalid(name: string, value: string, allowed: string, cause?: unknown): MirrorError {
  // JSON makes control characters visible; a pasted file would fill the log.
  const shown = JSON.stringify(value.length > 200 ? `${value.slice(0, 200)}…` : value);
  const message = `Input \`${name}\` is ${shown}; allowed is ${allowed}`;
  return new MirrorError('invalid-input', message, { cause });
}

function hasControlCharacters(text: string): boolean {
  // eslint-disable-next-line no-control-regex -- they are what is looked for
  return /[\x00-\x1f\x7f]/.test(text);
}

const DEFAULT_SERVER = 'https://github.com';

/** As actions/checkout writes it, by SSH too: a workspace that has another one it would delete. */
function parseUpstream(
  input: (name: string) => string,
  environment: NodeJS.ProcessEnv,
  isSsh: boolean,
): string {
  const given = input('github-server-url');
  const server = parseServer(
    given === '' ? (environment['GITHUB_SERVER_URL'] ?? DEFAULT_SERVER) : given,
  );
  const repository = parseRepository(input('repository'));
  const user = parseSshUser(input('ssh-user'));
  return isSsh ? `${user}@${parseSshHost(server)}:${repository}.git` : `${server}/${repository}`;
}

/** ssh hands it to what a user's configuration starts, and takes -… for an option. */
function parseSshHost(server: string): string {
  const { hostname } = new URL(server);
  if (/^(?:[a-z0-9_][a-z0-9._-]*|\[[0-9a-f:.]+\])$/.test(hostname)) return hostname;
  const allowed = 'a URL with a host of letters, digits, ".", "_" and "-", since `ssh-key` is set';
  throw invalid('github-server-url', server, allowed);
}

function parseSshUser(text: string): string {
  if (text === '') return 'git';
  if (/^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$/.test(text)) return text;
  throw invalid('ssh-user', text, 'a user name of letters, digits, ".", "_" and "-"');
}

/** Undefined without a key. The values are not shown: one may have been put in another's place. */
function parseSsh(input: (name: string) => string): SshIdentity | undefined {
  const isStrict = parseBoolean('ssh-strict', input('ssh-strict'), true);
  const knownHosts = input('ssh-known-hosts');
  const line = findKnownHostsFault(knownHosts);
  if (line !== undefined) {
    const message = `Line ${String(line)} of input \`ssh-known-hosts\` is not as ssh-keyscan prints them: host, kind, key`;
    throw new MirrorError('invalid-input', message);
  }
  const text = input('ssh-key');
  if (text === '') return undefined;
  const parsed = parsePrivateKey(text);
  if ('fault' in parsed) {
    throw new MirrorError('invalid-input', `Input \`ssh-key\` ${parsed.fault}`);
  }
  return { privateKey: parsed.key, knownHosts, isStrict };
}

/** What YAML 1.2 takes for a boolean. */
function parseBoolean(name: string, text: string, byDefault: boolean): boolean {
  if (text === '') return byDefault;
  if (/^(?:true|True|TRUE)$/.test(text)) return true;
  if (/^(?:false|False|FALSE)$/.test(text)) return false;
  throw invalid(name, text, '`true`, `false`');
}

const SERVER_ALLOWED = 'an http or https URL without user, query or fragment: https://github.com';

function parseServer(text: string): string {
  const url = parsePlainUrl(text);
  if (url === undefined) throw invalid('github-server-url', hideUser(text), SERVER_ALLOWED);
  // URL lower-cases the host and drops default ports: one server, one spelling.
  return (url.origin + url.pathname).replace(/\/+$/, '');
}

/** Undefined unless it is an http or https URL that holds nothing but the address. */
function parsePlainUrl(text: string): URL | undefined {
  const url = URL.canParse(text) && !hasControlCharacters(text) ? new URL(text) : undefined;
  const isPlain =
    url !== undefined &&
    ['http:', 'https:'].includes(url.protocol) &&
    [url.username, url.password, url.search, url.hash].every((part) => part === '');
  return isPlain ? url : undefined;
}

/** Up to the last @: a password that was not escaped may hold anything, also slashes. */
function hideUser(url: string): string {
  // A query may hold a token as well.
  return url.replace(/^([a-z]+:\/\/)?.*@/is, '$1***@').replace(/([?#]).+$/s, '$1***');
}

function parseRepository(text: string): string {
  const segments = text.split('/');
  const isName = (part: string) => /^[A-Za-z0-9._-]+$/.test(part) && !/^(?:-|\.{1,2}$)/.test(part);
  // GitHub has two segments; others that speak git have folders in folders.
  if (segments.length < 2 || !segments.every(isName)) {
    throw invalid('repository', hideUser(text), 'owner/name of letters, digits, ".", "_" and "-"');
  }
  return text;
}

function parseToken(text: string): string {
  if (hasControlCharacters(text)) {
    throw new MirrorError('invalid-input', 'Input `token` holds control characters or line ends');
  }
  return text;
}

function parseRefs(text: string): Refspecs {
  const lines = text
    .split('\n')
    .map((line) => Buffer.from(line.trim(), 'utf8').toString('latin1'))
    .filter((line) => line !== '');
  if (lines.length === 1 && lines[0] === 'all') return EVERY_REF;
  for (const line of lines) {
    const fault = findRefspecFault(line);
    if (fault !== undefined) {
      const shown = Buffer.from(line, 'latin1').toString('utf8');
      throw invalid('refs', shown, `\`all\`, or refspecs one a line: this one ${fault}`);
    }
  }
  if (lines.every((line) => line.startsWith('^'))) {
    throw invalid('refs', text, '`all`, or at least one refspec like +refs/heads/*:refs/heads/*');
  }
  return normalizeRefspecs(lines);
}

/**
 * A mirror is put in place by renaming a folder, and holds nothing but itself: neither what the job
 * stands in nor the store may lie in it. In the workspace it would be what actions/checkout removes.
 */
function parseMirrorPath(
  text: string,
  store: StoreChoice,
  environment: NodeJS.ProcessEnv,
): string | undefined {
  if (text === '') return undefined;
  const path = parsePath('mirror-path', text, environment);
  const workspace = environment['GITHUB_WORKSPACE'] ?? process.cwd();
  if (isWithin(path, workspace) || isWithin(workspace, path)) {
    throw invalid('mirror-path', text, 'a folder outside the workspace that does not contain it');
  }
  if (store.kind === 'disk' && isWithin(store.path, path)) {
    throw invalid('mirror-path', text, 'a folder that does not contain `disk-path`');
  }
  return path;
}

/** Under `auto`: what a checkout without inputs would check out, or where the workflow says so. */
function parsePrime(
  input: (name: string) => string,
  environment: NodeJS.ProcessEnv,
): string | undefined {
  const prime = parseChoice('prime', input('prime'), ['auto', 'true', 'false']);
  const path = input('path');
  const folder = parseWorkspaceFolder(path, environment);
  if (prime === 'false') return undefined;
  return prime === 'true' || path !== '' || isOwnRepository(input, environment)
    ? folder
    : undefined;
}

function parseWorkspaceFolder(text: string, environment: NodeJS.ProcessEnv): string {
  const allowed = 'a folder in the workspace, outside any `.git`: `.`, or a relative path';
  if (hasControlCharacters(text)) throw invalid('path', text, allowed);
  const workspace = environment['GITHUB_WORKSPACE'] ?? process.cwd();
  const folder = resolve(workspace, text);
  const way = relative(followLinks(workspace), followLinks(folder)).split(sep);
  const isInside =
    isBelow(folder, workspace) && isBelow(followLinks(folder), followLinks(workspace));
  // Case-insensitive file systems take .GIT for .git.
  const isInGit = way.some((name) => name.toLowerCase() === '.git');
  if (!isInside || isInGit) throw invalid('path', text, allowed);
  return folder;
}

/** GitHub takes names in any case. */
function isOwnRepository(input: (name: string) => string, environment: NodeJS.ProcessEnv): boolean {
  const own = (environment['GITHUB_REPOSITORY'] ?? '').toLowerCase();
  const server = environment['GITHUB_SERVER_URL'] ?? DEFAULT_SERVER;
  const given = input('github-server-url');
  const isOwnServer = given === '' || parseServer(given) === parseServer(server);
  return isOwnServer && input('repository').toLowerCase() === own;
}

/** Whether a path is a folder or lies in it, as they are written and where their links lead. */
function isWithin(path: string, folder: string): boolean {
  return isBelow(path, folder) || isBelow(followLinks(path), followLinks(folder));
}

function isBelow(path: string, folder: string): boolean {
  const way = relative(folder, path);
  return way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way);
}

/** The real path of what is there already, with the rest as it is written. */
function followLinks(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    const parent = dirname(path);
    return parent === path ? path : join(followLinks(parent), basename(path));
  }
}

function parsePath(name: string, text: string, environment: NodeJS.ProcessEnv): string {
  if (hasControlCharacters(text)) throw invalid(name, text, 'a path without control characters');
  const expanded = text.replace(/^~(?=$|[/\\])/, environment['HOME'] ?? '~');
  const workspace = environment['GITHUB_WORKSPACE'] ?? process.cwd();
  return isAbsolute(expanded) ? resolve(expanded) : resolve(workspace, expanded);
}

function parseStore(input: (name: string) => string, environment: NodeJS.ProcessEnv): StoreChoice {
  const kind = parseChoice('store', input('store'), ['auto', 'actions-cache', 'disk', 's3']);
  const path = input('disk-path');
  const bucket = input('s3-bucket');
  if (kind === 's3' && bucket === '') {
    throw invalid('s3-bucket', bucket, 'the name of a bucket, since `store` is `s3`');
  }
  if (kind === 'disk' && path === '') {
    throw invalid('disk-path', path, 'the path of an existing folder, since `store` is `disk`');
  }
  if ((kind === 'actions-cache' || kind === 'disk') && bucket !== '') {
    throw invalid('s3-bucket', bucket, `nothing, since \`store\` is \`${kind}\``);
  }
  if (kind === 'actions-cache' && path !== '') {
    throw invalid('disk-path', path, 'nothing, since `store` is `actions-cache`');
  }
  if (bucket !== '' && path !== '') {
    throw invalid('disk-path', path, 'nothing, since `s3-bucket` is set');
  }
  if (bucket !== '') return { kind: 's3', place: parseBucket(bucket, input) };
  if (path !== '') return { kind: 'disk', path: parsePath('disk-path', path, environment) };
  const scopes = deriveCacheScopes({
    event: environment['GITHUB_EVENT_NAME'] ?? '',
    ref: environment['GITHUB_REF'] ?? '',
    baseRef: environment['GITHUB_BASE_REF'] ?? '',
    readPayload: () => readEvent(environment),
  });
  return {
    kind: 'actions-cache',
    scopes,
    epoch: parseEpoch(environment),
    isAskedFor: kind === 'actions-cache',
  };
}

function parseBucket(
  bucket: string,
  input: (name: string) => string,
): Extract<StoreChoice, { kind: 's3' }>['place'] {
  // Names of buckets, and of access points; servers other than AWS allow capitals and `_`.
  if (!/^(?:arn:[A-Za-z0-9:/._-]{10,200}|[A-Za-z0-9][A-Za-z0-9._-]{1,62})$/.test(bucket)) {
    throw invalid('s3-bucket', bucket, "a bucket's name, or the ARN of an access point");
  }
  const prefix = input('s3-prefix');
  const segments = prefix.split('/');
  const isName = (part: string) => /^[A-Za-z0-9._-]+$/.test(part) && !/^\.{1,2}$/.test(part);
  if (prefix !== '' && (prefix.length > 200 || !segments.every(isName))) {
    const allowed = 'names of letters, digits, ".", "_" and "-" with single slashes between them';
    throw invalid('s3-prefix', prefix, allowed);
  }
  const region = input('s3-region');
  if (!/^(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)?$/.test(region)) {
    throw invalid('s3-region', region, "a region's name: eu-central-1");
  }
  const endpoint = input('s3-endpoint');
  return {
    bucket,
    prefix,
    region: region === '' ? undefined : region,
    endpoint: endpoint === '' ? undefined : parseEndpoint(endpoint),
    isPathStyle: parseBoolean('s3-force-path-style', input('s3-force-path-style'), false),
  };
}

function parseEndpoint(text: string): string {
  const url = parsePlainUrl(text);
  if (url === undefined) {
    const allowed = 'an http or https URL without user, query or fragment: https://s3.example.org';
    throw invalid('s3-endpoint', hideUser(text), allowed);
  }
  return (url.origin + url.pathname).replace(/\/+$/, '');
}

function parseCacheKey(text: string): string {
  if (text.length > 512 || hasControlCharacters(text)) {
    throw invalid('cache-key', text, 'up to 512 characters without control characters');
  }
  return text;
}

function parseTimeout(name: string, text: string, leastMs: number): number {
  const durationMs = parseDuration(text);
  if (durationMs === undefined || durationMs < leastMs) {
    const least = leastMs === 0 ? '' : `, at least ${String(leastMs / 1_000)}s`;
    throw invalid(name, text, `a duration: 90s, 10m, 1h, or seconds${least}`);
  }
  return durationMs;
}

function parseChoice<T extends string>(name: string, text: string, choices: readonly T[]): T {
  const choice = choices.find((each) => each === text);
  if (choice === undefined)
    throw invalid(name, text, choices.map((each) => `\`${each}\``).join(', '));
  return choice;
}

function parseCount(name: string, text: string): number {
  const count = /^\d{1,4}$/.test(text) ? Number(text) : 0;
  if (count < 1 || count > 1_000) throw invalid(name, text, 'a whole number from 1 to 1000');
  return count;
}

function parseRunner(environment: NodeJS.ProcessEnv): Settings['runner'] {
  return {
    mirrorsFolder: join(readFolder(environment, 'RUNNER_WORKSPACE'), '_mirrors'),
    temporaryFolder: readFolder(environment, 'RUNNER_TEMP'),
  };
}

/** The same folder where nothing else may be readable, or undefined. */
export function findTemporaryFolder(): string | undefined {
  const path = process.env['RUNNER_TEMP'] ?? '';
  return isAbsolute(path) ? path : undefined;
}

function readFolder(environment: NodeJS.ProcessEnv, name: string): string {
  const path = environment[name] ?? '';
  if (isAbsolute(path)) return path;
  throw new MirrorError('invalid-input', `${name} is not set: this runs as a step of a workflow`);
}

/** Other platforms may number their runs otherwise. */
function parseEpoch(environment: NodeJS.ProcessEnv): string {
  const named = ['GITHUB_RUN_ID', 'GITHUB_RUN_ATTEMPT'];
  const epoch = named.map((name) => environment[name] ?? '').join('-');
  return epoch.replace(/[^A-Za-z0-9._-]/g, '_').slice(0, 100);
}

function describeRun(environment: NodeJS.ProcessEnv): string {
  const named = ['GITHUB_REPOSITORY', 'GITHUB_RUN_ID', 'GITHUB_RUN_ATTEMPT', 'GITHUB_JOB'];
  return named.map((name) => environment[name] ?? '').join('/');
}

/** Undefined where there is none that can be read: trust then assumes the worst. */
function readEvent(environment: NodeJS.ProcessEnv): unknown {
  try {
    return JSON.parse(readFileSync(environment['GITHUB_EVENT_PATH'] ?? '', 'utf8'));
  } catch {
    return undefined;
  }
}
