/**
 * What a claim needs of a store: small records with names of their own, beside the snapshots of one
 * key. The stores' back ends make them; only claims use them.
 *
 * Failure rules, as those of stores/store.ts:
 * - `create` creates or refuses, atomically, among all machines.
 * - A record is seen whole, old or new, never half. (A disk without hard links may show half of one
 *   that is just being created.)
 * - What a call has done when it returns is seen by every call, of any machine, that begins
 *   afterwards. Claims need that of `list` and `read`.
 * - What failed, or was cancelled, may have been done nevertheless, or be done yet: a reply can be
 *   lost, and a request can be late. A refusal may be the answer to a repeated request whose first
 *   reply was lost. Who must know looks for a nonce of its own.
 * - `read` and `list` tell absence only where it is proven; everything else throws
 *   `store-unavailable`, or `no-space`. An aborted signal ends a call soon, with `cancelled`.
 * - Names are `[A-Za-z0-9._-]{1,200}`, never `.` or `..`; others are our bug: TypeError. So is a record
 *   over MAX_RECORD_BYTES.
 */
export interface ClaimRecords {
  /** True if it was created by this call, false if the name is taken. */
  create(name: string, content: Uint8Array, signal: AbortSignal): Promise<boolean>;

  /** What the record holds, up to MAX_RECORD_BYTES of it; undefined if there is none. */
  read(name: string, signal: AbortSignal): Promise<Uint8Array | undefined>;

  /** Creates or replaces: for records that only one process ever writes. */
  write(name: string, content: Uint8Array, signal: AbortSignal): Promise<void>;

  /** The names that begin with `prefix`, in any order; the empty prefix lists all. */
  list(prefix: string, signal: AbortSignal): Promise<string[]>;

  /** One that is gone already is no error. */
  remove(name: string, signal: AbortSignal): Promise<void>;
}

/** A claim has some 200 bytes, a heartbeat fewer than ten. */
export const MAX_RECORD_BYTES = 64 * 1024;
