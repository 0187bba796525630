/** What all locks have in common: looking, taking, and waiting between looks. */
import { describeError, MirrorError, throwIfCancelled } from '../lib/errors.ts';
import type {
  Acquisition,
  AcquireOptions,
  ClaimAcquisition,
  ClaimLock,
  ClaimOptions,
  Hold,
} from './lock.ts';
import { withDeadline, type Clock } from './clock.ts';

/** What one look shows. Its functions throw a MirrorError where it cannot be told. */
export type Sight =
  /** `take` gives undefined where another job was faster. */
  | { is: 'free'; take: (signal: AbortSignal) => Promise<Hold | undefined> }
  | { is: 'held'; readHolder?: (signal: AbortSignal) => Promise<string | undefined> };

export interface Contest {
  look: (signal: AbortSignal) => Promise<Sight>;
  clock: Clock;
  /** A look that takes longer has failed; Infinity where the store ends requests by itself. */
  requestMs: number;
  /** From one look of a waiting job to its next: at first, and at most. */
  firstPollMs: number;
  longestPollMs: number;
  /** How long a waiting job tolerates looks that fail. A job that has just come does not. */
  patienceMs: number;
}

const POLL_GROWTH = 1.5;

export function createContender(contest: Contest): ClaimLock {
  return { acquire: (options) => contend(contest, options) };
}

type Attempt =
  | { outcome: 'acquired'; hold: Hold }
  | { outcome: 'not-needed' }
  | { outcome: 'held'; readHolder?: (signal: AbortSignal) => Promise<string | undefined> }
  /** The store could not be asked, or it answers but takes no claim: it may be full or read-only. */
  | { outcome: 'unavailable'; reason: string; isReadOnly?: true; canPass: boolean };

type Contender = AcquireOptions & Partial<ClaimOptions>;

/** Looks, takes and waits, until there is an outcome. */
export function contend(contest: Contest, options: ClaimOptions): Promise<ClaimAcquisition>;
export function contend(contest: Contest, options: AcquireOptions): Promise<Acquisition>;
export async function contend(contest: Contest, options: Contender): Promise<ClaimAcquisition> {
  const { clock, patienceMs, longestPollMs } = contest;
  const { timeoutMs, signal, onWait } = options;
  throwIfCancelled(signal);
  const startedMs = clock.now();
  let answeredMs = -Infinity;
  let pollMs = contest.firstPollMs;
  for (let looks = 1; ; looks++) {
    const attempt = await lookAndTake(contest, options);
    const nowMs = clock.now();
    // The first look is not a wait for anybody.
    const waitedMs = looks === 1 ? 0 : nowMs - startedMs;
    const leftMs = startedMs + timeoutMs - nowMs;
    switch (attempt.outcome) {
      case 'acquired':
        return { ...attempt, waitedMs };
      case 'not-needed':
        return { ...attempt, waitedMs };
      case 'unavailable': {
        const { canPass, ...rest } = attempt;
        const isTolerated = canPass && leftMs > 0 && nowMs - answeredMs < patienceMs;
        if (!isTolerated) return rest;
        break;
      }
      case 'held':
        answeredMs = nowMs;
        if (leftMs <= 0) return { outcome: 'timed-out', waitedMs: nowMs - startedMs };
        if (looks === 1) onWait?.(await nameHolder(contest, signal, attempt.readHolder));
    }
    // The jitter keeps jobs that started together from asking together.
    await clock.pause(Math.min(pollMs * (0.5 + Math.random() / 2), leftMs), signal);
    throwIfCancelled(signal);
    pollMs = Math.min(pollMs * POLL_GROWTH, longestPollMs);
  }
}

async function lookAndTake(contest: Contest, options: Contender): Promise<Attempt> {
  const { clock, requestMs, look } = contest;
  const { signal, isDone } = options;
  let sight: Sight;
  try {
    if (isDone !== undefined && (await withDeadline(clock, requestMs, signal, isDone))) {
      return { outcome: 'not-needed' };
    }
    sight = await withDeadline(clock, requestMs, signal, look);
  } catch (error) {
    return unavailable(error, signal, true);
  }
  if (sight.is === 'held') return { ...sight, outcome: 'held' };
  try {
    const hold = await sight.take(signal);
    return hold === undefined ? { outcome: 'held' } : { outcome: 'acquired', hold };
  } catch (error) {
    return unavailable(error, signal, false);
  }
}

/** Cancellation, a lost lock and our bugs are thrown on. */
function unavailable(error: unknown, signal: AbortSignal, canPass: boolean): Attempt {
  throwIfCancelled(signal);
  if (!(error instanceof MirrorError)) throw error;
  const reason = describeError(error);
  if (error.code !== 'store-read-only') return { outcome: 'unavailable', reason, canPass };
  return { outcome: 'unavailable', reason, isReadOnly: true, canPass: false };
}

/** Who holds it, for people: they can do without. */
async function nameHolder(
  { clock, requestMs }: Contest,
  signal: AbortSignal,
  readHolder: ((signal: AbortSignal) => Promise<string | undefined>) | undefined,
): Promise<string | undefined> {
  if (readHolder === undefined) return undefined;
  return withDeadline(clock, requestMs, signal, readHolder).catch(() => undefined);
}
