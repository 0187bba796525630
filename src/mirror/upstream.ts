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
import type { UpstreamAccess } from '../git/environment.ts';
import { GitFailure, NO_GIT_SERVER } from '../git/failure.ts';
import { isSuccess, type Git, type GitCommand } from '../git/git.ts';
import { watchRepository } from '../git/signs-of-life.ts';
import type { Deadline } from '../lib/deadline.ts';
import { MirrorError, describeError } from '../lib/errors.ts';
import { formatDuration } from '../lib/durations.ts';
import type { Log } from '../lib/log.ts';
import type { ChildResult } from '../lib/process.ts';
import { backOff, retry } from '../lib/retry.ts';
import {
  findDefaultBranch,
  findHeadFault,
  findRefsFault,
  isOid,
  parseAdvertisement,
  separateNested,
  type Depth,
  type SeparatedRefs,
  type UpstreamRefs,
} from './refs.ts';
import { toLines } from './objects.ts';
import { createRefFilter, type RefChoice, type Refspecs } from './refspecs.ts';

export interface Upstream {
  access: UpstreamAccess;
  refspecs: Refspecs;
  depth: Depth;
}

/** What a request to upstream needs. */
export interface Asking {
  git: Git;
  upstream: Upstream;
  log: Log;
  signal: AbortSignal;
}

/**
 * Asks upstream for its refs. Throws `empty-upstream` where there are none to mirror: an empty
 * answer and an empty repository look the same, and neither may empty a mirror.
 *
 * It runs outside any repository (a name in `temporaryFolder` that doesn't exist): the mirror's place may hold anything,
 * and its configuration could send the token elsewhere.
 */
export async function probeUpstream(
  asking: Asking,
  temporaryFolder: string,
  deadline: Deadline,
): Promise<UpstreamRefs> {
  const { access } = asking.upstream;
  const command: GitCommand = {
    gitDirectory: join(temporaryFolder, randomUUID()),
    args: ['ls-remote', '--symref', '--', access.url],
    access,
  };
  const what = `asking ${access.url} for its refs`;
  const { stdout } = await ask(asking, command, what, deadline, MAX_SILENT_PROBES);
  // Bytes, not text: a ref's name need not be UTF-8.
  const text = stdout.toString('latin1');
  if (text === '') await checkProtocol(asking, command, what, deadline);
  const { conflicts, ...upstream } = readAdvertisement(text, access.url, asking.upstream);
  if (conflicts.length > 0) asking.log.warning(describeConflicts(access.url, conflicts));
  return upstream;
}

function describeConflicts(url: string, conflicts: SeparatedRefs['conflicts']): string {
  const pairs = conflicts.slice(0, 3).map(({ omitted, kept }) => `${omitted} (next to ${kept})`);
  const more = conflicts.length > 3 ? ` and ${String(conflicts.length - 3)} more` : '';
  return `${url} has refs that no repository can hold together; the mirror leaves out ${pairs.join(', ')}${more}. Rename or delete one of each pair upstream.`;
}

/**
 * Throws if an upstream without refs doesn't speak git's protocol: git accepts a short web page, or an empty answer, as a
 * list of no refs (git facts 2 and 3).
 */
async function checkProtocol(
  { git, upstream }: Asking,
  command: GitCommand,
  what: string,
  deadline: Deadline,
): Promise<void> {
  // An SSH server without git fails in other ways.
  if (upstream.access.sshCommand !== undefined) return;
  const limits = { timeoutMs: deadline.remainingMs(), stallMs: deadline.stallMs };
  const result = await git.run({ ...command, ...limits, tracesPackets: true });
  if (/^.*packet: /m.test(result.stderr)) return;
  if (!isSuccess(result)) throw new GitFailure(result, what);
  throw new MirrorError('network', `${what}: ${NO_GIT_SERVER}`, { concern: 'server' });
}

/** Checks what upstream sent against git's rules; throws `empty-upstream` or `unknown`. */
export function readAdvertisement(
  text: string,
  url: string,
  choice: RefChoice,
): UpstreamRefs & Pick<SeparatedRefs, 'conflicts'> {
  const { head: named, refs: all } = parseOrThrow(text, url);
  // A tip mirror is of branches and tags: a commit that HEAD alone names is left out.
  const head = choice.depth === 'full' || findDefaultBranch(named) ? named : undefined;
  const isMirrored = createRefFilter(choice, head);
  const mirrored = all.filter(({ name }) => isMirrored(name));
  const { kept: refs, conflicts } = separateNested(mirrored, head);
  const first = refs[0];
  if (first === undefined) throw nothingToMirror(url, all.length);
  const objectFormat = isOid(first.oid, 'sha256') ? 'sha256' : 'sha1';
  const fault = findRefsFault(refs, objectFormat) ?? findHeadFault(head, objectFormat);
  if (fault !== undefined) throw notAllowed(url, fault);
  return { objectFormat, head, refs, conflicts };
}

