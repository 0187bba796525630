/**
 * The lock across machines: a claim in the store itself, "somebody is making snapshot <number>". It
 * is over when that snapshot exists, or when its holder lets go, or dies.
 *
 * A claim is a record that is created if absent, one for each epoch of a number. Its holder shows
 * that it lives by overwriting a second record, its heartbeat, with a counter. Whoever finds the
 * heartbeat of the highest epoch unchanged for a whole life on its own monotonic clock may create
 * the next epoch, and so may anyone, at once, where the heartbeat says `released`. A claim whose
 * heartbeat is not there yet counts from when it was first seen.
 *
 * A holder has lost when it sees a higher epoch, when its claim is gone, or when its last successful
 * heartbeat is older than half a life on its own clock. Its `lost` fires, and it never comes back.
 *
 * What that guarantees, where requests are answered as claim-records.ts says:
 * - Of all who try for an epoch one gets it, and nobody gets it whose predecessor's heartbeat moved
 *   within a life. So while the processes run, `lost` fires at least half a life before anybody else
 *   can have the right: time to end the work.
 * - Clocks are never compared, and no file's time is looked at. What matters is only that the rates
 *   of two monotonic clocks differ by less than the factor 2.
 * - A lost reply, and a request that is carried out after it was given up, do no harm: only the
 *   heartbeat of a claim's own nonce keeps it alive. At worst a claim that nobody holds is waited
 *   for, for one life.
 *
 * What it does not guarantee:
 * - A process that is stopped, or whose event loop is blocked, for longer than half a life cannot
 *   fire anything; what it has begun elsewhere (git, requests on their way) goes on meanwhile. Its
 *   `lost` fires in the first turn of its event loop. Where the clock stood still as well (a machine
 *   that was suspended, while it held the claim or while it was about to have it), it fires with the
 *   next heartbeat: after its interval and three requests, or after half a life where these fail.
 * - So two may be at work for a moment. Correctness rests on createManifest, which one of them wins.
 * - There is no order among those who wait, and whoever may write to the store may hold for ever.
 */
import { describeError, MirrorError, throwIfCancelled } from '../../lib/errors.ts';
import {
  assertNumber,
  claimName,
  formatClaim,
  heartbeatName,
  highestEpoch,
  newNonce,
  parseClaim,
  RELEASED,
} from './format.ts';
import { ClaimHold } from './hold.ts';
import { ClaimObserver, type Sight } from './observer.ts';
import type { ClaimRecords } from './records.ts';
import {
  DEFAULT_TIMES,
  GIVE_UP_MS,
  lateAfterMs,
  MONOTONIC_CLOCK,
  withDeadline,
  type ClaimTimes,
  type Clock,
} from './times.ts';
import { ClaimWait } from './wait.ts';
import type {
  AcquireOptions,
  Acquisition,
  ClaimAcquisition,
  ClaimLock,
  ClaimOptions,
  Hold,
} from '../lock.ts';

const FIRST_BEAT = Buffer.from('1');
const NEVER = new AbortController().signal;

export interface ClaimLockOptions {
  /** The snapshot that is to be made: one more than the newest. */
  number: number;
  /** Who claims it, for people: the run, say. What is long, or not printable ASCII, is not shown. */
  holder: string;
  times?: Partial<ClaimTimes>;
  clock?: Clock;
}

/** The right to make a snapshot, for all who share the records of one key. */
export function createClaimLock(
  records: ClaimRecords,
  { number, holder, times, clock = MONOTONIC_CLOCK }: ClaimLockOptions,
): ClaimLock {
  assertNumber(number);
  return new Claims(records, number, holder, clock, { ...DEFAULT_TIMES, ...times });
}

type Options = AcquireOptions & Partial<Pick<ClaimOptions, 'isDone'>>;

/** What an attempt ended with that leaves waiting. */
interface Held {
  outcome: 'held';
  holder?: string | undefined;
  /** Why it is not even known. */
  failure?: string;
}

class Claims implements ClaimLock {
  readonly #records: ClaimRecords;
  readonly #number: number;
  readonly #holder: string;
  readonly #clock: Clock;
  readonly #times: ClaimTimes;

  constructor(
    records: ClaimRecords,
    number: number,
    holder: string,
    clock: Clock,
    times: ClaimTimes,
  ) {
    this.#records = records;
    this.#number = number;
    this.#holder = holder;
    this.#clock = clock;
    this.#times = times;
  }

