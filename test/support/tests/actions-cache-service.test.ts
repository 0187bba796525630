import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { DownloadOptions } from '@actions/cache';
import type { CacheFaultBehaviour } from '../actions-cache/fault.ts';
import { startActionsCacheService, type ActionsCacheService } from '../actions-cache/service.ts';
import type { CacheJob } from '../actions-cache/token.ts';
import { callToolkit, type ToolkitResult } from '../actions-cache/toolkit.ts';
import { isRunning } from '../processes.ts';
import { temporaryDirectories } from '../temporary-directory.ts';

const directories = temporaryDirectories();
const main: CacheJob = { ref: 'refs/heads/main' };
const branch: CacheJob = { ref: 'refs/heads/feature' };
/** More than one part of a download. */
const large = randomBytes(5 * 1024 * 1024);
let service: ActionsCacheService;

beforeAll(async () => {
  service = await startActionsCacheService();
});

afterEach(async () => {
  service.clearFaults();
  await service.evict(({ key }) => !key.startsWith('kept-'));
  service.resetCounters();
  await directories.removeAll();
});

afterAll(async () => {
  await service.stop();
});

interface By {
  job?: CacheJob;
  /** Instead of that for the job. */
  environment?: Record<string, string>;
  /** Part of the version. */
  path?: string;
}

interface Saved extends ToolkitResult {
  /** That of the only call. */
  result: number | string | null | undefined;
}

function environmentOf({ job = main, environment }: By): Record<string, string> {
  return environment ?? service.environmentFor(job);
}

/** Saves the same content under each of the keys, one after the other. */
async function save(
  keys: string | string[],
  content: string | Buffer = 'content',
  by: By = {},
): Promise<Saved> {
  const { path = 'layer' } = by;
  const directory = await directories.create('save');
  await mkdir(join(directory, path));
  await writeFile(join(directory, path, 'file'), content);
  const calls = [keys].flat().map((key) => ({ kind: 'save' as const, paths: [path], key }));
  const answer = await callToolkit(calls, directory, environmentOf(by));
  return { ...answer, result: answer.results?.[0] };
}

interface Restored extends Saved {
  /** Undefined where there is no file. */
  content: Buffer | undefined;
}

async function restore(
  key: string,
  by: By & { options?: DownloadOptions } = {},
): Promise<Restored> {
  const { path = 'layer', options = {} } = by;
  const directory = await directories.create('restore');
  const call = { kind: 'restore' as const, paths: [path], key, options };
  const answer = await callToolkit([call], directory, environmentOf(by));
  const content = await readFile(join(directory, path, 'file')).catch(() => undefined);
  return { ...answer, result: answer.results?.[0], content };
}

/** The matched keys of look-ups, each of a key and its restore keys. */
async function lookUp(keys: (string | string[])[], by: By = {}): Promise<ToolkitResult['results']> {
  const calls = keys.map((each) => {
    const [key = '', ...restoreKeys] = [each].flat();
    const options = { lookupOnly: true };
    return { kind: 'restore' as const, paths: [by.path ?? 'layer'], key, restoreKeys, options };
  });
  const directory = await directories.create('look-up');
  return (await callToolkit(calls, directory, environmentOf(by))).results;
}

function digest(content: string | Buffer | undefined): string | undefined {
  // Jest takes seconds to compare long buffers.
  return content && createHash('sha256').update(content).digest('hex');
}

describe('what the toolkit does with it', () => {
  test('an archive is saved, restored in parts, and counted', async () => {
    const saved = await save('key', large);
    const [entry] = service.entries;
    expect(saved.result).toBe(entry?.id);
    const sizeBytes = entry?.sizeBytes ?? 0;
    expect(sizeBytes).toBeGreaterThan(large.length);
    expect(service.bytesUp('key')).toBe(sizeBytes);
    const restored = await restore('key');
    expect(restored.result).toBe('key');
    expect(digest(restored.content)).toBe(digest(large));
    expect(service.bytesDown('key')).toBe(sizeBytes);
    expect(service.bytesDown('another')).toBe(0);
    expect(service.requests.map(({ kind, status }) => `${kind} ${String(status)}`)).toEqual([
      'create 200',
      'upload 201',
      'finalize 200',
      'lookup 200',
      'properties 200',
      'download 206',
      'download 206',
    ]);
    expect(service.requestsOf('download').map(({ range }) => range)).toEqual([
      'bytes=0-4194303',
      `bytes=4194304-${sizeBytes - 1}`,
    ]);
  });

  test('a large archive is uploaded in blocks and downloaded in segments', async () => {
    const content = randomBytes(129 * 1024 * 1024);
    await save('key', content);
    expect(service.requestsOf('upload').map(({ part }) => part)).toEqual([
      'block',
      'block',
      'block',
      'blocklist',
    ]);
    const restored = await restore('key');
    expect(restored.output).toContain('Downloading segment at offset 134217728');
    expect(digest(restored.content)).toBe(digest(content));
  });

  test('from a host that is not Azure an archive comes in one stream', async () => {
    const environment = service.environmentFor(main, { blobHost: 'loopback' });
    expect(environment['NODE_OPTIONS']).toBeUndefined();
    await save('key', large, { environment });
    const restored = await restore('key', { environment });
    expect(digest(restored.content)).toBe(digest(large));
    expect(service.requestsOf('properties')).toEqual([]);
    expect(service.requestsOf('download').map(({ range }) => range)).toEqual([undefined]);
  });

  test('a look-up moves no bytes', async () => {
    await save('key');
    expect(await lookUp(['key', 'none'])).toEqual(['key', null]);
    expect(service.requestsOf('lookup').map(({ matchedKey }) => matchedKey)).toEqual([
      'key',
      undefined,
    ]);
    expect(service.bytesDown()).toBe(0);
  });
});

