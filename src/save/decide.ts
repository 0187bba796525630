/** Whether a mirror is worth saving, given what the stores have. Pure. */
import type { MirrorRecord } from '../mirror/record.ts';
import type { LookUp } from '../snapshot/look-up.ts';
import { snapshotId, type Layer, type Snapshot } from '../snapshot/manifest.ts';
import type { StoredManifest } from '../stores/store.ts';

export type SaveResult =
  | { result: 'published'; id: string; bytes: number }
  /** The store's newest snapshot holds the same refs. */
  | { result: 'unchanged'; id: string }
  /** Another job published after this mirror's fetch began. */
  | { result: 'superseded'; number: number }
  | { result: 'skipped'; reason: string }
  /** The mirror is not as this job left it: nothing will be saved until a person changes that. */
  | { result: 'refused'; reason: string }
  /** Something is damaged or missing: the mirror is wiped, and the next run makes it again. */
  | { result: 'corrupt'; reason: string };

export function skip(reason: string): SaveResult {
  return { result: 'skipped', reason };
}

/** What a save depends on in the mirror's record. */
export type SavedState = Pick<MirrorRecord, 'refsDigest' | 'base' | 'rejected'>;

export interface SavePolicy {
  /** Publishes even what the store has already. */
  isForced: boolean;
  /**
   * Publishes only if no sound snapshot is younger, in milliseconds; 0 for always. For a store where only
   * this branch could read what it saves.
   */
  leastAgeMs: number;
}

export const TOO_YOUNG =
  'a snapshot of the last day exists, and only this branch could restore a newer one';

/**
 * The id of the mirror's own base, if that holds the same refs and is still the newest of a store. The
 * base was validated when it was adopted, so 100,000 refs need not be parsed again.
 */
export function findUnchangedBase(
  stored: readonly (StoredManifest | undefined)[],
  { base, refsDigest, rejected }: SavedState,
): string | undefined {
  if (base?.refsDigest !== refsDigest || rejected.includes(base.id)) return undefined;
  const isBase = ({ number, content }: StoredManifest) => snapshotId(number, content) === base.id;
  return stored.some((each) => each !== undefined && isBase(each)) ? base.id : undefined;
}

/**
 * What makes a save pointless or wrong, or undefined if there is nothing against it. `newest` is the
 * newest of the store, then of the others that snapshots are restored from; `nowMs` since the epoch.
 */
export function findObstacle(
  state: SavedState,
  fence: number,
  newest: readonly LookUp[],
  { isForced, leastAgeMs }: SavePolicy,
  nowMs: number,
): SaveResult | undefined {
  const sound = newest
    .filter((each) => each.found === 'snapshot')
    .filter(({ id }) => !state.rejected.includes(id));
  const same = sound.find(({ manifest }) => manifest.refsDigest === state.refsDigest);
  if (same !== undefined && !isForced) return { result: 'unchanged', id: same.id };
  const number = newest[0]?.number ?? 0;
  if (number > fence) return { result: 'superseded', number };
  const isYoung = sound.some(({ createdAt }) => nowMs - createdAt < leastAgeMs);
  return isYoung ? skip(TOO_YOUNG) : undefined;
}

export interface Lineage {
  /** The snapshot that the mirror descends from; undefined if all objects have to be walked. */
  base: Snapshot | undefined;
  /** Layers that the new snapshot may name again. */
  layers: readonly Layer[];
}

/**
 * What a new snapshot builds on. A base that is not the newest may have been revoked meanwhile, so then
 * everything is walked; of its layers those are used that the newest snapshot still names: a name is
 * never used twice, so such a layer was restored or stored from this mirror.
 */
export function chooseLineage(
  own: Snapshot | undefined,
  { base, rejected }: SavedState,
  newest: readonly LookUp[],
): Lineage {
  const sound = newest.filter((each) => each.found === 'snapshot');
  if (own !== undefined && sound.some(({ id }) => id === base?.id)) {
    return { base: own, layers: own.layers };
  }
  const [first] = newest;
  if (first?.found !== 'snapshot' || rejected.includes(first.id))
    return { base: undefined, layers: [] };
  const names = new Set(first.manifest.layers.map(({ name }) => name));
  return { base: undefined, layers: own?.layers.filter(({ name }) => names.has(name)) ?? [] };
}