  acquire(options: ClaimOptions): Promise<ClaimAcquisition>;
  acquire(options: AcquireOptions): Promise<Acquisition>;
  async acquire(options: Options): Promise<ClaimAcquisition> {
    throwIfCancelled(options.signal);
    const wait = new ClaimWait(this.#clock, this.#times, options);
    const observer = new ClaimObserver(this.#records, this.#number, this.#clock, this.#times);
    for (;;) {
      const attempt = await this.#attempt(options, wait, observer);
      if (attempt.outcome !== 'held') return attempt;
      if (wait.isOver()) {
        const { failure: reason } = attempt;
        if (reason !== undefined) return { outcome: 'unavailable', reason };
        return { outcome: 'timed-out', waitedMs: wait.elapsedMs };
      }
      await wait.pause(attempt.holder);
    }
  }

  async #attempt(
    { signal, isDone }: Options,
    wait: ClaimWait,
    observer: ClaimObserver,
  ): Promise<ClaimAcquisition | Held> {
    let sight: Sight;
    try {
      if (isDone !== undefined && (await this.#request(isDone, signal))) {
        return { outcome: 'not-needed', waitedMs: wait.waitedMs };
      }
      sight = await observer.look(signal);
    } catch (error) {
      const reason = storeFailure(error);
      if (!wait.isStoreBearable()) return { outcome: 'unavailable', reason };
      return { outcome: 'held', failure: reason };
    }
    wait.noteAnswer();
    if (sight.is === 'held') return { outcome: 'held', holder: sight.holder };
    try {
      const hold = await this.#take(sight.epoch + 1, signal);
      if (hold === undefined) return { outcome: 'held' };
      return { outcome: 'acquired', hold, waitedMs: wait.waitedMs };
    } catch (error) {
      // Not borne with: a store that answers, but takes no claim, may be read-only.
      return { outcome: 'unavailable', reason: storeFailure(error) };
    }
  }

  /** Undefined if another one has it. Throws what the records throw, and nothing is held then. */
  async #take(epoch: number, signal: AbortSignal): Promise<Hold | undefined> {
    const nonce = newNonce();
    const startedMs = this.#clock.now();
    try {
      if (!(await this.#create(epoch, nonce, signal))) return undefined;
      const hold = await this.#confirm(epoch, nonce, startedMs, signal);
      if (hold === undefined) await this.#giveUp(epoch, nonce);
      return hold;
    } catch (error) {
      await this.#giveUp(epoch, nonce);
      throw error;
    }
  }

  /** Whether the epoch is ours, whatever became of the replies. */
  async #create(epoch: number, nonce: string, signal: AbortSignal): Promise<boolean> {
    const name = claimName(this.#number, epoch);
    const content = formatClaim({ nonce, holder: this.#holder });
    const create = (bounded: AbortSignal) => this.#records.create(name, content, bounded);
    try {
      return (await this.#request(create, signal)) || (await this.#isOurs(name, nonce, signal));
    } catch (error) {
      throwIfCancelled(signal);
      if (await this.#isOurs(name, nonce, signal)) return true;
      throw error;
    }
  }

  async #isOurs(name: string, nonce: string, signal: AbortSignal): Promise<boolean> {
    const found = await this.#request((bounded) => this.#records.read(name, bounded), signal);
    return parseClaim(found)?.nonce === nonce;
  }

  /**
   * The first heartbeat, and a look at what there is now: whoever was stopped before it created its
   * epoch may have created one that others have long passed, and removed.
   */
  async #confirm(
    epoch: number,
    nonce: string,
    startedMs: number,
    signal: AbortSignal,
  ): Promise<Hold | undefined> {
    const number = this.#number;
    const provenMs = this.#clock.now();
    const name = heartbeatName(number, epoch, nonce);
    await this.#request((bounded) => this.#records.write(name, FIRST_BEAT, bounded), signal);
    const names = await this.#request((bounded) => this.#records.list('', bounded), signal);
    const isHighest =
      names.includes(claimName(number, epoch)) && highestEpoch(names, number) === epoch;
    const isLate = this.#clock.now() - startedMs >= lateAfterMs(this.#times);
    if (!isHighest || isLate) return undefined;
    const claim = { number, epoch, nonce, provenMs, names };
    return new ClaimHold(this.#records, this.#clock, this.#times, claim);
  }

  /** Says of a claim that may be there, or come to be there yet, that nobody holds it. */
  async #giveUp(epoch: number, nonce: string): Promise<void> {
    const name = heartbeatName(this.#number, epoch, nonce);
    await withDeadline(this.#clock, GIVE_UP_MS, NEVER, (bounded) =>
      this.#records.write(name, Buffer.from(RELEASED), bounded),
    ).catch(() => undefined); // then others wait until its life is over
  }

  #request<T>(request: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
    return withDeadline(this.#clock, this.#times.requestMs, signal, request);
  }
}

/** What went wrong with the store, for people. Cancellation and our bugs are thrown on. */
function storeFailure(error: unknown): string {
  if (error instanceof MirrorError && error.code !== 'cancelled') return describeError(error);
  throw error;
}
