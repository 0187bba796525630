import { performance } from 'node:perf_hooks';

/** A point on the monotonic clock that several attempts share. */
export interface Deadline {
  /** Milliseconds left, never below 0. */
  remainingMs(): number;
}

export function createDeadline(timeoutMs: number): Deadline {
  const end = performance.now() + timeoutMs;
  return { remainingMs: () => Math.max(0, end - performance.now()) };
}
