/**
 * The lock across machines: a claim in the store itself, "a job is making snapshot <number>". It ends when that snapshot
 * exists, when its holder releases it, or when its holder dies.
 *
 * docs/locks.md says what it guarantees, records.ts has the rules. A holder has lost when there is a higher epoch, when its
 * record is gone, or when its last successful heartbeat is older than half a life on its own clock. Its `lost` fires, and
 * it never comes back.
 *
 * What matters of clocks is only that the rates of a machine's monotonic clock and of the store's clock differ by less than
 * the factor 2. A lost reply, and a request that is carried out late, do no harm: an epoch is created once, and only the
 * highest counts.
 */
import { tidy } from '../../lib/abort.ts';
import { formatDuration } from '../../lib/durations.ts';
import { describeError, MirrorError, hasCode, throwIfCancelled } from '../../lib/errors.ts';
import type { Hold, Lock } from '../lock.ts';
import { MONOTONIC_CLOCK, withDeadline, type Clock } from '../clock.ts';
import { createLock, type Sight } from '../contest.ts';
import { DEFAULT_TIMES, lateAfterMs, type ClaimTimes } from './times.ts';
import {
  claimName,
  parseClaims,
  releasedName,
  type ClaimRecords,
  type FoundClaim,
} from './records.ts';

const never = (): Promise<boolean> => Promise.resolve(false);
/** Text that is safe in a log. Other jobs wrote it. */
const HOLDER = /^[\x20-\x7e]{1,200}$/;

export interface ClaimLockOptions {
  /** Number of the snapshot to make: one more than the newest. */
  number: number;
  /** Who claims it, for people, such as the run. Text that is long, or not printable ASCII, isn't shown. */
  holder: string;
  /** Whether that snapshot exists. Asks the store, and ends soon when its signal fires. */
  isMade?: (signal: AbortSignal) => Promise<boolean>;
  times?: Partial<ClaimTimes>;
  clock?: Clock;
}

/** The right to make a snapshot, for all jobs that share the records of one key. */
export function createClaimLock(records: ClaimRecords, options: ClaimLockOptions): Lock {
  const { number, holder, isMade = never, clock = MONOTONIC_CLOCK } = options;
  const times = { ...DEFAULT_TIMES, ...options.times };
  const look = async (signal: AbortSignal): Promise<Sight> => {
    if (await isMade(signal)) return { outcome: 'not-needed' };
    const lookedMs = clock.now();
    const found = parseClaims(await records.list(signal));
    const epoch = highestEpoch(found, number);
    const latest = found.filter((each) => each.number === number && each.epoch === epoch);
    const isFree = latest.some((each) => each.isReleased || isStale(each, times.lifeMs));
    if (epoch > 0 && !isFree) {
      const name = claimName(number, epoch);
      return { outcome: 'held', readHolder: (by) => readHolder(records, name, by) };
    }
    const claim = { records, clock, times, number, epoch: epoch + 1, holder };
    return { outcome: 'free', take: (by) => take(claim, found, lookedMs, by) };
  };
  return createLock({ ...times, look, clock, patienceMs: lateAfterMs(times) });
}

/** 0 if the number has no claim. */
function highestEpoch(found: readonly FoundClaim[], number: number): number {
  return Math.max(0, ...found.filter((each) => each.number === number).map(({ epoch }) => epoch));
}

/**
 * Whether its holder must be dead. A record from the future, or of unknown age, says nothing about its holder and counts
 * as stale, because a claim only saves work.
 */
function isStale({ ageMs }: FoundClaim, lifeMs: number): boolean {
  return !(Math.abs(ageMs) < lifeMs);
}

async function readHolder(
  records: ClaimRecords,
  name: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  const content = await records.read(name, signal);
  const holder = content === undefined ? '' : Buffer.from(content).toString();
  return HOLDER.test(holder) ? holder : undefined;
}

interface Claim {
  records: ClaimRecords;
  clock: Clock;
  times: ClaimTimes;
  number: number;
  epoch: number;
  holder: string;
}

/** Undefined if another job has it. Throws what the records throw, and nothing is held then. */
async function take(
  claim: Claim,
  found: readonly FoundClaim[],
  lookedMs: number,
  signal: AbortSignal,
): Promise<Hold | undefined> {
  const { records, clock, times, number, epoch, holder } = claim;
  const startedMs = clock.now();
  const content = Buffer.from(holder);
  if (!(await records.create(claimName(number, epoch), content, signal))) return undefined;
  // If this process was stopped after its look, other jobs may have created higher epochs since.
  const isLate = clock.now() - lookedMs >= lateAfterMs(times);
  if (!isLate && !signal.aborted) return keep(claim, found, startedMs);
  await release(claim);
  throwIfCancelled(signal);
  return undefined;
}

