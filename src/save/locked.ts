/** Post's work on a mirror, under its lock. */
import { bindSignal, type Job } from '../job/job.ts';

/** Other jobs of this machine may be using the mirror; the job that fetched last saves, too. */
export const SAVE_LOCK_TIMEOUT_MS = 60_000;

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
