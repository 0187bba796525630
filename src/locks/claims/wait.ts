/** One contender's wait: from its first look to its deadline. */
import { lateAfterMs, type ClaimTimes, type Clock } from './times.ts';
import type { AcquireOptions } from '../lock.ts';

const POLL_GROWTH = 1.5;

export class ClaimWait {
  readonly #clock: Clock;
  readonly #times: ClaimTimes;
  readonly #options: AcquireOptions;
  readonly #startedMs: number;
  #answeredMs = -Infinity;
  #pollMs: number;
  #hasPaused = false;

  constructor(clock: Clock, times: ClaimTimes, options: AcquireOptions) {
    this.#clock = clock;
    this.#times = times;
    this.#options = options;
    this.#startedMs = clock.now();
    this.#pollMs = times.firstPollMs;
  }

  /** What the first look took was no wait for anybody. */
  get waitedMs(): number {
    return this.#hasPaused ? this.elapsedMs : 0;
  }

  get elapsedMs(): number {
    return this.#clock.now() - this.#startedMs;
  }

  isOver(): boolean {
    return this.elapsedMs >= this.#options.timeoutMs;
  }

  /** The store has answered a look. */
  noteAnswer(): void {
    this.#answeredMs = this.#clock.now();
  }

  /** Who waits bears with the store for as long as who holds; who has just come does not. */
  isStoreBearable(): boolean {
    return this.#clock.now() - this.#answeredMs < lateAfterMs(this.#times);
  }

  /** Until the next look. The jitter keeps jobs that started together from asking together. */
  async pause(holder: string | undefined): Promise<void> {
    const { onWait, signal, timeoutMs } = this.#options;
    if (!this.#hasPaused) onWait?.(holder);
    this.#hasPaused = true;
    const jitteredMs = this.#pollMs * (0.5 + Math.random() / 2);
    await this.#clock.pause(Math.min(jitteredMs, timeoutMs - this.elapsedMs), signal);
    this.#pollMs = Math.min(this.#pollMs * POLL_GROWTH, this.#times.longestPollMs);
  }
}
