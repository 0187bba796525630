/**
 * What a save stores: the layers that the new snapshot names again, and the packs that are its new
 * layer, made one where they are several (docs/decisions/0029).
 */
import { sumBytes } from '../lib/bytes.ts';
import { hasCode, describeError, throwIfCancelled } from '../lib/errors.ts';
import type { Job } from '../job/job.ts';
import { mapEachOf } from '../lib/parallel.ts';
import { hasRoomForCopy } from '../mirror/directory.ts';
import { mergePacks, repackEverything } from '../mirror/maintenance.ts';
import { measureReached, measureUnreached, walkAll } from '../mirror/objects.ts';
import { chooseShared, planSave, type SavePlan } from '../mirror/tiers.ts';
import { withProgress } from '../lib/progress.ts';
import { describeLayer } from '../snapshot/layers.ts';
import type { Layer, Snapshot } from '../snapshot/manifest.ts';
import type { Save, SavedMirror } from './save.ts';
import {
  countPackBytes,
  measurePacks,
  packDirectory,
  partnerOf,
  type PackSize,
} from '../mirror/packs.ts';
import { findHeld } from '../snapshot/shared-layers.ts';

/** What a snapshot consists of, and the proof that all its objects are there. */
export interface Content {
  shared: Layer[];
  /** Without files where only refs have moved. */
  layer: Layer;
  /** The number of saves since a walk of everything. */
  walked: number;
  /** Of all layers; see the manifest. */
  unreachableBytes: number;
}

interface Planned extends SavePlan<Layer> {
  /** All layers that could be named again. */
  stored: readonly Layer[];
}

/**
 * Bytes of the mirror that refs no longer reach. In a tip mirror all that was left behind; else of a base and of what a
 * fetch brought since, as far as rewritten refs show.
 */
export async function measureUnreachable(
  { job: { git }, mirror: { path, identity } }: Save,
  base: Snapshot | undefined,
  oids: readonly string[],
): Promise<number> {
  if (identity.spec.depth === 'tip') {
    const held = await countPackBytes(path);
    return Math.max(0, held - ((await measureReached(git, path)) ?? held));
  }
  if (base === undefined) return 0;
  const { refs, unreachableBytes } = base;
  const needed = new Set(oids);
  const old = [...new Set(refs.map(({ oid }) => oid))].filter((oid) => !needed.has(oid));
  return unreachableBytes + (old.length === 0 ? 0 : await measureUnreached(git, path, old));
}

/** Names those of the layers again that the mirror has and the store still has. */
export async function planPacking(
  { job, store, mirror: { path, identity } }: Save,
  layers: readonly Layer[],
  unreachableBytes: number,
): Promise<Planned> {
  const held = await findHeld(packDirectory(path), layers);
  const isThere = await mapEachOf(held, 4, job.signal, ({ name }, bounded) =>
    store.hasLayer(identity.key, name, bounded),
  );
  const stored = held.filter((_, index) => isThere[index]);
  return { ...planSave(stored, await measureOthers(path, stored), unreachableBytes), stored };
}

/** The layer of all packs that are in none of the shared ones; throws `corrupt-mirror`. */
export async function describeNewPacks(
  { job, mirror }: Save,
  shared: readonly Layer[],
): Promise<Layer> {
  return describePacks(job, mirror, await measureOthers(mirror.path, shared));
}

/**
 * Does the planned repack. It comes after all checks, so that nothing damaged gets checksums of its own.
 * `oids` are those of the refs. Walks a new pack of everything again. Throws `corrupt-mirror`.
 */
export async function repackAsPlanned(
  save: Save,
  found: Content,
  planned: Planned,
  oids: readonly string[],
): Promise<Content> {
  if (planned.repack === 'nothing') return found;
  const isOfAll = planned.repack === 'everything';
  const { job, mirror, options } = save;
  const { path, identity } = mirror;
  const { signal, account, git } = job;
  const { files, bytes } = found.layer;
  const packs = files.map(({ name }) => name).filter((name) => name.endsWith('.pack'));
  const { objectFormat } = identity;
  const limits = { objectFormat, timeoutMs: options.repackTimeoutMs, signal };
  const isDone = await tryRepack(job, path, bytes, () =>
    isOfAll ? repackEverything(git, path, oids, limits) : mergePacks(git, path, packs, limits),
  );
  if (!isDone) return { ...found, ...(await withoutRepack(save, planned.stored)) };
  const layer = await describeNewPacks(save, planned.shared);
  if (!isOfAll) return { ...found, shared: planned.shared, layer };
  await account.measure('walk', () => walkAll(git, path));
  return { shared: planned.shared, layer, walked: 0, unreachableBytes: 0 };
}

/** After a repack that failed, perhaps while it removed packs: names what is left. */
async function withoutRepack(
  save: Save,
  stored: readonly Layer[],
): Promise<Pick<Content, 'shared' | 'layer'>> {
  const { path } = save.mirror;
  const held = await findHeld(packDirectory(path), stored);
  const shared = chooseShared(held, sumBytes(await measureOthers(path, held)));
  return { shared, layer: await describeNewPacks(save, shared) };
}

/** The packs that are in none of these layers. */
export async function measureOthers(path: string, layers: readonly Layer[]): Promise<PackSize[]> {
  const named = new Set(layers.flatMap(({ files }) => files.map(({ name }) => name)));
  return (await measurePacks(path)).filter(({ name }) => !named.has(name));
}

/** Recomputes the checksums of some packs; throws `corrupt-mirror`. */
export async function describePacks(
  { account, log, signal }: Job,
  { path, identity: { objectFormat } }: SavedMirror,
  packs: readonly PackSize[],
): Promise<Layer> {
  const names = packs.flatMap(({ name }) => [partnerOf(name), name]);
  return account.measure('digest', () =>
    withProgress(log, 'reading packs', sumBytes(packs), (onBytes) =>
      describeLayer(packDirectory(path), names, objectFormat, { signal, onBytes }),
    ),
  );
}

/**
 * Runs a repack of packs of `bytes` in total. Returns false if it failed or took too long; the old packs then still exist.
 * Throws `corrupt-mirror` and `cancelled`.
 */
export async function tryRepack(
  { account, log, signal }: Job,
  path: string,
  bytes: number,
  repack: () => Promise<void>,
): Promise<boolean> {
  try {
    if (!(await hasRoomForCopy(path, bytes))) {
      log.info('The disk has no room for a repack');
      return false;
    }
    await account.measure('repack', repack);
    return true;
  } catch (error) {
    if (hasCode(error, 'corrupt-mirror')) throw error;
    throwIfCancelled(signal);
    account.recover(`The packs stay as they are: ${describeError(error)}`, error);
    return false;
  }
}
