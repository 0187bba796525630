/** What the use cases work with, and the account they give of themselves. */
import { performance } from 'node:perf_hooks';
import type { Git } from './git/git.ts';
import type { Lock } from './lock/lock.ts';
import type { Log } from './log.ts';
import type { Upstream } from './mirror/upstream.ts';
import type { Store } from './store/store.ts';

export interface Job {
  git: Git;
  upstream: Upstream;
  /** Undefined where there is none: the mirror then lives on this machine only. */
  store: Store | undefined;
  account: Account;
  log: Log;
  signal: AbortSignal;
  /** The lock on this machine for the mirror at a path. */
  lockOf(path: string): Lock;
}

/** The same job, whose work ends when that signal fires too. */
export function bindSignal(job: Job, other: AbortSignal): Job {
  const signal = AbortSignal.any([job.signal, other]);
  return { ...job, signal, git: job.git.withSignal(signal) };
}

export interface Phase {
  name: string;
  durationMs: number;
  /** Bytes that it moved, where it moves any. */
  bytes?: number;
}

/** Phases with their times and bytes, and the reason of every fallback, for the job summary. */
export class Account {
  readonly phases: Phase[] = [];
  readonly fallbacks: string[] = [];
  readonly #log: Log;

  constructor(log: Log) {
    this.#log = log;
  }

  /** Runs a phase and notes how long it took; `countBytes` tells what it moved when it succeeded. */
  async measure<T>(
    name: string,
    work: () => Promise<T>,
    countBytes?: (result: T) => number,
  ): Promise<T> {
    const startedAt = performance.now();
    const phase: Phase = { name, durationMs: 0 };
    this.phases.push(phase);
    try {
      const result = await work();
      if (countBytes !== undefined) phase.bytes = countBytes(result);
      return result;
    } finally {
      phase.durationMs = performance.now() - startedAt;
    }
  }

  /** Something failed and another way is taken; people read this. */
  fallBack(reason: string): void {
    this.fallbacks.push(reason);
    this.#log.warning(reason);
  }
}
