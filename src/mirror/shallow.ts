/**
 * The file `shallow` of a tip mirror, and of a workspace primed from one: the commits whose parents git treats as
 * absent. A wrong one hides history or makes git fail. So it is always made from the refs, and never taken from a store,
 * a server or the mirror's folder.
 */
import { join } from 'node:path';
import type { Git } from '../git/git.ts';
import { writeWhole } from '../lib/files.ts';
import { SHALLOW_FILE } from './directory.ts';
import { readObjects } from './objects.ts';
import type { Depth } from './refs.ts';

/**
 * Limits history to the commits that these ids name, directly or by tags. Does nothing for a mirror with full history.
 * Throws `corrupt-mirror`.
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

/** The commits that the ids name or peel to. Ids of other objects, such as files, are ignored. */
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
