/** The disk store: a folder on this machine or on a network disk (laid out in folders.ts). */
import { join, resolve } from 'node:path';
import { MirrorError, throwIfCancelled, toMirrorError } from '../../lib/errors.ts';
import { isPresent, removeTree, renameStubbornly } from '../../lib/files.ts';
import { checkPlainFolder, copyLayer, readPlainFile } from '../layer-files.ts';
import { attempt, type AttemptOptions, type Work } from './attempt.ts';
import { giveRights, isBusyOnWindows, listTimes, orUndo, syncFolder } from './files.ts';
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

/** Bounds the search for a manifest while retention removes them. */
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
    return this.#attempt({ what: 'finding a manifest', signal }, async (bounded) => {
      const vanished = new Set<number>();
      while (vanished.size < MAX_VANISHED) {
        throwIfCancelled(bounded);
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
    const options = { what: `creating manifest ${number}`, signal, isWriting: true };
    return this.#attempt(options, (bounded) =>
      folders.createIfAbsent(folders.manifest(number), content, bounded),
    );
  }

  async withdrawManifest(key: string, number: number, signal: AbortSignal): Promise<void> {
    const folders = this.#folders(key);
    assertManifestNumber(number);
    const options = { what: `withdrawing manifest ${number}`, signal, isWriting: true };
    await this.#attempt(options, async () => {
      if (!(await folders.exist())) return;
      await removeTree(folders.manifest(number));
      await syncFolder(folders.manifests);
    });
  }

  async hasLayer(key: string, name: string, signal: AbortSignal): Promise<boolean> {
    const folders = this.#folders(key);
    assertNames('layer', name);
    return this.#attempt({ what: `looking for layer ${name}`, signal }, () =>
      folders.exist(folders.layer(name)),
    );
  }

  /** The files are not synced: a mirror that a crash has damaged is cloned again. */
  async getLayer(
    key: string,
    layer: LayerFiles,
    directory: string,
    { signal, onBytes, onFilled }: GetOptions,
  ): Promise<void> {
    const folders = this.#folders(key);
    assertLayer(layer);
    const call = { what: `getting layer ${layer.name}`, signal, isTransfer: true };
    await this.#attempt(call, async (bounded, heard) => {
      const stored = folders.layer(layer.name);
      try {
        await checkPlainFolder(stored);
        await copyLayer(layer, stored, directory, {
          mode: 0o444,
          durable: false,
          signal: bounded,
          onFilled,
          onBytes: (done) => {
            heard();
            onBytes?.(done);
          },
        });
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
    const call = { what: `putting layer ${layer.name}`, signal, isWriting: true, isTransfer: true };
    await this.#attempt(call, (bounded, heard) =>
      folders.withTemporary(async (temporary, root) => {
        const path = folders.layer(layer.name);
        if (await isPresent(path)) throw new Error('a layer of this name exists');
        await copyLayer(layer, directory, temporary, {
          mode: 0o444,
          durable: true,
          signal: bounded,
          onBytes: (done) => {
            heard();
            onBytes?.(done);
          },
        });
        for (const { name } of layer.files) await giveRights(join(temporary, name), root, 0o444);
        await syncFolder(temporary);
        throwIfCancelled(bounded);
        await renameStubbornly(temporary, path);
        await orUndo(syncFolder(folders.layers), () => folders.removeLayer(layer.name));
      }),
    );
  }

  async list(key: string, signal: AbortSignal): Promise<Inventory> {
    const folders = this.#folders(key);
    return this.#attempt({ what: 'listing', signal, isWriting: true }, async (bounded) => {
      if (!(await folders.exist())) return { manifests: [], layers: [], debris: [] };
      await folders.make();
      const nowMs = await folders.nowMs();
      const aged = async (folder: string): Promise<{ name: string; ageMs: number }[]> => {
        throwIfCancelled(bounded);
        const entries = (await listTimes(folder)).filter(({ name }) => isSafeName(name));
        // Those created after `now` was taken have no age.
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
    const call = { what: 'removing', signal, isWriting: true, isTransfer: true };
    await this.#attempt(call, async (bounded, heard) => {
      if (!(await folders.exist())) return;
      await folders.make();
      // First and strictly: a manifest that cannot be removed keeps its layers.
      for (const number of what.manifests) {
        heard();
        throwIfCancelled(bounded);
        await removeTree(folders.manifest(number));
      }
      let failure: unknown;
      const chores = [
        ...what.layers.map((name) => () => folders.removeLayer(name)),
        ...what.debris.map((name) => () => removeTree(join(folders.tmp, name))),
      ];
      for (const chore of chores) {
        heard();
        throwIfCancelled(bounded);
        await chore().catch((error: unknown) => {
          // What is in use on Windows is left to the next retention.
          if (!isBusyOnWindows(error)) failure ??= error;
        });
      }
      if (failure !== undefined) {
        throw toMirrorError(failure, 'store-unavailable', 'old data could not be removed');
      }
    });
  }

  #folders(key: string): DiskFolders {
    assertNames('key', key);
    return new DiskFolders(this.#path, key);
  }

  #attempt<T>(options: Omit<AttemptOptions, 'root'>, work: Work<T>): Promise<T> {
    return attempt({ root: this.#path, ...options }, work);
  }
}
