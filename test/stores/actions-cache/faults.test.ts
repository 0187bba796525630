/** The store in the Actions cache where something goes wrong, with the real toolkit. */
import {
  afterAll,
  afterEach,
  beforeAll,
  beforeEach,
  describe,
  expect,
  jest,
  test,
} from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { link, mkdir, readdir, realpath, symlink, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { MirrorError } from '../../../src/lib/errors.ts';
import { openActionsCache } from '../../../src/stores/actions-cache/session.ts';
import { createActionsCacheStore } from '../../../src/stores/actions-cache/store.ts';
import type { LayerFiles, Store } from '../../../src/stores/store.ts';
import type { CacheFault } from '../../support/actions-cache/fault.ts';
import {
  startActionsCacheService,
  type ActionsCacheService,
} from '../../support/actions-cache/service.ts';
import type { BlobHost, CacheJob } from '../../support/actions-cache/token.ts';
import { callToolkit } from '../../support/actions-cache/toolkit.ts';
import {
  describeContents,
  describeFolder,
  writeLayer,
  type Contents,
} from '../../support/layer-files.ts';
import { canListProcesses, processesWith } from '../../support/processes.ts';
import { temporaryDirectories } from '../../support/temporary-directory.ts';
import { create, find, KEY, outcomeOf, signal } from '../contract/store-contract.ts';

// Every call starts a process or two, and the toolkit tries again after seconds.
jest.setTimeout(180_000);

const MAIN: CacheJob = { ref: 'refs/heads/main' };
const BRANCH: CacheJob = { ref: 'refs/heads/feature' };

const directories = temporaryDirectories();
let service: ActionsCacheService;
let temporaryFolder: string;
let store: Store;

beforeAll(async () => {
  service = await startActionsCacheService();
});
beforeEach(async () => {
  temporaryFolder = await directories.create('runner-temp');
  store = open();
});
afterEach(async () => {
  service.clearFaults();
  await service.evict();
  service.resetCounters();
  // Whatever has happened.
  expect(await readdir(temporaryFolder)).toEqual([]);
  await directories.removeAll();
});
afterAll(async () => {
  await service.close();
});

function environmentOf(job: CacheJob, blobHost: BlobHost = 'loopback'): NodeJS.ProcessEnv {
  return { PATH: process.env['PATH'], ...service.environmentFor(job, { blobHost }) };
}

function open(environment = environmentOf(MAIN), scope = 'default'): Store {
  return createActionsCacheStore({
    cache: openActionsCache({ environment, temporaryFolder }),
    scope,
  });
}

async function put(
  contents: Contents = { file: 'stored' },
  to = store,
  name = 'layer',
): Promise<LayerFiles> {
  const source = await directories.create('source');
  const layer = await writeLayer(source, name, contents);
  await to.putLayer(KEY, layer, source, { signal });
  return layer;
}

async function get(layer: LayerFiles, from = store): Promise<string> {
  const target = await directories.create('target');
  try {
    await from.getLayer(KEY, layer, target, { signal });
    return target;
  } catch (error) {
    expect(await readdir(target)).toEqual([]);
    throw error;
  }
}

/** `<code>: <message>` of the error that work ends with. */
async function failureOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return 'none';
  } catch (error) {
    return error instanceof MirrorError ? `${error.code}: ${error.message}` : String(error);
  }
}

describe('a look-up that fails is no miss, and tells why', () => {
  test.each<[string, CacheFault['behave'], RegExp]>([
    ['429', { kind: 'status', status: 429 }, /^store-unavailable: .*Rate limited.*\(429\)/],
    ['401', { kind: 'status', status: 401 }, /^store-unavailable: .*\(401\)/],
    ['a closed connection', { kind: 'close' }, /^store-unavailable: .*ECONNRESET/],
    [
      'no right to read',
      { kind: 'status', status: 403, message: 'cache read denied: no scope' },
      /^store-unavailable: .*cache read denied: no scope/,
    ],
  ])('%s', async (_, behave, message) => {
    const layer = await put();
    await create(store, 1, 'text');
    const fault = service.fault({ on: 'lookup', behave });
    expect(await failureOf(find(store))).toMatch(message);
    expect(await failureOf(get(layer))).toMatch(message);
    expect(await failureOf(store.hasLayer(KEY, 'layer', signal))).toMatch(message);
    expect(await failureOf(create(store, 2, 'text'))).toMatch(message);
    fault.remove();
    expect(await find(store)).toBe('1 text');
  });

  test('500, which the toolkit bears with for half a minute: but not again', async () => {
    service.fault({ on: 'lookup', behave: { kind: 'status', status: 500 } });
    expect(await failureOf(find(store))).toMatch(/^store-unavailable: .*5 attempts.*\(500\)/);
    expect(service.requestsOf('lookup')).toHaveLength(5);
    // Of two scopes in one process, both know.
    const second = await failureOf(find(store));
    expect(second).toMatch(/^store-unavailable: .*not answer within 10\.0 s; before: .*\(500\)/);
    expect(service.requestsOf('lookup').length).toBeLessThan(10);
  });

  test('silence ends at the deadline, and an answer ends the outage', async () => {
    const closing = service.fault({ on: 'lookup', behave: { kind: 'close' } });
    expect(await failureOf(find(store))).toContain('ECONNRESET');
    closing.remove();
    const fault = service.fault({ on: 'lookup', behave: { kind: 'delay', forMs: 600_000 } });
    expect(await failureOf(find(store))).toMatch(/not answer within 10\.0 s; before: .*ECONNRESET/);
    fault.remove();
    expect(await find(store)).toBeUndefined();
    service.fault({ on: 'lookup', behave: { kind: 'close' } });
    expect(await failureOf(find(store))).not.toContain('before:');
  });
});

