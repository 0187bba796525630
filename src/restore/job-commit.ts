/** A commit that a job works on, in a repository that has its files. */
import { copyFile, mkdtemp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Job } from '../job/job.ts';
import { createDeadline } from '../lib/deadline.ts';
import { removeTree } from '../lib/files.ts';
import { SHALLOW_FILE, layOut } from '../mirror/directory.ts';
import { hasCommit } from '../mirror/objects.ts';
import { fetchObjects } from '../mirror/upstream.ts';
import type { RestoredMirror, RestoreOptions } from './session.ts';

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
  const gitDirectory = await mkdtemp(join(job.temporaryFolder, 'commit-'));
  const remove = (): Promise<void> => removeTree(gitDirectory);
  try {
    await layOut(gitDirectory, objectFormat, spec.depth);
    const objects = join(path, 'objects').replaceAll('\\', '/');
    await writeFile(join(gitDirectory, 'objects', 'info', 'alternates'), `${objects}\n`);
    // git would look for the parents of commits that have none here.
    if (spec.depth === 'tip') {
      await copyFile(join(path, SHALLOW_FILE), join(gitDirectory, SHALLOW_FILE));
    }
    const access = job.accessOf(spec.url);
    const upstream = { access, refspecs: spec.refspecs, depth: spec.depth };
    const deadline = createDeadline(fetchTimeoutMs, stallTimeoutMs);
    await fetchObjects({ ...job, upstream }, gitDirectory, [oid], deadline);
    return { gitDirectory, oid, [Symbol.asyncDispose]: remove };
  } catch (error) {
    await remove();
    throw error;
  }
}
