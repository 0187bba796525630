/**
 * Decides by size which packs and layers are merged. Pure.
 *
 * Each size belongs to a tier. As soon as a tier has FAN_OUT of them, they are merged with all smaller ones. So a tier
 * has at most three after each save, and merged data moves up about one tier each time (docs/decisions/0029 bounds how
 * often). Layers and packs use the same tiers: the packs of a new layer are merged into one pack, and no others.
 *
 * Everything is packed again, without what no ref reaches, if everything is stored again anyway, and as soon as the
 * other packs together exceed the largest.
 */

import { sumBytes } from '../lib/bytes.ts';

export interface Sized {
  bytes: number;
}

/** `merge`: the packs to merge. `everything`: all packs, without objects that no ref reaches. */
export type Repack = 'nothing' | 'merge' | 'everything';

export interface SavePlan<T> {
  /** The layers to reference again. The packs that are in none of them become the new layer. */
  shared: T[];
  repack: Repack;
}

export interface UpkeepPlan<T> {
  /** The packs that are too many: these are merged if not everything can be packed again. */
  merged: T[];
  repack: Repack;
}

const FAN_OUT = 4;
/** Smaller sizes all belong to the lowest tier: a few requests to a store cost as much as these bytes. */
const LOWEST_TIER_BYTES = 64 * 1024;
/**
 * A repack of everything that didn't finish in time is tried again only once the packs have grown by about this part of
 * the largest, instead of by every job.
 */
const LEAST_PART_OF_LARGEST = 1 / 16;

export function tierOf(bytes: number): number {
  return Math.max(0, Math.ceil(Math.log(bytes / LOWEST_TIER_BYTES) / Math.log(FAN_OUT)));
}

/**
 * What a save stores, given the layers that it could reference again, the packs in none of them, and the number of
 * bytes that no ref reaches.
 */
export function planSave<T extends Sized>(
  layers: readonly T[],
  packs: readonly Sized[],
  unreachableBytes = 0,
): SavePlan<T> {
  if (isMostlyUnreachable(sumBytes(layers) + sumBytes(packs), unreachableBytes)) {
    return { shared: [], repack: 'everything' };
  }
  if (packs.length === 0) return { shared: [...layers], repack: 'nothing' };
  const shared = chooseShared(layers, sumBytes(packs));
  const newBytes = sumBytes(packs) + sumBytes(layers) - sumBytes(shared);
  if (isOutgrown([...shared, { bytes: newBytes }], newBytes)) {
    return { shared: [], repack: 'everything' };
  }
  if (packs.length + layers.length - shared.length === 1) return { shared, repack: 'nothing' };
  return { shared, repack: shared.length === 0 ? 'everything' : 'merge' };
}

/**
 * What to merge if nothing is saved. Packs of layers stay, so that the next save can reference those layers again. It
 * would store the others together.
 */
export function planUpkeep<T extends Sized>(
  layers: readonly Sized[],
  packs: readonly T[],
): UpkeepPlan<T> {
  const full = findFullTier(packs);
  if (full === undefined) return { merged: [], repack: 'nothing' };
  const small = packs.filter(({ bytes }) => tierOf(bytes) <= full);
  const others = packs.filter((pack) => !small.includes(pack));
  const apart = chooseShared(others, sumBytes(small));
  const merged = packs.filter((pack) => !apart.includes(pack));
  const bytes = sumBytes(merged);
  const isAll = isOutgrown([...layers, ...apart, { bytes }], bytes);
  return { merged, repack: isAll ? 'everything' : 'merge' };
}

/** Those that a new one of `bytes` doesn't merge. */
export function chooseShared<T extends Sized>(old: readonly T[], newBytes: number): T[] {
  const full = findFullTier([...old, { bytes: newBytes }]);
  if (full === undefined) return [...old];
  const others = old.filter(({ bytes }) => tierOf(bytes) > full);
  return chooseShared(others, newBytes + sumBytes(old) - sumBytes(others));
}

/** The lowest tier that has too many. */
function findFullTier(all: readonly Sized[]): number | undefined {
  const tiers = all.map(({ bytes }) => tierOf(bytes)).sort((one, other) => one - other);
  return tiers.find((tier, index) => tiers[index + FAN_OUT - 1] === tier);
}

/**
 * Whether less than half is reachable. Storing that half again costs no more than storing the other half did, so all such
 * saves together never store more than the others did.
 */
function isMostlyUnreachable(bytes: number, unreachableBytes: number): boolean {
  return unreachableBytes > LOWEST_TIER_BYTES && unreachableBytes > bytes / 2;
}

function isOutgrown(all: readonly Sized[], newBytes: number): boolean {
  const largest = Math.max(...all.map(({ bytes }) => bytes));
  return sumBytes(all) - largest > largest && newBytes >= largest * LEAST_PART_OF_LARGEST;
}
