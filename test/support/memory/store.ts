import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MirrorError, throwIfCancelled, toMirrorError } from '../../../src/lib/errors.ts';
import { createStore } from '../../../src/stores/back-end.ts';
import { checkPlainFile } from '../../../src/stores/layer-files.ts';
import type { Store } from '../../../src/stores/store.ts';

export interface MemoryStoreOptions {
  /** The store's clock, in milliseconds. */
  now?: () => number;
}

interface Stored<T> {
  content: T;
  createdMs: number;
}

interface Shelf {
  manifests: Map<number, Stored<Uint8Array>>;
  layers: Map<string, Stored<ReadonlyMap<string, Uint8Array>>>;
}

interface Session extends Shelf {
  signal: AbortSignal;
}

/** A store that lives as long as the object does, for tests; it has no debris and no outages. */
export function createMemoryStore({ now = Date.now }: MemoryStoreOptions = {}): Store {
  const shelves = new Map<string, Shelf>();
  const ageOf = ({ createdMs }: Stored<unknown>): number => Math.max(0, now() - createdMs);
  return createStore<Session>({
    location: 'a store in memory',

    async attempt({ key, what, signal }, work) {
      const shelf = shelves.get(key) ?? { manifests: new Map(), layers: new Map() };
      shelves.set(key, shelf);
      await turn(signal);
      try {
        return await work({ ...shelf, signal });
      } catch (error) {
        throw toMirrorError(error, 'store-unavailable', `${what} in memory`);
      }
    },

    findManifest({ manifests }, below) {
      const number = Math.max(...[...manifests.keys()].filter((each) => each < below));
      const stored = manifests.get(number);
      return Promise.resolve(stored && { number, content: stored.content.slice() });
    },

    createManifest({ manifests }, number, content) {
      const isFree = !manifests.has(number);
      if (isFree) manifests.set(number, { content: Uint8Array.from(content), createdMs: now() });
      return Promise.resolve(isFree);
    },

    hasLayer: ({ layers }, name) => Promise.resolve(layers.has(name)),

    async getLayer({ layers, signal }, layer, directory, { onBytes }) {
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
        await writeFile(join(directory, name), content, { flag: 'wx', mode: 0o444 });
        done += bytes;
        onBytes?.(done);
      }
    },

    async putLayer({ layers, signal }, layer, directory, { onBytes }) {
      const content = new Map<string, Uint8Array>();
      let done = 0;
      for (const { name, bytes } of layer.files) {
        throwIfCancelled(signal);
        const path = join(directory, name);
        await checkPlainFile(path, bytes);
        content.set(name, await readFile(path));
        done += bytes;
        onBytes?.(done);
      }
      await turn(signal);
      layers.set(layer.name, { content, createdMs: now() });
    },

    removal: {
      list: ({ manifests, layers }) =>
        Promise.resolve({
          manifests: [...manifests].map(([number, each]) => ({ number, ageMs: ageOf(each) })),
          layers: [...layers].map(([name, each]) => ({ name, ageMs: ageOf(each) })),
          debris: [],
        }),
      removeManifest({ manifests }, number) {
        manifests.delete(number);
        return Promise.resolve();
      },
      removeLayer({ layers }, name) {
        layers.delete(name);
        return Promise.resolve();
      },
      removeDebris: () => Promise.resolve(),
    },
  });
}

/** Lets others run, as a real store does, so that races show in tests. */
export async function turn(signal: AbortSignal): Promise<void> {
  throwIfCancelled(signal);
  await new Promise((resolve) => setImmediate(resolve));
  throwIfCancelled(signal);
}
