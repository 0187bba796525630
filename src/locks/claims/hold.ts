/** A claim that is held: it shows that its holder lives, and watches whether it is still the one. */
import { describeError } from '../../lib/errors.ts';
import { formatDuration } from '../../lib/durations.ts';
import {
  claimName,
  heartbeatName,
  parseClaim,
  parseName,
  RELEASED,
  type RecordName,
} from './format.ts';
import type { ClaimRecords } from './records.ts';
import { lateAfterMs, withDeadline, type ClaimTimes, type Clock } from './times.ts';
import type { Hold } from '../lock.ts';

export interface HeldClaim {
  number: number;
  epoch: number;
  nonce: string;
  /** When the write of the heartbeat began that is the last known to have succeeded. */
  provenMs: number;
  /** All records that were there when the claim was had. */
  names: readonly string[];
}

/**
 * A number whose snapshot is there may still be held by the one who made it and tidies up. That of
 * the number before it is long gone.
 */
const NUMBERS_KEPT = 1;

const NEVER = new AbortController().signal;

export class ClaimHold implements Hold {
  readonly #records: ClaimRecords;
  readonly #clock: Clock;
  readonly #times: ClaimTimes;
  readonly #claim: HeldClaim;
  readonly #heartbeat: string;
  readonly #lost = new AbortController();
  /** Fires when the claim is lost or let go: nothing more is done for it. */
  readonly #over = new AbortController();
  readonly #chores: Promise<unknown>;
  #provenMs: number;
  #beats = 1;
  #failure: unknown;
  #isSucceeded = false;
  #released: Promise<void> | undefined;

  constructor(records: ClaimRecords, clock: Clock, times: ClaimTimes, claim: HeldClaim) {
    this.#records = records;
    this.#clock = clock;
    this.#times = times;
    this.#claim = claim;
    this.#heartbeat = heartbeatName(claim.number, claim.epoch, claim.nonce);
    this.#provenMs = claim.provenMs;
    this.#chores = Promise.allSettled([this.#keepAlive(), this.#watch(), this.#tidy()]);
  }

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /** Never fails: where the store does not take it, others wait until the claim's life is over. */
  release(): Promise<void> {
    this.#released ??= this.#release();
    return this.#released;
  }

  async #release(): Promise<void> {
    this.#over.abort();
    // A heartbeat on its way must not arrive after the last word.
    await this.#chores;
    if (this.#isSucceeded) return;
    await this.#write(RELEASED).catch(() => undefined);
  }

  async #keepAlive(): Promise<void> {
    while (!this.#over.signal.aborted) {
      const hasFailed = this.#failure !== undefined;
      await this.#pause(hasFailed ? this.#times.retryMs : this.#times.heartbeatMs);
      // First of all: a process that was stopped wakes up here.
      if (!this.#isOver()) await this.#beat();
    }
  }

  /** Notices lateness while a request hangs or is tried again and again. */
  async #watch(): Promise<void> {
    while (!this.#isOver()) await this.#pause(this.#leftMs());
  }

  async #beat(): Promise<void> {
    const { number, epoch, nonce } = this.#claim;
    const startedMs = this.#clock.now();
    try {
      this.#beats += 1;
      await this.#write(String(this.#beats));
      const [own, next] = await Promise.all(
        [epoch, epoch + 1].map((each) => this.#read(claimName(number, each))),
      );
      if (next !== undefined) this.#loseTo('another job, which saw no heartbeat for too long');
      else if (parseClaim(own)?.nonce !== nonce) this.#loseTo('whoever removed it from the store');
      this.#provenMs = startedMs;
      this.#failure = undefined;
    } catch (error) {
      this.#failure = error;
    }
  }

  /** Whether there is nothing left to do for the claim; one that is late is lost by that. */
  #isOver(): boolean {
    if (this.#over.signal.aborted) return true;
    if (this.#leftMs() > 0) return false;
    const cause = this.#failure === undefined ? '' : `: ${describeError(this.#failure)}`;
    const silence = formatDuration(lateAfterMs(this.#times));
    this.#lose(`the claim is lost: its heartbeat has not succeeded for ${silence}${cause}`);
    return true;
  }

  #leftMs(): number {
    return this.#provenMs + lateAfterMs(this.#times) - this.#clock.now();
  }

  #loseTo(whom: string): void {
    this.#isSucceeded = true;
    this.#lose(`the claim was lost to ${whom}`);
  }

  #lose(reason: string): void {
    if (this.#over.signal.aborted) return;
    this.#lost.abort(new Error(reason));
    // No heartbeat any more, so that others need not wait for what has ended.
    this.#over.abort();
  }

  /**
   * Removes what nobody can be using: the claims below this one, whose holders find that out by
   * their absence, and those of older snapshots. The highest claim of a number is removed only when
   * a later number but one is claimed, so a number that can still be made keeps its history.
   */
  async #tidy(): Promise<void> {
    const { number, epoch, names } = this.#claim;
    const isDebris = (found: RecordName): boolean =>
      found.number < number - NUMBERS_KEPT || (found.number === number && found.epoch < epoch);
    const debris = names.flatMap((name) => parseName(name) ?? []).filter(isDebris);
    // Upwards: who holds one of them and looks meanwhile misses its own claim, or sees the next.
    debris.sort((one, other) => one.number - other.number || one.epoch - other.epoch);
    for (const { name } of debris) {
      await this.#request((signal) => this.#records.remove(name, signal), this.#over.signal);
    }
  }

  #read(name: string): Promise<Uint8Array | undefined> {
    return this.#request((signal) => this.#records.read(name, signal), this.#over.signal);
  }

  #write(content: string): Promise<void> {
    const bytes = Buffer.from(content);
    return this.#request((signal) => this.#records.write(this.#heartbeat, bytes, signal), NEVER);
  }

  #request<T>(request: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
    return withDeadline(this.#clock, this.#times.requestMs, signal, request);
  }

  #pause(durationMs: number): Promise<void> {
    return this.#clock.pause(durationMs, this.#over.signal, { background: true });
  }
}
