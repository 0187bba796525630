/**
 * Progress of work that moves or reads many bytes: a line every few seconds, by the clock and not by the
 * bytes, so that a transfer that hangs shows.
 */
import { formatBytes, formatRate } from './bytes.ts';
import { formatDuration } from './durations.ts';
import type { Log } from './log.ts';

/**
 * Often enough for somebody who watches the log, and an hour is still at most 720 lines. Work that ends
 * sooner logs nothing.
 */
export const PROGRESS_INTERVAL_MS = 5_000;

/** Called with the bytes done so far: never fewer than before, all of them in the end. */
export type OnBytes = (doneBytes: number) => void;

/** Runs work on `totalBytes` bytes and logs its progress; each line starts with `what`. */
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
  /** Since the last line: earlier rates say little about the time left. */
  movedBytes: number;
  elapsedMs: number;
}

/** Share, bytes, rate and the time left at this rate. Pure. */
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
