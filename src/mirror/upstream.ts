/**
 * What is asked of upstream: its refs (the probe), and the objects they need (the fetch).
 *
 * The fetch asks for the very object ids that the probe saw and names no refs, so it can neither
 * delete nor rename one; refs are written afterwards from the probe (directory.ts). A server that
 * answers 200 with an empty body makes `git fetch --prune` delete every ref and exit 0; here it
 * fails the probe, and no mirror is touched.
 */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Deadline } from '../lib/deadline.ts';
import { MirrorError, describeError, throwIfCancelled, type ErrorCode } from '../lib/errors.ts';
import type { UpstreamAccess } from '../git/environment.ts';
import { gitFailure } from '../git/failure.ts';
import { isSuccess, type Git } from '../git/git.ts';
import type { Log } from '../lib/log.ts';
import {
  findHeadFault,
  findRefsFault,
  isOid,
  parseAdvertisement,
  type UpstreamRefs,
} from './refs.ts';
import { createRefFilter, type Refspecs } from './refspecs.ts';

export interface Upstream {
  access: UpstreamAccess;
  refspecs: Refspecs;
}

/** What asking takes. */
export interface Asking {
  git: Git;
  upstream: Upstream;
  log: Log;
  signal: AbortSignal;
}

/** Listing refs takes seconds where it works at all; 120,000 took 0.35 s on loopback. */
const PROBE_TIMEOUT_MS = 2 * 60_000;

/** Waits before the second and third try, each made up to half as long again by chance. */
const RETRY_DELAYS_MS = [1_000, 4_000];

/**
 * Asks upstream for its refs. Throws `empty-upstream` where there are none to mirror: an empty
 * answer and an empty repository look the same, and neither may empty a mirror.
 *
 * It is asked from no repository (a name in `temporaryFolder` that is not there): what stands at
 * the mirror's place may be anybody's, and its configuration could send the token elsewhere.
 */
export async function probeUpstream(
  asking: Asking,
  temporaryFolder: string,
): Promise<UpstreamRefs> {
  const { access, refspecs } = asking.upstream;
  const gitDirectory = join(temporaryFolder, randomUUID());
  const ask = () =>
    asking.git.read(
      {
        gitDirectory,
        args: ['ls-remote', '--symref', '--', access.url],
        access,
        timeoutMs: PROBE_TIMEOUT_MS,
      },
      `asking ${access.url} for its refs`,
    );
  const output = await withRetries(asking, new Set(['network', 'timeout']), ask);
  // Bytes, not text: a ref's name need not be UTF-8.
  return readAdvertisement(output.toString('latin1'), access.url, refspecs);
}

/** Holds what upstream sent against the rules of git; throws `empty-upstream` or `unknown`. */
export function readAdvertisement(text: string, url: string, refspecs: Refspecs): UpstreamRefs {
  const { head, refs: all } = parseOrThrow(text, url);
  const isMirrored = createRefFilter(refspecs);
  const refs = all.filter(({ name }) => isMirrored(name));
  const first = refs[0];
  if (first === undefined) throw nothingToMirror(url, all.length);
  const objectFormat = isOid(first.oid, 'sha256') ? 'sha256' : 'sha1';
  const fault = findRefsFault(refs, objectFormat) ?? findHeadFault(head, objectFormat);
  if (fault !== undefined) throw notAllowed(url, fault);
  return { objectFormat, head, refs };
}

function parseOrThrow(text: string, url: string) {
  try {
    return parseAdvertisement(text);
  } catch (error) {
    throw notAllowed(url, describeError(error));
  }
}

function notAllowed(url: string, fault: string): MirrorError {
  return new MirrorError('unknown', `${url} sends what no git server sends: ${fault}`);
}

function nothingToMirror(url: string, others: number): MirrorError {
  const what =
    others === 0 ? 'has no refs' : `has ${String(others)} refs, none of those in \`refs\``;
  return new MirrorError('empty-upstream', `${url} ${what}; nothing is deleted or saved`);
}

/**
 * Brings objects into a mirror, at least one (without any, git fetches HEAD). Lenient: a server may be silent for as long as the deadline lets
 * it. Throws the named failure of the last try; what an interrupted try left behind stays.
 */
export async function fetchObjects(
  asking: Asking,
  directory: string,
  oids: readonly string[],
  deadline: Deadline,
): Promise<void> {
  const { access } = asking.upstream;
  const options = ['--no-tags', '--no-write-fetch-head', '--progress', '--stdin'];
  const what = `fetching from ${access.url}`;
  const fetch = async () => {
    const result = await asking.git.run({
      gitDirectory: directory,
      args: ['fetch', ...options, '--', access.url],
      stdin: [...oids, ''].join('\n'),
      access,
      timeoutMs: deadline.remainingMs(),
      showProgress: true,
    });
    if (!isSuccess(result)) throw gitFailure(result, `${what} (\`fetch-timeout\` is its deadline)`);
    // git leaves such refs out of its own check for missing objects, and exits with 0.
    if (SHALLOW_REJECTED.test(result.stderr)) throw shallowUpstream(access.url);
  };
  await withRetries(asking, new Set(['network']), fetch, deadline);
}

const SHALLOW_REJECTED = /^warning: rejected .* because shallow roots are not allowed/m;

function shallowUpstream(url: string): MirrorError {
  const message = `${url} is a shallow repository: it lacks a part of its history; nothing is primed or saved`;
  return new MirrorError('shallow-upstream', message);
}

/** Tries again after failures of the given kinds, while the deadline leaves time. */
async function withRetries<T>(
  { log, signal }: Asking,
  kinds: ReadonlySet<ErrorCode>,
  attempt: () => Promise<T>,
  deadline?: Deadline,
): Promise<T> {
  for (const delayMs of RETRY_DELAYS_MS) {
    try {
      return await attempt();
    } catch (error) {
      const isTransient = error instanceof MirrorError && kinds.has(error.code);
      const waitMs = Math.round(delayMs * (1 + Math.random() / 2));
      if (!isTransient || (deadline?.remainingMs() ?? Infinity) <= waitMs) throw error;
      log.info(`${error.message}; trying again in ${String(waitMs)} ms`);
      await sleep(waitMs, undefined, { signal }).catch(() => undefined);
      throwIfCancelled(signal);
    }
  }
  return attempt();
}
