/** The commits whose LFS objects a job needs. */
import { copyFile, mkdtemp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isSuccess, type Git } from '../git/git.ts';
import { watchRepository } from '../git/signs-of-life.ts';
import type { Job } from '../job/job.ts';
import { systemCode } from '../lib/errors.ts';
import { removeTree } from '../lib/files.ts';
import { layOut } from '../mirror/directory.ts';
import type { RestoredMirror } from '../restore/session.ts';
import { listObjects, type LfsObject } from './pointers.ts';

/** In milliseconds. */
export interface FetchLimits {
  fetchTimeoutMs: number;
  /** How long upstream may show no sign of life; Infinity: as long as it likes. */
  stallTimeoutMs: number;
}

export interface NeededObjects {
  /** What the job's checkout needs. */
  ofJob: LfsObject[];
  /** What upstream's HEAD needs: other jobs will ask for these. */
  ofHead: LfsObject[];
}

/** The objects of the job's commit, or of upstream's HEAD where there is none or it can't be fetched. */
export async function listNeeded(
  job: Job,
  mirror: Pick<RestoredMirror, 'identity' | 'path' | 'head'>,
  commit: string | undefined,
  limits: FetchLimits,
): Promise<NeededObjects> {
  const { git, log } = job;
  const head = mirror.head?.oid;
  const ofHead = head === undefined ? [] : await listObjects(git, mirror.path, head);
  if (commit === undefined || commit === head) return { ofJob: ofHead, ofHead };
  if (await hasCommit(git, mirror.path, commit)) {
    return { ofJob: await listObjects(git, mirror.path, commit), ofHead };
  }
  const side = await mkdtemp(join(job.temporaryFolder, 'commit-'));
  try {
    if (await fetchBeside(job, mirror, commit, side, limits)) {
      return { ofJob: await listObjects(git, side, commit), ofHead };
    }
    log.info(`Commit ${commit} could not be fetched; using the LFS objects of upstream's HEAD`);
    return { ofJob: ofHead, ofHead };
  } finally {
    await removeTree(side);
  }
}

async function hasCommit(git: Git, gitDirectory: string, commit: string): Promise<boolean> {
  return isSuccess(await git.run({ gitDirectory, args: ['cat-file', '-e', `${commit}^{commit}`] }));
}

/**
 * Fetches a commit that no mirrored ref reaches, such as a pull request's merge, into a repository of its own
 * that borrows the mirror's objects. False if upstream doesn't give it.
 */
async function fetchBeside(
  job: Job,
  { identity, path }: Pick<RestoredMirror, 'identity' | 'path'>,
  commit: string,
  side: string,
  { fetchTimeoutMs: timeoutMs, stallTimeoutMs: stallMs }: FetchLimits,
): Promise<boolean> {
  await layOut(side, identity.objectFormat);
  await writeFile(join(side, 'objects', 'info', 'alternates'), `${join(path, 'objects')}\n`);
  const isShallow = await copyIfThere(join(path, 'shallow'), join(side, 'shallow'));
  const { url } = identity.spec;
  const options = ['--no-tags', '--no-write-fetch-head', '--quiet'];
  const depth = isShallow ? ['--depth=1'] : [];
  const refspec = `+${commit}:refs/heads/job`;
  const fetched = await job.git.run({
    gitDirectory: side,
    args: ['fetch', ...options, ...depth, '--', url, refspec],
    access: job.accessOf(url),
    ...{ timeoutMs, stallMs, signsOfLife: await watchRepository(side) },
  });
  return isSuccess(fetched);
}

async function copyIfThere(from: string, to: string): Promise<boolean> {
  try {
    await copyFile(from, to);
    return true;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false;
    throw error;
  }
}