describe('a download that fails', () => {
  const contents = { file: randomBytes(300_000) };

  test.each<[string, BlobHost, CacheFault, string]>([
    [
      'is cut',
      'loopback',
      { on: 'download', behave: { kind: 'cut', afterBytes: 100_000 } },
      'store-unavailable',
    ],
    [
      'is refused',
      'loopback',
      { on: 'download', behave: { kind: 'status', status: 500 } },
      'store-unavailable',
    ],
    ['is closed', 'loopback', { on: 'download', behave: { kind: 'close' } }, 'store-unavailable'],
    [
      'is gone',
      'azure',
      { on: 'properties', behave: { kind: 'status', status: 404 } },
      'store-unavailable',
    ],
    [
      'is refused by Azure',
      'azure',
      { on: 'download', behave: { kind: 'status', status: 403 } },
      'store-unavailable',
    ],
    [
      'is wrong bytes',
      'loopback',
      { on: 'download', behave: { kind: 'garbage-stream', afterBytes: 0 } },
      'bad-snapshot',
    ],
    [
      'ends in wrong bytes',
      'loopback',
      { on: 'download', behave: { kind: 'garbage-stream', afterBytes: 200_000 } },
      'bad-snapshot',
    ],
  ])('because it %s (%s)', async (_, blobHost, fault, expected) => {
    const reader = open(environmentOf(MAIN, blobHost));
    const layer = await put(contents, reader);
    const active = service.fault(fault);
    const failure = await failureOf(get(layer, reader));
    expect(active.applied).toBeGreaterThan(0);
    expect(failure).toMatch(new RegExp(`^${expected}: `));
    active.remove();
    expect(await describeFolder(await get(layer, reader))).toEqual(describeContents(contents));
  });

  test('because it stands still ends, and one that crawls does not', async () => {
    const layer = await put(contents);
    const cache = openActionsCache({
      environment: environmentOf(MAIN),
      temporaryFolder,
      standstillMs: 4_000,
    });
    const reader = createActionsCacheStore({ cache, scope: 'default' });
    const crawl = { kind: 'slow' as const, bytesPerSecond: 50_000 };
    service.fault({ on: 'download', times: 1, behave: crawl });
    expect(await outcomeOf(get(layer, reader))).toBe('fulfilled');
    const stall = { kind: 'stall' as const, afterBytes: 100_000, forMs: 600_000 };
    service.fault({ on: 'download', behave: stall });
    // The toolkit has a time for this itself.
    expect(await outcomeOf(get(layer, reader))).toBe('store-unavailable');
    service.fault({ on: 'upload', behave: { kind: 'stall', afterBytes: 1_000, forMs: 600_000 } });
    expect(await failureOf(put(contents, reader, 'other'))).toMatch(/within 4\.0 s/);
  });

  test('of a manifest, in wrong bytes, is a manifest that no reader takes', async () => {
    await create(store, 1, 'text');
    service.fault({ on: 'download', behave: { kind: 'garbage-stream', afterBytes: 0 } });
    expect(await find(store)).toBe('1 ');
  });
});

