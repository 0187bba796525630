/**
 * The lock across machines: a claim in the store itself, "a job is making snapshot <number>". It ends when that snapshot
 * exists, when its holder releases it, or when its holder dies.
 *
 * docs/locks.md says what it guarantees, records.ts has the rules. One listing tells whether a claim is free, held or
 * stale, so a job that does not wait takes over from a dead one. A holder has lost when there is a higher epoch, when
 * its record is gone, or when its last successful heartbeat is older than half a life on its own clock. Its `lost`
 * fires, and it never comes back.
 *
 * Clocks of two machines are never compared. What matters is only that the rates of a machine's monotonic clock and of
 * the store's clock differ by less than the factor 2. A lost reply, and a request that is carried out late, do no
 * harm: an epoch is created once, and only the highest counts. At worst jobs wait one life for a claim that nobody holds.
 */
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

/** How long a release may take. A cancelled job has 7.5 s. */
const RELEASE_MS = 4_000;

const NEVER = new AbortController().signal;
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
export function createClaimLock(unbounded: ClaimRecords, options: ClaimLockOptions): Lock {
  const { number, holder, isMade = never, clock = MONOTONIC_CLOCK } = options;
  const times = { ...DEFAULT_TIMES, ...options.times };
  const records = bound(unbounded, clock, times.requestMs);
  const look = async (signal: AbortSignal): Promise<Sight> => {
    if (await withDeadline(clock, times.requestMs, signal, isMade)) {
      return { outcome: 'not-needed' };
    }
    const lookedMs = clock.now();
    const found = parseClaims(await records.list(signal));
    const { epoch, isFree } = judge(found, number, times.lifeMs);
    if (!isFree) {
      const name = claimName(number, epoch);
      return { outcome: 'held', readHolder: (by) => readHolder(records, name, by) };
    }
    const claim = { records, clock, times, number, epoch: epoch + 1, holder };
    return { outcome: 'free', take: (by) => take(claim, found, lookedMs, by) };
  };
  return createLock({ ...times, look, clock, patienceMs: lateAfterMs(times) });
}

/** The same records, whose calls fail when the store does not answer in time. */
function bound(records: ClaimRecords, clock: Clock, requestMs: number): ClaimRecords {
  const within = <T>(signal: AbortSignal, request: (by: AbortSignal) => Promise<T>): Promise<T> =>
    withDeadline(clock, requestMs, signal, request);
  return {
    create: (name, content, signal) => within(signal, (by) => records.create(name, content, by)),
    write: (name, content, signal) => within(signal, (by) => records.write(name, content, by)),
    read: (name, signal) => within(signal, (by) => records.read(name, by)),
    list: (signal) => within(signal, (by) => records.list(by)),
    remove: (name, signal) => within(signal, (by) => records.remove(name, by)),
  };
}

/** The highest epoch of a number, 0 if there is none, and whether the next one may be created. */
function judge(
  found: readonly FoundClaim[],
  number: number,
  lifeMs: number,
): { epoch: number; isFree: boolean } {
  const own = found.filter((each) => each.number === number);
  const epoch = Math.max(0, ...own.map((each) => each.epoch));
  const highest = own.filter((each) => each.epoch === epoch);
  return {
    epoch,
    isFree: highest.some((each) => each.isReleased || isStale(each, lifeMs)) || epoch === 0,
  };
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

async function release({ records, clock, number, epoch }: Claim): Promise<void> {
  const name = claimName(number, epoch);
  const released = async (signal: AbortSignal): Promise<void> => {
    try {
      await records.write(releasedName(name), Buffer.of(), signal);
    } catch (error) {
      if (!hasCode(error, 'no-space')) throw error;
      await records.remove(name, signal);
    }
  };
  // If that fails, other jobs wait until its life is over.
  await withDeadline(clock, RELEASE_MS, NEVER, released).catch(() => undefined);
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
      const theirs = findLoss(claim, parseClaims(await records.list(over)));
      if (theirs !== undefined) lose(new MirrorError('lost-lock', theirs));
      const startedMs = clock.now();
      await records.write(name, Buffer.from(holder), over);
      provenMs = startedMs;
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
  const epochs = found.filter((each) => each.number === number).map((each) => each.epoch);
  if (Math.max(0, ...epochs) > epoch) {
    return 'another job took over the claim, which saw no heartbeat for too long';
  }
  return epochs.includes(epoch) ? undefined : 'the claim was removed from the store';
}

/** The claim was lost, but no other job is known to have it. Names the store's failure, if there was one. */
function lateness(times: ClaimTimes, failure: unknown): MirrorError {
  const silence = `the claim's heartbeat has not succeeded for ${formatDuration(lateAfterMs(times))}`;
  if (!(failure instanceof MirrorError)) return new MirrorError('lost-lock', silence);
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
