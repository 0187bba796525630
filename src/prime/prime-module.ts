/**
 * Gives a primed workspace the git directory of a submodule, so that `git submodule update` transfers only
 * what is new. git takes a module directory as it finds it, and fails the job over a bad one: so it is built
 * in a staging folder, verified, and renamed into its place.
 */
import { appendFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { makeFolder, renameStubbornly } from '../lib/files.ts';
import type { Job } from '../job/job.ts';
import { checkTrees } from '../mirror/objects.ts';
import { findDefaultBranch } from '../mirror/refs.ts';
import type { JobCommit } from '../restore/job-commit.ts';
import { buildRepository, withStaging, type PrimeSource } from './prime-workspace.ts';
import { BRANCHES, toTrackingRefs } from './refs.ts';

export interface ModuleTarget {
  /** The primed workspace. */
  folder: string;
  /** Names of the submodules that lead there, the outermost first. */
  names: readonly string[];
  /** As `git submodule init` resolves it. */
  remoteUrl: string;
  /** The commit that the tree above has for it. */
  commit: Pick<JobCommit, 'gitDirectory' | 'oid'>;
}

/** Primes a submodule from a mirror whose lock is held. Throws what went wrong; the place is then empty. */
export async function primeModule(
  job: Job,
  mirror: PrimeSource,
  { folder, names, remoteUrl, commit }: ModuleTarget,
): Promise<void> {
  const place = join(folder, '.git', ...names.flatMap((name) => ['modules', name]));
  const work = () =>
    withStaging(folder, async (gitDirectory) => {
      // A clone has a local branch for upstream's default one.
      const name = findDefaultBranch(mirror.head);
      const branch = mirror.refs.find((ref) => ref.name === name);
      const refs = [...(branch === undefined ? [] : [branch]), ...toTrackingRefs(mirror.refs)];
      const from = commit.gitDirectory === mirror.path ? [] : [commit.gitDirectory];
      const packs = await buildRepository(job, mirror, refs, {
        ...{ gitDirectory, remoteUrl, commits: [commit.oid], from: [mirror.path, ...from] },
      });
      if (branch !== undefined) await trackBranch(gitDirectory, branch.name);
      // git then finds the commit reachable and asks upstream nothing, even if it is on no branch.
      await writeFile(join(gitDirectory, 'HEAD'), `${commit.oid}\n`);
      await checkTrees(job.git, gitDirectory, [commit.oid]);
      await makeFolder(dirname(place));
      await renameStubbornly(gitDirectory, place);
      return packs;
    });
  await job.account.measure('prime', work, ({ copiedBytes }) => copiedBytes);
}

async function trackBranch(gitDirectory: string, branch: string): Promise<void> {
  const short = branch.slice(BRANCHES.length).replaceAll('"', String.raw`\"`);
  const merge = branch.replaceAll('"', String.raw`\"`);
  const text = `[branch "${short}"]\n\tremote = origin\n\tmerge = "${merge}"\n`;
  await appendFile(join(gitDirectory, 'config'), Buffer.from(text, 'latin1'));
}
