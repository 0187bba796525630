/** Finds out, look by look, whether the claim on a number is free. */
import {
  claimName,
  heartbeatName,
  highestEpoch,
  parseClaim,
  prefixOf,
  RELEASED,
  type Claim,
} from './format.ts';
import type { ClaimRecords } from './records.ts';
import { withDeadline, type ClaimTimes, type Clock } from './times.ts';

export type Sight =
  /** Whoever creates the epoch after this one has the claim; 0 where there was none. */
  { is: 'free'; epoch: number } | { is: 'held'; holder?: string | undefined };

export class ClaimObserver {
  readonly #records: ClaimRecords;
  readonly #number: number;
  readonly #clock: Clock;
  readonly #times: ClaimTimes;
  /** The highest claim with its heartbeat, and when a look was over that first showed both so. */
  #state: string | undefined;
  #sinceMs = 0;

  constructor(records: ClaimRecords, number: number, clock: Clock, times: ClaimTimes) {
    this.#records = records;
    this.#number = number;
    this.#clock = clock;
    this.#times = times;
  }

  /** Throws what the records throw. */
  async look(signal: AbortSignal): Promise<Sight> {
    const names = await this.#request(signal, (bounded) =>
      this.#records.list(prefixOf(this.#number), bounded),
    );
    const epoch = highestEpoch(names, this.#number);
    if (epoch === 0) return { is: 'free', epoch };
    const claim = parseClaim(await this.#read(claimName(this.#number, epoch), signal));
    // The look counts from here: what it shows was still so at this moment, or later.
    const lookedMs = this.#clock.now();
    const heartbeat = claim && (await this.#readHeartbeat(epoch, claim, signal));
    if (heartbeat === RELEASED) return { is: 'free', epoch };
    const isUnchanged = this.#note(`${epoch} ${claim?.nonce ?? '?'} ${heartbeat ?? '?'}`);
    const isDead = isUnchanged && lookedMs - this.#sinceMs >= this.#times.lifeMs;
    return isDead ? { is: 'free', epoch } : { is: 'held', holder: claim?.holder };
  }

  /** Whether this is what the last look showed as well. */
  #note(state: string): boolean {
    if (state === this.#state) return true;
    this.#state = state;
    this.#sinceMs = this.#clock.now();
    return false;
  }

  async #readHeartbeat(epoch: number, { nonce }: Claim, signal: AbortSignal): Promise<string> {
    const content = await this.#read(heartbeatName(this.#number, epoch, nonce), signal);
    return content === undefined ? '' : Buffer.from(content).toString();
  }

  #read(name: string, signal: AbortSignal): Promise<Uint8Array | undefined> {
    return this.#request(signal, (bounded) => this.#records.read(name, bounded));
  }

  #request<T>(signal: AbortSignal, request: (signal: AbortSignal) => Promise<T>): Promise<T> {
    return withDeadline(this.#clock, this.#times.requestMs, signal, request);
  }
}
