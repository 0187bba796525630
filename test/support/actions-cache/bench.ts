/** What tests of the store in the Actions cache share: a service, folders, and stores as jobs see them. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, jest } from '@jest/globals';
import { readdir } from 'node:fs/promises';
import { MirrorError } from '../../../src/lib/errors.ts';
import type { ActionsCacheOptions } from '../../../src/stores/actions-cache/session.ts';
import { createActionsCacheStore } from '../../../src/stores/actions-cache/store.ts';
import type { LayerFiles, Store } from '../../../src/stores/store.ts';
import { KEY, signal } from '../../stores/contract/store-contract.ts';
import { writeLayer, type Contents } from '../layer-files.ts';
import { temporaryDirectories, type TemporaryDirectories } from '../temporary-directory.ts';
import { useCaches } from './caches.ts';
import { startActionsCacheService, type ActionsCacheService } from './service.ts';
import type { BlobHost, CacheJob } from './token.ts';

export const MAIN: CacheJob = { ref: 'refs/heads/main' };
export const BRANCH: CacheJob = { ref: 'refs/heads/feature' };

export interface CacheBench {
  readonly service: ActionsCacheService;
  /** That of the job; empty after each test, whatever has happened. */
  readonly temporaryFolder: string;
  readonly directories: TemporaryDirectories;
  /** The default branch's store, new for each test. */
  readonly store: Store;
  environmentOf(job: CacheJob, blobHost?: BlobHost): NodeJS.ProcessEnv;
  open(environment?: NodeJS.ProcessEnv, more?: OpenOptions): Store;
  put(contents?: Contents, to?: Store, name?: string): Promise<LayerFiles>;
  /** Gives the folder; one that stays empty where it fails. */
  get(layer: LayerFiles, from?: Store): Promise<string>;
}

export interface OpenOptions {
  scope?: string;
  temporaryFolder?: string;
  times?: ActionsCacheOptions['times'];
  /** Whether the toolkit waits as long as it does for users. */
  isUnhurried?: boolean;
}

/** For the top of a test file. */
export function useCacheBench(): CacheBench {
  // Every call starts a process or two.
  jest.setTimeout(60_000);
  const directories = temporaryDirectories();
  let service: ActionsCacheService;
  let temporaryFolder: string;
  let store: Store;
  const openCache = useCaches();
  beforeAll(async () => {
    service = await startActionsCacheService();
  });
  beforeEach(async () => {
    temporaryFolder = await directories.create('runner-temp');
    store = bench.open();
  });
  afterEach(async () => {
    service.clearFaults();
    await service.evict();
    service.resetCounters();
    expect(await readdir(temporaryFolder)).toEqual([]);
    await directories.removeAll();
  });
  afterAll(async () => {
    await service.stop();
  });

  const bench: CacheBench = {
    get service() {
      return service;
    },
    get temporaryFolder() {
      return temporaryFolder;
    },
    get store() {
      return store;
    },
    directories,
    environmentOf: (job, blobHost = 'loopback') => ({
      PATH: process.env['PATH'],
      ...service.environmentFor(job, { blobHost }),
    }),
    open(environment = bench.environmentOf(MAIN), more = {}) {
      const { scope = 'default', isUnhurried = false, times, ...rest } = more;
      const hurry = `--import=${new URL('hurry.ts', import.meta.url).href}`;
      const cache = openCache({
        environment: isUnhurried
          ? environment
          : { ...environment, NODE_OPTIONS: `${environment['NODE_OPTIONS'] ?? ''} ${hurry}` },
        temporaryFolder,
        times: { ...(!isUnhurried && { retryPauseMs: 50 }), ...times },
        ...rest,
      });
      return createActionsCacheStore({ cache, scope });
    },
    async put(contents = { file: 'stored' }, to = store, name = 'layer') {
      const source = await directories.create('source');
      const layer = await writeLayer(source, name, contents);
      await to.putLayer(KEY, layer, source, { signal });
      return layer;
    },
    async get(layer, from = store) {
      const target = await directories.create('target');
      try {
        await from.getLayer(KEY, layer, target, { signal });
        return target;
      } catch (error) {
        expect(await readdir(target)).toEqual([]);
        throw error;
      }
    },
  };
  return bench;
}

/** `<code>: <message>` of the error that work ends with. */
export async function failureOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return 'none';
  } catch (error) {
    return error instanceof MirrorError ? `${error.code}: ${error.message}` : String(error);
  }
}
