/**
 * A mirror's place, which one job enters at a time. If its lock is unavailable, the job continues in a private place that
 * no other job knows and that is removed with the job.
 */
import { mkdtemp } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { MirrorError } from '../lib/errors.ts';
import { removeTree } from '../lib/files.ts';
import type { Lock } from '../locks/lock.ts';

const PRIVATE = 'mirror-';

export interface Place {
  path: string;
  isPrivate: boolean;
  /** Why the mirror's own place could not be entered. */
  obstacle?: MirrorError;
  /** How long this job waited for another one. */
  waitedMs: number;
  /** Fires when another job may have entered this place. */
  lost: AbortSignal;
  leave(): Promise<void>;
}

export interface EntryOptions {
  path: string;
  lock: Lock;
  timeoutMs: number;
  /** Private places are created here. The runner empties it after each job. */
  temporaryFolder: string;
  signal: AbortSignal;
  onWait: () => void;
}

/** Waits for the lock up to its deadline, then enters a private place. */
export async function enterPlace(options: EntryOptions): Promise<Place> {
  const { path, lock, timeoutMs, signal, onWait } = options;
  const acquisition = await lock.acquire({ timeoutMs, signal, onWait });
  if (acquisition.outcome === 'acquired') {
    const { hold, waitedMs } = acquisition;
    return { path, isPrivate: false, waitedMs, lost: hold.lost, leave: () => hold.release() };
  }
  const isLate = acquisition.outcome !== 'unavailable';
  const obstacle = new MirrorError(
    'mirror-refused',
    `${path}: ${isLate ? 'another job held its lock for too long' : acquisition.reason}`,
    { concern: isLate ? 'lock-timeout' : 'mirror-place' },
  );
  const waitedMs = isLate ? acquisition.waitedMs : 0;
  return { ...(await makePrivatePlace(path, options.temporaryFolder)), obstacle, waitedMs };
}

/** Creates a private place for a mirror of that name. */
export async function makePrivatePlace(path: string, temporaryFolder: string): Promise<Place> {
  return {
    path: join(await mkdtemp(join(temporaryFolder, PRIVATE)), basename(path)),
    isPrivate: true,
    waitedMs: 0,
    lost: new AbortController().signal,
    leave: () => Promise.resolve(),
  };
}

/** Removes a private place before the runner does. Other paths are ignored. */
export async function removePrivatePlace(path: string, temporaryFolder: string): Promise<void> {
  const folder = dirname(resolve(path));
  const isPrivate =
    dirname(folder) === resolve(temporaryFolder) && basename(folder).startsWith(PRIVATE);
  if (isPrivate) await removeTree(folder);
}
