/**
 * What every store promises, whatever it is made of (src/stores/store.ts). A back end's own test calls
 * `describeStoreContract` and adds what only that back end promises.
 */
import { afterEach, beforeEach, describe } from '@jest/globals';
import { join } from 'node:path';
import { MirrorError } from '../../../src/lib/errors.ts';
import type { FindOptions, LayerFiles, Store } from '../../../src/stores/store.ts';
import { type Contents, writeLayer } from '../../support/layer-files.ts';
import { temporaryDirectories } from '../../support/temporary-directory.ts';
import { testFailures } from './failures.ts';
import { testLayers } from './layers.ts';
import { testManifests } from './manifests.ts';

export interface StoreSetting {
  /** The same empty store, each time as another job sees it. */
  open(): Store;
  /** A store of this kind that cannot be reached, where there is such a thing. */
  openUnreachable?(): Store;
  close(): Promise<void>;
}

/** What the tests of the contract work with. */
export interface StoreBench extends StoreSetting {
  store: Store;
  /** A new empty folder. */
  directory(): Promise<string>;
  /** Puts a layer into the store. */
  put(name: string, contents: Contents, key?: string): Promise<LayerFiles>;
  /** Brings a layer into a new folder and gives its path. */
  get(layer: LayerFiles, key?: string): Promise<string>;
}

export const KEY = 'example.org-owner-name-0123abcd';
export const signal = new AbortController().signal;
export const NOTHING = { manifests: [], layers: [], debris: [] };

export interface StoreTraits {
  /** Whether the setting has `openUnreachable`. */
  hasOutages: boolean;
  /** False if the store evicts on its own, and only that way; true by default. */
  canRemove?: boolean;
  /** False where of many who create one manifest at once none may win; true if left out. */
  hasAtomicCreate?: boolean;
}

export function describeStoreContract(
  name: string,
  setUp: () => Promise<StoreSetting>,
  traits: StoreTraits,
): void {
  describe(`${name}: what every store promises`, () => {
    const directories = temporaryDirectories();
    let bench: StoreBench;
    beforeEach(async () => {
      bench = makeBench(await setUp(), () => directories.create('store-contract'));
    });
    afterEach(async () => {
      await bench.close();
      await directories.removeAll();
    });

    testManifests(() => bench, traits);
    testLayers(() => bench, traits);
    testFailures(() => bench, traits);
  });
}

function makeBench(setting: StoreSetting, directory: () => Promise<string>): StoreBench {
  const store = setting.open();
  return {
    ...setting,
    store,
    directory,
    async put(name, contents, key = KEY) {
      const source = join(await directory(), 'source');
      const layer = await writeLayer(source, name, contents);
      await store.putLayer(key, layer, source, { signal });
      return layer;
    },
    async get(layer, key = KEY) {
      const target = await directory();
      await store.getLayer(key, layer, target, { signal });
      return target;
    },
  };
}

/** The text and number of the manifest found, as `<number> <text>`; undefined if there is none. */
export async function find(
  store: Store,
  options: Partial<FindOptions> & { key?: string } = {},
): Promise<string | undefined> {
  const { key = KEY, ...rest } = options;
  const found = await store.findManifest(key, { signal, ...rest });
  return found && `${found.number} ${Buffer.from(found.content).toString()}`;
}

export async function create(
  store: Store,
  number: number,
  text: string,
  key = KEY,
): Promise<boolean> {
  return store.createManifest(key, number, Buffer.from(text), signal);
}

/** `fulfilled`, the code of a MirrorError, or the name of another error. */
export async function outcomeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return 'fulfilled';
  } catch (error) {
    if (error instanceof MirrorError) return error.code;
    return error instanceof Error ? error.name : String(error);
  }
}
