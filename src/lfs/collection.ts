/** LFS objects in the stores: snapshots that hold nothing but layers of objects. */
import { join } from 'node:path';
import type { Job } from '../job/job.ts';
import { MirrorError, hasCode, toStoreFailure } from '../lib/errors.ts';
import { makeFolder, removeTree } from '../lib/files.ts';
import { mapEachOf } from '../lib/parallel.ts';
import { withProgress, type OnBytes } from '../lib/progress.ts';
import { nameLayer } from '../snapshot/layers.ts';
import { parseManifest, snapshotId, type LfsLayer } from '../snapshot/manifest.ts';
import { withTransferDeadline } from '../snapshot/transfer.ts';
import type { LayerFiles, Store, StoredManifest } from '../stores/store.ts';
import { unpackBundle, workFolder } from './objects.ts';
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

/** The file of a layer. */
const BUNDLE = 'lfs-objects';

/** Asks all these stores. One that fails is reported and left out. */
export async function openCollections(
  job: Job,
  stores: readonly Store[],
  key: string,
  upstream: string,
): Promise<Collection[]> {
  const { signal, account } = job;
  const found = await mapEachOf(stores, stores.length, signal, async (each, bounded) => {
    try {
      return await openCollection({ ...job, signal: bounded }, each, key, upstream);
    } catch (error) {
      const failure = toStoreFailure(error);
      account.fallBack(`${failure.message}; no LFS objects are restored from there`, failure);
      return undefined;
    }
  });
  return found.filter((each) => each !== undefined);
}

/** Throws `store-unavailable` if the store can't be asked. A manifest that can't be used is reported. */
export async function openCollection(
  { account, signal }: Job,
  store: Store,
  key: string,
  upstream: string,
): Promise<Collection> {
  const stored = await account.measure('look-up', () => store.findManifest(key, { signal }));
  if (stored === undefined) return { store, number: 0, id: '', createdAt: 0, layers: [] };
  const { number, content } = stored;
  const id = snapshotId(number, content);
  try {
    return { store, number, id, ...(await readManifest(stored, upstream)) };
  } catch (error) {
    if (!hasCode(error, 'bad-snapshot')) throw error;
    account.fallBack(`LFS snapshot ${String(number)} is not used: ${error.message}`, error);
    return { store, number, id, createdAt: 0, layers: [] };
  }
}

async function readManifest({ number, content }: StoredManifest, upstream: string) {
  const manifest = await parseManifest(content, number);
  if (manifest.kind !== 'lfs-objects') {
    throw new MirrorError('bad-snapshot', `it holds ${manifest.kind}`);
  }
  if (manifest.upstream !== upstream) {
    throw new MirrorError('bad-snapshot', `it is of ${manifest.upstream}`);
  }
  return { createdAt: Date.parse(manifest.createdAt), layers: manifest.layers };
}

/** The layers that hold at least one of these objects. Pure. */
export function layersOf(
  { layers }: Pick<Collection, 'layers'>,
  missing: ReadonlySet<string>,
): LfsLayer[] {
  return layers.filter(({ objects }) => objects.some(([oid]) => missing.has(oid)));
}

export interface RestoreTarget {
  key: string;
  /** Where the objects go. */
  folder: string;
  /** Names of layers that were found damaged; added to. */
  damaged: Set<string>;
}

/**
 * Restores the layers that hold a missing object, all of each. Returns the ids of all objects that are here
 * now; a layer that is gone or damaged is reported, and what of it is right is used.
 */
export async function restoreLayers(
  job: Job,
  collection: Collection,
  missing: ReadonlySet<string>,
  target: RestoreTarget,
): Promise<{ oids: Set<string>; bytes: number }> {
  const layers = layersOf(collection, missing).filter(({ name }) => !target.damaged.has(name));
  const oids = new Set<string>();
  const bytes = layers.reduce((sum, layer) => sum + layer.bytes, 0);
  let before = 0;
  await withProgress(job.log, 'bringing LFS objects', bytes, async (onBytes) => {
    for (const layer of layers) {
      const onLayer: OnBytes = (done) => {
        onBytes(before + done);
      };
      const brought = await restoreLayer(job, collection.store, layer, target, onLayer);
      for (const oid of brought) oids.add(oid);
      before += layer.bytes;
    }
  });
  return { oids, bytes };
}

async function restoreLayer(
  { account, signal }: Job,
  store: Store,
  layer: LfsLayer,
  { key, folder, damaged }: RestoreTarget,
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
    await removeTree(incoming);
  }
}

/** Describes a new layer. */
export function describeLayer(objects: readonly LfsObject[]): LfsLayer {
  const listed = objects.map(({ oid, size }): [string, number] => [oid, size]);
  return { name: nameLayer(listed), bytes: countBytes(objects), objects: listed };
}

/** What a store has to know of a layer. */
export function filesOf({ name, bytes }: LfsLayer): LayerFiles {
  return { name, files: [{ name: BUNDLE, bytes }] };
}

export function bundlePath(folder: string): string {
  return join(workFolder(folder), 'bundle', BUNDLE);
}
