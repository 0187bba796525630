/**
 * Notices work that no longer shows any sign of life.
 *
 * It counts looks instead of reading a clock: a machine that was suspended, or an event loop that was
 * busy, is no stall of what is watched.
 */
export interface StallOptions {
  /** No sign of life for that long is a stall, in milliseconds; undefined or Infinity: never. */
  stallMs?: number | undefined;
  /**
   * Any number that changes while the work moves. Output counts without it. `done`: what follows may be
   * silent for as long as it likes.
   */
  signsOfLife?: ((pid: number) => Promise<number | 'done'>) | undefined;
}

/** Number of looks within `stallMs`. */
const LOOKS = 8;

/** Timers fire at once above this (a signed 32-bit number of milliseconds, 24 days). */
export const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Calls `onStall` once there was no sign of life for too long; `note` is one. Nothing is called after `end`. */
export function watchForStall(
  pid: number,
  { stallMs = Infinity, signsOfLife }: StallOptions,
  onStall: () => void,
) {
  let quietLooks = 0;
  let lastSign: number | undefined;
  let isLooking = false;
  let isOver = stallMs === Infinity;
  const note = (): void => {
    quietLooks = 0;
  };
  const look = async (): Promise<void> => {
    if (isLooking) return;
    isLooking = true;
    const sign = await signsOfLife?.(pid);
    isLooking = false;
    if (sign === 'done') {
      end();
      return;
    }
    if (isOver) return;
    if (sign !== lastSign) note();
    else if (quietLooks >= LOOKS) onStall();
    lastSign = sign;
    quietLooks += 1;
  };
  const timer = isOver
    ? undefined
    : setInterval(() => void look(), Math.min(stallMs / LOOKS, LONGEST_TIMER_MS));
  const end = (): void => {
    isOver = true;
    clearInterval(timer);
  };
  return { note, end };
}
