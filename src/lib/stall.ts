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

export interface StallWatch {
  /** A sign of life. */
  note: () => void;
  end: () => void;
}

/** How often is looked in the time that makes a stall. */
const LOOKS = 8;

/** setInterval fires at once above this (a signed 32-bit number of milliseconds, 24 days). */
const LONGEST_INTERVAL_MS = 2 ** 31 - 1;

export function watchForStall(
  pid: number,
  { stallMs = Infinity, signsOfLife }: StallOptions,
  onStall: () => void,
): StallWatch {
  let quietLooks = 0;
  let lastSign: number | undefined;
  let isLooking = false;
  const note = () => {
    quietLooks = 0;
  };
  if (stallMs === Infinity) return { note, end: () => undefined };

  const look = async () => {
    if (isLooking) return;
    isLooking = true;
    const sign = await signsOfLife?.(pid);
    isLooking = false;
    if (sign === 'done') clearInterval(timer);
    else if (sign !== lastSign) note();
    else if (quietLooks >= LOOKS) onStall();
    if (sign !== 'done') lastSign = sign;
    quietLooks += 1;
  };
  const timer = setInterval(() => void look(), Math.min(stallMs / LOOKS, LONGEST_INTERVAL_MS));
  return {
    note,
    end: () => {
      clearInterval(timer);
    },
  };
}
