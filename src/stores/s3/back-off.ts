import { setTimeout as sleep } from 'node:timers/promises';

/** Waits before another attempt, the longer the more have failed; ends early with the signal. */
export async function backOff(failures: number, signal: AbortSignal): Promise<void> {
  const longestMs = Math.min(5_000, 100 * 2 ** failures);
  await sleep(longestMs * (0.5 + Math.random() / 2), undefined, { signal }).catch(() => undefined);
}
