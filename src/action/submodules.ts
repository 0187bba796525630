/** What main asks of the job's commit and its submodules, and with whose credentials their mirrors are fetched. */
import { describeError, throwIfCancelled } from '../lib/errors.ts';
import { dirname, join } from 'node:path';
import type { Job } from '../job/job.ts';
import type { PrimeResult } from '../prime/prime-workspace.ts';
import { openCommit, type JobCommit } from '../restore/job-commit.ts';
import type { MirrorSession } from '../restore/session.ts';
import type { Choice } from '../submodules/choose.ts';
import { readSubmodules } from '../submodules/read.ts';
import type { SubmoduleOptions } from '../submodules/restore-submodules.ts';
import { DEFAULTS } from './inputs/reader.ts';
import type { Settings } from './inputs/settings.ts';
import { parseRefs } from './inputs/upstream.ts';
import { restoreOptionsOf } from './step.ts';

/**
 * The commit that the job checks out, as far as it is known: LFS objects and submodules are found in its tree. Undefined
 * if nobody asks for them, or it is unavailable.
 */
export async function openJobCommit(
  { job, mirror }: MirrorSession,
  settings: Settings,
  primed: PrimeResult,
): Promise<JobCommit | undefined> {
  const { workspace, submodules, lfs } = settings;
  const oid = workspace?.commit ?? mirror.head?.oid;
  const forSubmodules = submodules !== 'none' && primed.result === 'primed';
  if (oid === undefined || !(lfs || forSubmodules)) return undefined;
  try {
    return await openCommit(job, mirror, oid, restoreOptionsOf(settings));
  } catch (error) {
    throwIfCancelled(job.signal);
    const missing = `Commit ${oid} is unavailable: ${describeError(error)}`;
    if (lfs) job.log.info(`${missing}. Using the LFS objects of upstream's HEAD`);
    if (forSubmodules) {
      job.account.fallBack(`Submodules are left to actions/checkout. ${missing}`, error);
    }
    return undefined;
  }
}

/** The submodules of the job's commit; undefined where none is asked for, or none can be primed. */
export async function findSubmodules(
  job: Job,
  settings: Settings,
  primed: PrimeResult,
  commit: JobCommit | undefined,
): Promise<Choice | undefined> {
  const { workspace, submodules, upstream } = settings;
  if (submodules === 'none') return undefined;
  if (workspace === undefined || primed.result !== 'primed') {
    job.log.info('Submodules are left to actions/checkout: the workspace is not primed');
    return undefined;
  }
  if (commit === undefined) return undefined;
  try {
    return await readSubmodules(job.git, commit, workspace.remoteUrl, upstream.server);
  } catch (error) {
    throwIfCancelled(job.signal);
    const reason = describeError(error);
    job.account.fallBack(`Submodules are left to actions/checkout: ${reason}`, error);
    return undefined;
  }
}

export function submoduleOptionsOf(
  settings: Settings,
  { store }: Job,
  onOpen: SubmoduleOptions['onOpen'],
): SubmoduleOptions {
  const { upstream, cacheKey, submodules, workspace, mirrorPath, runner } = settings;
  if (workspace === undefined) throw new Error('submodules without a workspace');
  // Each in a place of its own, beside a place that was chosen for the job's repository.
  const folder = mirrorPath === undefined ? runner.mirrorsFolder : dirname(mirrorPath);
  return {
    folder: workspace.folder,
    isRecursive: submodules === 'recursive',
    server: upstream.server,
    restore: {
      ...restoreOptionsOf(settings),
      isPlaceChosen: false,
      placeOf: (key) => join(folder, `${key}.git`),
    },
    // Not those of the job's repository: jobs of other repositories share these snapshots.
    specOf: (url) => ({ url, refspecs: parseRefs(DEFAULTS.refs), depth: 'full', cacheKey }),
    findAnonymousReason: (url) =>
      store === undefined ? undefined : findAnonymousReason(settings, url),
    onOpen,
  };
}

/**
 * Pull requests, those of forks too, can read what the default branch has saved to the Actions cache. So only
 * repositories that anybody can read go there, unless it is allowed: these are fetched without credentials.
 */
export function findAnonymousReason(
  {
    store,
    upstream,
    cachesPrivateSubmodules,
  }: Pick<Settings, 'store' | 'upstream' | 'cachesPrivateSubmodules'>,
  url: string,
): string | undefined {
  const isAllowed = cachesPrivateSubmodules || url === upstream.url;
  if (store.kind !== 'actions-cache' || isAllowed) return undefined;
  return 'cannot be read without credentials, and everybody who can open a pull request could read a snapshot of it in the Actions cache; `cache-private-submodules: true` allows that';
}
