/** A commit that a job works on, in a repository that has its files. */
import type { Job } from '../job/job.ts';
import { createDeadline } from '../lib/deadline.ts';
import { removeTree } from '../lib/files.ts';
import { borrowObjects } from '../mirror/borrow.ts';
import { hasCommit } from '../mirror/objects.ts';
import { fetchObjects } from '../mirror/upstream.ts';
import type { RestoredMirror, RestoreOptions } from './session.ts';
import { upstreamOf } from './upstream-probe.ts';

/** To be disposed of: that removes a temporary repository. */
export interface JobCommit extends AsyncDisposable {
  gitDirectory: string;
  oid: string;
}

/**
 * A commit, from the mirror if that has it. No ref of a mirror need reach it: a pull request's is its merge with
 * the base branch, and a submodule's may be on no branch any more. Such a commit is fetched into a temporary
 * repository that borrows from the mirror, which stays as it is. To be used while the mirror's lock is held.
 * Throws the named failure of that fetch.
 */
export async function openCommit(
  job: Job,
  { identity, path }: Pick<RestoredMirror, 'identity' | 'path'>,
  oid: string,
  { fetchTimeoutMs, stallTimeoutMs }: Pick<RestoreOptions, 'fetchTimeoutMs' | 'stallTimeoutMs'>,
): Promise<JobCommit> {
  if (await hasCommit(job.git, path, oid)) {
    return { gitDirectory: path, oid, [Symbol.asyncDispose]: () => Promise.resolve() };
  }
  const { spec, objectFormat } = identity;
  const gitDirectory = await borrowObjects(path, objectFormat, spec.depth, job.temporaryFolder);
  // What cannot be removed harms nobody: the runner empties that folder.
  const remove = (): Promise<void> => removeTree(gitDirectory).catch(() => undefined);
  try {
    const deadline = createDeadline(fetchTimeoutMs, stallTimeoutMs);
    const asking = { ...job, upstream: upstreamOf(job, spec) };
    await job.account.measure('fetch', () => fetchObjects(asking, gitDirectory, [oid], deadline));
    return { gitDirectory, oid, [Symbol.asyncDispose]: remove };
  } catch (error) {
    await remove();
    throw error;
  }
}
