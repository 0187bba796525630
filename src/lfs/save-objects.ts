/**
 * Use case of the post step: publish LFS objects that the store lacks. Objects are named by their content, so it
 * doesn't matter which job saves first: a new snapshot builds on the newest one, whatever that is.
 */
import { dirname } from 'node:path';
import * as v from 'valibot';
import type { Job } from '../job/job.ts';
import { describeError, hasCode } from '../lib/errors.ts';
import { mapEachOf } from '../lib/parallel.ts';
import { withProgress } from '../lib/progress.ts';
import { underClaim } from '../save/claimed.ts';
import { TOO_YOUNG, type SaveResult } from '../save/decide.ts';
import { SAVE_LOCK_TIMEOUT_MS, underLock } from '../save/locked.ts';
import { describeWriter, publishManifest } from '../save/publish.ts';
import { retain } from '../save/retention.ts';
import type { SaveOptions } from '../save/save-snapshot.ts';
import type { LfsLayer, LfsSnapshot } from '../snapshot/manifest.ts';
import { withTransferDeadline } from '../snapshot/transfer.ts';
import type { Store } from '../stores/store.ts';
import {
  bundlePath,
  describeLayer,
  filesOf,
  openCollection,
  openCollections,
  type Collection,
} from './collection.ts';
import { bundleObjects, findPresent, objectsFolder, sweepWork, tidyObjects } from './objects.ts';
import { MAX_MERGED_BYTES, objectsOf, planLfsSave, type LfsSavePlan } from './plan.ts';
import type { LfsObject } from './pointers.ts';

/** What main leaves for post. */
export const lfsSaveSchema = v.strictObject({
  key: v.string(),
  upstream: v.string(),
  /** The mirror's path. */
  mirror: v.string(),
  isPrivate: v.boolean(),
  /** Of upstream's HEAD and the job's commit: `[object id, size]`. */
  needed: v.array(v.tuple([v.string(), v.number()])),
  /** Names of layers that were found damaged. */
  damaged: v.array(v.string()),
  /** Whether this job still has main's claim on the next snapshot. */
  isClaimed: v.boolean(),
});

export type LfsSave = v.InferOutput<typeof lfsSaveSchema>;

function placeOf({ mirror: path, isPrivate }: LfsSave) {
  return { path, isPrivate };
}

/** Saves under the mirror's lock. Throws the named failure of the store, which then shows nothing new. */
export async function saveLfsObjects(
  job: Job,
  save: LfsSave,
  options: SaveOptions,
): Promise<SaveResult> {
  const { store } = job;
  if (store === undefined) return skip('there is no store');
  const saved = await underLock(job, placeOf(save), SAVE_LOCK_TIMEOUT_MS, (bound) =>
    saveUnderLock(bound, store, save, options),
  );
  return saved ?? skip(`another job is using ${save.mirror}`);
}

/** Removes what no job of this machine needed for long. Never throws. */
export async function tidyLfsObjects(job: Job, save: LfsSave): Promise<void> {
  if (save.isPrivate || job.signal.aborted) return;
  const folder = objectsFolder(save.mirror);
  try {
    await underLock(job, placeOf(save), 0, () => tidyObjects(folder, Date.now()));
  } catch (error) {
    job.account.recover(`${folder} is not tidied: ${describeError(error)}`, error);
  }
}

/** The same for a job that has the mirror's lock already. */
export async function saveUnderLock(
  job: Job,
  store: Store,
  save: LfsSave,
  options: SaveOptions,
): Promise<SaveResult> {
  try {
    return await decideAndSave(job, store, save, options);
  } catch (error) {
    if (!hasCode(error, 'store-read-only')) throw error;
    return skip(error.message);
  }
}

function skip(reason: string): SaveResult {
  return { result: 'skipped', reason };
}

/** One save, alone at the mirror's place. */
interface Saving {
  job: Job;
  store: Store;
  save: LfsSave;
  options: SaveOptions;
  plan: LfsSavePlan;
  /** The snapshot's. */
  number: number;
}

