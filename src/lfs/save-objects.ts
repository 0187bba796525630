/**
 * Use case of the post step: publish LFS objects that the store lacks. Objects are named by their content, so it
 * doesn't matter which job saves first: a new snapshot builds on the newest one, whatever that is.
 */
import * as v from 'valibot';
import type { Job } from '../job/job.ts';
import { describeError } from '../lib/errors.ts';
import { mapEachOf } from '../lib/parallel.ts';
import type { Hold } from '../locks/lock.ts';
import { underClaim } from '../save/claimed.ts';
import { TOO_YOUNG, skip, type SaveResult } from '../save/decide.ts';
import { saveEarly, saveUnderLock, underLock } from '../save/locked.ts';
import { describeWriter, publishManifest } from '../save/publish.ts';
import { retain } from '../save/retention.ts';
import type { SaveOptions } from '../save/save.ts';
import type { LfsSnapshot } from '../snapshot/manifest.ts';
import type { Store } from '../stores/store.ts';
import {
  describeLayer,
  openCollection,
  openCollections,
  storeLayer,
  type Collection,
} from './collection.ts';
import { listPresent, objectsFolder, tidyObjects } from './objects.ts';
import { objectsOf, planLfsSave, type LfsSavePlan } from './plan.ts';

/** What main leaves for post. */
export const lfsSaveSchema = v.strictObject({
  key: v.string(),
  upstream: v.string(),
  /** The mirror's. */
  path: v.string(),
  isPrivate: v.boolean(),
  /** Of upstream's HEAD and the job's commit: `[object id, size]`. */
  needed: v.array(v.tuple([v.string(), v.number()])),
  /** Names of layers that were found damaged. */
  damaged: v.array(v.string()),
  /** Whether this job still has main's claim on the next snapshot. */
  isClaimed: v.boolean(),
});

export type LfsSave = v.InferOutput<typeof lfsSaveSchema>;

/** Post's save. Throws as `saveUnderLock` does. */
export async function saveLfsObjects(
  job: Job,
  save: LfsSave,
  options: SaveOptions,
): Promise<SaveResult> {
  return saveUnderLock(job, save, (bound, store) => decideAndSave(bound, store, save, options));
}

/** Main's save, as `saveEarly`. */
export async function saveLfsEarly(
  job: Job,
  save: LfsSave,
  options: SaveOptions,
  claim: Hold | undefined,
): Promise<SaveResult | undefined> {
  return saveEarly(job, claim, 'LFS objects were not saved early', (bound, store, isClaimed) =>
    decideAndSave(bound, store, { ...save, isClaimed }, options),
  );
}

/** Removes what no job of this machine needed for long. Never throws. */
export async function tidyLfsObjects(job: Job, save: LfsSave): Promise<void> {
  if (save.isPrivate || job.signal.aborted) return;
  const folder = objectsFolder(save.path);
  try {
    await underLock(job, save, 0, ({ signal }) => tidyObjects(folder, Date.now(), signal));
  } catch (error) {
    job.account.recover(`${folder} is not tidied: ${describeError(error)}`, error);
  }
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
  const { key, isClaimed } = save;
  if (save.needed.length === 0) return skip('neither commit has LFS objects');
  const newest = await openCollection(job, store, save);
  const others = await openCollections(job, job.otherStores, save);
  const plan = await makePlan(job, newest, others, save);
  if (plan.objects.length === 0) {
    const [{ id } = newest] = [newest, ...others].filter(({ layers }) => layers.length > 0);
    return id === '' ? skip('no LFS object is on this machine') : { result: 'unchanged', id };
  }
  if (Date.now() - newest.createdAt < options.leastAgeMs) return skip(TOO_YOUNG);
  const number = newest.number + 1;
  return underClaim(job, { key, number, isClaimed }, (bound) =>
    publish({ job: bound, store, save, options, plan, number }),
  );
}

async function makePlan(
  { signal }: Job,
  { store, layers: all }: Collection,
  others: readonly Collection[],
  { key, path, needed, damaged }: LfsSave,
): Promise<LfsSavePlan> {
  const sound = all.filter(({ name }) => !damaged.includes(name));
  const isThere = await mapEachOf(sound, 4, signal, ({ name }, bounded) =>
    store.hasLayer(key, name, bounded),
  );
  const elsewhere = others.flatMap(({ layers }) => layers).flatMap(objectsOf);
  return planLfsSave({
    layers: sound.filter((_, index) => isThere[index]),
    needed: needed.map(([oid, size]) => ({ oid, size })),
    here: await listPresent(objectsFolder(path)),
    elsewhere: new Set(elsewhere.map(({ oid }) => oid)),
  });
}

/** Stores the new layer, then the manifest. */
async function publish({ job, store, save, options, plan, number }: Saving): Promise<SaveResult> {
  const { key, path, upstream } = save;
  const layer = describeLayer(plan.objects);
  const manifest: LfsSnapshot = {
    ...describeWriter(job, options, number),
    kind: 'lfs-objects',
    upstream,
    layers: [...plan.shared, layer],
  };
  const upload = async () => {
    await storeLayer(job, store, layer, { key, folder: objectsFolder(path) });
    return publishManifest(store, key, manifest, job.signal);
  };
  const published = await job.account.measure('upload', upload, () => layer.bytes);
  if (published.is === 'superseded') return { result: 'superseded', number: published.number };
  await retain(job, store, key, options.maxSnapshots);
  return { result: 'published', id: published.id, bytes: layer.bytes + published.content.length };
}
