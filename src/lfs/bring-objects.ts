/**
 * Use case of the main step: the LFS objects of the job's commit, next to the mirror whose lock is held. What is
 * on this machine is used first, then what the stores have; git-lfs downloads the rest.
 *
 * Nothing here fails the job: what is missing is downloaded by the checkout, as it would be without a mirror.
 */
import { bindSignal, type Job } from '../job/job.ts';
import { describeError, throwIfCancelled } from '../lib/errors.ts';
import type { Acquisition } from '../locks/lock.ts';
import type { JobCommit } from '../restore/job-commit.ts';
import type { MirrorSession, RestoredMirror } from '../restore/session.ts';
import type { SaveResult } from '../save/decide.ts';
import type { SaveOptions } from '../save/save-snapshot.ts';
import { deriveLfsKey } from '../snapshot/identity.ts';
import {
  layersOf,
  openCollections,
  restoreLayers,
  type Collection,
  type RestoreTarget,
} from './collection.ts';
import { downloadMissing } from './download-missing.ts';
import type { LfsFailure } from './git-lfs.ts';
import { findSound, objectsFolder, sweepWork } from './objects.ts';
import { amountOf, listObjects, type Amount, type LfsObject } from './pointers.ts';
import type { PrimedObjects } from './prime-objects.ts';
import { saveUnderLock, type LfsSave } from './save-objects.ts';

export interface LfsOptions {
  /** What the job checks out, where it is known and there; otherwise it is taken to be upstream's HEAD. */
  commit: JobCommit | undefined;
  /** How long all downloads may take, in milliseconds. */
  fetchTimeoutMs: number;
  /** How long the LFS server may show no sign of life, in milliseconds; Infinity: as long as it likes. */
  stallTimeoutMs: number;
  /** How long to wait for another job that downloads the same objects, in milliseconds. */
  lockTimeoutMs: number;
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

export interface BroughtObjects {
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
    const { url, cacheKey } = mirror.identity.spec;
    const folder = objectsFolder(mirror.path);
    const target = { key: deriveLfsKey(url, cacheKey), folder, damaged: new Set<string>() };
    await sweepWork(folder);
    return await bring({ job, mirror, options, target, needed });
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
  target: RestoreTarget;
  needed: NeededObjects;
}

async function bring(bringing: Bringing): Promise<BroughtObjects> {
  const { job, mirror, options, target, needed } = bringing;
  const { folder } = target;
  const lacking = new Lacking(needed.ofJob);
  const sound = await job.account.measure('lfs-check', () =>
    findSound(folder, needed.ofJob, job.signal),
  );
  const existing = lacking.take(sound);
  const restored: LfsObject[] = [];
  const restore = async (): Promise<Collection | undefined> => {
    if (lacking.isEmpty) return undefined;
    const found = await restoreFromStores(bringing, lacking);
    restored.push(...found.objects);
    return found.own;
  };
  const own = await restore();
  const claim = await contend(bringing, lacking, own);
  try {
    if (claim?.outcome === 'not-needed') await restore();
    const { arrived, failure } = await downloadMissing(job, {
      ...{ url: mirror.identity.spec.url, folder, missing: lacking.objects },
      ...{ total: needed.ofJob.length, ...options },
    });
    const downloaded = lacking.take(arrived);
    const save = describeSave(bringing);
    const early = downloaded.length > 0 ? await saveEarly(job, options, save, claim) : undefined;
    const hasRight = claim?.outcome === 'acquired' && claim.hold.staysTaken;
    const isClaimed = hasRight && early?.result !== 'published';
    const here = [...existing, ...restored, ...downloaded];
    const outcome = {
      needed: amountOf(needed.ofJob),
      existing: amountOf(existing),
      restored: amountOf(restored),
      downloaded: amountOf(downloaded),
      missing: amountOf(lacking.objects),
      failure: failure?.kind,
    };
    return { outcome, objects: here, folder, save: { ...save, isClaimed }, early };
  } finally {
    if (claim?.outcome === 'acquired') await claim.hold.release();
  }
}

/** What is still missing. */
class Lacking {
  readonly #objects: Map<string, LfsObject>;

