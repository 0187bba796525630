/** What a run reports about itself: phases with times and bytes, and fallbacks. For the log and the job summary. */
import { formatBytes, formatRate } from '../lib/bytes.ts';
import { formatDuration } from '../lib/durations.ts';
import { MirrorError, type ErrorCode } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';

/** Where bytes came from or went to. */
export type Direction =
  'from upstream' | 'from the LFS server' | 'from the store' | 'to the store' | 'copied';

interface PhaseKind {
  label: string;
  /** The title of its group in the log. */
  title: string;
  /** Undefined for a phase that moves no bytes. */
  direction?: Direction;
  /** Gets a line only if it took long or failed. */
  isMinor?: true;
  /** Runs in parallel with other phases: it has no group in the log, and its line is in none of theirs. */
  isParallel?: true;
}

const PHASES = {
  lock: { label: 'Lock', title: "Enter the mirror's place", isMinor: true },
  'look-up': { label: 'Look-up', title: 'Look for a snapshot', isMinor: true, isParallel: true },
  claim: { label: 'Wait', title: 'Wait for a job that makes a snapshot', isMinor: true },
  probe: { label: 'Probe', title: 'Ask upstream for its refs', isParallel: true },
  check: { label: 'Check', title: 'Check the mirror on this machine' },
  restore: { label: 'Restore', title: 'Restore a snapshot', direction: 'from the store' },
  fetch: { label: 'Fetch', title: 'Fetch what is new', direction: 'from upstream' },
  clone: { label: 'Clone', title: 'Clone the repository', direction: 'from upstream' },
  prime: { label: 'Prime', title: 'Prime the workspace', direction: 'copied' },
  'lfs-check': { label: 'LFS check', title: 'Find the LFS objects of the commit', isMinor: true },
  'lfs-restore': {
    label: 'LFS restore',
    title: 'Restore LFS objects',
    direction: 'from the store',
  },
  'lfs-fetch': {
    label: 'LFS fetch',
    title: 'Download LFS objects',
    direction: 'from the LFS server',
  },
  'lfs-prime': {
    label: 'LFS prime',
    title: 'Prime LFS objects',
    direction: 'copied',
    isMinor: true,
  },
  submodules: { label: 'Submodules', title: 'Prime the submodules' },
  digest: { label: 'Checksums', title: 'Recompute the checksums of all packs' },
  walk: { label: 'Walk', title: 'Verify that all objects exist' },
  repack: { label: 'Repack', title: 'Merge packs', isMinor: true },
  upload: { label: 'Save', title: 'Save the snapshot', direction: 'to the store' },
  tidy: { label: 'Tidy', title: 'Remove old snapshots', isMinor: true },
} as const satisfies Record<string, PhaseKind>;

export type PhaseName = keyof typeof PHASES;

export interface Phase extends PhaseKind {
  name: PhaseName;
  /** Milliseconds since the account was opened. */
  startedMs: number;
  durationMs: number;
  /** Stopped: the job was cancelled, or another phase failed. */
  end: 'succeeded' | 'failed' | 'stopped';
  /** Bytes moved; undefined if it moves none or failed. */
  bytes?: number;
}

/** A shorter minor phase is left out. */
const MINOR_MS = 1_000;
/** The rate of a shorter phase would show latency rather than throughput. */
const RATED_MS = 1_000;

const FALLBACK_KINDS = ['snapshot-revoked', 'bad-snapshot', 'unusable-mirror'] as const;

/** A fallback that no error stands for. */
export type FallbackKind = (typeof FALLBACK_KINDS)[number];

export interface Fallback {
  /** Stable, for programs. */
  code: ErrorCode | FallbackKind;
  /** For people. */
  reason: string;
}

export class Account {
  /** What went wrong and was worked around, in order. */
  readonly fallbacks: Fallback[] = [];
  readonly #phases: Phase[] = [];
  /** Parallel phases that ended while another phase's group was open. */
  readonly #ended: Phase[] = [];
  readonly #log: Log;
  readonly #openedAt = performance.now();
  readonly #advise: (error: unknown) => string | undefined;
  #depth = 0;

