/** Ends work after a signal, a silence or a hung call. What was ended rejects with the signal's reason (lib/errors.ts). */
import { reasonOf, throwIfCancelled, type MirrorError } from './errors.ts';

/** How long work that tidies up after a cancel may take. A cancelled job has 7.5 s in all. */
const TIDY_MS = 2_000;

/**
 * Settles as the work does, or rejects `graceMs` after the signal fires. For work that cannot be ended, or
 * not at once: a call that hangs in the kernel, a library that sleeps. The work continues unobserved.
 */
export async function endWith<T>(
  work: Promise<T>,
  signal: AbortSignal,
  { graceMs = 0, message }: { graceMs?: number; message?: string } = {},
): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  // The loser of the race may still fail.
  work.catch(() => undefined);
  const end = onceAborted(signal, graceMs, () => {
    reject(reasonOf(signal, message));
  });
  try {
    return await Promise.race([work, promise]);
  } finally {
    end();
  }
}

/**
 * Runs work under a signal that fires `graceMs` after the given one, so that what is nearly done comes to
 * its end. A signal that had fired before leaves no grace.
 */
export async function withGrace<T>(
  signal: AbortSignal,
  graceMs: number,
  work: (late: AbortSignal) => Promise<T>,
): Promise<T> {
  throwIfCancelled(signal);
  const late = new AbortController();
  const end = onceAborted(signal, graceMs, () => {
    late.abort(signal.reason);
  });
  try {
    return await work(late.signal);
  } finally {
    end();
  }
}

/** Runs work under a signal that also fires, with `silent()`, once nothing was noted for `silenceMs`; Infinity: never. */
export async function unlessSilent<T>(
  signal: AbortSignal,
  silenceMs: number,
  silent: () => MirrorError,
  work: (bounded: AbortSignal, note: () => void) => Promise<T>,
): Promise<T> {
  if (silenceMs === Infinity) return work(signal, () => undefined);
  const watch = new AbortController();
  const timer = setTimeout(() => {
    watch.abort(silent());
  }, silenceMs);
  try {
    return await work(AbortSignal.any([signal, watch.signal]), () => {
      timer.refresh();
    });
  } catch (error) {
    throw watch.signal.aborted && !signal.aborted ? reasonOf(watch.signal) : error;
  } finally {
    clearTimeout(timer);
  }
}

/** Cleans up as far as a short time allows. A later job removes the rest. */
export async function tidy(work: (signal: AbortSignal) => Promise<unknown>): Promise<void> {
  await work(AbortSignal.timeout(TIDY_MS)).catch(() => undefined);
}

/** Calls back `delayMs` after the abort, unless it is ended before. */
function onceAborted(signal: AbortSignal, delayMs: number, callBack: () => void): () => void {
  let timer: NodeJS.Timeout | undefined;
  const onAbort = (): void => {
    if (delayMs === 0) callBack();
    else timer = setTimeout(callBack, delayMs);
  };
  if (signal.aborted) onAbort();
  else signal.addEventListener('abort', onAbort, { once: true });
  return () => {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  };
}
