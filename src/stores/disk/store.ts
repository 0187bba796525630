/** The disk store: a folder on this machine or on a network disk (laid out in disk-folders.ts). */
import { stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { MirrorError, throwIfCancelled, toMirrorError } from '../../lib/errors.ts';
import { isPresent, removeTree, renameStubbornly } from '../../lib/files.ts';
import { checkPlainFolder, copyLayer, readPlainFile } from '../layer-files.ts';
import { endSoon, isBusyOnWindows, listTimes, orUndo, syncFolder } from './files.ts';
import { DiskFolders, numberOf } from './folders.ts';
import {
  assertLayer,
  assertManifestNumber,
  assertManifestSize,
  assertNames,
  isSafeName,
} from '../names.ts';
import {
  type FindOptions,
  type GetOptions,
  type Inventory,
  type LayerFiles,
  MAX_MANIFEST_BYTES,
  type Removal,
  type Store,
  type StoredManifest,
  type TransferOptions,
} from '../store.ts';

/** Bounds the search for a manifest where retention removes them under our eyes. */
const MAX_VANISHED = 10;

export interface DiskStoreOptions {
  /** A folder that exists. */
  path: string;
}

/** A store in a folder, which is not touched until the store is used. */
export function createDiskStore({ path }: DiskStoreOptions): Store {
  return new DiskStore(resolve(path));
}

class DiskStore implements Store {
  readonly location: string;
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
    this.location = `the disk store ${path}`;
  }

  async findManifest(
    key: string,
    { below = Infinity, signal }: FindOptions,
  ): Promise<StoredManifest | undefined> {
    const folders = this.#folders(key);
    if (below !== Infinity) assertManifestNumber(below);
    return this.#attempt('finding a manifest', signal, async () => {
      const vanished = new Set<number>();
      while (vanished.size < MAX_VANISHED) {
        throwIfCancelled(signal);
        const numbers = await folders.manifestNumbers();
        const number = numbers.findLast((each) => each < below && !vanished.has(each));
        if (number === undefined) return undefined;
        const content = await readPlainFile(folders.manifest(number), MAX_MANIFEST_BYTES);
        if (content !== undefined) return { number, content };
        vanished.add(number);
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
    const folders = this.#folders(key);
    assertManifestNumber(number);
    assertManifestSize(content);
    return this.#attempt(`creating manifest ${number}`, signal, () =>
      folders.createIfAbsent(folders.manifest(number), content, signal),
    );
  }

  async withdrawManifest(key: string, number: number, signal: AbortSignal): Promise<void> {
    const folders = this.#folders(key);
    assertManifestNumber(number);
    await this.#attempt(`withdrawing manifest ${number}`, signal, async () => {
      if (!(await folders.exist())) return;
      await removeTree(folders.manifest(number));
      await syncFolder(folders.manifests);
    });
  }

  async hasLayer(key: string, name: string, signal: AbortSignal): Promise<boolean> {
    const folders = this.#folders(key);
    assertNames('layer', name);
    return this.#attempt(`looking for layer ${name}`, signal, () =>
      folders.exist(folders.layer(name)),
    );
  }

  /** The files are not synced: a mirror that a crash has damaged is made anew. */
  async getLayer(
    key: string,
    layer: LayerFiles,
    directory: string,
    { signal, onBytes, onFilled }: GetOptions,
  ): Promise<void> {
    const folders = this.#folders(key);
    assertLayer(layer);
    await this.#attempt(`getting layer ${layer.name}`, signal, async () => {
      const stored = folders.layer(layer.name);
      try {
        await checkPlainFolder(stored);
        const options = { mode: 0o444, durable: false, signal, onBytes, onFilled };
        await copyLayer(layer, stored, directory, options);
      } catch (error) {
        // When the volume is gone, so are all files.
        if (error instanceof MirrorError && error.code === 'bad-snapshot') {
          await folders.checkRoot();
        }
        throw error;
      }
    });
  }

  async putLayer(
    key: string,
    layer: LayerFiles,
    directory: string,
    { signal, onBytes }: TransferOptions,
  ): Promise<void> {
    const folders = this.#folders(key);
    assertLayer(layer);
    await this.#attempt(`putting layer ${layer.name}`, signal, () =>
      folders.withTemporary(async (temporary) => {
        const path = folders.layer(layer.name);
        if (await isPresent(path)) throw new Error('a layer of this name exists');
        // A folder just made shows what the umask leaves to others.
        const mode = (await stat(temporary)).mode & 0o444;
        await copyLayer(layer, directory, temporary, { mode, durable: true, signal, onBytes });
        await syncFolder(temporary);
        throwIfCancelled(signal);
        await renameStubbornly(temporary, path);
        await orUndo(syncFolder(folders.layers), () => folders.removeLayer(layer.name));
      }),
    );
  }

  async list(key: string, signal: AbortSignal): Promise<Inventory> {
    const folders = this.#folders(key);
    return this.#attempt('listing', signal, async () => {
      if (!(await folders.exist())) return { manifests: [], layers: [], debris: [] };
      await folders.make();
      const nowMs = await folders.nowMs();
      const aged = async (folder: string): Promise<{ name: string; ageMs: number }[]> => {
        throwIfCancelled(signal);
        const entries = (await listTimes(folder)).filter(({ name }) => isSafeName(name));
        // Made after `now` was taken: their age is none.
        return entries.map(({ name, changedMs }) => ({
          name,
          ageMs: Math.max(0, nowMs - changedMs),
        }));
      };
      const manifests = (await aged(folders.manifests)).flatMap(({ name, ageMs }) => {
        const number = numberOf(name);
        return number === undefined ? [] : [{ number, ageMs }];
      });
      // A layer's time is when its last file was begun: before its commit, and close enough.
      return { manifests, layers: await aged(folders.layers), debris: await aged(folders.tmp) };
    });
  }

  async remove(key: string, what: Removal, signal: AbortSignal): Promise<void> {
    const folders = this.#folders(key);
    what.manifests.forEach(assertManifestNumber);
    assertNames('layer', ...what.layers);
    assertNames('debris', ...what.debris);
    await this.#attempt('removing', signal, async () => {
      if (!(await folders.exist())) return;
      await folders.make();
      // First and strictly: a manifest that cannot be removed keeps its layers.
      for (const number of what.manifests) {
        throwIfCancelled(signal);
        await removeTree(folders.manifest(number));
      }
      let failure: unknown;
      const chores = [
        ...what.layers.map((name) => () => folders.removeLayer(name)),
        ...what.debris.map((name) => () => removeTree(join(folders.tmp, name))),
      ];
      for (const chore of chores) {
        throwIfCancelled(signal);
        await chore().catch((error: unknown) => {
          // What is in use on Windows is left to the next retention.
          if (!isBusyOnWindows(error)) failure ??= error;
        });
      }
      if (failure !== undefined) throw toMirrorError(failure, 'store-unavailable', 'garbage stays');
    });
  }

  #folders(key: string): DiskFolders {
    assertNames('key', key);
    return new DiskFolders(this.#path, key);
  }

  async #attempt<T>(what: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    throwIfCancelled(signal);
    try {
      return await endSoon(work(), signal);
    } catch (error) {
      throw toMirrorError(error, 'store-unavailable', `${what} in ${this.location}`);
    }
  }
}
