/**
 * Which packs and layers are to be one, by their sizes alone. Pure.
 *
 * Sizes fall into tiers. As soon as FAN_OUT are of one tier they become one, together with all that
 * are smaller: so there are at most three to a tier after each save, and what is stored or packed
 * once more has risen about a tier by that (docs/decisions/0029 bounds how often). Layers and packs
 * follow the same tiers: what a save stores as one layer is packed as one pack, and nothing else is.
 *
 * Everything becomes one pack of only what refs reach where everything is stored anew in any case,
 * and where it pays: as soon as all others together outgrow the largest.
 */

export interface Sized {
  bytes: number;
}

/** `merge`: what is to be one. `everything`: all packs, and of their objects those that refs reach. */
export type Repack = 'nothing' | 'merge' | 'everything';

export interface SavePlan<T> {
  /** The layers to be named again; all packs that are in none of them become the new layer. */
  shared: T[];
  repack: Repack;
}

export interface UpkeepPlan<T> {
  /** The packs that are too many: to be one where everything cannot be. */
  merged: T[];
  repack: Repack;
}

const FAN_OUT = 4;
/** All that is smaller is of the lowest tier: some requests to a store cost as much as these bytes. */
const LOWEST_TIER_BYTES = 64 * 1024;
/**
 * A repack of everything that does not end in time is tried again only when the packs have grown by
 * about this part of the largest, and not by every job.
 */
const LEAST_PART_OF_LARGEST = 1 / 16;

export function tierOf(bytes: number): number {
  return Math.max(0, Math.ceil(Math.log(bytes / LOWEST_TIER_BYTES) / Math.log(FAN_OUT)));
}

/**
 * What a save stores, given the layers that it could name again, the packs in none of them, and how many
 * bytes of all these no ref reaches.
 */
export function planSave<T extends Sized>(
  layers: readonly T[],
  packs: readonly Sized[],
  unreachableBytes = 0,
): SavePlan<T> {
  if (isMostlyUnreachable(sum(layers) + sum(packs), unreachableBytes)) {
    return { shared: [], repack: 'everything' };
  }
  if (packs.length === 0) return { shared: [...layers], repack: 'nothing' };
  const shared = chooseShared(layers, sum(packs));
  const newBytes = sum(packs) + sum(layers) - sum(shared);
  if (isOutgrown([...shared, { bytes: newBytes }], newBytes)) {
    return { shared: [], repack: 'everything' };
  }
  if (packs.length + layers.length - shared.length === 1) return { shared, repack: 'nothing' };
  return { shared, repack: shared.length === 0 ? 'everything' : 'merge' };
}

/**
 * What to do without a save. Packs of layers stay for the save that will name these again; the others
 * would be stored together by the next one.
 */
export function planUpkeep<T extends Sized>(
  layers: readonly Sized[],
  packs: readonly T[],
): UpkeepPlan<T> {
  const full = findFullTier(packs);
  if (full === undefined) return { merged: [], repack: 'nothing' };
  const small = packs.filter(({ bytes }) => tierOf(bytes) <= full);
  const others = packs.filter((pack) => !small.includes(pack));
  const apart = chooseShared(others, sum(small));
  const merged = packs.filter((pack) => !apart.includes(pack));
  const bytes = sum(merged);
  const isAll = isOutgrown([...layers, ...apart, { bytes }], bytes);
  return { merged, repack: isAll ? 'everything' : 'merge' };
}

/** Those that stay beside a new one of so many bytes; it takes in the others. */
export function chooseShared<T extends Sized>(old: readonly T[], newBytes: number): T[] {
  const full = findFullTier([...old, { bytes: newBytes }]);
  if (full === undefined) return [...old];
  const others = old.filter(({ bytes }) => tierOf(bytes) > full);
  return chooseShared(others, newBytes + sum(old) - sum(others));
}

/** The lowest tier that has too many. */
function findFullTier(all: readonly Sized[]): number | undefined {
  const tiers = all.map(({ bytes }) => tierOf(bytes)).sort((one, other) => one - other);
  return tiers.find((tier, index) => tiers[index + FAN_OUT - 1] === tier);
}

/**
 * Whether less than half is reachable. Storing that again costs no more than was once stored of what goes, so
 * all such saves together never store more than the others did.
 */
function isMostlyUnreachable(bytes: number, unreachableBytes: number): boolean {
  return unreachableBytes > LOWEST_TIER_BYTES && unreachableBytes > bytes / 2;
}

function isOutgrown(all: readonly Sized[], newBytes: number): boolean {
  const largest = Math.max(...all.map(({ bytes }) => bytes));
  return sum(all) - largest > largest && newBytes >= largest * LEAST_PART_OF_LARGEST;
}

function sum(all: readonly Sized[]): number {
  return all.reduce((total, { bytes }) => total + bytes, 0);
}
