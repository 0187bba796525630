/** Time as a process sees it. Only durations are taken from it, and never compared with another's. */
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { formatDuration } from '../lib/durations.ts';
import { MirrorError, throwIfCancelled } from '../lib/errors.ts';

export interface Clock {
  /** Milliseconds, on a clock that nobody can set. */
  now(): number;
  /**
   * Ends after that time, or soon after the signal; never fails. In the background it does not keep
   * the process alive.
   */
  pause(durationMs: number, signal: AbortSignal, options?: { background: boolean }): Promise<void>;
}

export const MONOTONIC_CLOCK: Clock = {
  now: () => performance.now(),
  pause: async (durationMs, signal, { background } = { background: false }) => {
    const options = { signal, ref: !background };
    // Node warns on stderr about a negative time, as is left where a moment has just passed.
    await sleep(Math.max(durationMs, 0), undefined, options).catch(() => undefined);
  },
};

/** Makes a request that ends with `store-unavailable` when it takes longer than that. */
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
