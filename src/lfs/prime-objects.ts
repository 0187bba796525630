/** Gives a primed workspace the LFS objects, so that git-lfs finds them there. */
import type { Job } from '../job/job.ts';
import { describeError, throwIfCancelled } from '../lib/errors.ts';
import { placeObjects } from './objects.ts';
import { amountOf, type Amount, type LfsObject } from './pointers.ts';

export interface PrimedObjects extends Amount {
  copiedBytes: number;
}

/** Links objects of `folder` into a git directory. Throws only if the job was cancelled. */
export async function primeLfsObjects(
  { git, account, log, signal }: Job,
  { folder, objects }: { folder: string; objects: readonly LfsObject[] },
  gitDirectory: string,
): Promise<PrimedObjects> {
  const nothing = { objects: 0, bytes: 0, copiedBytes: 0 };
  if (objects.length === 0) return nothing;
  const args = ['config', '--get', 'lfs.storage'];
  try {
    const moved = await git.runBrief({ gitDirectory, args, configuration: 'machine' });
    if (moved.exitCode === 0) {
      log.info('LFS objects are not primed: lfs.storage of this machine names another folder');
      return nothing;
    }
    const copiedBytes = await account.measure(
      'lfs-prime',
      () => placeObjects(folder, gitDirectory, objects, signal),
      (copied) => copied,
    );
    return { ...amountOf(objects), copiedBytes };
  } catch (error) {
    throwIfCancelled(signal);
    const reason = `LFS objects could not be primed, so the checkout downloads them: ${describeError(error)}`;
    account.fallBack(reason, error);
    return nothing;
  }
}
