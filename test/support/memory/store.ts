import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MirrorError, throwIfCancelled, toMirrorError } from '../../../src/lib/errors.ts';
import { checkPlainFile } from '../../../src/stores/layer-files.ts';
import {
  assertLayer,
  assertManifestNumber,
  assertManifestSize,
  assertNames,
} from '../../../src/stores/names.ts';
import type {
  FindOptions,
  Inventory,
  LayerFiles,
  Removal,
  Store,
  StoredManifest,
  TransferOptions,
} from '../../../src/stores/store.ts';

export interface MemoryStoreOptions {
  /** The store's clock, in milliseconds. */
  now?: () => number;
}

/** A store that lives as long as the object does, for tests; it has no debris and no outages. */
export function createMemoryStore(options: MemoryStoreOptions = {}): Store {
  return new MemoryStore(options.now ?? Date.now);
}

interface Stored<T> {
  content: T;
  createdMs: number;
}

class Shelf {
  readonly manifests = new Map<number, Stored<Uint8Array>>();
  readonly layers = new Map<string, Stored<ReadonlyMap<string, Uint8Array>>>();
}

class MemoryStore implements Store {
  readonly location = 'a store in memory';
  readonly #shelves = new Map<string, Shelf>();
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  async findManifest(
    key: string,
    { below = Infinity, signal }: FindOptions,
  ): Promise<StoredManifest | undefined> {
    const { manifests } = this.#shelf(key);
    if (below !== Infinity) assertManifestNumber(below);
    await turn(signal);
    const number = Math.max(...[...manifests.keys()].filter((each) => each < below));
    const stored = manifests.get(number);
    return stored && { number, content: stored.content.slice() };
  }

  async createManifest(
    key: string,
    number: number,
    content: Uint8Array,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { manifests } = this.#shelf(key);
    assertManifestNumber(number);
    assertManifestSize(content);
    const copy = Uint8Array.from(content);
    await turn(signal);
    if (manifests.has(number)) return false;
    manifests.set(number, { content: copy, createdMs: this.#now() });
    return true;
  }

  async withdrawManifest(key: string, number: number, signal: AbortSignal): Promise<void> {
    const { manifests } = this.#shelf(key);
    assertManifestNumber(number);
    await turn(signal);
    manifests.delete(number);
  }

  async hasLayer(key: string, name: string, signal: AbortSignal): Promise<boolean> {
    const { layers } = this.#shelf(key);
    assertNames('layer', name);
    await turn(signal);
    return layers.has(name);
  }

  async getLayer(
    key: string,
    layer: LayerFiles,
    directory: string,
    { signal, onBytes }: TransferOptions,
  ): Promise<void> {
    const { layers } = this.#shelf(key);
    assertLayer(layer);
    await turn(signal);
    const stored = layers.get(layer.name)?.content;
    for (const { name, bytes } of layer.files) {
      const found = stored?.get(name)?.length;
      if (found === bytes) continue;
      const problem = found === undefined ? 'is not there' : `has ${found} bytes, not ${bytes}`;
      throw new MirrorError('bad-snapshot', `${name} of layer ${layer.name} ${problem}`);
    }
    let done = 0;
    for (const { name, bytes } of layer.files) {
      throwIfCancelled(signal);
      const content = stored?.get(name) ?? new Uint8Array();
      await writeFile(join(directory, name), content, { flag: 'wx', mode: 0o444 }).catch(
        rethrowAs(`getting layer ${layer.name}`),
      );
      done += bytes;
      onBytes?.(done);
    }
  }

  async putLayer(
    key: string,
    layer: LayerFiles,
    directory: string,
    { signal, onBytes }: TransferOptions,
  ): Promise<void> {
    const { layers } = this.#shelf(key);
    assertLayer(layer);
    const content = new Map<string, Uint8Array>();
    let done = 0;
    for (const { name, bytes } of layer.files) {
      throwIfCancelled(signal);
      const path = join(directory, name);
      await checkPlainFile(path, bytes).catch(rethrowAs(`putting layer ${layer.name}`));
      content.set(name, await readFile(path));
      done += bytes;
      onBytes?.(done);
    }
    await turn(signal);
    if (layers.has(layer.name)) {
      throw new MirrorError('store-unavailable', `a layer of the name ${layer.name} exists`);
    }
    layers.set(layer.name, { content, createdMs: this.#now() });
  }

  async list(key: string, signal: AbortSignal): Promise<Inventory> {
    const { manifests, layers } = this.#shelf(key);
    await turn(signal);
    const age = ({ createdMs }: Stored<unknown>): number => Math.max(0, this.#now() - createdMs);
    return {
      manifests: [...manifests]
        .map(([number, stored]) => ({ number, ageMs: age(stored) }))
        .sort((one, other) => one.number - other.number),
      layers: [...layers]
        .map(([name, stored]) => ({ name, ageMs: age(stored) }))
        .sort((one, other) => (one.name < other.name ? -1 : 1)),
      debris: [],
    };
  }

  async remove(key: string, what: Removal, signal: AbortSignal): Promise<void> {
    const { manifests, layers } = this.#shelf(key);
    what.manifests.forEach(assertManifestNumber);
    assertNames('layer', ...what.layers);
    assertNames('debris', ...what.debris);
    await turn(signal);
    for (const number of what.manifests) manifests.delete(number);
    for (const name of what.layers) layers.delete(name);
  }

  #shelf(key: string): Shelf {
    assertNames('key', key);
    const shelf = this.#shelves.get(key) ?? new Shelf();
    this.#shelves.set(key, shelf);
    return shelf;
  }
}

/** Lets others run, as a real store does, so that races show in tests. */
export async function turn(signal: AbortSignal): Promise<void> {
  throwIfCancelled(signal);
  await new Promise((resolve) => setImmediate(resolve));
  throwIfCancelled(signal);
}

function rethrowAs(what: string): (error: unknown) => never {
  return (error) => {
    throw toMirrorError(error, 'store-unavailable', `${what} in memory`);
  };
}
