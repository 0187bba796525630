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
  /** Called once, when another holder was found and waiting begins. */
  onWait?: () => void;
}

export type Acquisition =
  | { outcome: 'acquired'; hold: Hold; waitedMs: number }
  | { outcome: 'timed-out'; waitedMs: number }
  | { outcome: 'unavailable'; reason: string };

export interface Hold {
  /** Fires when the right was lost while it was held; the holder must stop its work. */
  readonly lost: AbortSignal;
  release(): Promise<void>;
}
