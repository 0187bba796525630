/** Tries again after failures that pass by themselves, with pauses that grow. */
import { setTimeout as sleep } from 'node:timers/promises';
import { throwIfCancelled } from './errors.ts';

export interface RetryOptions {
  signal: AbortSignal;
  /** The pause before the next try, in milliseconds; undefined gives up. The first failure is 1. */
  pauseAfter(error: unknown, failures: number): number | undefined;
  /** Called before each pause. */
  onPause?(error: unknown, pauseMs: number): void;
}

/** Throws the last failure, or `cancelled` when the signal fires during a pause. */
export async function retry<T>(attempt: () => Promise<T>, options: RetryOptions): Promise<T> {
  for (let failures = 1; ; failures++) {
    try {
      return await attempt();
    } catch (error) {
      const pauseMs = options.pauseAfter(error, failures);
      if (pauseMs === undefined) throw error;
      options.onPause?.(error, pauseMs);
      await pause(pauseMs, options.signal);
    }
  }
}

/** Waits that long; throws `cancelled` when the signal fires. */
export async function pause(durationMs: number, signal: AbortSignal): Promise<void> {
  await sleep(durationMs, undefined, { signal }).catch(() => undefined);
  throwIfCancelled(signal);
}

export interface BackOff {
  firstMs: number;
  /** Each pause is four times the one before it, up to this. */
  longestMs: number;
}

/**
 * The pause after that many failures, in milliseconds: up to half as long again at random, so that
 * jobs that failed together don't come back together.
 */
export function backOff(failures: number, { firstMs, longestMs }: BackOff): number {
  const pauseMs = Math.min(longestMs, firstMs * 4 ** (failures - 1));
  return Math.round(pauseMs * (1 + Math.random() / 2));
}
