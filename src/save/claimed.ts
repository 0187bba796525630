/** A save under the claim on its number, where the store has claims. */
import { bindSignal, type Job } from '../job/job.ts';
import { reasonOf } from '../lib/errors.ts';
import { skip, type SaveResult } from './decide.ts';

/** One job at a time saves under a number. Does not wait for another. `isClaimed`: this job has the claim already. */
export async function underClaim(
  job: Job,
  { key, number, isClaimed }: { key: string; number: number; isClaimed: boolean },
  work: (job: Job) => Promise<SaveResult>,
): Promise<SaveResult> {
  const { claimOf, log, signal } = job;
  if (isClaimed || claimOf === undefined) return work(job);
  const acquisition = await claimOf(key, number).acquire({ timeoutMs: 0, signal });
  if (acquisition.outcome === 'unavailable') {
    if (acquisition.isReadOnly) return skip(acquisition.reason);
    // Creating the manifest is the fence; a claim only saves work.
    log.info(`Saving without a claim: ${acquisition.reason}`);
    return work(job);
  }
  if (acquisition.outcome === 'not-needed') return { result: 'superseded', number };
  if (acquisition.outcome !== 'acquired') return skip('another job is saving it');
  const { hold } = acquisition;
  try {
    return await work(bindSignal(job, hold.lost));
  } catch (error) {
    if (!hold.lost.aborted || signal.aborted) throw error;
    const { code, message } = reasonOf(hold.lost);
    if (code === 'lost-claim') return skip(message);
    // The store that keeps the claim failed for a while; no job is known to have taken it over.
    log.info(`Saving again, without a claim: ${message}`);
    return await work(job);
  } finally {
    await hold.release();
  }
}
