/**
 * What a save stores: the layers that the new snapshot names again, and the packs that are its new
 * layer, made one where they are several (docs/decisions/0029).
 */
import { MirrorError, describeError, throwIfCancelled } from '../lib/errors.ts';
import type { Job } from '../job/job.ts';
import { hasRoomForCopy, measurePacks, packDirectory, type PackSize } from '../mirror/directory.ts';
import { mergePacks, repackEverything } from '../mirror/maintenance.ts';
import { walkAll } from '../mirror/objects.ts';
import type { ObjectFormat } from '../mirror/refs.ts';
import { chooseShared, planSave, type SavePlan } from '../mirror/tiers.ts';
import { withProgress } from '../lib/progress.ts';
import type { Store } from '../stores/store.ts';
import { describeLayer } from '../snapshot/layers.ts';
import { partnerOf, sumBytes, type Layer } from '../snapshot/manifest.ts';
import type { SavesSinceFullWalk } from './publish.ts';
import { findHeld } from '../snapshot/shared-layers.ts';

export interface PackingOptions {
  path: string;
  key: string;
  objectFormat: ObjectFormat;
  /** A repack that takes longer is given up, and the packs are saved as they are. */
  repackTimeoutMs: number;
}

/** What a snapshot consists of, and the proof that all its objects are there. */
export interface Content {
  shared: Layer[];
  /** Without files where only refs have moved. */
  layer: Layer;
  walked: SavesSinceFullWalk;
}

export interface Planned extends SavePlan<Layer> {
  /** All layers that could be named again. */
  stored: readonly Layer[];
}

/** Of one save, alone at the mirror's place. */
export class Packing {
  readonly #job: Job;
  readonly #store: Store;
  readonly #options: PackingOptions;

  constructor(job: Job, store: Store, options: PackingOptions) {
    this.#job = job;
    this.#store = store;
    this.#options = options;
  }

  /** Of these layers those can be named again that are here, and that the store has still. */
  async plan(layers: readonly Layer[]): Promise<Planned> {
    const { path, key } = this.#options;
    const held = await findHeld(packDirectory(path), layers);
    const isThere = await Promise.all(
      held.map(({ name }) => this.#store.hasLayer(key, name, this.#job.signal)),
    );
    const stored = held.filter((_, index) => isThere[index]);
    return { ...planSave(stored, await this.#measureNew(stored)), stored };
  }

  /** The layer of all packs that are in none of the shared ones; throws `corrupt-mirror`. */
  async describe(shared: readonly Layer[]): Promise<Layer> {
    const packs = await this.#measureNew(shared);
    return describePacks(this.#job, this.#options, packs);
  }

  /**
   * Does the repack that was planned, after all checks: nothing damaged is to get checksums of its
   * own. `oids` are those of the refs. What refs reach is walked again in a new pack of everything.
   * Throws `corrupt-mirror`.
   */
  async repack(found: Content, planned: Planned, oids: readonly string[]): Promise<Content> {
    if (planned.repack === 'nothing') return found;
    const isOfAll = planned.repack === 'everything';
    const { path, objectFormat, repackTimeoutMs: timeoutMs } = this.#options;
    const { account, git } = this.#job;
    const { files, bytes } = found.layer;
    const packs = files.map(({ name }) => name).filter((name) => name.endsWith('.pack'));
    const isDone = await tryRepack(this.#job, path, bytes, () =>
      isOfAll
        ? repackEverything(git, path, oids, { objectFormat, timeoutMs })
        : mergePacks(git, path, packs, { objectFormat, timeoutMs }),
    );
    if (isDone && isOfAll) await account.measure('walk', () => walkAll(git, path));
    const shared = isDone ? planned.shared : await this.#chooseShared(planned.stored);
    const layer = await this.describe(shared);
    return { shared, layer, walked: isDone && isOfAll ? 0 : found.walked };
  }

  /** After a repack that failed, perhaps as it removed packs: of what is there, without any repack. */
  async #chooseShared(stored: readonly Layer[]): Promise<Layer[]> {
    const held = await findHeld(packDirectory(this.#options.path), stored);
    return chooseShared(held, sumBytes(await this.#measureNew(held)));
  }

  /** The packs that are in none of these layers. */
  async #measureNew(layers: readonly Layer[]): Promise<PackSize[]> {
    const old = new Set(layers.flatMap(({ files }) => files.map(({ name }) => name)));
    return (await measurePacks(this.#options.path)).filter(({ name }) => !old.has(name));
  }
}

/** Recomputes the checksums of some packs; throws `corrupt-mirror`. */
export async function describePacks(
  { account, log }: Job,
  { path, objectFormat }: Pick<PackingOptions, 'path' | 'objectFormat'>,
  packs: readonly PackSize[],
): Promise<Layer> {
  const names = packs.flatMap(({ name }) => [partnerOf(name), name]);
  return account.measure('digest', () =>
    withProgress(log, 'reading packs', sumBytes(packs), (onBytes) =>
      describeLayer(packDirectory(path), names, objectFormat, onBytes),
    ),
  );
}

/**
 * Does a repack of packs of so many bytes. False where it could not be done, in time or at all: all
 * packs are there then that were. Throws `corrupt-mirror`, and `cancelled`.
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
    if (error instanceof MirrorError && error.code === 'corrupt-mirror') throw error;
    throwIfCancelled(signal);
    account.recover(`The packs stay as they are: ${describeError(error)}`, error);
    return false;
  }
}