describe('a save that fails', () => {
  test.each<[string, CacheFault['behave'], RegExp]>([
    ['a refusal', { kind: 'refuse', message: 'no room' }, /^store-unavailable: .*no room/],
    ['a closed connection', { kind: 'close' }, /^store-unavailable: .*ECONNRESET/],
    [
      'a full storage',
      { kind: 'status', status: 403, message: 'insufficient usage to create' },
      /^store-unavailable: .*storage quota has been hit/,
    ],
    [
      'no right to write',
      { kind: 'refuse', message: 'cache write denied: untrusted' },
      /^store-read-only: .*cache write denied: untrusted/,
    ],
  ])('at the reservation, with %s', async (_, behave, message) => {
    const fault = service.fault({ on: 'create', behave });
    expect(await failureOf(create(store, 1, 'text'))).toMatch(message);
    expect(await failureOf(put())).toMatch(message);
    fault.remove();
    expect(service.entries).toEqual([]);
    expect(await create(store, 1, 'text')).toBe(true);
  });

  test('at a rate limit is tried again, a few times', async () => {
    const behave = { kind: 'status' as const, status: 429 as const };
    service.fault({ on: 'create', times: 1, behave });
    expect(await create(store, 1, 'text')).toBe(true);
    service.fault({ on: 'create', behave });
    expect(await failureOf(create(store, 2, 'text'))).toMatch(/^store-unavailable: .*\(429\)/);
    expect(service.requestsOf('create')).toHaveLength(5);
  });

  test.each<[string, CacheFault]>([
    ['an upload that is refused', { on: 'upload', behave: { kind: 'status', status: 403 } }],
    ['an upload that falls short', { on: 'upload', behave: { kind: 'shorten', afterBytes: 50 } }],
    ['an end that is refused', { on: 'finalize', behave: { kind: 'status', status: 404 } }],
  ])('at %s leaves a number that is taken, and nothing under it', async (_, fault) => {
    const active = service.fault(fault);
    expect(await failureOf(create(store, 1, 'text'))).toMatch(/^store-unavailable: /);
    expect(await failureOf(put())).toMatch(/^store-unavailable: /);
    active.remove();
    expect(await find(store)).toBeUndefined();
    expect(await create(store, 1, 'text')).toBe(false);
    expect(await create(store, 2, 'text')).toBe(true);
    expect(await find(store)).toBe('2 text');
    expect(await outcomeOf(put())).toBe('store-unavailable');
    expect(await outcomeOf(put({ file: 'stored' }, store, 'another'))).toBe('fulfilled');
  });

  test('only as far as its reply goes is a success', async () => {
    service.fault({ on: 'finalize', afterwards: true, behave: { kind: 'close' } });
    expect(await create(store, 1, 'text')).toBe(true);
    const layer = await put();
    expect(await find(store)).toBe('1 text');
    expect(await outcomeOf(get(layer))).toBe('fulfilled');
  });

  test('in the middle of an upload goes on', async () => {
    const contents = { file: randomBytes(500_000) };
    const behave = { kind: 'cut' as const, afterBytes: 100_000, reset: true };
    const fault = service.fault({ on: 'upload', times: 1, behave });
    const layer = await put(contents);
    expect(fault.applied).toBe(1);
    expect(await describeFolder(await get(layer))).toEqual(describeContents(contents));
  });

  test('by wrong bytes on their way shows when they are read', async () => {
    service.fault({ on: 'upload', behave: { kind: 'garbage-stream', afterBytes: 0 } });
    const layer = await put();
    await create(store, 1, 'text');
    expect(await outcomeOf(get(layer))).toBe('bad-snapshot');
    expect(await find(store)).toBe('1 ');
  });

  test('because the number was taken meanwhile is a refusal', async () => {
    service.fault({
      on: ({ kind }) => kind === 'create',
      times: 1,
      behave: { kind: 'status', status: 409 },
    });
    expect(await create(store, 1, 'text')).toBe(false);
  });
});

describe('what the platform evicts', () => {
  test('is missed: layers and manifests, each for itself', async () => {
    const layer = await put();
    for (const number of [1, 2]) await create(store, number, 'text');
    await service.evict(({ key }) => key.endsWith('02-2') || key.endsWith('01-2'));
    expect(await find(store)).toBe('1 text');
    await service.evict(({ key }) => key.includes('/layers/'));
    expect(await outcomeOf(get(layer))).toBe('bad-snapshot');
    expect(await store.hasLayer(KEY, 'layer', signal)).toBe(false);
  });

  test('between look-up and download is passed over', async () => {
    for (const number of [1, 2]) await create(store, number, 'text');
    // The second look-up proves that there is nothing above.
    service.resetCounters();
    service.fault({
      on: ({ kind }) => kind === 'lookup' && service.requestsOf('lookup').length === 3,
      times: 1,
      behave: { kind: 'refuse' },
    });
    expect(await find(store)).toBe('1 text');
  });
});

