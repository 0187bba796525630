/** The `.git` of a primed workspace, without its objects and refs. */
import { appendFile, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import type { Git } from '../git/git.ts';
import type { ObjectFormat } from '../mirror/refs.ts';
import { BRANCHES, REMOTE_BRANCHES } from './refs.ts';

/** Makes an empty repository as a checkout would: with the machine's templates, and as this file system is. */
export async function initialize(
  git: Git,
  gitDirectory: string,
  objectFormat: ObjectFormat,
): Promise<void> {
  const workTree = `--work-tree=${dirname(gitDirectory)}`;
  const args = [workTree, 'init', '--quiet', `--object-format=${objectFormat}`];
  const command = { gitDirectory, args, configuration: 'machine' } as const;
  await git.readBrief(command, `creating ${gitDirectory}`);
}

/** Appends to what `git init` wrote: each `git config` would cost a process. */
export async function configure(
  gitDirectory: string,
  remoteUrl: string,
  workers: number | undefined,
): Promise<void> {
  const quoted = `"${remoteUrl.replaceAll(/["\\]/g, String.raw`\$&`)}"`;
  const lines = [
    // The last line of a template may have no line end.
    '',
    '[remote "origin"]',
    `\turl = ${quoted}`,
    `\tfetch = +${BRANCHES}*:${REMOTE_BRANCHES}*`,
    ...(workers === undefined ? [] : ['[checkout]', `\tworkers = ${String(workers)}`]),
    '',
  ];
  await appendFile(join(gitDirectory, 'config'), lines.join('\n'));
}

/** More would wait for the same disk. */
const MAX_WORKERS = 16;

/**
 * How many processes should write the files of a checkout: one for each processor. 4,000 files of 74 MB took
 * one process 1.0 s, and two 0.3 s. Undefined for git's own choice, where the machine's configuration makes one,
 * or `commits` have an `.lfsconfig`: workers may write it after the files that git-lfs filters by it.
 */
export async function chooseWorkers(
  git: Git,
  gitDirectory: string,
  commits: readonly string[],
): Promise<number | undefined> {
  // Not git's `0`: that counts the machine's processors, not those that a container may use.
  const workers = Math.min(availableParallelism(), MAX_WORKERS);
  if (workers === 1) return undefined;
  const args = ['config', '--get', 'checkout.workers'];
  const isSet = await git.runBrief({ gitDirectory, args, configuration: 'machine' });
  if (isSet.exitCode === 0 || (await hasLfsConfig(git, gitDirectory, commits))) return undefined;
  return workers;
}

async function hasLfsConfig(
  git: Git,
  gitDirectory: string,
  commits: readonly string[],
): Promise<boolean> {
  const stdin = commits.map((oid) => `${oid}:.lfsconfig\n`).join('');
  const args = ['cat-file', '--batch-check=%(objecttype)'];
  const output = await git.read({ gitDirectory, args, stdin }, `reading ${gitDirectory}`);
  return /^blob$/m.test(output.toString('latin1'));
}

/**
 * Puts HEAD at a commit of this workspace only, which has no files. actions/checkout deletes a repository
 * if `git reset --hard HEAD` fails. At one of upstream's commits that reset would write all its files before
 * sparse checkout and LFS are set up: it would fail, or leave pointers that no later checkout replaces.
 *
 * The commit is new: when git leaves it, git looks for refs that contain it, and ends at older commits.
 */
export async function detachHead(git: Git, gitDirectory: string): Promise<void> {
  const run = async (...args: string[]): Promise<string> => {
    const output = await git.readBrief({ gitDirectory, args }, `setting HEAD of ${gitDirectory}`);
    return output.toString('latin1').trim();
  };
  // The empty tree.
  const tree = await run('hash-object', '-t', 'tree', '-w', '/dev/null');
  const commit = await run(...AUTHOR, 'commit-tree', '-m', 'Nothing is checked out yet', tree);
  await writeFile(join(gitDirectory, 'HEAD'), `${commit}\n`);
}

const AUTHOR = ['-c', 'user.name=mirror-action', '-c', 'user.email=mirror-action@localhost'];
