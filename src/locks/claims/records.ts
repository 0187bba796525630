/**
 * What a claim needs of a store: small records beside the snapshots of one key, each with a name and
 * an age. The stores' back ends provide them; only claims use them.
 *
 * Names, and the rules that stand on them:
 *
 *     <number, 10 digits>-<epoch, 6 digits>            a claim: its holder created it if absent, and
 *                                                      overwrites it as long as it lives
 *     <number, 10 digits>-<epoch, 6 digits>.released   its holder released it
 *
 * Only the highest epoch of a number counts. It is free if it was released, or if its age, by the
 * store's own clock, is a life or more: nobody wrote it for that long. Whoever creates the next epoch
 * has the claim.
 *
 * Failure rules, like those of stores/store.ts:
 * - `create` creates or refuses, atomically, among all machines.
 * - What a call has done when it returns is seen by every call, of any machine, that begins
 *   afterwards. Claims need that of `list`.
 * - What failed or was cancelled may have been done nevertheless, or may still be done later: a reply
 *   can be lost, and a request can be late.
 * - `read` and `list` report absence only where it is proven. Everything else throws
 *   `store-unavailable`, `store-read-only` or `no-space`. An aborted signal ends a call soon.
 * - Names are `[A-Za-z0-9._-]{1,200}`, never `.` or `..`; others are our bug: TypeError. So is a record
 *   over MAX_RECORD_BYTES.
 */
export interface ClaimRecords {
  /** True if this call created it; false if the name is taken. */
  create(name: string, content: Uint8Array, signal: AbortSignal): Promise<boolean>;

  /** Creates or replaces, and so makes it new. */
  write(name: string, content: Uint8Array, signal: AbortSignal): Promise<void>;

  /** What the record holds, up to MAX_RECORD_BYTES of it; undefined if there is none. */
  read(name: string, signal: AbortSignal): Promise<Uint8Array | undefined>;

  /** All records, in any order. */
  list(signal: AbortSignal): Promise<ClaimRecord[]>;

  /** One that is gone already is no error. */
  remove(name: string, signal: AbortSignal): Promise<void>;
}

export interface ClaimRecord {
  name: string;
  /**
   * Since it was last written, by the store's own clock. Negative where that clock was set back, and
   * NaN where the store doesn't tell.
   */
  ageMs: number;
}

export const MAX_RECORD_BYTES = 64 * 1024;

const NAME = /^(\d{10})-(\d{6,15})(\.released)?$/;
const MAX_NUMBER = 9_999_999_999;

export interface FoundClaim extends ClaimRecord {
  number: number;
  epoch: number;
  isReleased: boolean;
}

/** Throws TypeError unless it is an integer from 1 to 9,999,999,999, as a snapshot's number is. */
export function assertNumber(number: number): void {
  if (!Number.isSafeInteger(number) || number < 1 || number > MAX_NUMBER) {
    throw new TypeError(`a claim's number is not allowed: ${number}`);
  }
}

export function claimName(number: number, epoch: number): string {
  return `${String(number).padStart(10, '0')}-${String(epoch).padStart(6, '0')}`;
}

export function releasedName(claim: string): string {
  return `${claim}.released`;
}

/** What the records say of claims; foreign names are ignored. */
export function parseClaims(records: readonly ClaimRecord[]): FoundClaim[] {
  return records.flatMap((record) => {
    const match = NAME.exec(record.name);
    if (match === null) return [];
    const [, number, epoch, released] = match;
    const isReleased = released !== undefined;
    return [{ ...record, number: Number(number), epoch: Number(epoch), isReleased }];
  });
}
