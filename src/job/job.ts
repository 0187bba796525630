/** What the use cases work with. */
import type { UpstreamAccess } from '../git/environment.ts';
import type { Git } from '../git/git.ts';
import { labelLog, type Log } from '../lib/log.ts';
import type { Lock } from '../locks/lock.ts';
import type { Store } from '../stores/store.ts';
import type { Account } from './account.ts';

export interface Job {
  git: Git;
  /** How git reaches an upstream: with the job's credentials, or with none for another origin. */
  accessOf(url: string): UpstreamAccess;
  /** Undefined if there is none: the mirror then stays on this machine. */
  store: Store | undefined;
  /** Why there is no store, for people; empty if there is one. */
  noStoreReason: string;
  /** Further stores to restore from; nothing is saved there. */
  otherStores: readonly Store[];
  account: Account;
  log: Log;
  signal: AbortSignal;
  /** The lock on this machine for the mirror at a path. */
  lockOf(path: string): Lock;
  /** The claim on making the snapshot of that number; undefined if the store has no claims. */
  claimOf: ((key: string, number: number) => Lock) | undefined;
  /** Absolute path of a folder that the runner empties after the job. Other steps use it, too. */
  temporaryFolder: string;
}

/** The same job, aborted by that signal too. */
export function bindSignal(job: Job, other: AbortSignal): Job {
  const signal = AbortSignal.any([job.signal, other]);
  return { ...job, signal, git: job.git.withSignal(signal) };
}

/** The same job for one of several mirrors at a time: with an account of its own, and a name in its log. */
export function nameJob(job: Job, name: string): Job {
  const log = labelLog(job.log, name);
  return { ...job, log, git: job.git.withLog(log), account: job.account.openAnother(log) };
}
