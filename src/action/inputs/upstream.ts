/** Inputs that say what to mirror, and how to reach it. */
import { isDeepStrictEqual } from 'node:util';
import { MirrorError } from '../../lib/errors.ts';
import type { SshIdentity } from '../../git/ssh.ts';
import type { Depth } from '../../mirror/refs.ts';
import {
  EVERY_REF,
  findRefspecFault,
  findTipRefspecFault,
  normalizeRefspecs,
  type Refspecs,
} from '../../mirror/refspecs.ts';
import { isPlainName, type Server } from '../../submodules/url.ts';
import {
  DEFAULTS,
  hasControlCharacters,
  hideSecrets,
  invalidInput,
  parsePlainUrl,
  readChoice,
  type ReadInput,
} from './reader.ts';
import { parseSsh, parseSshUser } from './ssh.ts';

export interface UpstreamSettings {
  /** Without a secret. */
  url: string;
  /** Empty for none, and for SSH. */
  token: string;
  /** Undefined where upstream is reached over HTTP. */
  ssh: SshIdentity | undefined;
  refspecs: Refspecs;
  depth: Depth;
  /** The server, whose submodules are mirrored as well. */
  server: Server;
}

/** Which repository on which server; every spelling of the same one gives the same address. */
export interface Address {
  url: string;
  /** As actions/checkout writes `remote.origin.url`: it deletes a workspace with another one. */
  checkoutUrl: string;
  /** Whether it is the repository that the workflow runs in. */
  isOwn: boolean;
  server: Server;
}

const DEFAULT_SERVER = 'https://github.com';

export function parseUpstream(
  read: ReadInput,
  environment: NodeJS.ProcessEnv,
): UpstreamSettings & { address: Address } {
  const ssh = parseSsh(read);
  const token = parseToken(read('token'));
  const address = parseAddress(read, environment, ssh !== undefined);
  const depth = readChoice(read, 'fetch-depth', ['0', '1']) === '0' ? 'full' : 'tip';
  const refspecs = depth === 'full' ? parseRefs(read('refs')) : parseTipRefs(read('refs'));
  const { url, server } = address;
  return { url, token: ssh === undefined ? token : '', ssh, refspecs, depth, server, address };
}

/**
 * GitHub serves `owner/name.git` as `owner/name`, and so do the servers that run workflows like it.
 * Elsewhere the two may be different repositories, or only one of them may exist.
 */
function parseAddress(read: ReadInput, environment: NodeJS.ProcessEnv, isSsh: boolean): Address {
  const ownServer = parseServer(environment['GITHUB_SERVER_URL'] ?? DEFAULT_SERVER);
  const own = environment['GITHUB_REPOSITORY'] ?? '';
  const given = read('github-server-url');
  const server = given === '' ? ownServer : parseServer(given);
  const repository = parseRepository(read('repository') || own);
  const user = parseSshUser(read);
  const short = repository.replace(/(?<=[^/])\.git$/i, '');
  const isGitHub = server === ownServer || server === DEFAULT_SERVER;
  // GitHub takes names in any case.
  const isOwn = server === ownServer && short.toLowerCase() === own.toLowerCase();
  if (isSsh) {
    const origin = `${user}@${parseSshHost(server)}`;
    const url = `${origin}:${short}.git`;
    return { url, checkoutUrl: url, isOwn, server: { origin, isSuffixOptional: true } };
  }
  return {
    url: `${server}/${isGitHub ? short : repository}`,
    // A checkout of the workflow's own repository rarely names it, and then has no `.git`.
    checkoutUrl: `${server}/${isOwn ? short : repository}`,
    isOwn,
    server: { origin: new URL(server).origin, isSuffixOptional: isGitHub },
  };
}

function parseServer(text: string): string {
  return parsePlainUrl('github-server-url', text, DEFAULT_SERVER);
}

/** ssh passes the host to commands of the user's configuration, and takes `-…` for an option. */
function parseSshHost(server: string): string {
  const { hostname } = new URL(server);
  if (/^(?:[a-z0-9_][a-z0-9._-]*|\[[0-9a-f:.]+\])$/.test(hostname)) return hostname;
  const expected = 'a URL with a host of letters, digits, ".", "_" and "-", since `ssh-key` is set';
  throw invalidInput('github-server-url', server, expected);
}

function parseRepository(text: string): string {
  const segments = text.split('/');
  // GitHub has two segments; other servers have folders in folders.
  if (segments.length < 2 || !segments.every(isPlainName)) {
    const expected = 'owner/name of letters, digits, ".", "_" and "-"';
    throw invalidInput('repository', hideSecrets(text), expected);
  }
  return text;
}

function parseToken(text: string): string {
  if (hasControlCharacters(text)) {
    throw new MirrorError('invalid-input', 'Input `token` holds control characters or line ends');
  }
  return text;
}

export function parseRefs(text: string): Refspecs {
  const lines = text
    .split('\n')
    .map((line) => Buffer.from(line.trim(), 'utf8').toString('latin1'))
    .filter((line) => line !== '');
  if (lines.length > 0 && lines.every((line) => line === 'all')) return EVERY_REF;
  if (lines.includes('all')) {
    throw invalidInput('refs', text, '`all` alone, or refspecs without it, one per line');
  }
  for (const line of lines) {
    const fault = findRefspecFault(line);
    if (fault !== undefined) {
      const shown = Buffer.from(line, 'latin1').toString('utf8');
      throw invalidInput('refs', shown, `\`all\`, or refspecs, one per line; this one ${fault}`);
    }
  }
  if (lines.every((line) => line.startsWith('^'))) {
    const expected = '`all`, or at least one refspec like +refs/heads/*:refs/heads/*';
    throw invalidInput('refs', text, expected);
  }
  return normalizeRefspecs(lines);
}

/** None for the default: a tip mirror always has the default branch, and no patterns. */
function parseTipRefs(text: string): Refspecs {
  const refspecs = parseRefs(text);
  if (isDeepStrictEqual(refspecs, parseRefs(DEFAULTS.refs))) return [];
  if (findTipRefspecFault(refspecs) === undefined) return refspecs;
  const expected =
    'names of single refs such as refs/heads/main, one per line, since `fetch-depth` is 1: a tip mirror has one commit for each';
  throw invalidInput('refs', text, expected);
}
