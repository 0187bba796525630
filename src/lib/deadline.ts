import { performance } from 'node:perf_hooks';

/** A point on the monotonic clock that several attempts share. */
export interface Deadline {
  /** Milliseconds left, never below 0. */
  remainingMs(): number;
  /** How long one attempt may show no sign of life, in milliseconds; Infinity for as long as it likes. */
  readonly stallMs: number;
}

export function createDeadline(timeoutMs: number, stallMs = Infinity): Deadline {
  const end = performance.now() + timeoutMs;
  return { stallMs, remainingMs: () => Math.max(0, end - performance.now()) };
}