describe('keys', () => {
  test('an entry is never replaced', async () => {
    await save('key', 'first');
    const again = await save('key', 'second');
    expect(again.result).toBe(-1);
    expect(again.output).toContain('another job may be creating this cache');
    expect(service.requestsOf('create').map(({ status }) => status)).toEqual([200, 409]);
    expect(service.requestsOf('upload')).toHaveLength(1);
    expect((await restore('key')).content?.toString()).toBe('first');
  });

  test('a reservation that is never finalized holds its key and is not found', async () => {
    service.fault({ on: 'finalize', times: 1, behave: { kind: 'status', status: 400 } });
    expect((await save(['key', 'key'])).results).toEqual([-1, -1]);
    expect(service.requestsOf('create').map(({ status }) => status)).toEqual([200, 409]);
    expect(service.entries).toMatchObject([{ key: 'key', state: 'reserved' }]);
    expect(await lookUp(['key'])).toEqual([null]);
    expect(await service.evict('key')).toEqual(['key']);
    expect((await save('key')).result).not.toBe(-1);
  });

  test('the exact key comes before newer ones, else the newest with the prefix', async () => {
    await save(['a-1', 'a-1-late', 'b-1', 'a-0']);
    const found = await lookUp(['a-1', 'a-', ['none', 'c-', 'b-', 'a-']]);
    expect(found).toEqual(['a-1', 'a-0', 'b-1']);
  });

  test('other paths make another version, which is not found', async () => {
    await save('key', 'content', { path: 'one' });
    expect(await lookUp(['key'], { path: 'two' })).toEqual([null]);
    expect((await save('key', 'content', { path: 'two' })).result).not.toBe(-1);
  });

  test('an evicted entry is missed, and its key is free', async () => {
    await save(['key', 'other'], 'first');
    expect(await service.evict('key')).toEqual(['key']);
    expect(await lookUp(['key', 'other'])).toEqual([null, 'other']);
    await save('key', 'second');
    expect((await restore('key')).content?.toString()).toBe('second');
  });
});

describe('scopes', () => {
  test("a branch sees the default branch's entries, but not the other way round", async () => {
    await Promise.all([save('of-main'), save('of-branch', 'content', { job: branch })]);
    const keys = ['of-main', 'of-branch'];
    const found = await Promise.all([
      lookUp(keys, { job: branch }),
      lookUp(keys),
      lookUp(keys, { job: { ref: 'refs/heads/third' } }),
    ]);
    expect(found).toEqual([keys, ['of-main', null], ['of-main', null]]);
  });

  test('its own entries come first, older and by prefix even; keys are taken per scope', async () => {
    await save('key-1', 'branch', { job: branch });
    expect((await save(['key-1', 'key-2'], 'main')).results).not.toContain(-1);
    const [restored, found] = await Promise.all([
      restore('key-1', { job: branch }),
      lookUp(['key-2', 'key-'], { job: branch }),
    ]);
    expect(restored.content?.toString()).toBe('branch');
    expect(found).toEqual(['key-2', 'key-1']);
  });

  test('a pull request reads its own, then its base, then the default branch', async () => {
    const pull: CacheJob = { ref: 'refs/pull/1/merge', baseBranch: branch.ref };
    await save('k-main');
    expect(await lookUp(['k-'], { job: pull })).toEqual(['k-main']);
    await save('k-base', 'content', { job: branch });
    expect(await lookUp(['k-'], { job: pull })).toEqual(['k-base']);
    await save('k-pull', 'content', { job: pull });
    await save('k-main-2');
    const found = await Promise.all([
      lookUp(['k-'], { job: pull }),
      lookUp(['k-', 'k-pull'], { job: branch }),
    ]);
    expect(found).toEqual([['k-pull'], ['k-base', null]]);
  });

  test('a token for reading does not write, and one without scopes does neither', async () => {
    await save('key');
    const reader: CacheJob = { ...main, permission: 'read' };
    const nobody: CacheJob = { ...main, permission: 'none' };
    const [written, found, denied, refused] = await Promise.all([
      save('new', 'content', { job: reader }),
      lookUp(['key'], { job: reader }),
      restore('key', { job: nobody }),
      save('new', 'content', { job: nobody }),
    ]);
    expect(written.result).toBe(-1);
    expect(written.output).toMatch(/^::warning::.*cache write denied:/m);
    expect(found).toEqual(['key']);
    expect(denied.result).toBeNull();
    expect(denied.output).toMatch(/^::warning::.*cache read denied:/m);
    expect(refused.result).toBe(-1);
    expect(service.entries.map(({ key }) => key)).toEqual(['key']);
  });

  test('a forged token is refused', async () => {
    const environment = service.environmentFor({ ...main, permission: 'read' });
    const [header, , signature] = environment['ACTIONS_RUNTIME_TOKEN']!.split('.');
    const payload = service.environmentFor(main)['ACTIONS_RUNTIME_TOKEN']!.split('.')[1];
    environment['ACTIONS_RUNTIME_TOKEN'] = [header, payload, signature].join('.');
    expect((await save('key', 'content', { environment })).result).toBe(-1);
    expect(service.requests.map(({ status }) => status)).toEqual([401]);
  });
});

