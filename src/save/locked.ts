/** Work at a mirror's place under its lock, and saves above all: of the mirror and of its LFS objects. */
import { bindSignal, type Job } from '../job/job.ts';
import { describeError, hasCode, throwIfCancelled } from '../lib/errors.ts';
import type { Hold } from '../locks/lock.ts';
import type { Store } from '../stores/store.ts';
import { skip, type SaveResult } from './decide.ts';

/** Other jobs of this machine may be using the mirror; the job that fetched last saves, too. */
const SAVE_LOCK_TIMEOUT_MS = 60_000;

/** Undefined if another job has the lock. A private mirror has none, since no other job knows it. */
export async function underLock<T>(
  job: Job,
  { path, isPrivate }: { path: string; isPrivate: boolean },
  timeoutMs: number,
  work: (job: Job) => Promise<T>,
): Promise<T | undefined> {
  if (isPrivate) return work(job);
  const { account, signal } = job;
  const acquire = () => job.lockOf(path).acquire({ timeoutMs, signal });
  // A lock that is not waited for is no phase.
  const acquisition = await (timeoutMs === 0 ? acquire() : account.measure('lock', acquire));
  if (acquisition.outcome !== 'acquired') return undefined;
  try {
    return await work(bindSignal(job, acquisition.hold.lost));
  } finally {
    await acquisition.hold.release();
  }
}

/** Post's save, under the lock. Throws the named failure of the store or of git; the store then shows nothing new. */
export async function saveUnderLock(
  job: Job,
  mirror: { path: string; isPrivate: boolean },
  save: (job: Job, store: Store) => Promise<SaveResult>,
): Promise<SaveResult> {
  const { store } = job;
  if (store === undefined) return skip('there is no store');
  const saved = await underLock(job, mirror, SAVE_LOCK_TIMEOUT_MS, (bound) =>
    unlessReadOnly(() => save(bound, store)),
  );
  return saved ?? skip(`another job is using ${mirror.path}`);
}

/**
 * Main's save, for jobs that wait for it, under the mirror's lock and, where main has it, the claim. Undefined if it
 * failed: post tries again. `failure` begins the warning. Throws only if the job was cancelled, or lost the mirror's lock.
 */
export async function saveEarly(
  job: Job,
  claim: Hold | undefined,
  failure: string,
  save: (job: Job, store: Store, isClaimed: boolean) => Promise<SaveResult>,
): Promise<SaveResult | undefined> {
  const { store, account, signal } = job;
  if (store === undefined) return undefined;
  const isClaimed = claim?.lost.aborted === false;
  const bound = isClaimed ? bindSignal(job, claim.lost) : job;
  try {
    return await unlessReadOnly(() => save(bound, store, isClaimed));
  } catch (error) {
    throwIfCancelled(signal);
    account.fallBack(`${failure}, post will try again: ${describeError(error)}`, error);
    return undefined;
  }
}

async function unlessReadOnly(save: () => Promise<SaveResult>): Promise<SaveResult> {
  try {
    return await save();
  } catch (error) {
    // The platform says so for events that are not trusted: nobody has to act on it.
    if (!hasCode(error, 'store-read-only')) throw error;
    return skip(error.message);
  }
}