/** If that fails, other jobs wait until its life is over. */
async function release({ records, number, epoch }: Claim): Promise<void> {
  const name = claimName(number, epoch);
  await tidy(async (signal) => {
    try {
      await records.write(releasedName(name), Buffer.of(), signal);
    } catch (error) {
      if (!hasCode(error, 'no-space')) throw error;
      await records.remove(name, signal);
    }
  });
}

/** Keeps a claim alive until it is released or lost. */
function keep(claim: Claim, found: readonly FoundClaim[], provenMs: number): Hold {
  const lost = new AbortController();
  /** Fires when the claim is lost or released: nothing more is done for it. */
  const over = new AbortController();
  const lose = (reason: MirrorError): void => {
    if (over.signal.aborted) return;
    lost.abort(reason);
    over.abort();
  };
  const chores = Promise.allSettled([
    beat(claim, provenMs, lose, over.signal),
    removeStale(claim, found, over.signal),
  ]);
  let released: Promise<void> | undefined;
  return {
    lost: lost.signal,
    staysTaken: false,
    release: () => {
      over.abort();
      // A heartbeat that is being sent must not arrive after the release.
      released ??= chores.then(() => release(claim));
      return released;
    },
  };
}

/** Heartbeats until the signal; calls `lose` where the claim is lost. */
async function beat(
  claim: Claim,
  provenMs: number,
  lose: (reason: MirrorError) => void,
  over: AbortSignal,
): Promise<void> {
  const { records, clock, times, number, holder } = claim;
  const name = claimName(number, claim.epoch);
  const leftMs = (): number => provenMs + lateAfterMs(times) - clock.now();
  let failure: unknown;
  const checkLateness = (): void => {
    if (leftMs() <= 0) lose(lateness(times, failure));
  };
  // Notices that it is late while a request hangs or is repeated.
  const watch = async (): Promise<void> => {
    while (!over.aborted) {
      await pause(claim, leftMs(), over);
      checkLateness();
    }
  };
  const watching = watch();
  for (;;) {
    await pause(claim, failure === undefined ? times.heartbeatMs : times.retryMs, over);
    // This check is first, because a process that was stopped continues here.
    checkLateness();
    if (over.aborted) break;
    try {
      await withDeadline(clock, times.requestMs, over, async (by) => {
        const theirs = findLoss(claim, parseClaims(await records.list(by)));
        if (theirs !== undefined) {
          lose(new MirrorError('lost-claim', theirs));
          return;
        }
        const startedMs = clock.now();
        await records.write(name, Buffer.from(holder), by);
        provenMs = startedMs;
      });
      failure = undefined;
    } catch (error) {
      failure = error;
    }
  }
  await watching;
}

function pause({ clock }: Claim, durationMs: number, signal: AbortSignal): Promise<void> {
  return clock.pause(durationMs, signal, { background: true });
}

function findLoss({ number, epoch }: Claim, found: readonly FoundClaim[]): string | undefined {
  const highest = highestEpoch(found, number);
  if (highest === epoch) return undefined;
  return highest > epoch
    ? 'another job took over the claim, which saw no heartbeat for too long'
    : 'the claim was removed from the store';
}

/** The claim was lost, but no other job is known to have it. Names the store's failure, if there was one. */
function lateness(times: ClaimTimes, failure: unknown): MirrorError {
  const silence = `the claim's heartbeat has not succeeded for ${formatDuration(lateAfterMs(times))}`;
  if (!(failure instanceof MirrorError)) return new MirrorError('lost-claim', silence);
  const message = `${silence}: ${describeError(failure)}`;
  return new MirrorError(failure.code, message, { cause: failure });
}

/**
 * Removes other claims up to this number that are older than a life. A job that looked before this one was created can't
 * take one of them: it would be late.
 */
async function removeStale(
  { records, times, number, epoch }: Claim,
  found: readonly FoundClaim[],
  over: AbortSignal,
): Promise<void> {
  const debris = found.filter(
    (each) =>
      isStale(each, times.lifeMs) &&
      (each.number < number || (each.number === number && each.epoch < epoch)),
  );
  for (const { name } of debris) await records.remove(name, over);
}
