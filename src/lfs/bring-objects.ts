/**
 * Use case of the main step: the LFS objects of the job's commit, next to the mirror whose lock is held. What is
 * on this machine is used first, then what the stores have; git-lfs downloads the rest.
 *
 * Nothing here fails the job: what is missing is downloaded by the checkout, as it would be without a mirror.
 */
import type { Job } from '../job/job.ts';
import { describeError, throwIfCancelled } from '../lib/errors.ts';
import type { Acquisition } from '../locks/lock.ts';
import type { JobCommit } from '../restore/job-commit.ts';
import type { MirrorSession, RestoredMirror, RestoreOptions } from '../restore/session.ts';
import type { SaveResult } from '../save/decide.ts';
import type { SaveOptions } from '../save/save.ts';
import { deriveLfsKey } from '../snapshot/identity.ts';
import { openCollections, restoreObjects, type Collection, type LfsPlace } from './collection.ts';
import { downloadMissing } from './download-missing.ts';
import type { LfsFailure } from './git-lfs.ts';
import { findSound, objectsFolder, sweepWork } from './objects.ts';
import { amountOf, listObjects, type Amount, type LfsObject } from './pointers.ts';
import type { PrimedObjects } from './prime-objects.ts';
import { saveLfsEarly, type LfsSave } from './save-objects.ts';

export interface LfsOptions extends Pick<
  RestoreOptions,
  'fetchTimeoutMs' | 'stallTimeoutMs' | 'lockTimeoutMs'
> {
  /** What the job checks out, where it is known and there; otherwise it is taken to be upstream's HEAD. */
  commit: JobCommit | undefined;
  /** If set, what was downloaded is saved before the step ends, once for all jobs that wait. */
  early: SaveOptions | undefined;
}

export interface LfsOutcome {
  /** What the commit needs. */
  needed: Amount;
  /** What was on this machine. */
  existing: Amount;
  restored: Amount;
  downloaded: Amount;
  missing: Amount;
  /** In the workspace; undefined if that wasn't primed. */
  primed?: PrimedObjects;
  failure: LfsFailure | undefined;
}

interface BroughtObjects {
  outcome: LfsOutcome;
  /** Those that are here, verified. */
  objects: readonly LfsObject[];
  folder: string;
  /** For post. */
  save: LfsSave;
  /** What became of an early save. */
  early: SaveResult | undefined;
}

/**
 * Brings what it can, and warns of the rest once. Throws only if the job was cancelled or the mirror's lock
 * was lost.
 */
export async function bringLfsObjects(
  { job, mirror }: Pick<MirrorSession, 'job' | 'mirror'>,
  options: LfsOptions,
): Promise<BroughtObjects | undefined> {
  try {
    const needed = await job.account.measure('lfs-check', () =>
      listNeeded(job, mirror, options.commit),
    );
    const { url: upstream, cacheKey } = mirror.identity.spec;
    const folder = objectsFolder(mirror.path);
    const key = deriveLfsKey(upstream, cacheKey);
    const place = { key, upstream, folder, damaged: new Set<string>() };
    await sweepWork(folder);
    return await bring({ job, mirror, options, place, needed, sources: new Map() });
  } catch (error) {
    throwIfCancelled(job.signal);
    const reason = describeError(error);
    job.account.fallBack(`LFS objects are left to the checkout: ${reason}`, error);
    return undefined;
  }
}

interface NeededObjects {
  /** What the job's checkout needs. */
  ofJob: LfsObject[];
  /** What upstream's HEAD needs: other jobs will ask for these. */
  ofHead: LfsObject[];
}

async function listNeeded(
  { git }: Job,
  { path, head }: RestoredMirror,
  commit: JobCommit | undefined,
): Promise<NeededObjects> {
  const ofHead = head === undefined ? [] : await listObjects(git, path, head.oid);
  if (commit === undefined || commit.oid === head?.oid) return { ofJob: ofHead, ofHead };
  return { ofJob: await listObjects(git, commit.gitDirectory, commit.oid), ofHead };
}

interface Bringing {
  job: Job;
  mirror: RestoredMirror;
  options: LfsOptions;
  place: LfsPlace;
  needed: NeededObjects;
  /** Where the objects came from that are here, by their ids. */
  sources: Map<string, 'existing' | 'restored' | 'downloaded'>;
}