  constructor(objects: readonly LfsObject[]) {
    this.#objects = new Map(objects.map((object) => [object.oid, object]));
  }

  get isEmpty(): boolean {
    return this.#objects.size === 0;
  }

  get objects(): LfsObject[] {
    return [...this.#objects.values()];
  }

  /** Those of the ids that were missing until now. */
  take(oids: ReadonlySet<string>): LfsObject[] {
    const taken = this.objects.filter(({ oid }) => oids.has(oid));
    for (const { oid } of taken) this.#objects.delete(oid);
    return taken;
  }
}

async function restoreFromStores(
  { job, mirror, target }: Bringing,
  lacking: Lacking,
): Promise<{ objects: LfsObject[]; own: Collection | undefined }> {
  const { url } = mirror.identity.spec;
  const stores = job.store === undefined ? [] : [job.store, ...job.otherStores];
  const collections = await openCollections(job, stores, target.key, url);
  const objects: LfsObject[] = [];
  let bytes = 0;
  const restoreAll = async (): Promise<void> => {
    for (const collection of collections) {
      const missing = new Set(lacking.objects.map(({ oid }) => oid));
      const restored = await restoreLayers(job, collection, missing, target);
      objects.push(...lacking.take(restored.oids));
      bytes += restored.bytes;
    }
  };
  const missing = new Set(lacking.objects.map(({ oid }) => oid));
  const isWorthIt = collections.some((each) => layersOf(each, missing).length > 0);
  if (isWorthIt) await job.account.measure('lfs-restore', restoreAll, () => bytes);
  return { objects, own: collections.find(({ store }) => store === job.store) };
}

/**
 * The right to download what is missing, for all jobs that start at the same time. A job that waits for another
 * finds a new snapshot then.
 */
async function contend(
  { job, options, target }: Bringing,
  lacking: Lacking,
  own: Collection | undefined,
): Promise<Acquisition | undefined> {
  const { claimOf, signal, log, account } = job;
  const { early, lockTimeoutMs: timeoutMs } = options;
  if (early === undefined || lacking.isEmpty || own === undefined || claimOf === undefined) {
    return undefined;
  }
  const { key } = target;
  const onWait = (holder = 'another job'): void => {
    log.info(`Waiting for ${holder}, which downloads LFS objects`);
  };
  return account.measure('claim', () =>
    claimOf(key, own.number + 1).acquire({ timeoutMs, signal, onWait }),
  );
}

function describeSave({ mirror, target, needed }: Bringing): LfsSave {
  const { path, isPrivate, identity } = mirror;
  const all = new Map([...needed.ofHead, ...needed.ofJob].map((each) => [each.oid, each.size]));
  return {
    ...{ key: target.key, upstream: identity.spec.url, mirror: path, isPrivate },
    ...{ needed: [...all], damaged: [...target.damaged], isClaimed: false },
  };
}

/** Undefined if it isn't wanted or failed: post tries again. */
async function saveEarly(
  job: Job,
  { early }: LfsOptions,
  save: LfsSave,
  claim: Acquisition | undefined,
): Promise<SaveResult | undefined> {
  if (early === undefined || job.store === undefined) return undefined;
  const hold = claim?.outcome === 'acquired' ? claim.hold : undefined;
  const bound = hold === undefined ? job : bindSignal(job, hold.lost);
  try {
    const claimed = { ...save, isClaimed: hold !== undefined };
    return await saveUnderLock(bound, job.store, claimed, early);
  } catch (error) {
    throwIfCancelled(job.signal);
    const reason = `LFS objects were not saved early, post will try again: ${describeError(error)}`;
    job.account.fallBack(reason, error);
    return undefined;
  }
}