async function decideAndSave(
  job: Job,
  store: Store,
  save: LfsSave,
  options: SaveOptions,
): Promise<SaveResult> {
  const { key, upstream, isClaimed } = save;
  if (save.needed.length === 0) return skip('neither commit has LFS objects');
  const newest = await openCollection(job, store, key, upstream);
  const others = await openCollections(job, job.otherStores, key, upstream);
  const plan = await makePlan(job, newest, others, save);
  if (plan.objects.length === 0) {
    const [{ id } = newest] = [newest, ...others].filter(({ layers }) => layers.length > 0);
    return id === '' ? skip('no LFS object is on this machine') : { result: 'unchanged', id };
  }
  if (Date.now() - newest.createdAt < options.leastAgeMs) return skip(TOO_YOUNG);
  const number = newest.number + 1;
  const work = (bound: Job) => publish({ job: bound, store, save, options, plan, number });
  return isClaimed ? work(job) : underClaim({ job, key, number }, work);
}

async function makePlan(
  { signal }: Job,
  { store, layers: all }: Collection,
  others: readonly Collection[],
  { key, mirror, needed: listed, damaged }: LfsSave,
): Promise<LfsSavePlan> {
  const sound = all.filter(({ name }) => !damaged.includes(name));
  const isThere = await mapEachOf(sound, 4, signal, ({ name }, bounded) =>
    store.hasLayer(key, name, bounded),
  );
  const layers = sound.filter((_, index) => isThere[index]);
  const needed = listed.map(([oid, size]): LfsObject => ({ oid, size }));
  const mergeable = layers.filter(({ bytes }) => bytes <= MAX_MERGED_BYTES);
  const candidates = [...needed, ...mergeable.flatMap(objectsOf)];
  const here = await findPresent(objectsFolder(mirror), candidates);
  const elsewhere = others.flatMap((other) => other.layers).flatMap(objectsOf);
  return planLfsSave({ layers, needed, here, elsewhere: new Set(elsewhere.map(({ oid }) => oid)) });
}

/** Stores the new layer, then the manifest. */
async function publish(saving: Saving): Promise<SaveResult> {
  const { job, store, save, plan, options } = saving;
  const { key, mirror } = save;
  const { account } = job;
  const layer = describeLayer(plan.objects);
  const folder = objectsFolder(mirror);
  const manifest = describeSnapshot(saving, layer);
  const published = await account.measure(
    'upload',
    async () => {
      try {
        await writeAndPut(saving, folder, layer);
        return await publishManifest(store, key, manifest, job.signal);
      } finally {
        await sweepWork(folder);
      }
    },
    () => layer.bytes,
  );
  if (published.is === 'superseded') return { result: 'superseded', number: published.number };
  await retain(job, store, key, options.maxSnapshots);
  return { result: 'published', id: published.id, bytes: layer.bytes + published.content.length };
}

async function writeAndPut(
  { job, store, save, plan }: Saving,
  folder: string,
  layer: LfsLayer,
): Promise<void> {
  const bundle = bundlePath(folder);
  const { log } = job;
  await withProgress(log, 'reading LFS objects', layer.bytes, (onBytes) =>
    bundleObjects(folder, plan.objects, bundle, { signal: job.signal, onBytes }),
  );
  await withProgress(log, 'saving LFS objects', layer.bytes, (onBytes) =>
    withTransferDeadline(job.signal, (signal) =>
      store.putLayer(save.key, filesOf(layer), dirname(bundle), { signal, onBytes }),
    ),
  );
}

function describeSnapshot(
  { job, save, options, plan, number }: Saving,
  layer: LfsLayer,
): LfsSnapshot {
  return {
    ...describeWriter(job, options, number),
    kind: 'lfs-objects',
    upstream: save.upstream,
    layers: [...plan.shared, layer],
  };
}
