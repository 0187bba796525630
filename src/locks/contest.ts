/** What all locks have in common: looking, taking, and waiting between looks. */
import { describeError, MirrorError, throwIfCancelled } from '../lib/errors.ts';
import type { Clock } from './clock.ts';
import type { Acquisition, AcquireOptions, Hold, Lock } from './lock.ts';

/** What one look shows. Its functions throw a MirrorError where it cannot be told. */
export type Sight =
  /** `take` gives undefined where another job was faster. */
  | { outcome: 'free'; take: (signal: AbortSignal) => Promise<Hold | undefined> }
  /** Of a lock that only an attempt can look at. */
  | { outcome: 'acquired'; hold: Hold }
  | { outcome: 'held'; readHolder?: (signal: AbortSignal) => Promise<string | undefined> }
  | { outcome: 'not-needed' };

export interface Contest {
  look: (signal: AbortSignal) => Promise<Sight>;
  clock: Clock;
  /** From one look of a waiting job to its next: at first, and at most. */
  firstPollMs: number;
  longestPollMs: number;
  /** How long a waiting job tolerates looks that fail. A job that has just come does not. */
  patienceMs: number;
}

const POLL_GROWTH = 1.5;

export function createLock(contest: Contest): Lock {
  return { acquire: (options) => contend(contest, options) };
}

/** Looks, takes and waits, until there is an outcome. */
async function contend(contest: Contest, options: AcquireOptions): Promise<Acquisition> {
  const { clock, patienceMs, longestPollMs } = contest;
  const { timeoutMs, signal, onWait } = options;
  throwIfCancelled(signal);
  const startedMs = clock.now();
  let answeredMs = -Infinity;
  let pollMs = contest.firstPollMs;
  for (let looks = 1; ; looks++) {
    const attempt = await lookAndTake(contest, signal);
    const nowMs = clock.now();
    // The first look is not a wait for anybody.
    const waitedMs = looks === 1 ? 0 : nowMs - startedMs;
    const leftMs = startedMs + timeoutMs - nowMs;
    switch (attempt.outcome) {
      case 'acquired':
      case 'not-needed':
        return { ...attempt, waitedMs };
      case 'unavailable': {
        const { isTransient, ...rest } = attempt;
        const isTolerated = isTransient && leftMs > 0 && nowMs - answeredMs < patienceMs;
        if (!isTolerated) return rest;
        break;
      }
      case 'held':
        answeredMs = nowMs;
        if (leftMs <= 0) return { outcome: 'timed-out', waitedMs: nowMs - startedMs };
        // Its name is for people, who can do without it.
        if (looks === 1) onWait?.(await attempt.readHolder?.(signal).catch(() => undefined));
    }
    // The jitter keeps jobs that started together from asking together.
    await clock.pause(Math.min(pollMs * (0.5 + Math.random() / 2), leftMs), signal);
    throwIfCancelled(signal);
    pollMs = Math.min(pollMs * POLL_GROWTH, longestPollMs);
  }
}

type Attempt =
  | Exclude<Sight, { outcome: 'free' }>
  /** The store could not be asked, or it answers but takes no claim: it may be full or read-only. */
  | { outcome: 'unavailable'; reason: string; isReadOnly?: true; isTransient: boolean };

async function lookAndTake({ look }: Contest, signal: AbortSignal): Promise<Attempt> {
  let isTransient = true;
  try {
    const sight = await look(signal);
    if (sight.outcome !== 'free') return sight;
    isTransient = false;
    const hold = await sight.take(signal);
    return hold === undefined ? { outcome: 'held' } : { outcome: 'acquired', hold };
  } catch (error) {
    // Cancellation, a lost lock and our bugs are thrown on.
    throwIfCancelled(signal);
    if (!(error instanceof MirrorError)) throw error;
    const reason = describeError(error);
    if (error.code !== 'store-read-only') return { outcome: 'unavailable', reason, isTransient };
    return { outcome: 'unavailable', reason, isReadOnly: true, isTransient: false };
  }
}
