/**
 * What a claim needs of a store whose entries can be created and never changed or removed. Its back
 * end makes it; only claims use it.
 *
 * Failure rules, as those of stores/store.ts:
 * - `create` creates or refuses, atomically, among all machines. It may refuse although `has` finds
 *   nothing: another one has begun, and is not done, or died.
 * - `has` tells absence only where it is proven.
 * - Everything else throws `store-unavailable`, `no-space`, or `store-read-only` where this job may
 *   only read. An aborted signal ends a call soon, with `cancelled`.
 */
export interface ClaimEntries {
  has(claim: ClaimName, signal: AbortSignal): Promise<boolean>;

  /** True if it was created by this call, whatever became of the replies; false if it is taken. */
  create(claim: ClaimName, content: Uint8Array, signal: AbortSignal): Promise<boolean>;
}

export interface ClaimName {
  /** Of the snapshot that is to be made. */
  number: number;
  /** Those of one epoch contend: `[A-Za-z0-9._-]{1,100}`. */
  epoch: string;
}
