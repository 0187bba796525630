/** Downloads from the Actions cache that fail, with the real toolkit. */
import { describe, expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { MAIN, failureOf, useCacheBench } from '../../support/actions-cache/bench.ts';
import type { CacheFault } from '../../support/actions-cache/fault.ts';
import type { BlobHost } from '../../support/actions-cache/token.ts';
import { describeContents, describeFolder, writeLayer } from '../../support/layer-files.ts';
import { create, find, KEY, outcomeOf, signal } from '../contract/store-contract.ts';

const bench = useCacheBench();

/** Azure's own words. */
const AZURE_REFUSAL =
  'Server failed to authenticate the request. Make sure the value of Authorization header is formed correctly including the signature.';

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
    const reader = bench.open(bench.environmentOf(MAIN, blobHost));
    const layer = await bench.put(contents, reader);
    const active = bench.service.fault(fault);
    const failure = await failureOf(bench.get(layer, reader));
    expect(active.applied).toBeGreaterThan(0);
    expect(failure).toMatch(new RegExp(`^${expected}: `));
    active.remove();
    expect(await describeFolder(await bench.get(layer, reader))).toEqual(
      describeContents(contents),
    );
  });

  test('and of whose files tar has much to say, is damaged all the same', async () => {
    const source = await bench.directories.create('source');
    const names = Array.from({ length: 60 }, (_, index) => `file-${String(index)}`);
    const files = Object.fromEntries(names.map((name) => [name, randomBytes(5_000)]));
    const layer = await writeLayer(source, 'layer', files);
    // tar warns of each file that is from the future.
    for (const name of names) await utimes(join(source, name), 4e9, 4e9);
    await bench.store.putLayer(KEY, layer, source, { signal });
    bench.service.fault({
      on: 'download',
      behave: { kind: 'garbage-stream', afterBytes: 299_000 },
    });
    expect(await outcomeOf(bench.get(layer))).toBe('bad-snapshot');
  });

  test('because it stands still ends, and one that crawls does not', async () => {
    const layer = await bench.put(contents);
    const reader = bench.open(undefined, { times: { standstillMs: 4_000 } });
    const crawl = { kind: 'slow' as const, bytesPerSecond: 50_000 };
    bench.service.fault({ on: 'download', times: 1, behave: crawl });
    expect(await outcomeOf(bench.get(layer, reader))).toBe('fulfilled');
    const stall = { kind: 'stall' as const, afterBytes: 100_000, forMs: 600_000 };
    bench.service.fault({ on: 'download', behave: stall });
    // The toolkit has a time for this itself.
    expect(await outcomeOf(bench.get(layer, reader))).toBe('store-unavailable');
    bench.service.fault({
      on: 'upload',
      behave: { kind: 'stall', afterBytes: 1_000, forMs: 600_000 },
    });
    expect(await failureOf(bench.put(contents, reader, 'other'))).toMatch(/within 4\.0 s/);
  });

  test('of a manifest, in wrong bytes, is a manifest that no reader takes', async () => {
    await create(bench.store, 1, 'text');
    bench.service.fault({ on: 'download', behave: { kind: 'garbage-stream', afterBytes: 0 } });
    expect(await find(bench.store)).toBe('1 ');
  });
});

describe('a download that breaks once', () => {
  const contents = { file: randomBytes(300_000) };

  test.each<[string, BlobHost, CacheFault]>([
    [
      'is cut',
      'loopback',
      { on: 'download', times: 1, behave: { kind: 'cut', afterBytes: 9_000 } },
    ],
    ['is closed', 'loopback', { on: 'download', times: 1, behave: { kind: 'close' } }],
    [
      'is reset',
      'azure',
      { on: 'download', times: 1, behave: { kind: 'cut', afterBytes: 9_000, reset: true } },
    ],
  ])('because it %s (%s) is tried again', async (_, blobHost, fault) => {
    const reader = bench.open(bench.environmentOf(MAIN, blobHost));
    const layer = await bench.put(contents, reader);
    const active = bench.service.fault(fault);
    expect(await describeFolder(await bench.get(layer, reader))).toEqual(
      describeContents(contents),
    );
    expect(active.applied).toBe(1);
  });

  test.each(['http-404-pages', 'Authorization.NotFound-Permission'])(
    'is tried again where it is called %s',
    async (name) => {
      const layer = await bench.put(contents, bench.store, name);
      const behave = { kind: 'cut', afterBytes: 9_000 } as const;
      bench.service.fault({ on: 'download', times: 1, behave });
      expect(await outcomeOf(bench.get(layer))).toBe('fulfilled');
    },
  );

  test('is tried again where it is a manifest', async () => {
    await create(bench.store, 1, 'text');
    const fault = bench.service.fault({ on: 'download', times: 1, behave: { kind: 'close' } });
    expect(await find(bench.store)).toBe('1 text');
    expect(fault.applied).toBe(1);
  });

  test('and again is tried three times in all', async () => {
    const layer = await bench.put(contents);
    bench.service.fault({ on: 'download', behave: { kind: 'cut', afterBytes: 9_000 } });
    expect(await failureOf(bench.get(layer))).toMatch(
      /^store-unavailable: .*(aborted|Premature close)/,
    );
    expect(bench.service.requestsOf('download')).toHaveLength(3);
  });

  test.each<[string, CacheFault['behave'], BlobHost]>([
    ['a damaged archive', { kind: 'garbage-stream', afterBytes: 0 }, 'loopback'],
    ['a refusal', { kind: 'status', status: 403, message: AZURE_REFUSAL }, 'azure'],
  ])('by %s is not tried again', async (_, behave, blobHost) => {
    const reader = bench.open(bench.environmentOf(MAIN, blobHost));
    const layer = await bench.put(contents, reader);
    bench.service.resetCounters();
    bench.service.fault({ on: ({ kind }) => kind === 'download', behave });
    await outcomeOf(bench.get(layer, reader));
    expect(bench.service.requestsOf('lookup')).toHaveLength(1);
  });
});