describe('scopes', () => {
  test('a branch reads the default branch’s snapshots, and numbers its own', async () => {
    const layer = await put();
    for (const number of [1, 2]) await create(store, number, `main ${number}`);
    const own = open(environmentOf(BRANCH), 'refs/heads/feature');
    const others = open(environmentOf(BRANCH));
    expect(await find(own)).toBeUndefined();
    expect(await find(others)).toBe('2 main 2');
    expect(await outcomeOf(get(layer, others))).toBe('fulfilled');
    expect(await create(own, 1, 'branch 1')).toBe(true);
    expect(await find(own)).toBe('1 branch 1');
    // What a branch saves in the name of the default branch reaches no other.
    expect(await create(others, 3, 'forged')).toBe(true);
    expect(await find(store)).toBe('2 main 2');
  });

  test('any ref is one: with commas, beyond ASCII, and long', async () => {
    const scopes = [
      'refs/heads/a,b',
      'refs/heads/a%2Cb',
      'refs/heads/ü',
      `refs/heads/${'ü'.repeat(200)}`,
    ];
    for (const scope of scopes) await create(open(environmentOf(MAIN), scope), 1, scope);
    for (const scope of scopes) {
      expect(await find(open(environmentOf(MAIN), scope))).toBe(`1 ${scope}`);
    }
  });

  test.each<[string, () => NodeJS.ProcessEnv]>([
    ['token', () => environmentOf({ ...MAIN, permission: 'read' })],
    ['cache-mode', () => ({ ...environmentOf(MAIN), ACTIONS_CACHE_MODE: 'read' })],
  ])('a %s that only reads can read, and is told that it cannot write', async (_, environment) => {
    const layer = await put();
    await create(store, 1, 'text');
    const reader = open(environment());
    expect(await find(reader)).toBe('1 text');
    expect(await outcomeOf(get(layer, reader))).toBe('fulfilled');
    expect(await outcomeOf(create(reader, 2, 'text'))).toBe('store-read-only');
    expect(await outcomeOf(put({ file: 'x' }, reader, 'new'))).toBe('store-read-only');
    expect(await create(reader, 1, 'text')).toBe(false);
  });
});

describe('archives', () => {
  /** Saves an entry with the toolkit itself, as anybody could who may write. */
  async function plant(build: (entry: string) => Promise<unknown>): Promise<void> {
    const directory = await directories.create('planted');
    await mkdir(join(directory, 'entry'));
    await build(join(directory, 'entry'));
    const key = `mirror-action/v1/${KEY}/layers/layer/`;
    const call = { kind: 'save' as const, paths: ['entry'], key };
    const environment = service.environmentFor(MAIN, { blobHost: 'loopback' });
    const { results } = await callToolkit([call], directory, environment);
    expect(results).not.toEqual([-1]);
  }
  const layer = {
    name: 'layer',
    files: [
      { name: 'one', bytes: 4 },
      { name: 'two', bytes: 4 },
    ],
  };

  test.each<[string, (entry: string) => Promise<unknown>, string]>([
    ['what is declared', async (entry) => writeFile(join(entry, 'two'), 'text'), 'fulfilled'],
    ['a file too few', async () => {}, 'bad-snapshot'],
    ['a symlink', async (entry) => symlink('/etc/hostname', join(entry, 'two')), 'bad-snapshot'],
    ['a link', async (entry) => link(join(entry, 'one'), join(entry, 'two')), 'bad-snapshot'],
    ['a folder', async (entry) => mkdir(join(entry, 'two')), 'bad-snapshot'],
    [
      'a file too many',
      async (entry) => {
        await writeFile(join(entry, 'two'), 'text');
        await writeFile(join(entry, 'config'), '[core]');
      },
      'bad-snapshot',
    ],
    [
      'folders that may not be written to',
      async (entry) => mkdir(join(entry, 'two', 'three'), { recursive: true, mode: 0o555 }),
      'bad-snapshot',
    ],
  ])('with %s', async (_, build, expected) => {
    await plant(async (entry) => {
      await writeFile(join(entry, 'one'), 'text');
      await build(entry);
    });
    expect(await outcomeOf(get(layer))).toBe(expected);
  });

  test('come from Azure in parts, and tell how far they are', async () => {
    const contents = { a: randomBytes(6_000_000), b: 'small' };
    const azure = open(environmentOf(MAIN, 'azure'));
    const stored = await put(contents, azure);
    expect(await describeFolder(await get(stored, azure))).toEqual(describeContents(contents));
    expect(service.requestsOf('download').length).toBeGreaterThan(1);
  });

  test('without zstd work as well, and are another store', async () => {
    const programs = await directories.create('programs');
    for (const name of ['tar', 'gzip']) await symlink(await programOf(name), join(programs, name));
    const withoutZstd = open({ ...environmentOf(MAIN), PATH: programs });
    await create(store, 1, 'zstd');
    expect(await find(withoutZstd)).toBeUndefined();
    expect(await create(withoutZstd, 1, 'gzip')).toBe(true);
    const found = await put({ file: 'gzip' }, withoutZstd);
    expect(await describeFolder(await get(found, withoutZstd))).toEqual({ file: 'gzip' });
    expect(await find(store)).toBe('1 zstd');
    expect(new Set(service.entries.map(({ version }) => version)).size).toBe(2);
  });

  test('without tar cannot be made, which is an outage', async () => {
    const nothing = open({ ...environmentOf(MAIN), PATH: await directories.create('programs') });
    expect(await failureOf(create(nothing, 1, 'text'))).toMatch(/^store-unavailable: .*\btar\b/);
    expect(await find(store)).toBeUndefined();
  });

  async function programOf(name: string): Promise<string> {
    for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
      const found = await realpath(join(folder, name)).catch(() => undefined);
      if (found !== undefined) return found;
    }
    throw new Error(`${name} is not on PATH`);
  }
});

