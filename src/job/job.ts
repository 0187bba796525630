/** What the use cases work with. */
import type { Account } from './account.ts';
import type { Git } from '../git/git.ts';
import type { ClaimLock, Lock } from '../locks/lock.ts';
import type { Log } from '../lib/log.ts';
import type { Upstream } from '../mirror/upstream.ts';
import type { Store } from '../stores/store.ts';

export interface Job {
  git: Git;
  upstream: Upstream;
  /** Undefined where there is none: the mirror then lives on this machine only. */
  store: Store | undefined;
  /** Why there is none, for people; else empty. */
  absence: string;
  /** More that a snapshot may be restored from; nothing is saved there. */
  otherStores: readonly Store[];
  account: Account;
  log: Log;
  signal: AbortSignal;
  /** The lock on this machine for the mirror at a path. */
  lockOf(path: string): Lock;
  /** The claim on making the snapshot of that number; undefined where the store has no claims. */
  claimOf: ((key: string, number: number) => ClaimLock) | undefined;
}

/** The same job, whose work ends when that signal fires too. */
export function bindSignal(job: Job, other: AbortSignal): Job {
  const signal = AbortSignal.any([job.signal, other]);
  return { ...job, signal, git: job.git.withSignal(signal) };
}
