/** Ends that S3 requests have: soon after a cancel, or a while after it. */
import { setTimeout as sleep } from 'node:timers/promises';
import { MirrorError } from '../../lib/errors.ts';

/** How long what makes something visible may go on after a cancel. A cancelled job has 7.5 s. */
export const COMMIT_GRACE_MS = 2_000;
/** How long tidying up may take after that. */
export const TIDY_MS = 2_000;

/** Ends with `cancelled` as soon as the signal fires: the toolkit sleeps between two attempts. */
export async function endWith<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => {
    reject(new MirrorError('cancelled', 'the job was cancelled'));
  };
  // Who loses the race may fail yet.
  work.catch(() => undefined);
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/**
 * Runs work whose signal fires a grace after the one that is given: a request that is on its way
 * then either comes to its end, or never had the time.
 */
export async function withGrace<T>(
  signal: AbortSignal,
  work: (late: AbortSignal) => Promise<T>,
): Promise<T> {
  const late = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const onAbort = (): void => {
    timer = setTimeout(() => {
      late.abort();
    }, COMMIT_GRACE_MS);
  };
  if (signal.aborted) late.abort();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await work(late.signal);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  }
}

/** Tidies up, for a short while and as well as it goes: what stays is debris. */
export async function tidy(work: (signal: AbortSignal) => Promise<unknown>): Promise<void> {
  await work(AbortSignal.timeout(TIDY_MS)).catch(() => undefined);
}

/** Waits before another attempt, the longer the more have failed; ends early with the signal. */
export async function backOff(failures: number, signal: AbortSignal): Promise<void> {
  const longestMs = Math.min(5_000, 100 * 2 ** failures);
  await sleep(longestMs * (0.5 + Math.random() / 2), undefined, { signal }).catch(() => undefined);
}
