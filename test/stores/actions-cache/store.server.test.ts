/** The store in the Actions cache, with the real toolkit, against a service on this machine. */
import { afterAll, afterEach, beforeAll, jest } from '@jest/globals';
import { createActionsCacheStore } from '../../../src/stores/actions-cache/store.ts';
import type { Store } from '../../../src/stores/store.ts';
import { useCaches } from '../../support/actions-cache/caches.ts';
import {
  startActionsCacheService,
  type ActionsCacheService,
} from '../../support/actions-cache/service.ts';
import type { CacheJob } from '../../support/actions-cache/token.ts';
import { temporaryDirectories } from '../../support/temporary-directory.ts';
import { describeStoreContract } from '../contract/store-contract.ts';

// Every call starts a process or two.
jest.setTimeout(180_000);

const MAIN: CacheJob = { ref: 'refs/heads/main' };

const directories = temporaryDirectories();
let service: ActionsCacheService;
let temporaryFolder: string;
const openCache = useCaches();

beforeAll(async () => {
  service = await startActionsCacheService();
  temporaryFolder = await directories.create('runner-temp');
});
afterEach(async () => {
  service.clearFaults();
  service.resetCounters();
  await service.evict();
});
afterAll(async () => {
  await service.close();
  await directories.removeAll();
});

function environmentOf(job: CacheJob): NodeJS.ProcessEnv {
  return { PATH: process.env['PATH'], ...service.environmentFor(job, { blobHost: 'loopback' }) };
}

function open(environment = environmentOf(MAIN), scope = 'default'): Store {
  return createActionsCacheStore({
    cache: openCache({ environment, temporaryFolder }),
    scope,
  });
}

describeStoreContract(
  'the store in the Actions cache',
  () =>
    Promise.resolve({
      open: () => open(),
      openUnreachable: () =>
        open({ ...environmentOf(MAIN), ACTIONS_RESULTS_URL: 'http://127.0.0.1:9/' }),
      close: () => Promise.resolve(),
    }),
  { hasOutages: true, canRemove: false },
);