  /** `advise` names the setting that a failure concerns, in the words of the surface. */
  constructor(log: Log, advise: (error: unknown) => string | undefined = () => undefined) {
    this.#log = log;
    this.#advise = advise;
  }

  /** A new account in that log, with the same words for settings. */
  openAnother(log: Log): Account {
    return new Account(log, this.#advise);
  }

  /** In the order they started. */
  get allPhases(): readonly Phase[] {
    return this.#phases;
  }

  /** Those worth showing. */
  get phases(): readonly Phase[] {
    return this.#phases.filter((phase) => isWorthShowing(phase));
  }

  /** Milliseconds since the account was opened. */
  get elapsedMs(): number {
    return performance.now() - this.#openedAt;
  }

  /** Milliseconds until the last of its phases ended. */
  get spanMs(): number {
    return Math.max(0, ...this.#phases.map(({ startedMs, durationMs }) => startedMs + durationMs));
  }

  /** Bytes moved in that direction by phases that succeeded. */
  bytesMoved(direction: Direction): number {
    return this.#phases
      .filter((phase) => phase.direction === direction)
      .reduce((sum, { bytes = 0 }) => sum + bytes, 0);
  }

  /**
   * Runs a phase as a group of the log, followed by a line with its time and bytes; `countBytes` returns
   * the bytes that it moved if it succeeded. A phase within another is a line in that one's group.
   */
  async measure<T>(
    name: PhaseName,
    work: () => Promise<T>,
    countBytes?: (result: T) => number,
  ): Promise<T> {
    const startedMs = this.elapsedMs;
    const phase: Phase = { ...PHASES[name], name, startedMs, durationMs: 0, end: 'succeeded' };
    this.#phases.push(phase);
    const isGroup = phase.isParallel !== true;
    if (isGroup) this.#enter(phase.title);
    try {
      const result = await work();
      if (countBytes !== undefined) phase.bytes = Math.max(0, countBytes(result));
      return result;
    } catch (error) {
      phase.end = isCancelled(error) ? 'stopped' : 'failed';
      throw error;
    } finally {
      phase.durationMs = this.elapsedMs - startedMs;
      if (isGroup) this.#leave();
      this.#show(phase);
    }
  }

  #show(phase: Phase): void {
    if (phase.isParallel === true && this.#depth > 0) this.#ended.push(phase);
    else this.#write(phase);
    if (this.#depth === 0) for (const each of this.#ended.splice(0)) this.#write(each);
  }

  #write(phase: Phase): void {
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

  /**
   * Something failed and the job takes a slower way: people read this, and act on it. `cause` is the error,
   * or its kind.
   */
  fallBack(reason: string, cause: unknown): void {
    this.#log.warning(this.#note(reason, cause));
  }

  /** Something failed and was cured at once: worth reading, not worth a person's time. */
  recover(reason: string, cause: unknown): void {
    this.#log.info(this.#note(reason, cause));
  }

  #note(reason: string, cause: unknown): string {
    const advice = this.#advise(cause);
    const text = advice === undefined ? reason : `${reason}; ${advice}`;
    this.fallbacks.push({ code: codeOf(cause), reason: text });
    return text;
  }
}

function codeOf(cause: unknown): Fallback['code'] {
  if (cause instanceof MirrorError) return cause.code;
  return FALLBACK_KINDS.find((kind) => kind === cause) ?? 'unknown';
}

function isCancelled(error: unknown): boolean {
  if (error instanceof MirrorError) return error.code === 'cancelled';
  return Error.isError(error) && error.name === 'AbortError';
}

function isWorthShowing({ isMinor, end, durationMs }: Phase): boolean {
  return isMinor !== true || end === 'failed' || durationMs >= MINOR_MS;
}

/** `Fetch: 1.2 s, 312 KiB, 260 KiB/s`. Pure. */
export function describePhase(phase: Phase): string {
  const { label, durationMs, end, bytes = 0 } = phase;
  const time = formatDuration(durationMs);
  if (end !== 'succeeded') return `${label}: ${end} after ${time}`;
  const facts = [time];
  if (bytes > 0) facts.push(formatBytes(bytes));
  if (bytes > 0 && durationMs >= RATED_MS) facts.push(formatRate(bytes, durationMs));
  return `${label}: ${facts.join(', ')}`;
}
