/**
 * What a claim needs from a store: small records next to the snapshots of one key, each with a name and an age. Back ends
 * of stores provide them. Only claims use them.
 *
 * Names, and the rules for them:
 *
 *     <number, 10 digits>-<epoch, 6 digits>            a claim: its holder created it if absent, and
 *                                                      overwrites it as long as it lives
 *     <number, 10 digits>-<epoch, 6 digits>.released   its holder released it
 *
 * Only the highest epoch of a number counts. It is free if it was released, or if nobody wrote it for a life, by the
 * store's own clock. The job that creates the next epoch has the claim.
 *
 * Failure rules, like those of stores/store.ts:
 * - `create` creates or refuses, atomically, among all machines.
 * - Calls of all machines that begin after a call has returned see its effect. Claims need that of `list`.
 * - A call that failed or was cancelled may still have an effect, also later: a reply can be lost, and a request can be
 *   late.
 * - `read` and `list` report absence only where it is proven. Everything else throws
 *   `store-unavailable`, `store-read-only` or `no-space`. An aborted signal ends a call soon.
 * - Names are `[A-Za-z0-9._-]{1,200}`, never `.` or `..`; others are our bug: TypeError. So is a record
 *   over MAX_RECORD_BYTES.
 */
export interface ClaimRecords {
  /** True if this call created it; false if the name is taken. */
  create(name: string, content: Uint8Array, signal: AbortSignal): Promise<boolean>;

  /** Creates or replaces it, which resets its age. */
  write(name: string, content: Uint8Array, signal: AbortSignal): Promise<void>;

  /** The record's content, at most MAX_RECORD_BYTES; undefined if there is none. */
  read(name: string, signal: AbortSignal): Promise<Uint8Array | undefined>;

  /** All records, in any order. */
  list(signal: AbortSignal): Promise<ClaimRecord[]>;

  /** A missing record is no error. */
  remove(name: string, signal: AbortSignal): Promise<void>;
}

export interface ClaimRecord {
  name: string;
  /**
   * Milliseconds since it was last written, by the store's own clock. Negative if that clock was set back, NaN if the store
   * doesn't tell.
   */
  ageMs: number;
}

export const MAX_RECORD_BYTES = 64 * 1024;

const NAME = /^(\d{10})-(\d{6,15})(\.released)?$/;

export interface FoundClaim extends ClaimRecord {
  number: number;
  epoch: number;
  isReleased: boolean;
}

export function claimName(number: number, epoch: number): string {
  return `${String(number).padStart(10, '0')}-${String(epoch).padStart(6, '0')}`;
}

export function releasedName(claim: string): string {
  return `${claim}.released`;
}

/** The claims that the records describe. Foreign names are ignored. */
export function parseClaims(records: readonly ClaimRecord[]): FoundClaim[] {
  return records.flatMap((record) => {
    const match = NAME.exec(record.name);
    if (match === null) return [];
    const [, number, epoch, released] = match;
    const isReleased = released !== undefined;
    return [{ ...record, number: Number(number), epoch: Number(epoch), isReleased }];
  });
}
