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
import type { SnapshotSource } from './snapshot-source.ts';

/** Of one job, over both rounds. */
export interface CloneClaim {
  outcome: ClaimOutcome;
  hold: Hold | undefined;
}

interface Contender {
  job: Job;
  identity: MirrorIdentity;
  options: RestoreOptions;
  source: Pick<SnapshotSource, 'fence'>;
  claim: CloneClaim;
}

/** Takes the claim if it is free, without waiting. */
export async function contend(contender: Contender): Promise<Event> {
  if (!contender.options.isPublishedEarly) return { name: 'claim-settled' };
  const acquisition = await acquire(contender, 0);
  if (acquisition === undefined) return { name: 'claim-settled' };
  const isHeld = acquisition.outcome === 'timed-out' || acquisition.outcome === 'not-needed';
  if (isHeld) return { name: 'claim-held' };
  note(contender.claim, acquisition);
  return { name: 'claim-settled' };
}

/** Waits until the snapshot exists, the claim is free, or the time for it is over. */
export async function waitForClaim(contender: Contender): Promise<void> {
  const acquisition = await acquire(contender, contender.options.lockTimeoutMs);
  if (acquisition !== undefined) note(contender.claim, acquisition);
}

function note(claim: CloneClaim, acquisition: Acquisition): void {
  const { outcome } = acquisition;
  claim.outcome = outcome === 'not-needed' ? 'waited' : outcome;
  if (outcome === 'acquired') claim.hold = acquisition.hold;
}

/** Undefined where the store has no claims, or could not be asked. */
async function acquire(
  { job, identity, source }: Contender,
  timeoutMs: number,
): Promise<Acquisition | undefined> {
  const { claimOf, store, signal, log, account } = job;
  const { fence } = source;
  if (claimOf === undefined || store === undefined || fence === null) return undefined;
  const onWait = (holder = 'another job'): void => {
    if (timeoutMs > 0)
      log.info(`Waiting for ${holder}, which makes a snapshot in ${store.location}`);
  };
  return account.measure('claim', () =>
    claimOf(identity.key, fence + 1).acquire({ timeoutMs, signal, onWait }),
  );
}
