/**
 * Use case: gives the job's workspace a `.git` made from the mirror, so that the checkout that follows
 * transfers only what is new. It is as actions/checkout would have left it, except for the number of
 * processes that write files.
 *
 * It doesn't depend on the mirror afterwards: packs are hard links or copies, never alternates. An
 * alternate is lost where the workspace is mounted elsewhere, as container steps do, and when a later job
 * replaces the mirror.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, rmdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describeError } from '../lib/errors.ts';
import { isPresent, makeFolder, removeTree, renameStubbornly, sweepFolders } from '../lib/files.ts';
import type { Job } from '../job/job.ts';
import { SHALLOW_FILE } from '../mirror/directory.ts';
import type { Ref } from '../mirror/refs.ts';
import { limitHistory } from '../mirror/shallow.ts';
import type { RestoredMirror } from '../restore/session.ts';
import { chooseWorkers, configure, detachHead, initialize } from './git-directory.ts';
import { takePacks, type TakenPacks } from './packs.ts';
import { toTrackingRefs, writeTrackingRefs } from './refs.ts';

/** A folder to prime, for the checkout that follows. */
export interface PrimeTarget {
  folder: string;
  /** What that checkout expects in `remote.origin.url`. */
  remoteUrl: string;
  /** The commit that it probably checks out, where the job knows one. */
  commit: string | undefined;
}

export type PrimeResult =
  | ({ result: 'primed'; path: string } & TakenPacks)
  /** There was nothing to do, or nothing to do it with. */
  | { result: 'skipped'; reason: string }
  /** The workspace is as it was. */
  | { result: 'failed'; reason: string };

/** What priming needs to know of a mirror. */
export type PrimeSource = Pick<RestoredMirror, 'identity' | 'path' | 'head' | 'refs'>;

/**
 * Primes a folder, which need not exist yet, from a mirror whose lock is held. Never throws: a failure
 * costs the job speed and nothing else.
 */
export async function primeWorkspace(
  job: Job,
  mirror: PrimeSource,
  target: PrimeTarget,
): Promise<PrimeResult> {
  const { folder } = target;
  try {
    // Only one job at a time works in a workspace.
    await sweepFolders(folder, (name) => STAGING_NAME.test(name), job.log);
    const gitDirectory = join(folder, '.git');
    if (await isPresent(gitDirectory)) return skip(job, `${gitDirectory} already exists`);
    const tracking = toTrackingRefs(mirror.refs);
    if (tracking.length === 0) return skip(job, 'neither branches nor tags are mirrored');
    return await job.account.measure(
      'prime',
      () => prime(job, mirror, tracking, target),
      ({ copiedBytes }) => copiedBytes,
    );
  } catch (error) {
    const reason = describeError(error);
    job.account.fallBack(
      `${folder} could not be primed, so a checkout there will fetch everything: ${reason}`,
      error,
    );
    return { result: 'failed', reason };
  }
}

/** Whether a primed folder has a history without an end: where it was primed with a tip, a checkout fetched it. */
export async function hasWholeHistory(folder: string): Promise<boolean> {
  const gitDirectory = join(folder, '.git');
  return (await isPresent(gitDirectory)) && !(await isPresent(join(gitDirectory, SHALLOW_FILE)));
}

function skip({ log }: Job, reason: string): PrimeResult {
  log.info(`The workspace is not primed: ${reason}`);
  return { result: 'skipped', reason };
}

async function prime(
  job: Job,
  mirror: PrimeSource,
  tracking: readonly Ref[],
  { folder, remoteUrl, commit }: PrimeTarget,
) {
  const created = await makeFolder(folder);
  try {
    return await withStaging(folder, async (gitDirectory) => {
      const commits = [mirror.head?.oid, commit].filter((oid) => oid !== undefined);
      const from = [mirror.path];
      const packs = await buildRepository(job, mirror, tracking, {
        ...{ gitDirectory, remoteUrl, commits, from },
      });
      await detachHead(job.git, gitDirectory);
      await renameStubbornly(gitDirectory, join(folder, '.git'));
      return { result: 'primed' as const, path: folder, ...packs };
    });
  } catch (error) {
    if (created !== undefined) await removeEmptyFolders(folder, created);
    throw error;
  }
}

/** Runs work with the path of a `.git` to be made, in the folder, so that a rename puts it in place. */
export async function withStaging<T>(
  folder: string,
  work: (gitDirectory: string) => Promise<T>,
): Promise<T> {
  const staging = join(folder, STAGING + randomBytes(NONCE_BYTES).toString('hex'));
  try {
    await mkdir(staging);
    return await work(join(staging, '.git'));
  } finally {
    // What is left of it doesn't undo the work; the next priming sweeps it.
    await removeTree(staging).catch(() => undefined);
  }
}

export interface Parts {
  gitDirectory: string;
  remoteUrl: string;
  /** Those that may be checked out. */
  commits: readonly string[];
  /** Repositories whose packs it takes. */
  from: readonly string[];
}

/** Makes a repository with a mirror's HEAD and these refs, but no HEAD of its own yet. */
export async function buildRepository(
  { git, signal }: Job,
  { identity, head }: PrimeSource,
  tracking: readonly Ref[],
  { gitDirectory, remoteUrl, commits, from }: Parts,
): Promise<TakenPacks> {
  await initialize(git, gitDirectory, identity.objectFormat);
  const packs = await takePacks(from, gitDirectory, signal);
  await writeTrackingRefs(gitDirectory, head, tracking);
  const oids = tracking.map(({ oid }) => oid);
  await limitHistory(git, gitDirectory, identity.spec.depth, oids);
  const workers = await chooseWorkers(git, gitDirectory, commits);
  await configure(gitDirectory, remoteUrl, workers);
  return packs;
}

const STAGING = '.mirror-action-priming-';
const NONCE_BYTES = 8;
const STAGING_NAME = /^\.mirror-action-priming-[0-9a-f]{16}$/;

/** Removes a folder and its parents, up to the outermost that this step created, while empty. */
async function removeEmptyFolders(folder: string, outermost: string): Promise<void> {
  for (let path = folder; path.length >= outermost.length; path = dirname(path)) {
    const isGone = await rmdir(path).then(
      () => true,
      () => false,
    );
    if (!isGone) return;
  }
}
