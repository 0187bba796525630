/**
 * The file `shallow` of a tip mirror, and of a workspace primed from one: the commits whose parents git treats as
 * absent. A wrong one hides history or makes git fail. So it is always made from the refs, and never taken from a store,
 * a server or the mirror's folder.
 */
import { join } from 'node:path';
import type { Git } from '../git/git.ts';
import { writeWhole } from '../lib/files.ts';
import { SHALLOW_FILE } from './directory.ts';
import { describeObjects } from './objects.ts';
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
  const names = oids.map((oid) => `${oid}^{commit}`);
  const answers = await describeObjects(git, gitDirectory, '%(objectname)', names);
  // git answers in words for what is no commit, such as a file.
  const commits = answers.filter((answer) => /^[0-9a-f]+$/.test(answer));
  const lines = [...new Set(commits)].sort().map((oid) => `${oid}\n`);
  await writeWhole(join(gitDirectory, SHALLOW_FILE), lines.join(''));
}
