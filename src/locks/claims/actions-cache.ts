/**
 * The lock across the jobs of one workflow run: a claim in the Actions cache, "somebody of this run is
 * making snapshot <number>". It is over when that snapshot exists, or when who waits has waited enough.
 *
 * Entries there are created if absent, and never changed or removed. So there is no heartbeat, and no
 * release: the claim of a run and attempt is had once, and its holder is not known to live. Whoever
 * finds it taken waits for the snapshot itself, with a deadline, and goes on alone then. Runs contend
 * each for itself, since nobody could tell a dead one's claim: a few of them may make the same
 * snapshot, and createManifest has one winner.
 *
 * What it does not guarantee:
 * - `lost` never fires, and who holds may be stopped for ever.
 * - A claim outlives its holder's failure: nobody else of that run and attempt makes the snapshot
 *   under it, unless waiting has ended.
 * - A reply that was lost can leave a claim that nobody knows to hold; the effect is the same.
 *
 * The service counts requests, and 256 jobs can begin at once. So a job looks before it tries to
 * create, and pauses before that for a moment that is random: mostly long, so that few come first and
 * the others see what these have created. Who waits asks seldom, and ever more seldom.
 */
import { describeError, MirrorError, throwIfCancelled } from '../../lib/errors.ts';
import { assertNumber, newNonce } from './format.ts';
import type { ClaimEntries, ClaimName } from './entries.ts';
import { DEFAULT_TIMES, MONOTONIC_CLOCK, type ClaimTimes, type Clock } from './times.ts';
import { ClaimWait } from './wait.ts';
import type {
  AcquireOptions,
  Acquisition,
  ClaimAcquisition,
  ClaimLock,
  ClaimOptions,
  Hold,
} from '../lock.ts';

const EPOCH = /^[A-Za-z0-9._-]{1,100}$/;

export interface ActionsCacheClaimTimes {
  /** The longest pause before a claim is created; its mean is two thirds of it. */
  spreadMs: number;
  /** From one look of who waits to the next: at first, and at most. */
  firstPollMs: number;
  longestPollMs: number;
  /** How long who waits bears with a store that fails. */
  patienceMs: number;
}

/**
 * A claim is to be seen a second or two after it was begun: of 256 jobs that come together some 40
 * come before that. (The service takes 200 uploads a minute from a repository, and counts what it
 * refuses.) A look of who waits takes one to three requests.
 */
export const ACTIONS_CACHE_TIMES: ActionsCacheClaimTimes = {
  spreadMs: 5_000,
  firstPollMs: 15_000,
  longestPollMs: 60_000,
  patienceMs: 120_000,
};

/** A store that fails now and then is asked as often; its back end has patience of its own. */
const CREATE_TRIES = 2;

export interface ActionsCacheClaimOptions {
  /** The snapshot that is to be made: one more than the newest. */
  number: number;
  /** Run and attempt: those of one contend. `[A-Za-z0-9._-]`, up to 100 characters. */
  epoch: string;
  /** Who claims it, for people. */
  holder: string;
  times?: Partial<ActionsCacheClaimTimes>;
  clock?: Clock;
}

/** The right to make a snapshot, for all jobs of one run that share a scope of the cache. */
export function createActionsCacheClaim(
  entries: ClaimEntries,
  { number, epoch, holder, times, clock = MONOTONIC_CLOCK }: ActionsCacheClaimOptions,
): ClaimLock {
  assertNumber(number);
  if (!EPOCH.test(epoch)) throw new TypeError(`a claim's epoch is not allowed: ${epoch}`);
  return new ActionsCacheClaim(entries, { number, epoch }, holder, clock, {
    ...ACTIONS_CACHE_TIMES,
    ...times,
  });
}

type Options = AcquireOptions & Partial<Pick<ClaimOptions, 'isDone'>>;

/** What an attempt ended with that leaves waiting. */
interface Held {
  outcome: 'held';
  /** Why it is not even known. */
  failure?: string;
}

