/**
 * How far work is that moves or reads many bytes. One line now and then, by the clock and not by the
 * bytes: work that stands still says so.
 */
import { formatBytes, formatRate } from './bytes.ts';
import { formatDuration } from './durations.ts';
import type { Log } from './log.ts';

/**
 * A step's log is followed live and read afterwards: often enough to see that something moves, and
 * an hour of it is still no more than 720 lines. Work that ends sooner says nothing.
 */
export const PROGRESS_INTERVAL_MS = 5_000;

/** Told how many bytes are done so far: never fewer than before, in the end all. */
export type OnBytes = (doneBytes: number) => void;

/** Runs work on so many bytes, and shows how far it is; `what` begins each line. */
export async function withProgress<T>(
  log: Log,
  what: string,
  totalBytes: number,
  work: (onBytes: OnBytes) => Promise<T>,
): Promise<T> {
  let doneBytes = 0;
  let shown = { bytes: 0, atMs: performance.now() };
  const show = () => {
    const now = { bytes: doneBytes, atMs: performance.now() };
    const movedBytes = now.bytes - shown.bytes;
    const elapsedMs = now.atMs - shown.atMs;
    log.info(`  ${what}: ${describeProgress({ doneBytes, totalBytes, movedBytes, elapsedMs })}`);
    shown = now;
  };
  const timer = setInterval(show, PROGRESS_INTERVAL_MS);
  try {
    return await work((bytes) => {
      doneBytes = bytes;
    });
  } finally {
    clearInterval(timer);
  }
}

export interface Progress {
  doneBytes: number;
  totalBytes: number;
  /** Of the last while: what came before says little of what is left. */
  movedBytes: number;
  elapsedMs: number;
}

/** Share, bytes, rate and the time that is left at this rate. Pure. */
export function describeProgress(progress: Progress): string {
  const { doneBytes, totalBytes, movedBytes, elapsedMs } = progress;
  const share = totalBytes === 0 ? 100 : Math.floor((100 * doneBytes) / totalBytes);
  const state = `${String(share)} % (${formatBytes(doneBytes)} of ${formatBytes(totalBytes)})`;
  if (doneBytes >= totalBytes) return `${state}, finishing`;
  if (movedBytes === 0) return `${state}, nothing moved for ${formatDuration(elapsedMs)}`;
  const leftMs = ((totalBytes - doneBytes) / movedBytes) * elapsedMs;
  return `${state}, ${formatRate(movedBytes, elapsedMs)}, ${formatRemaining(leftMs)} left`;
}

/** An estimate has no tenths. */
function formatRemaining(leftMs: number): string {
  const seconds = Math.ceil(leftMs / 1_000);
  return seconds < 60 ? `${String(seconds)} s` : formatDuration(seconds * 1_000);
}