describe('a cancelled call', () => {
  const contents = { file: randomBytes(2_000_000) };

  test.each<[string, CacheFault['on']]>([
    ['look-up', 'lookup'],
    ['reservation', 'create'],
    ['upload', 'upload'],
    ['end', 'finalize'],
  ])('of putting a layer ends soon, in its %s, and with its processes', async (_, on) => {
    service.fault({ on, behave: { kind: 'delay', forMs: 600_000 } });
    const controller = new AbortController();
    const source = await directories.create('source');
    const layer = await writeLayer(source, 'layer', contents);
    const putting = store.putLayer(KEY, layer, source, { signal: controller.signal });
    const outcome = outcomeOf(putting);
    await service.waitForRequest(({ kind }) => kind === on);
    controller.abort();
    expect(await outcome).toBe('cancelled');
    service.clearFaults();
    expect(await outcomeOf(get(layer))).toBe('bad-snapshot');
    if (canListProcesses) expect(processesWith(temporaryFolder)).toEqual([]);
  });

  test('of getting a layer ends soon, and leaves nothing in the mirror', async () => {
    const layer = await put(contents);
    service.fault({ on: 'download', behave: { kind: 'stall', afterBytes: 1_000, forMs: 600_000 } });
    const controller = new AbortController();
    const target = await directories.create('target');
    const outcome = outcomeOf(store.getLayer(KEY, layer, target, { signal: controller.signal }));
    await service.waitForRequest(({ kind }) => kind === 'download');
    controller.abort();
    expect(await outcome).toBe('cancelled');
    expect(await readdir(target)).toEqual([]);
  });
});

describe('secrets', () => {
  test('are in no message, whatever the service says', async () => {
    const environment = environmentOf(MAIN);
    const token = environment['ACTIONS_RUNTIME_TOKEN']!;
    const message = `no, ${token} for https://blob.example/a?sig=abc%2Bdef&x=1 and\nBearer wxyz`;
    service.fault({ on: 'create', behave: { kind: 'refuse', message } });
    service.fault({ on: 'lookup', behave: { kind: 'status', status: 401, message } });
    const failures = [await failureOf(find(open(environment)))];
    service.clearFaults();
    service.fault({ on: 'create', behave: { kind: 'refuse', message } });
    failures.push(await failureOf(create(open(environment), 1, 'text')));
    for (const failure of failures) {
      expect(failure).toContain('no, *** for https://blob.example/a?sig=***&x=1 and Bearer ***');
      expect(failure).not.toContain(token);
    }
  });

  const testProcesses = canListProcesses ? test : test.skip;
  testProcesses('are in no command line', async () => {
    const token = environmentOf(MAIN)['ACTIONS_RUNTIME_TOKEN']!;
    service.fault({ on: 'upload', behave: { kind: 'delay', forMs: 2_000 } });
    const putting = put();
    await service.waitForRequest(({ kind }) => kind === 'upload');
    expect(processesWith('cache-worker').length).toBeGreaterThan(0);
    expect(processesWith(token)).toEqual([]);
    await putting;
  });
});

test('a folder for temporary files that is not there is an outage of the store', async () => {
  const cache = openActionsCache({
    environment: environmentOf(MAIN),
    temporaryFolder: join(temporaryFolder, 'missing'),
  });
  const other = createActionsCacheStore({ cache, scope: 'default' });
  expect(await outcomeOf(find(other))).toBe('store-unavailable');
});
