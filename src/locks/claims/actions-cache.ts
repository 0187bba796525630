/**
 * The lock across the jobs of one workflow run: a claim in the Actions cache, "a job of this run is making snapshot
 * <number>". It ends when that snapshot exists. A waiting job stops waiting at its deadline.
 *
 * Entries there can neither be replaced nor removed, so there is no heartbeat and no release, and nobody knows whether a
 * holder lives. docs/locks.md says what follows from that.
 *
 * The service limits requests, and 256 jobs can start at the same time. So a job pauses at random, mostly for long, and
 * looks before it tries to create: few jobs come first, and the others see what these created. All times grow with the
 * number of jobs that can contend.
 */
import { throwIfCancelled } from '../../lib/errors.ts';
import type { Hold, Lock } from '../lock.ts';
import { MONOTONIC_CLOCK, type Clock } from '../clock.ts';
import { createLock, type Sight } from '../contest.ts';

/**
 * What a claim needs: an entry that can be created, but never changed or removed. Jobs of one run and attempt contend for the
 * same one.
 *
 * - `create` creates or refuses, atomically, among all machines. It may refuse although `exists` finds
 *   nothing: another job has started to create it, or died.
 * - `exists` reports absence only where it is proven.
 * - Everything else throws `store-unavailable`, `no-space`, or `store-read-only` where this job may
 *   only read. An aborted signal ends a call soon.
 */
export interface ClaimEntry {
  exists(signal: AbortSignal): Promise<boolean>;

  /** True if this call created it, whatever became of the replies; false if it is taken. */
  create(signal: AbortSignal): Promise<boolean>;
}

export interface ActionsCacheClaimTimes {
  /** The longest pause before a claim is created; its mean is two thirds of it. */
  spreadMs: number;
  /** The time between two looks of a waiting job: at first, and at most. */
  firstPollMs: number;
  longestPollMs: number;
}

/** The most jobs that a matrix can have. */
export const MOST_CONTENDERS = 256;

/**
 * A claim becomes visible a second or two after its creation started: of 256 jobs that start together, about 40 try before
 * that. The service allows 200 uploads a minute for a repository, including refused ones, and 1,500 downloads. A look of a
 * waiting job takes one to three requests.
 */
export function timesFor(contenders: number): ActionsCacheClaimTimes {
  const others = Math.min(Math.max(contenders, 1), MOST_CONTENDERS) - 1;
  return {
    // Other jobs of the same workflow may contend with a job that has no matrix.
    spreadMs: 400 + 18 * others,
    firstPollMs: 2_000 + 50 * others,
    longestPollMs: 3_000 + 220 * others,
  };
}

/** How long a waiting job tolerates a service that fails. */
const PATIENCE_MS = 120_000;

export interface ActionsCacheClaimOptions {
  /** How many jobs can contend at once. */
  contenders: number;
  /** Whether the snapshot exists. Asks the store. */
  isMade: (signal: AbortSignal) => Promise<boolean>;
  times?: Partial<ActionsCacheClaimTimes>;
  clock?: Clock;
}

/** The right to make a snapshot, for all jobs of one run that share a scope of the cache. */
export function createActionsCacheClaim(
  entry: ClaimEntry,
  options: ActionsCacheClaimOptions,
): Lock {
  const { isMade, clock = MONOTONIC_CLOCK } = options;
  const times = { ...timesFor(options.contenders), ...options.times };
  // A claim that is taken stays taken, so only the snapshot has to be looked for again.
  let isTaken = false;
  const take = async (signal: AbortSignal): Promise<Hold | undefined> => {
    const hold = await takeClaim(entry, times.spreadMs, clock, signal);
    isTaken = true;
    return hold;
  };
  const look = async (signal: AbortSignal): Promise<Sight> => {
    if (await isMade(signal)) return { outcome: 'not-needed' };
    isTaken ||= await entry.exists(signal);
    return isTaken ? { outcome: 'held' } : { outcome: 'free', take };
  };
  return createLock({ ...times, look, clock, patienceMs: PATIENCE_MS });
}

async function takeClaim(
  entry: ClaimEntry,
  spreadMs: number,
  clock: Clock,
  signal: AbortSignal,
): Promise<Hold | undefined> {
  await clock.pause(spreadMs * Math.sqrt(Math.random()), signal);
  throwIfCancelled(signal);
  if (await entry.exists(signal)) return undefined;
  return (await entry.create(signal)) ? HOLD : undefined;
}

const HOLD: Hold = {
  lost: new AbortController().signal,
  staysTaken: true,
  release: () => Promise.resolve(),
};
