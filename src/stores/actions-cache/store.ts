/**
 * The store in GitHub's Actions cache: an entry for each manifest and each layer. Keys are immutable
 * there, which makes `createManifest` what it has to be, and entries are only ever seen whole.
 *
 * What it cannot promise, since the service or its toolkit does not:
 * - Nothing is removed: `list` shows nothing, `remove` and `withdrawManifest` do nothing. The
 *   platform evicts entries by age and by the size of all; a manifest may outlive its layers, which is
 *   then a bad snapshot.
 * - A number that was reserved by a writer that died, or whose answers were lost, is refused for a day
 *   although no manifest is found under it.
 * - What was cancelled, or failed by a lost answer, may become visible later.
 * - Entries have a version: a runner with zstd does not see what one without has saved, nor Windows
 *   what others have. Among such runners numbers are given twice, and that is no harm.
 * - Where an event lets a job read another branch's entries, those of its own ref come first. So a
 *   scope is a part of a manifest's key, and each scope is a store of its own. Layers have names that
 *   are given once, and are found in whatever scope the job may read.
 * - The toolkit unpacks an archive wherever its names point to, before anything of ours can check it:
 *   who may write to the cache of a branch is trusted that far, by GitHub as well. What came is used
 *   only if it is exactly the declared files.
 */
import { setImmediate as turn } from 'node:timers/promises';
import { MirrorError, throwIfCancelled } from '../../lib/errors.ts';
import type { OnBytes } from '../../lib/progress.ts';
import { layOut, moveEntryFiles } from './folder.ts';
import { MAX_NUMBER, findHighest, layerKey, manifestKey, manifestPrefix } from './keys.ts';
import type { ActionsCache, CacheSession, Direction } from './session.ts';
import { assertLayer, assertManifestNumber, assertManifestSize, assertNames } from '../names.ts';
import {
  type FindOptions,
  type Inventory,
  type LayerFiles,
  MAX_MANIFEST_BYTES,
  type Removal,
  type Store,
  type StoredManifest,
  type TransferOptions,
} from '../store.ts';

/** Bounds the search for a manifest where the platform evicts them under our eyes. */
const MAX_VANISHED = 10;

export interface ActionsCacheStoreOptions {
  cache: ActionsCache;
  /** Whose snapshots these are: a ref, or any other name. Only those of its own can a job save. */
  scope: string;
}

/** The snapshots of a scope; nothing is asked until the store is used. */
export function createActionsCacheStore({ cache, scope }: ActionsCacheStoreOptions): Store {
  return new ActionsCacheStore(cache, scope);
}

class ActionsCacheStore implements Store {
  readonly location: string;
  readonly absenceHint =
    'a job sees snapshots of its own branch, its base branch and the default branch only, and GitHub evicts entries after 7 days without use';
  readonly #cache: ActionsCache;
  readonly #scope: string;

  constructor(cache: ActionsCache, scope: string) {
    this.#cache = cache;
    this.#scope = scope;
    this.location = `the Actions cache (${scope})`;
  }