describe('faults while saving', () => {
  const tooMany: CacheFaultBehaviour = { kind: 'status', status: 429, retryAfterSeconds: 7 };

  test.each<[string, CacheFaultBehaviour, string]>([
    ['a rate limit', tooMany, 'your rate limit will reset in 7 seconds'],
    ['a lost connection', { kind: 'close' }, 'Unable to make request: ECONNRESET'],
    ['a refusal', { kind: 'refuse', message: 'no room' }, 'Cache reservation failed: no room'],
    [
      'a full storage',
      { kind: 'status', status: 403, message: 'insufficient usage to create' },
      'Cache storage quota has been hit',
    ],
  ])('%s at the reservation', async (_, behave, message) => {
    service.fault({ on: 'create', behave });
    const saved = await save('key');
    expect(saved.result).toBe(-1);
    expect(saved.output).toContain(message);
    expect(service.entries.filter(({ key }) => key === 'key')).toEqual([]);
    expect(service.requestsOf('upload')).toEqual([]);
  });

  test('an answer lost after the reservation leaves it behind', async () => {
    service.fault({ on: 'create', afterwards: true, behave: { kind: 'close' } });
    expect((await save('key')).result).toBe(-1);
    expect(service.entries).toMatchObject([{ key: 'key', state: 'reserved' }]);
  });

  test('an upload that is refused', async () => {
    service.fault({ on: 'upload', behave: { kind: 'status', status: 403 } });
    const saved = await save('key', large);
    expect(saved.result).toBe(-1);
    expect(saved.output).toContain('internal error uploading cache archive: on purpose');
    expect(service.requestsOf('finalize')).toEqual([]);
  });

  test('an upload that is cut is sent again', async () => {
    const behave: CacheFaultBehaviour = { kind: 'cut', afterBytes: 100_000, reset: true };
    const fault = service.fault({ on: 'upload', times: 1, behave });
    expect((await save('key', large)).result).not.toBe(-1);
    expect(fault.applied).toBe(1);
    expect(service.requestsOf('upload').map(({ ending }) => ending)).toEqual([
      'broken',
      'complete',
    ]);
    expect(digest((await restore('key')).content)).toBe(digest(large));
  });

  test('an upload that falls short is not finalized', async () => {
    service.fault({ on: 'upload', behave: { kind: 'shorten', afterBytes: 100_000 } });
    const saved = await save('key', large);
    expect(saved.result).toBe(-1);
    expect(saved.output).toContain('100000 bytes were uploaded');
    expect(service.entries).toMatchObject([{ state: 'reserved' }]);
  });

  test('an upload of wrong bytes is stored as it came', async () => {
    service.fault({ on: 'upload', behave: { kind: 'garbage-stream', afterBytes: 0 } });
    expect((await save('key')).result).not.toBe(-1);
    const restored = await restore('key');
    expect(restored.result).toBeNull();
    expect(restored.output).toMatch(/^::warning::Failed to restore: .* failed with exit code/m);
  });

  test('a finalization that fails', async () => {
    service.fault({ on: 'finalize', behave: { kind: 'status', status: 404 } });
    const saved = await save('key');
    expect(saved.result).toBe(-1);
    expect(saved.output).toContain('Received non-retryable error: Failed request: (404)');
  });

  test('an answer lost after finalization hides an entry that is there', async () => {
    service.fault({ on: 'finalize', afterwards: true, behave: { kind: 'close' } });
    const saved = await save('key');
    expect(saved.result).toBe(-1);
    expect(saved.output).toContain('ECONNRESET');
    expect(await lookUp(['key'])).toEqual(['key']);
  });
});

