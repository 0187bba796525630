/**
 * A lock: the right that jobs contend for, so that one holder at a time restores, clones, fetches
 * or archives a mirror.
 *
 * Calling sequence: `acquire`, look again at what the lock guards (the last holder has changed it),
 * work, `release`. `release` is called exactly once, whatever happened.
 *
 * Failure rules:
 * - A lock is taken by at most one holder at a time, among threads, processes and crashes: a holder
 *   that died no longer holds, a holder that is merely stopped or slow still does.
 * - Waiting ends at `timeoutMs` (outcome `timed-out`), or at once where no lock can be had at all
 *   (outcome `unavailable`, with the reason). Neither is an error: correctness never rests on the
 *   lock alone, and the job goes on alone, on a directory of its own.
 * - Cancellation while waiting throws `cancelled`, and nothing is held.
 */
export interface Lock {
  acquire(options: AcquireOptions): Promise<Acquisition>;
}

export interface AcquireOptions {
  /** How long to wait for another holder, in milliseconds; 0 tries once. */
  timeoutMs: number;
  signal: AbortSignal;
  /**
   * Called once, when another holder was found and waiting begins; told who that says it is, where
   * the lock knows: somebody else's words, in printable ASCII.
   */
  onWait?: (holder?: string) => void;
}

export type Acquisition =
  | { outcome: 'acquired'; hold: Hold; waitedMs: number }
  | { outcome: 'timed-out'; waitedMs: number }
  | { outcome: 'unavailable'; reason: string };

/**
 * The right to make something, once for all who contend. It may be made while it is waited for: then
 * nobody else needs the right. (A lock that guards a place has no such end: who waits for it must
 * enter to use what is there.)
 */
export interface ClaimLock extends Lock {
  acquire(options: ClaimOptions): Promise<ClaimAcquisition>;
  acquire(options: AcquireOptions): Promise<Acquisition>;
}

export interface ClaimOptions extends AcquireOptions {
  /**
   * Whether what would be made is there: then the outcome is `not-needed`. Asked before every attempt,
   * the first included. It asks the store, so an error it throws counts as the store's failure. It
   * ends soon when its signal fires.
   */
  isDone: (signal: AbortSignal) => Promise<boolean>;
}

export type ClaimAcquisition = Acquisition | { outcome: 'not-needed'; waitedMs: number };

export interface Hold {
  /** Fires when the right was lost while it was held; the holder must stop its work. */
  readonly lost: AbortSignal;
  release(): Promise<void>;
}