  async findManifest(
    key: string,
    { below = Infinity, signal }: FindOptions,
  ): Promise<StoredManifest | undefined> {
    assertNames('key', key);
    if (below !== Infinity) assertManifestNumber(below);
    return this.#call('reading', 'finding a manifest', signal, async (session) => {
      let limit = Math.min(below - 1, MAX_NUMBER);
      for (let vanished = 0; vanished < MAX_VANISHED; vanished++) {
        const number = await this.#findHighest(session, key, limit);
        if (number === undefined) return undefined;
        const content = await session.read(this.#manifest(key, number), MAX_MANIFEST_BYTES);
        if (content !== undefined) return { number, content };
        limit = number - 1;
      }
      throw new Error('manifests vanish faster than they can be read');
    });
  }

  async createManifest(
    key: string,
    number: number,
    content: Uint8Array,
    signal: AbortSignal,
  ): Promise<boolean> {
    assertNames('key', key);
    assertManifestNumber(number);
    assertManifestSize(content);
    const copy = Uint8Array.from(content);
    return this.#call('writing', `creating manifest ${number}`, signal, async (session) => {
      const name = this.#manifest(key, number);
      return !(await session.has(name)) && (await session.create(name, copy));
    });
  }

  async withdrawManifest(key: string, number: number, signal: AbortSignal): Promise<void> {
    assertNames('key', key);
    assertManifestNumber(number);
    await pass(signal);
  }

  async hasLayer(key: string, name: string, signal: AbortSignal): Promise<boolean> {
    assertNames('key', key);
    assertNames('layer', name);
    return this.#call('reading', `looking for layer ${name}`, signal, (session) =>
      session.has(layerKey(key, name)),
    );
  }

  /** Throws `bad-snapshot` also where the archive holds more than the layer declares. */
  async getLayer(
    key: string,
    layer: LayerFiles,
    directory: string,
    { signal, onBytes }: TransferOptions,
  ): Promise<void> {
    assertNames('key', key);
    assertLayer(layer);
    await this.#call('reading', `getting layer ${layer.name}`, signal, async (session) => {
      const transfer = { isLong: true, onShare: tellBytes(layer, onBytes) };
      const outcome = await session.restore(layerKey(key, layer.name), transfer);
      if (outcome !== 'restored') {
        const problem =
          outcome === 'missing' ? 'is not there' : 'is damaged: it cannot be unpacked';
        throw new MirrorError('bad-snapshot', `the archive of layer ${layer.name} ${problem}`);
      }
      await moveEntryFiles(layer, session.folder.entry, directory, { signal });
      onBytes?.(sizeOf(layer));
    });
  }

  async putLayer(
    key: string,
    layer: LayerFiles,
    directory: string,
    { signal, onBytes }: TransferOptions,
  ): Promise<void> {
    assertNames('key', key);
    assertLayer(layer);
    await this.#call('writing', `putting layer ${layer.name}`, signal, async (session) => {
      await layOut(layer, directory, session.folder.entry, { signal });
      const name = layerKey(key, layer.name);
      // Before the archive is made: it may have gigabytes.
      if (await session.has(name)) throw new Error('a layer of this name exists');
      const transfer = { isLong: true, onShare: tellBytes(layer, onBytes) };
      const result = await session.save(name, transfer);
      if (result.is === 'taken') throw new Error('a layer of this name was begun');
      // Names are never reused: what is there is ours, and the service has seen all of it.
      if (result.is === 'unknown' && !(await session.has(name))) throw result.error;
      onBytes?.(sizeOf(layer));
    });
  }

  async list(key: string, signal: AbortSignal): Promise<Inventory> {
    assertNames('key', key);
    await pass(signal);
    return { manifests: [], layers: [], debris: [] };
  }

  async remove(key: string, what: Removal, signal: AbortSignal): Promise<void> {
    assertNames('key', key);
    what.manifests.forEach(assertManifestNumber);
    assertNames('layer', ...what.layers);
    assertNames('debris', ...what.debris);
    await pass(signal);
  }

  #manifest(key: string, number: number): string {
    return manifestKey(key, this.#scope, number);
  }

  #findHighest(session: CacheSession, key: string, limit: number): Promise<number | undefined> {
    const folder = manifestPrefix(key, this.#scope);
    return findHighest(limit, async (prefixes) => {
      const found = await session.lookUp(prefixes.map((prefix) => folder + prefix));
      return found?.startsWith(folder) === true ? found.slice(folder.length) : found;
    });
  }

  #call<T>(
    direction: Direction,
    what: string,
    signal: AbortSignal,
    work: (session: CacheSession) => Promise<T>,
  ): Promise<T> {
    return this.#cache.call(direction, `${what} in the Actions cache`, signal, work);
  }
}

/** What needs nothing of the service ends as every call does. */
async function pass(signal: AbortSignal): Promise<void> {
  throwIfCancelled(signal);
  await turn();
}

/** The archive stands for the layer, whose packs don't get smaller; its last byte is told by the end. */
function tellBytes(layer: LayerFiles, onBytes: OnBytes | undefined): (share: number) => void {
  const almostAll = Math.max(0, sizeOf(layer) - 1);
  let told = 0;
  return (share) => {
    told = Math.max(told, Math.min(almostAll, Math.floor(share * sizeOf(layer))));
    onBytes?.(told);
  };
}

function sizeOf({ files }: LayerFiles): number {
  return files.reduce((sum, { bytes }) => sum + bytes, 0);
}
