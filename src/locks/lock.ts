/**
 * A lock: the right that jobs contend for, so that only one job at a time restores, clones, fetches
 * or saves a mirror.
 *
 * Calling sequence: `acquire`, look again at what the lock guards (the last holder has changed it),
 * work, `release`. `release` is called exactly once, whatever happened.
 *
 * Failure rules:
 * - At most one holder at a time has a lock, among threads, processes and crashes. A holder that died
 *   no longer holds; a holder that is merely stopped or slow still does.
 * - Waiting ends at `timeoutMs` (outcome `timed-out`), or at once where the lock is unavailable
 *   (with the reason). Neither is an error: correctness never rests on the lock alone, and the job
 *   continues without it, in a directory of its own.
 * - Cancellation while waiting throws, and nothing is held.
 *
 * A claim is a lock on making a snapshot, once for all jobs that contend. Another job may have made it by the time of an
 * attempt, the first included: then nobody needs the claim any more (outcome `not-needed`).
 */
export interface Lock {
  acquire(options: AcquireOptions): Promise<Acquisition>;
}

export interface AcquireOptions {
  /** How long to wait for another holder, in milliseconds; 0 tries once. */
  timeoutMs: number;
  signal: AbortSignal;
  /**
   * Called once, when another holder was found and waiting begins. It gets that holder's own words on
   * who it is, in printable ASCII, where the lock knows them.
   */
  onWait?: (holder?: string) => void;
}

export type Acquisition =
  | { outcome: 'acquired'; hold: Hold; waitedMs: number }
  | { outcome: 'timed-out'; waitedMs: number }
  /** Of a claim. */
  | { outcome: 'not-needed'; waitedMs: number }
  /** `isReadOnly`: of a claim, because this job may only read the store. */
  | { outcome: 'unavailable'; reason: string; isReadOnly?: true };

export interface Hold {
  /**
   * Fires when the right was lost while it was held; the holder must stop its work. Its reason is a
   * MirrorError: `lost-lock`, `lost-claim`, or the failure of the store that keeps the lock.
   */
  readonly lost: AbortSignal;
  /**
   * Whether the right stays taken after `release` and the end of this process. Nobody else can get it
   * then, so a later step of this job may use it.
   */
  readonly staysTaken: boolean;
  /** Never fails: at worst others wait until the lock is stale. */
  release(): Promise<void>;
}