async function bring(bringing: Bringing): Promise<BroughtObjects> {
  const { job, options, place, sources } = bringing;
  const { upstream: url, folder } = place;
  const { ofJob } = bringing.needed;
  const sound = await job.account.measure('lfs-check', () => findSound(folder, ofJob, job.signal));
  for (const oid of sound) sources.set(oid, 'existing');
  const own = await restoreMissing(bringing);
  const claim = await contend(bringing, own);
  const hold = claim?.outcome === 'acquired' ? claim.hold : undefined;
  try {
    if (claim?.outcome === 'not-needed') await restoreMissing(bringing);
    const wish = { url, folder, missing: listMissing(bringing), ...options };
    const { arrived, failure } = await downloadMissing(job, wish, ofJob.length);
    for (const oid of arrived) sources.set(oid, 'downloaded');
    const save = describeSave(bringing);
    const wanted = arrived.size > 0 ? options.early : undefined;
    const early = wanted && (await saveLfsEarly(job, save, wanted, hold));
    const isClaimed = hold?.staysTaken === true && early?.result !== 'published';
    const objects = ofJob.filter(({ oid }) => sources.has(oid));
    const outcome = { ...describeSources(bringing), failure: failure?.kind };
    return { outcome, objects, folder, save: { ...save, isClaimed }, early };
  } finally {
    await hold?.release();
  }
}

function listMissing({ needed, sources }: Bringing): LfsObject[] {
  return needed.ofJob.filter(({ oid }) => !sources.has(oid));
}

function describeSources(bringing: Bringing) {
  const { ofJob } = bringing.needed;
  const bySource = Map.groupBy(ofJob, ({ oid }) => bringing.sources.get(oid) ?? 'missing');
  return {
    needed: amountOf(ofJob),
    existing: amountOf(bySource.get('existing') ?? []),
    restored: amountOf(bySource.get('restored') ?? []),
    downloaded: amountOf(bySource.get('downloaded') ?? []),
    missing: amountOf(bySource.get('missing') ?? []),
  };
}

/** Restores what the stores have; returns what the job's own store has, if it was asked. */
async function restoreMissing(bringing: Bringing): Promise<Collection | undefined> {
  const { job, place, sources } = bringing;
  const missing = listMissing(bringing);
  if (missing.length === 0 || job.store === undefined) return undefined;
  const collections = await openCollections(job, [job.store, ...job.otherStores], place);
  const restored = await restoreObjects(job, collections, missing, place);
  // A layer may bring others, which were here.
  for (const { oid } of missing) if (restored.has(oid)) sources.set(oid, 'restored');
  return collections.find(({ store }) => store === job.store);
}

/**
 * The right to download what is missing, for all jobs that start at the same time. A job that waits for another
 * finds a new snapshot then.
 */
async function contend(
  bringing: Bringing,
  own: Collection | undefined,
): Promise<Acquisition | undefined> {
  const { claimOf, signal, log, account } = bringing.job;
  const { early, lockTimeoutMs: timeoutMs } = bringing.options;
  const isDone = listMissing(bringing).length === 0;
  if (early === undefined || isDone || own === undefined || claimOf === undefined) return undefined;
  const onWait = (holder = 'another job'): void => {
    log.info(`Waiting for ${holder}, which downloads LFS objects`);
  };
  const claim = await account.measure('claim', () =>
    claimOf(bringing.place.key, own.number + 1).acquire({ timeoutMs, signal, onWait }),
  );
  // A job that may only read says so when it saves.
  if (claim.outcome === 'unavailable' && claim.isReadOnly !== true) {
    log.info(`Downloading LFS objects without a claim: ${claim.reason}`);
  }
  return claim;
}

function describeSave({ mirror, place, needed }: Bringing): LfsSave {
  const { path, isPrivate } = mirror;
  const { key, upstream, damaged } = place;
  const all = new Map([...needed.ofHead, ...needed.ofJob].map((each) => [each.oid, each.size]));
  return {
    key,
    upstream,
    path,
    isPrivate,
    needed: [...all],
    damaged: [...damaged],
    isClaimed: false,
  };
}
