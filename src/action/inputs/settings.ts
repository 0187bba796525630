/**
 * All inputs and the runner's environment as one frozen, validated record. A bad value throws
 * `invalid-input`, which names the input, its value and what is expected.
 */
import { getInput, setSecret } from '@actions/core';
import { basicCredential } from '../../git/environment.ts';
import type { PrimeTarget } from '../../prime/prime-workspace.ts';
import type { Verification } from '../../restore/unpack-snapshot.ts';
import type { StoreChoice } from '../../stores/open.ts';
import { findUntrustedReason } from '../trust.ts';
import {
  hasControlCharacters,
  readAs,
  readBoolean,
  readChoice,
  readCount,
  readDuration,
  withDefaults,
} from './reader.ts';
import { describeRun, parseRunner, readEvent, type Runner } from './runner.ts';
import { parseStore } from './store.ts';
import { parseUpstream, type UpstreamSettings } from './upstream.ts';
import { parseMirrorPath, parseSubmodules, parseWorkspace } from './workspace.ts';

export interface Settings {
  upstream: UpstreamSettings;
  /** Undefined for the default, which depends on the key. */
  mirrorPath: string | undefined;
  /** Undefined where nothing is to be primed. */
  workspace: PrimeTarget | undefined;
  /** Whether the LFS objects of the job's commit belong to the mirror. */
  lfs: boolean;
  /** Which submodules of the workspace are primed as well. */
  submodules: 'none' | 'direct' | 'recursive';
  /** Whether submodules that only the token can read may go to the Actions cache. */
  cachesPrivateSubmodules: boolean;
  store: StoreChoice;
  cacheKey: string;
  lockTimeoutMs: number;
  fetchTimeoutMs: number;
  /** Infinity where it is turned off. */
  stallTimeoutMs: number;
  verification: Verification;
  save: 'auto' | 'always' | 'never';
  publish: 'post' | 'early';
  maxSnapshots: number;
  /** How many jobs of this run may compete for the same snapshot. */
  contenders: number;
  runner: Runner;
  /** For people: which run this is. */
  run: string;
  /** Why others must not restore what a job of this event saves; undefined where they may. */
  untrustedReason: string | undefined;
  /** What git may inherit a part of. */
  environment: NodeJS.ProcessEnv;
}

/** Reads this process's inputs and environment, and keeps their secrets out of the log. */
export function readSettings(): Readonly<Settings> {
  const settings = Object.freeze(parseSettings(getInput, process.env));
  maskSecrets(settings.upstream);
  return settings;
}

function maskSecrets({ token, ssh }: Pick<UpstreamSettings, 'token' | 'ssh'>): void {
  if (token !== '') {
    setSecret(token);
    // As HTTP sends it.
    setSecret(basicCredential(token));
  }
  // The runner masks line by line. The first and last line of all keys are the same, and a short rest
  // would mask other words.
  const lines = ssh?.privateKey.split('\n') ?? [];
  lines.filter((line) => line.length >= 8 && !line.startsWith('-----')).forEach(setSecret);
}

/** The settings that inputs and an environment make. */
export function parseSettings(
  input: (name: string) => string,
  environment: NodeJS.ProcessEnv,
): Settings {
  const read = withDefaults(input);
  const runner = parseRunner(environment);
  const store = parseStore(read, environment, runner);
  const { address, ...upstream } = parseUpstream(read, environment);
  return {
    upstream,
    mirrorPath: parseMirrorPath(read, store, runner),
    workspace: parseWorkspace(read, address, runner),
    lfs: readBoolean(read, 'lfs'),
    submodules: parseSubmodules(read),
    cachesPrivateSubmodules: readBoolean(read, 'cache-private-submodules'),
    store,
    cacheKey: readAs(
      read,
      'cache-key',
      'up to 512 characters without control characters',
      (text) => (text.length > 512 || hasControlCharacters(text) ? undefined : text),
    ),
    lockTimeoutMs: readDuration(read, 'lock-timeout', 0),
    fetchTimeoutMs: readDuration(read, 'fetch-timeout', 1_000),
    // 0 turns it off.
    stallTimeoutMs: readDuration(read, 'stall-timeout', 0) || Infinity,
    verification: readChoice(read, 'verify', ['standard', 'tip', 'full']),
    save: readChoice(read, 'save', ['auto', 'always', 'never']),
    publish: readChoice(read, 'publish', ['post', 'early']),
    maxSnapshots: readCount(read, 'max-snapshots'),
    contenders: readCount(read, 'job-total'),
    runner,
    run: describeRun(environment),
    untrustedReason: findUntrustedReason(environment['GITHUB_EVENT_NAME'] ?? '', () =>
      readEvent(environment),
    ),
    environment,
  };
}
