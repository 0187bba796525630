import { git } from './git.ts';

/** What happens to an upstream between two runs, besides new commits (addCommits). */

export async function readRefs(directory: string): Promise<Map<string, string>> {
  const listing = await git(directory, ['for-each-ref', '--format=%(refname) %(objectname)']);
  return new Map(
    listing
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => line.split(' ') as [string, string]),
  );
}

export async function createBranch(directory: string, name: string, from: string): Promise<void> {
  await git(directory, ['update-ref', `refs/heads/${name}`, await commitOf(directory, from)]);
}

export async function deleteBranch(directory: string, name: string): Promise<void> {
  await git(directory, ['update-ref', '-d', `refs/heads/${name}`]);
}

export async function deleteRef(directory: string, ref: string): Promise<void> {
  await git(directory, ['update-ref', '-d', ref]);
}

/** In two steps, so that `a` can become `a/b`. The default branch stays what it is called. */
export async function renameBranch(directory: string, from: string, to: string): Promise<void> {
  const tip = await commitOf(directory, `refs/heads/${from}`);
  await deleteBranch(directory, from);
  await git(directory, ['update-ref', `refs/heads/${to}`, tip]);
}

export async function renameDefaultBranch(directory: string, to: string): Promise<void> {
  const from = await git(directory, ['symbolic-ref', '--short', 'HEAD']);
  await renameBranch(directory, from, to);
  await git(directory, ['symbolic-ref', 'HEAD', `refs/heads/${to}`]);
}

/** Creates the tag or moves it; annotated if it gets a message. */
export async function moveTag(
  directory: string,
  name: string,
  target: string,
  message?: string,
): Promise<void> {
  const kind = message === undefined ? [] : ['--annotate', '--message', message];
  await git(directory, ['tag', '--force', ...kind, name, await commitOf(directory, target)]);
}

async function commitOf(directory: string, name: string): Promise<string> {
  return git(directory, ['rev-parse', '--verify', `${name}^{commit}`]);
}
