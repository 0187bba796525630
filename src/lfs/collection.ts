/** LFS objects in the stores: snapshots that hold nothing but layers of objects. */
import { dirname, join } from 'node:path';
import type { Job } from '../job/job.ts';
import { sumBytes } from '../lib/bytes.ts';
import { MirrorError, hasCode, toStoreFailure } from '../lib/errors.ts';
import { makeFolder } from '../lib/files.ts';
import { mapEachOf } from '../lib/parallel.ts';
import { withProgress, type OnBytes } from '../lib/progress.ts';
import { nameLayer } from '../snapshot/layers.ts';
import { parseManifest, snapshotId, type LfsLayer } from '../snapshot/manifest.ts';
import { withTransferDeadline } from '../snapshot/transfer.ts';
import type { LayerFiles, Store } from '../stores/store.ts';
import { bundleObjects, leaveWork, unpackBundle, workFolder } from './objects.ts';
import { objectsOf } from './plan.ts';
import { countBytes, type LfsObject } from './pointers.ts';

/** The newest snapshot of LFS objects in a store, or that it has none. */
export interface Collection {
  store: Store;
  /** 0 for none. */
  number: number;
  /** Empty for none. */
  id: string;
  /** By its writer's clock, in milliseconds; 0 for none. */
  createdAt: number;
  layers: readonly LfsLayer[];
}

/** The objects of one upstream. */
export interface LfsPlace {
  key: string;
  upstream: string;
  /** Where they are on this machine. */
  folder: string;
  /** Names of layers that were found damaged; added to. */
  damaged: Set<string>;
}

/** The file of a layer. */
const BUNDLE = 'lfs-objects';

/** Asks all these stores. One that fails is reported and left out. */
export async function openCollections(
  job: Job,
  stores: readonly Store[],
  place: Pick<LfsPlace, 'key' | 'upstream'>,
): Promise<Collection[]> {
  const found = await mapEachOf(stores, stores.length, job.signal, async (each) => {
    try {
      return await openCollection(job, each, place);
    } catch (error) {
      const failure = toStoreFailure(error);
      job.account.fallBack(`${failure.message}; no LFS objects are restored from there`, failure);
      return undefined;
    }
  });
  return found.filter((each) => each !== undefined);
}

/** Throws `store-unavailable` if the store can't be asked. A manifest that can't be used is reported. */
export async function openCollection(
  { account, signal }: Job,
  store: Store,
  { key, upstream }: Pick<LfsPlace, 'key' | 'upstream'>,
): Promise<Collection> {
  const stored = await account.measure('look-up', () => store.findManifest(key, { signal }));
  const empty = { store, number: 0, id: '', createdAt: 0, layers: [] };
  if (stored === undefined) return empty;
  const { number, content } = stored;
  const known = { ...empty, number, id: snapshotId(number, content) };
  try {
    const manifest = await parseManifest(content, number);
    if (manifest.kind !== 'lfs-objects') {
      throw new MirrorError('bad-snapshot', `it holds ${manifest.kind}`);
    }
    if (manifest.upstream !== upstream) {
      throw new MirrorError('bad-snapshot', `it is of ${manifest.upstream}`);
    }
    return { ...known, createdAt: Date.parse(manifest.createdAt), layers: manifest.layers };
  } catch (error) {
    if (!hasCode(error, 'bad-snapshot')) throw error;
    account.fallBack(`LFS snapshot ${String(number)} is not used: ${error.message}`, error);
    return known;
  }
}

/**
 * Restores the layers that hold a missing object, all of each, from one store after the other. Returns the ids of
 * all objects that came. A layer that is gone or damaged is reported, and what of it is right is used.
 */
export async function restoreObjects(
  job: Job,
  collections: readonly Collection[],
  missing: readonly LfsObject[],
  place: LfsPlace,
): Promise<Set<string>> {
  const lacking = new Set(missing.map(({ oid }) => oid));
  const restored = new Set<string>();
  const isUseful = ({ name, objects }: LfsLayer): boolean =>
    !place.damaged.has(name) && objects.some(([oid]) => lacking.has(oid) && !restored.has(oid));
  if (!collections.some(({ layers }) => layers.some(isUseful))) return restored;
  let bytes = 0;
  const restoreFrom = async ({ store, layers }: Collection): Promise<void> => {
    const useful = layers.filter(isUseful);
    const total = sumBytes(useful);
    await withProgress(job.log, 'bringing LFS objects', total, async (onBytes) => {
      let before = 0;
      for (const layer of useful) {
        const onLayer: OnBytes = (done) => {
          onBytes(before + done);
        };
        for (const oid of await restoreLayer(job, store, layer, place, onLayer)) restored.add(oid);
        before += layer.bytes;
      }
    });
    bytes += total;
  };
  const restoreAll = async (): Promise<void> => {
    for (const each of collections) await restoreFrom(each);
  };
  await job.account.measure('lfs-restore', restoreAll, () => bytes);
  return restored;
}

async function restoreLayer(
  { account, signal }: Job,
  store: Store,
  layer: LfsLayer,
  { key, folder, damaged }: LfsPlace,
  onBytes: OnBytes,
): Promise<Set<string>> {
  const incoming = join(workFolder(folder), 'layer');
  const shown = `Layer ${layer.name.slice(0, 12)} of LFS objects`;
  const objects = objectsOf(layer);
  try {
    await makeFolder(incoming);
    const sound = await withTransferDeadline(signal, async (bounded) => {
      await store.getLayer(key, filesOf(layer), incoming, { signal: bounded, onBytes });
      return unpackBundle(join(incoming, BUNDLE), objects, folder, bounded);
    });
    if (sound.size < objects.length) {
      damaged.add(layer.name);
      const wrong = String(objects.length - sound.size);
      account.fallBack(`${shown} is damaged: ${wrong} of its objects are wrong`, 'bad-snapshot');
    }
    return sound;
  } catch (error) {
    const failure = toStoreFailure(error);
    if (failure.code === 'bad-snapshot') damaged.add(layer.name);
    account.fallBack(`${shown} could not be restored: ${failure.message}`, failure);
    return new Set();
  } finally {
    await leaveWork(folder, signal);
  }
}

/** Describes a new layer. */
export function describeLayer(objects: readonly LfsObject[]): LfsLayer {
  const listed = objects.map(({ oid, size }): [string, number] => [oid, size]);
  return { name: nameLayer(listed), bytes: countBytes(objects), objects: listed };
}

/** Stores a new layer of objects that are in the folder. Throws `corrupt-mirror` if one of them is gone or wrong. */
export async function storeLayer(
  { log, signal }: Job,
  store: Store,
  layer: LfsLayer,
  { key, folder }: Pick<LfsPlace, 'key' | 'folder'>,
): Promise<void> {
  const bundle = join(workFolder(folder), 'bundle', BUNDLE);
  try {
    await withProgress(log, 'reading LFS objects', layer.bytes, (onBytes) =>
      bundleObjects(folder, objectsOf(layer), bundle, { signal, onBytes }),
    );
    await withProgress(log, 'saving LFS objects', layer.bytes, (onBytes) =>
      withTransferDeadline(signal, (bounded) =>
        store.putLayer(key, filesOf(layer), dirname(bundle), { signal: bounded, onBytes }),
      ),
    );
  } finally {
    await leaveWork(folder, signal);
  }
}

/** What a store has to know of a layer. */
function filesOf({ name, bytes }: LfsLayer): LayerFiles {
  return { name, files: [{ name: BUNDLE, bytes }] };
}