describe('faults while restoring', () => {
  beforeAll(async () => {
    await save('kept-large', large);
  });

  afterAll(async () => {
    await service.evict();
  });

  test.each<[string, CacheFaultBehaviour, string]>([
    ['a rate limit', { kind: 'status', status: 429 }, 'Rate limited: Failed request: (429)'],
    ['a lost connection', { kind: 'close' }, 'Unable to make request: ECONNRESET'],
    ['a refusal', { kind: 'status', status: 403 }, 'Failed request: (403) Forbidden: on purpose'],
  ])('%s at the look-up is a miss with a warning', async (_, behave, message) => {
    service.fault({ on: 'lookup', behave });
    const restored = await restore('kept-large');
    expect(restored.result).toBeNull();
    expect(restored.output).toContain('::warning::Failed to restore: ');
    expect(restored.output).toContain(message);
  });

  test('a look-up that fails inside the service is made again', async () => {
    service.fault({ on: 'lookup', times: 1, behave: { kind: 'status', status: 500 } });
    const restored = await restore('kept-large');
    expect(restored.result).toBe('kept-large');
    expect(restored.output).toContain('Attempt 1 of 5 failed with error: Failed request: (500)');
    expect(service.requestsOf('lookup').map(({ status }) => status)).toEqual([500, 200]);
  });

  test('an answer that is cut leaves the toolkit without an end', async () => {
    service.fault({ on: 'lookup', behave: { kind: 'cut', afterBytes: 10, reset: true } });
    const restored = await restore('kept-large');
    // It waits for ever, with nothing left that could wake it: node gives up.
    expect([restored.results, restored.exitCode]).toEqual([undefined, 13]);
  });

  test.each<[string, CacheFaultBehaviour, string]>([
    ['is not there', { kind: 'status', status: 404 }, 'on purpose'],
    ['stalls', { kind: 'stall', afterBytes: 1000 }, 'download time exceeded the timeout'],
    ['is slow', { kind: 'slow', bytesPerSecond: 1000 }, 'download time exceeded the timeout'],
    ['has wrong bytes', { kind: 'garbage-stream', afterBytes: 0 }, 'failed with exit code'],
    ['is cut', { kind: 'cut', afterBytes: 100_000, reset: true }, 'The operation was aborted'],
    ['ends early', { kind: 'shorten', afterBytes: 100_000 }, 'Stream drains before getting enough'],
  ])('a download that %s is a miss with a warning', async (_, behave, message) => {
    service.fault({ on: 'download', times: 1, behave });
    const restored = await restore('kept-large', { options: { segmentTimeoutInMs: 1000 } });
    expect(restored.result).toBeNull();
    expect(restored.output).toContain('::warning::Failed to restore: ');
    expect(restored.output).toContain(message);
  });

  test('one stream that is cut is a miss with a warning', async () => {
    const environment = service.environmentFor(main, { blobHost: 'loopback' });
    service.fault({ on: 'download', behave: { kind: 'cut', afterBytes: 100_000 } });
    const restored = await restore('kept-large', { environment });
    expect(restored.result).toBeNull();
    expect(restored.output).toContain('::warning::Failed to restore: aborted');
  });
});

test('what is late or slow is waited for', async () => {
  const faults = [
    service.fault({ on: 'create', behave: { kind: 'delay', forMs: 100 } }),
    service.fault({ on: 'upload', behave: { kind: 'stall', afterBytes: 1000, forMs: 100 } }),
    service.fault({ on: 'finalize', behave: { kind: 'slow', bytesPerSecond: 1000 } }),
    service.fault({ on: 'lookup', behave: { kind: 'delay', forMs: 100 } }),
    service.fault({ on: 'properties', behave: { kind: 'delay', forMs: 100 } }),
    service.fault({ on: 'download', behave: { kind: 'slow', bytesPerSecond: 10_000_000 } }),
  ];
  expect((await save('key', large)).result).not.toBe(-1);
  expect(digest((await restore('key')).content)).toBe(digest(large));
  expect(faults.map(({ applied }) => applied)).toEqual([1, 1, 1, 1, 1, 2]);
});

test('it ends with all that it started', async () => {
  const another = await startActionsCacheService();
  const pid = another.pid!;
  expect(isRunning(pid)).toBe(true);
  await another.stop();
  expect(isRunning(pid)).toBe(false);
});
