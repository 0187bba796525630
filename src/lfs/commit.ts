/** The commits whose LFS objects a job needs. */
import { isSuccess } from '../git/git.ts';
import { watchRepository } from '../git/signs-of-life.ts';
import type { Job } from '../job/job.ts';
import { removeTree } from '../lib/files.ts';
import { borrowObjects } from '../mirror/borrow.ts';
import { hasCommit } from '../mirror/objects.ts';
import type { RestoredMirror } from '../restore/session.ts';
import type { MirrorSpec } from '../snapshot/identity.ts';
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
  const { spec, objectFormat } = mirror.identity;
  const lender = { path: mirror.path, objectFormat, depth: spec.depth };
  const side = await borrowObjects(lender, job.temporaryFolder);
  try {
    if (await fetchCommit(job, spec, commit, side, limits)) {
      return { ofJob: await listObjects(git, side, commit), ofHead };
    }
    log.info(`Commit ${commit} could not be fetched; using the LFS objects of upstream's HEAD`);
    return { ofJob: ofHead, ofHead };
  } finally {
    await removeTree(side);
  }
}

/** Fetches a commit that no mirrored ref reaches, such as a pull request's merge. False if upstream doesn't give it. */
async function fetchCommit(
  job: Job,
  { url, depth }: MirrorSpec,
  commit: string,
  side: string,
  { fetchTimeoutMs: timeoutMs, stallTimeoutMs: stallMs }: FetchLimits,
): Promise<boolean> {
  const options = ['--no-tags', '--no-write-fetch-head', '--quiet'];
  if (depth === 'tip') options.push('--depth=1');
  const refspec = `+${commit}:refs/heads/job`;
  const fetched = await job.git.run({
    gitDirectory: side,
    args: ['fetch', ...options, '--', url, refspec],
    access: job.accessOf(url),
    ...{ timeoutMs, stallMs, signsOfLife: await watchRepository(side) },
  });
  return isSuccess(fetched);
}