function parseOrThrow(text: string, url: string) {
  try {
    return parseAdvertisement(text);
  } catch (error) {
    throw notAllowed(url, describeError(error));
  }
}

function notAllowed(url: string, fault: string): MirrorError {
  return new MirrorError('unknown', `${url} sent an invalid list of refs: ${fault}`);
}

function nothingToMirror(url: string, others: number): MirrorError {
  const what =
    others === 0 ? 'has no refs' : `has ${String(others)} refs, none of which is to be mirrored`;
  return new MirrorError('empty-upstream', `${url} ${what}; nothing is deleted or saved`, {
    concern: others === 0 ? undefined : 'refs',
  });
}

/**
 * Brings objects into a mirror: at least one, since without any git fetches HEAD. Lenient: a server may
 * take as long as the deadline lets it, while it shows signs of life. Throws the named failure of the
 * last try; what an interrupted try left behind stays.
 */
export async function fetchObjects(
  asking: Asking,
  directory: string,
  oids: readonly string[],
  deadline: Deadline,
): Promise<void> {
  const { access, depth } = asking.upstream;
  const options = depth === 'tip' ? [...FETCH_OPTIONS, '--depth=1'] : FETCH_OPTIONS;
  const command: GitCommand = {
    gitDirectory: directory,
    args: ['fetch', ...options, '--stdin', '--', access.url],
    stdin: toLines(oids),
    access,
    showProgress: true,
  };
  const { stderr } = await ask(asking, command, `fetching from ${access.url}`, deadline, Infinity);
  // git leaves such refs out of its own check for missing objects, and exits with 0.
  if (!SHALLOW_REJECTED.test(stderr)) return;
  const message = `${access.url} is a shallow repository: it lacks a part of its history; nothing is primed or saved`;
  throw new MirrorError('shallow-upstream', message);
}

const SHALLOW_REJECTED = /^warning: rejected .* because shallow roots are not allowed/m;

const FETCH_OPTIONS = ['--no-tags', '--no-write-fetch-head', '--progress'];

/** A probe that stalls has heard nothing at all; a fetch that stalls follows a probe that was answered. */
const MAX_SILENT_PROBES = 2;
const MAX_FAILURES = 3;
const MAX_THROTTLED = 4;

/** The result of a command that reaches upstream, tried again while the deadline leaves time. */
async function ask(
  { git, log, signal }: Asking,
  command: GitCommand,
  what: string,
  deadline: Deadline,
  maxStalls: number,
): Promise<ChildResult> {
  const { stallMs } = deadline;
  const attempt = async () => {
    const signsOfLife = await watchRepository(command.gitDirectory);
    const timeoutMs = deadline.remainingMs();
    const result = await git.run({ ...command, timeoutMs, stallMs, signsOfLife });
    if (!isSuccess(result)) throw new GitFailure(result, what);
    return result;
  };
  return retry(attempt, {
    signal,
    pauseAfter: (error, failures) => {
      const pauseMs = pauseAfter(error, failures, maxStalls);
      return pauseMs !== undefined && pauseMs < deadline.remainingMs() ? pauseMs : undefined;
    },
    onPause: (error, pauseMs) => {
      log.info(`${describeError(error)}; trying again in ${formatDuration(pauseMs)}`);
    },
  });
}

/** The pause before another try, in milliseconds; undefined after what no other try would cure. */
function pauseAfter(error: unknown, failures: number, maxStalls: number): number | undefined {
  if (!(error instanceof GitFailure) || error.code !== 'network') return undefined;
  let [max, firstMs, longestMs] = [MAX_FAILURES, 1_000, 4_000];
  // git doesn't print Retry-After (git fact 8), and GitHub's is a minute.
  if (error.concern === 'request-rate') [max, firstMs, longestMs] = [MAX_THROTTLED, 5_000, 60_000];
  // A stall was a pause already.
  else if (error.result.ended === 'stalled') [max, longestMs] = [maxStalls, 1_000];
  return failures < max ? backOff(failures, { firstMs, longestMs }) : undefined;
}
