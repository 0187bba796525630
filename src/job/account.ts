/** The account that a run gives of itself: to the log while it runs, then to the job summary. */
import { formatBytes, formatRate } from '../lib/bytes.ts';
import { formatDuration } from '../lib/durations.ts';
import type { Log } from '../lib/log.ts';

/** Where bytes came from or went to. */
export type Way = 'from upstream' | 'from the store' | 'to the store' | 'copied';

interface PhaseKind {
  label: string;
  /** What is done, for who watches. */
  title: string;
  /** Where its bytes go, if it moves any. */
  way?: Way;
  /** Not worth a line unless it took long or failed. */
  isMinor?: true;
  /** Others go on beside it: it has no group of the log, and its line is in none of theirs. */
  isBeside?: true;
}

const PHASES = {
  lock: { label: 'Lock', title: "Enter the mirror's place", isMinor: true },
  'look-up': { label: 'Look-up', title: 'Look for a snapshot', isMinor: true, isBeside: true },
  claim: { label: 'Wait', title: 'Wait for a job that makes a snapshot', isMinor: true },
  probe: { label: 'Probe', title: 'Ask upstream for its refs', isBeside: true },
  check: { label: 'Check', title: 'Check the mirror on this machine' },
  restore: { label: 'Restore', title: 'Restore a snapshot', way: 'from the store' },
  fetch: { label: 'Fetch', title: 'Fetch what is new', way: 'from upstream' },
  clone: { label: 'Clone', title: 'Clone the repository', way: 'from upstream' },
  prime: { label: 'Prime', title: 'Prime the workspace', way: 'copied' },
  digest: { label: 'Checksums', title: 'Recompute the checksums of all packs' },
  walk: { label: 'Walk', title: 'Check that all objects are there' },
  repack: { label: 'Repack', title: 'Make one pack of many', isMinor: true },
  upload: { label: 'Save', title: 'Save the snapshot', way: 'to the store' },
  tidy: { label: 'Tidy', title: 'Remove old snapshots', isMinor: true },
} as const satisfies Record<string, PhaseKind>;

export type PhaseName = keyof typeof PHASES;

export interface Phase extends PhaseKind {
  name: PhaseName;
  /** Since the account was opened. */
  startedMs: number;
  durationMs: number;
  hasFailed: boolean;
  /** That it moved, where it moves any and did not fail. */
  bytes?: number;
}

/** Below this a minor phase is left out. */
const MINOR_MS = 1_000;
/** Below this a rate says more of the latency than of the way. */
const RATED_MS = 1_000;

/** Phases with their times and bytes, and the reason of every fallback. */
export class Account {
  /** What went wrong on the way, in order. */
  readonly fallbacks: string[] = [];
  readonly #phases: Phase[] = [];
  /** Have ended within a group that is none of theirs. */
  readonly #beside: Phase[] = [];
  readonly #log: Log;
  readonly #openedAt = performance.now();
  readonly #advise: (error: unknown) => string | undefined;
  #depth = 0;

  /** `advise` says, in the words of the surface, which setting a failure concerns. */
  constructor(log: Log, advise: (error: unknown) => string | undefined = () => undefined) {
    this.#log = log;
    this.#advise = advise;
  }

  /** Phases that are worth showing, in the order they began. */
  get phases(): readonly Phase[] {
    return this.#phases.filter((phase) => isWorthShowing(phase));
  }

  /** Since the account was opened. */
  get elapsedMs(): number {
    return performance.now() - this.#openedAt;
  }

  /** Bytes that were moved on a way by phases that succeeded. */
  bytesMoved(way: Way): number {
    return this.#phases
      .filter((phase) => phase.way === way)
      .reduce((sum, { bytes = 0 }) => sum + bytes, 0);
  }

  /**
   * Runs a phase as a group of the log, with its time and bytes in a line after it; `countBytes`
   * tells what it moved when it succeeded. A phase within another is a line in that one's group.
   */
  async measure<T>(
    name: PhaseName,
    work: () => Promise<T>,
    countBytes?: (result: T) => number,
  ): Promise<T> {
    const startedMs = this.elapsedMs;
    const phase: Phase = { ...PHASES[name], name, startedMs, durationMs: 0, hasFailed: true };
    this.#phases.push(phase);
    const isGroup = phase.isBeside !== true;
    if (isGroup) this.#enter(phase.title);
    try {
      const result = await work();
      if (countBytes !== undefined) phase.bytes = Math.max(0, countBytes(result));
      phase.hasFailed = false;
      return result;
    } finally {
      phase.durationMs = this.elapsedMs - startedMs;
      if (isGroup) this.#leave();
      this.#show(phase);
    }
  }

  #show(phase: Phase): void {
    if (phase.isBeside === true && this.#depth > 0) this.#beside.push(phase);
    else this.#tell(phase);
    if (this.#depth === 0) for (const each of this.#beside.splice(0)) this.#tell(each);
  }

  #tell(phase: Phase): void {
    if (isWorthShowing(phase)) this.#log.info(describePhase(phase));
  }

  #enter(title: string): void {
    this.#depth += 1;
    if (this.#depth === 1) this.#log.group(title);
  }

  #leave(): void {
    this.#depth -= 1;
    if (this.#depth === 0) this.#log.endGroup();
  }

  /** Something failed and the job takes a slower way: people read this, and act on it. */
  fallBack(reason: string, cause?: unknown): void {
    this.#log.warning(this.#note(reason, cause));
  }

  /** Something failed and was cured at once: worth reading, not worth a person's time. */
  recover(reason: string, cause?: unknown): void {
    this.#log.info(this.#note(reason, cause));
  }

  #note(reason: string, cause: unknown): string {
    const advice = this.#advise(cause);
    const text = advice === undefined ? reason : `${reason}; ${advice}`;
    this.fallbacks.push(text);
    return text;
  }
}

function isWorthShowing({ isMinor, hasFailed, durationMs }: Phase): boolean {
  return isMinor !== true || hasFailed || durationMs >= MINOR_MS;
}

/** `Fetch: 1.2 s, 312 KiB, 260 KiB/s`. Pure. */
export function describePhase({ label, durationMs, hasFailed, bytes = 0 }: Phase): string {
  const time = formatDuration(durationMs);
  if (hasFailed) return `${label}: failed after ${time}`;
  const facts = [time];
  if (bytes > 0) facts.push(formatBytes(bytes));
  if (bytes > 0 && durationMs >= RATED_MS) facts.push(formatRate(bytes, durationMs));
  return `${label}: ${facts.join(', ')}`;
}
