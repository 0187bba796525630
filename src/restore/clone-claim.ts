/**
 * The right to make a clone for everybody, where clones are published early. A job contends for it under
 * its mirror's lock, but waits for another holder only after it has left the place: other jobs of this
 * machine would otherwise spend their own time for the lock on a wait that is not theirs.
 */
import type { Job } from '../job/job.ts';
import type { Acquisition, Hold } from '../locks/lock.ts';
import type { MirrorIdentity } from '../snapshot/identity.ts';
import type { Event } from './lifecycle.ts';
import type { ClaimOutcome, RestoreOptions } from './session.ts';

/** Of one job, over both rounds. */
export interface CloneClaim {
  outcome: ClaimOutcome;
  hold: Hold | undefined;
}

/** What both rounds of a restore share. */
export interface Work {
  job: Job;
  identity: MirrorIdentity;
  options: RestoreOptions;
  claim: CloneClaim;
}

/** Takes the claim on the snapshot after that fence if it is free, without waiting. */
export async function contend(work: Work, fence: number | null): Promise<Event> {
  // A job that went on to a private place may have it already.
  const isOurs = work.claim.hold?.lost.aborted === false;
  const isNeeded = work.options.isPublishedEarly && !isOurs;
  const acquisition = isNeeded ? await acquire(work, fence, 0) : undefined;
  const outcome = acquisition?.outcome;
  if (outcome === 'timed-out' || outcome === 'not-needed') return { name: 'claim-held' };
  note(work.claim, acquisition);
  return { name: 'claim-settled' };
}

/** Waits until the snapshot exists, the claim is free, or the time for it is over. */
export async function waitForClaim(work: Work, fence: number | null): Promise<void> {
  note(work.claim, await acquire(work, fence, work.options.lockTimeoutMs));
}

function note(claim: CloneClaim, acquisition: Acquisition | undefined): void {
  if (acquisition === undefined) return;
  const { outcome } = acquisition;
  claim.outcome = outcome === 'not-needed' ? 'waited' : outcome;
  if (outcome === 'acquired') claim.hold = acquisition.hold;
}

/** Undefined where the store has no claims, or could not be asked. */
async function acquire(
  { job, identity }: Work,
  fence: number | null,
  timeoutMs: number,
): Promise<Acquisition | undefined> {
  const { claimOf, store, signal, log, account } = job;
  if (claimOf === undefined || store === undefined || fence === null) return undefined;
  const onWait = (holder = 'another job'): void => {
    log.info(`Waiting for ${holder}, which is making a snapshot in ${store.location}`);
  };
  return account.measure('claim', () =>
    claimOf(identity.key, fence + 1).acquire({ timeoutMs, signal, onWait }),
  );
}
