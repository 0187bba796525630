/**
 * The file `shallow` of a tip mirror, and of a workspace primed from one: the commits whose parents git takes for
 * absent. A wrong one hides history or makes git fail, so it is never taken over from a store, a server or
 * whoever could write there: it is always made from the refs.
 */
import { join } from 'node:path';
import type { Git } from '../git/git.ts';
import { writeWhole } from '../lib/files.ts';
import { SHALLOW_FILE } from './directory.ts';
import { readObjects } from './objects.ts';
import type { Depth } from './refs.ts';

/**
 * Makes the commits that these ids name, or are tags of, all the history there is; nothing is done where all of it is
 * there. Throws `corrupt-mirror`.
 */
export async function limitHistory(
  git: Git,
  gitDirectory: string,
  depth: Depth,
  oids: readonly string[],
): Promise<void> {
  if (depth === 'full') return;
  const commits = await peelToCommits(git, gitDirectory, oids);
  const lines = [...new Set(commits)].sort().map((oid) => `${oid}\n`);
  await writeWhole(join(gitDirectory, SHALLOW_FILE), lines.join(''));
}

/** Without those that name something else, such as a file. */
async function peelToCommits(
  git: Git,
  gitDirectory: string,
  oids: readonly string[],
): Promise<string[]> {
  if (oids.length === 0) return [];
  const command = {
    gitDirectory,
    args: ['cat-file', '--buffer', '--batch-check=%(objectname)'],
    stdin: oids.map((oid) => `${oid}^{commit}\n`).join(''),
  };
  const output = await readObjects(git, command, 'reading what refs point at');
  return output
    .toString('latin1')
    .split('\n')
    .filter((answer) => /^[0-9a-f]+$/.test(answer));
}
