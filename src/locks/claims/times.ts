/** The times that claims live by, and the clock that they are taken from. */
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { formatDuration } from '../../lib/durations.ts';
import { MirrorError, throwIfCancelled } from '../../lib/errors.ts';

export interface ClaimTimes {
  /** A heartbeat that did not change for so long, by the observer's own clock, is a dead one's. */
  lifeMs: number;
  /** From one heartbeat to the next. */
  heartbeatMs: number;
  /** From a heartbeat that failed to the next try. */
  retryMs: number;
  /** A request that was not answered for so long has failed. */
  requestMs: number;
  /** From one look of a contender to the next: at first, and at most. */
  firstPollMs: number;
  longestPollMs: number;
}

/**
 * The life must outlast what a living holder can be silent for: the rest of a heartbeat's interval
 * (10 s), a host that freezes its machine for maintenance (up to 30 s on Azure, where GitHub's
 * runners are), and a request that is slow (10 s). It is also what a dead holder costs those who
 * wait for it. Six heartbeats in a life, and three in the half after which the holder has lost, leave
 * room for some that fail. Each costs a store a write and two reads.
 */
export const DEFAULT_TIMES: ClaimTimes = {
  lifeMs: 60_000,
  heartbeatMs: 10_000,
  retryMs: 2_000,
  requestMs: 10_000,
  // What is waited for takes seconds to minutes. A look costs a store a listing and a read.
  firstPollMs: 1_000,
  longestPollMs: 5_000,
};

/**
 * A holder whose last heartbeat is older than this part of its life has lost, whoever looks. The
 * other half is the distance to the earliest moment at which anybody may succeed it: time to end
 * git and uploads (2 s), and room for clocks whose rates differ by up to the factor 2.
 */
const LATE_SHARE = 1 / 2;

/** How long somebody who gives up on an uncertain claim tries to say so. A cancelled job has 7.5 s. */
export const GIVE_UP_MS = 2_000;

/** setTimeout fires at once above this (a signed 32-bit number of milliseconds, 24 days). */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export function lateAfterMs({ lifeMs }: ClaimTimes): number {
  return lifeMs * LATE_SHARE;
}

/** Time as this process sees it. Only durations are taken from it, and never compared with others'. */
export interface Clock {
  /** Milliseconds, on a clock that nobody can set. */
  now(): number;
  /**
   * Ends after so long, or soon after the signal; never fails. In the background it does not keep
   * the process alive.
   */
  pause(durationMs: number, signal: AbortSignal, options?: { background: boolean }): Promise<void>;
}

export const MONOTONIC_CLOCK: Clock = {
  now: () => performance.now(),
  pause: async (durationMs, signal, { background } = { background: false }) => {
    const options = { signal, ref: !background };
    await sleep(Math.min(durationMs, LONGEST_TIMER_MS), undefined, options).catch(() => undefined);
  },
};

/** Makes a request that ends with `store-unavailable` when it takes too long. */
export async function withDeadline<T>(
  clock: Clock,
  durationMs: number,
  signal: AbortSignal,
  request: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  throwIfCancelled(signal);
  const deadline = new AbortController();
  const answered = new AbortController();
  void clock.pause(durationMs, answered.signal).then(() => {
    if (!answered.signal.aborted) deadline.abort();
  });
  try {
    return await request(AbortSignal.any([signal, deadline.signal]));
  } catch (error) {
    throwIfCancelled(signal);
    if (!deadline.signal.aborted) throw error;
    const message = `the store did not answer within ${formatDuration(durationMs)}`;
    throw new MirrorError('store-unavailable', message, { cause: error });
  } finally {
    answered.abort();
  }
}
