/** Which layers a new snapshot of LFS objects names again, and which objects its new layer holds. Pure. */
import { chooseShared } from '../mirror/tiers.ts';
import type { LfsLayer } from '../snapshot/manifest.ts';
import { countBytes, type LfsObject } from './pointers.ts';

/** A larger layer is never stored again only to have fewer of them. */
const MAX_MERGED_BYTES = 64 * 1024 * 1024;

export interface LfsSavePlan {
  shared: LfsLayer[];
  /** The new layer's; empty if there is nothing to save. */
  objects: LfsObject[];
}

interface SaveSituation {
  /** Layers of the newest snapshot that are sound and still in the store. */
  layers: readonly LfsLayer[];
  /** What upstream's HEAD and the job's commit need, each object once. */
  needed: readonly LfsObject[];
  /** Ids of the objects on this machine. */
  here: ReadonlySet<string>;
  /** Ids of the objects that other stores, which every job restores from, have. */
  elsewhere: ReadonlySet<string>;
}

/**
 * Small layers become one with what is new, as packs do. A layer of which less than half is still needed is
 * dropped, and what is needed of it stored again. Both only if this machine has the objects.
 */
export function planLfsSave({ layers, needed, here, elsewhere }: SaveSituation): LfsSavePlan {
  const stored = new Set(layers.flatMap(({ objects }) => objects.map(([oid]) => oid)));
  const isNew = ({ oid }: LfsObject) => here.has(oid) && !stored.has(oid) && !elsewhere.has(oid);
  const added = needed.filter(isNew);
  if (added.length === 0) return { shared: [...layers], objects: [] };

  const wanted = new Set(needed.map(({ oid }) => oid));
  const neededOf = (layer: LfsLayer) => objectsOf(layer).filter(({ oid }) => wanted.has(oid));
  const isHere = (objects: readonly LfsObject[]) => objects.every(({ oid }) => here.has(oid));
  const isDropped = (layer: LfsLayer) =>
    countBytes(neededOf(layer)) < layer.bytes / 2 && isHere(neededOf(layer));
  const dropped = layers.filter(isDropped);
  const kept = layers.filter((layer) => !dropped.includes(layer));
  const moved = [...dropped.flatMap(neededOf), ...added];

  const isMergeable = (layer: LfsLayer) =>
    layer.bytes <= MAX_MERGED_BYTES && isHere(objectsOf(layer));
  const apart = chooseShared(kept.filter(isMergeable), countBytes(moved));
  const shared = kept.filter((layer) => !isMergeable(layer) || apart.includes(layer));
  const merged = kept.filter((layer) => !shared.includes(layer));
  return { shared, objects: [...merged.flatMap(objectsOf), ...moved] };
}

export function objectsOf({ objects }: LfsLayer): LfsObject[] {
  return objects.map(([oid, size]) => ({ oid, size }));
}
