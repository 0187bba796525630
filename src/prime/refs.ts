/** The refs of a primed workspace: those that a checkout of all branches and tags would have. */
import { writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { makeFolder } from '../lib/files.ts';
import { findDefaultBranch, formatPackedRefs, type Head, type Ref } from '../mirror/refs.ts';

export const BRANCHES = 'refs/heads/';
export const REMOTE_BRANCHES = 'refs/remotes/origin/';
const TAGS = 'refs/tags/';
const REMOTE_HEAD = `${REMOTE_BRANCHES}HEAD`;

/**
 * Branches become remote-tracking branches, tags stay, and everything else, such as pull requests, is left
 * out. The result is sorted as git needs it, because `refs/remotes` comes before `refs/tags`. Pure.
 */
export function toTrackingRefs(refs: readonly Ref[]): Ref[] {
  const branches = refs.filter(({ name }) => name.startsWith(BRANCHES));
  const tracking = branches.map((ref) => ({ ...ref, name: toTrackingName(ref.name) }));
  return tracking.concat(refs.filter(({ name }) => name.startsWith(TAGS)));
}

/** Writes tracking refs, and `refs/remotes/origin/HEAD` if upstream's HEAD is one of them. */
export async function writeTrackingRefs(
  gitDirectory: string,
  head: Head | undefined,
  tracking: readonly Ref[],
): Promise<void> {
  const content = Buffer.from(formatPackedRefs(tracking), 'latin1');
  await writeFile(join(gitDirectory, 'packed-refs'), content);
  const target = findRemoteHead(head, tracking);
  if (target === undefined) return;
  // packed-refs cannot hold a symbolic ref.
  await makeFolder(join(gitDirectory, dirname(REMOTE_HEAD)));
  await writeFile(join(gitDirectory, REMOTE_HEAD), Buffer.from(`ref: ${target}\n`, 'latin1'));
}

function toTrackingName(branch: string): string {
  return REMOTE_BRANCHES + branch.slice(BRANCHES.length);
}

/** The branch that `refs/remotes/origin/HEAD` names, unless upstream has a branch of that name. */
function findRemoteHead(head: Head | undefined, tracking: readonly Ref[]): string | undefined {
  const branch = findDefaultBranch(head);
  if (branch === undefined) return undefined;
  const isTaken = tracking.some(
    ({ name }) => name === REMOTE_HEAD || name.startsWith(`${REMOTE_HEAD}/`),
  );
  const target = toTrackingName(branch);
  return !isTaken && tracking.some(({ name }) => name === target) ? target : undefined;
}