class ActionsCacheClaim implements ClaimLock {
  readonly #entries: ClaimEntries;
  readonly #name: ClaimName;
  readonly #content: Uint8Array;
  readonly #clock: Clock;
  readonly #times: ActionsCacheClaimTimes;

  constructor(
    entries: ClaimEntries,
    name: ClaimName,
    holder: string,
    clock: Clock,
    times: ActionsCacheClaimTimes,
  ) {
    this.#entries = entries;
    this.#name = name;
    // The nonce makes it ours beyond doubt, where a reply was lost.
    const claim = { version: 1, nonce: newNonce(), holder };
    this.#content = Buffer.from(`${JSON.stringify(claim)}\n`);
    this.#clock = clock;
    this.#times = times;
  }

  acquire(options: ClaimOptions): Promise<ClaimAcquisition>;
  acquire(options: AcquireOptions): Promise<Acquisition>;
  async acquire(options: Options): Promise<ClaimAcquisition> {
    throwIfCancelled(options.signal);
    const wait = new ClaimWait(this.#clock, this.#waitTimes(), options);
    // Once taken it stays so: only what it is for has to be asked for again.
    let isTaken = false;
    for (;;) {
      const attempt = await this.#attempt(options, wait, isTaken);
      throwIfCancelled(options.signal);
      if (attempt.outcome !== 'held') return attempt;
      const { failure: reason } = attempt;
      isTaken ||= reason === undefined;
      if (wait.isOver()) {
        if (reason !== undefined) return { outcome: 'unavailable', reason };
        return { outcome: 'timed-out', waitedMs: wait.elapsedMs };
      }
      await wait.pause(undefined);
    }
  }

  async #attempt(
    { signal, isDone }: Options,
    wait: ClaimWait,
    isTaken: boolean,
  ): Promise<ClaimAcquisition | Held> {
    try {
      if (isDone !== undefined && (await isDone(signal))) {
        return { outcome: 'not-needed', waitedMs: wait.waitedMs };
      }
      isTaken ||= await this.#entries.has(this.#name, signal);
    } catch (error) {
      const reason = storeFailure(error);
      if (!wait.isStoreBearable()) return { outcome: 'unavailable', reason };
      return { outcome: 'held', failure: reason };
    }
    wait.noteAnswer();
    if (isTaken) return { outcome: 'held' };
    try {
      if (!(await this.#take(signal))) return { outcome: 'held' };
      return { outcome: 'acquired', hold: createHold(), waitedMs: wait.waitedMs };
    } catch (error) {
      return { outcome: 'unavailable', reason: storeFailure(error) };
    }
  }

  /** Whether it is ours. A request that failed is made again only if nobody else was faster. */
  async #take(signal: AbortSignal): Promise<boolean> {
    for (let tries = 1; ; tries++) {
      await this.#clock.pause(this.#times.spreadMs * tries * Math.sqrt(Math.random()), signal);
      throwIfCancelled(signal);
      if (await this.#entries.has(this.#name, signal)) return false;
      try {
        return await this.#entries.create(this.#name, this.#content, signal);
      } catch (error) {
        const isFinal = !(error instanceof MirrorError) || error.code !== 'store-unavailable';
        if (isFinal || tries >= CREATE_TRIES) throw error;
      }
    }
  }

  #waitTimes(): ClaimTimes {
    const { firstPollMs, longestPollMs, patienceMs } = this.#times;
    // Who waits bears with a store for half a life.
    return { ...DEFAULT_TIMES, firstPollMs, longestPollMs, lifeMs: 2 * patienceMs };
  }
}

function createHold(): Hold {
  return { lost: new AbortController().signal, release: () => Promise.resolve() };
}

/** What went wrong with the store, for people. Cancellation and our bugs are thrown on. */
function storeFailure(error: unknown): string {
  if (error instanceof MirrorError && error.code !== 'cancelled') return describeError(error);
  throw error;
}
