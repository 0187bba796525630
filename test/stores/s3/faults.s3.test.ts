/** The store in a bucket where requests, answers and rights go wrong. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { randomBytes, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { MirrorError } from '../../../src/lib/errors.ts';
import type { RangeLimits } from '../../../src/stores/s3/download.ts';
import type { LayerFiles } from '../../../src/stores/store.ts';
import { describeContents, describeFolder, writeLayer } from '../../support/layer-files.ts';
import { startS3Proxy, type S3Proxy } from '../../support/s3/proxy.ts';
import { s3Servers } from '../../support/s3/servers.ts';
import { S3Stores, type OpenedS3 } from '../../support/s3/stores.ts';
import { temporaryDirectories } from '../../support/temporary-directory.ts';
import { create, find, KEY, NOTHING, outcomeOf, signal } from '../contract/store-contract.ts';

const MIB = 1024 * 1024;
const server = s3Servers().find(({ name }) => name === 'ceph');
const describeIf = server === undefined ? describe.skip : describe;

describeIf('behind a proxy that makes faults', () => {
  const directories = temporaryDirectories();
  let stores: S3Stores;
  let proxy: S3Proxy;
  let prefix: string;
  let opened: OpenedS3;

  beforeAll(async () => {
    stores = new S3Stores(server!, `faults-test/${randomUUID()}`);
    proxy = await startS3Proxy(server!);
  });
  beforeEach(() => {
    prefix = randomUUID();
    opened = open();
  });
  afterEach(async () => {
    proxy.clearFaults();
    proxy.resetCounters();
    await stores.removeAll(prefix);
    await directories.removeAll();
  });
  afterAll(async () => {
    stores.close();
    await proxy.stop();
  });

  /** Limits that make a fault's consequence come soon. */
  const LIMITS = { bytes: MIB, width: 3, attemptMs: 3_000, silenceMs: 1_000 };
  function open(limits: Partial<RangeLimits> = LIMITS): OpenedS3 {
    return stores.open(prefix, proxy.endpoint, limits);
  }

  async function put(contents: Record<string, Buffer>): Promise<LayerFiles> {
    const source = await directories.create('source');
    const layer = await writeLayer(source, 'layer', contents);
    await opened.store.putLayer(KEY, layer, source, { signal });
    return layer;
  }

  async function get(layer: LayerFiles, onBytes?: (bytes: number) => void): Promise<string> {
    const target = await directories.create('target');
    await opened.store.getLayer(KEY, layer, target, { signal, onBytes });
    return target;
  }

  async function problemOf(work: Promise<unknown>): Promise<MirrorError> {
    const error = await work.then(
      () => undefined,
      (failure: unknown) => failure,
    );
    expect(error).toBeInstanceOf(MirrorError);
    return error as MirrorError;
  }

  const isManifest = ({ method, key }: { method: string; key: string }) =>
    method === 'PUT' && key.includes('/manifests/');

  describe('a manifest', () => {
    test('whose answer was lost is created, once', async () => {
      proxy.fault({ on: isManifest, afterwards: true, times: 1, behave: { kind: 'close' } });
      expect(await create(opened.store, 1, 'first')).toBe(true);
      expect(await create(open().store, 1, 'first')).toBe(false);
      expect(await find(opened.store)).toBe('1 first');
    });

    test('whose answers were all lost is created nevertheless', async () => {
      const fault = proxy.fault({ on: isManifest, afterwards: true, behave: { kind: 'close' } });
      expect(await create(opened.store, 1, 'first')).toBe(true);
      expect(fault.applied).toBeGreaterThan(1);
    });

    test('that met another writer is tried again, and refused where that one has it', async () => {
      const conflict = { kind: 'status', status: 409 } as const;
      proxy.fault({ on: isManifest, times: 2, behave: conflict });
      expect(await create(opened.store, 1, 'first')).toBe(true);
      proxy.fault({ on: isManifest, times: 1, behave: conflict });
      expect(await create(open().store, 1, 'second')).toBe(false);
      expect(await find(opened.store)).toBe('1 first');
    });

    test('that always meets another writer is not created', async () => {
      proxy.fault({ on: isManifest, behave: { kind: 'status', status: 409 } });
      expect(await outcomeOf(create(opened.store, 1, 'first'))).toBe('store-unavailable');
      proxy.clearFaults();
      expect(await find(opened.store)).toBeUndefined();
    });

    test('that was cancelled while the server did not answer is nowhere', async () => {
      expect(await create(opened.store, 1, 'old')).toBe(true);
      proxy.fault({ on: isManifest, afterwards: true, behave: { kind: 'delay', forMs: 30_000 } });
      const controller = new AbortController();
      const creating = outcomeOf(
        opened.store.createManifest(KEY, 2, Buffer.from('new'), controller.signal),
      );
      await proxy.waitForRequest((request) => isManifest(request) && request.key.includes('02.'));
      controller.abort();
      expect(await creating).toBe('cancelled');
      expect(await find(stores.open(prefix).store)).toBe('1 old');
    });
  });

  describe('a server without conditional writes', () => {
    test.each([
      ['ignores them', { kind: 'unconditional' } as const],
      ['refuses them', { kind: 'status', status: 501 } as const],
    ])('that %s is found out: numbers are kept, and there are no claims', async (_, behave) => {
      const isConditional = ({ headers }: { headers: object }) => 'if-none-match' in headers;
      proxy.fault({ on: isConditional, behave });
      expect(await create(opened.store, 1, 'first')).toBe(true);
      expect(await create(opened.store, 1, 'other')).toBe(false);
      expect(await find(open().store)).toBe('1 first');
      const claiming = problemOf(
        opened.recordsOf(KEY).create('claim', Buffer.from('ours'), signal),
      );
      expect((await claiming).message).toContain('has no conditional writes');

      const writers = Array.from({ length: 8 }, (__, index) => index);
      const won = await Promise.all(
        writers.map((writer) => create(open().store, 2, `by ${String(writer)}`)),
      );
      expect(won.filter(Boolean).length).toBeLessThanOrEqual(1);
      const { manifests } = await opened.store.list(KEY, signal);
      expect(manifests.length).toBe(won.includes(true) ? 2 : 1);
    });

    test('is asked once by a job, and by one request where it has them', async () => {
      for (const number of [1, 2, 3]) await create(opened.store, number, 'text');
      expect(proxy.requests.filter(({ key }) => key.endsWith('/conditional-writes'))).toHaveLength(
        2,
      );
      proxy.resetCounters();
      const later = open();
      for (const number of [4, 5]) await create(later.store, number, 'text');
      expect(proxy.requests.filter(({ key }) => key.endsWith('/conditional-writes'))).toHaveLength(
        1,
      );
    });
  });

  describe('a layer on its way down', () => {
    const contents = {
      'pack-1.idx': randomBytes(300_000),
      'pack-1.pack': randomBytes(5 * MIB + 1),
      empty: Buffer.alloc(0),
    };

    test.each([
      ['cut', { kind: 'cut', afterBytes: 200_000 } as const],
      ['reset', { kind: 'cut', afterBytes: 200_000, reset: true } as const],
      ['shortened', { kind: 'shorten', afterBytes: 200_000 } as const],
      ['silent', { kind: 'stall', afterBytes: 200_000 } as const],
    ])('goes on where an answer was %s', async (_, behave) => {
      const layer = await put(contents);
      proxy.resetCounters();
      const fault = proxy.fault({ on: 'GetObject', times: 3, behave });
      const told: number[] = [];
      const target = await get(layer, (bytes) => told.push(bytes));
      expect(fault.applied).toBe(3);
      expect(await describeFolder(target)).toEqual(describeContents(contents));
      expect(told).toEqual(told.toSorted((one, other) => one - other));
      expect(told.at(-1)).toBe(300_000 + 5 * MIB + 1);
      // It was asked for from where it had come to.
      const starts = proxy
        .requestsOf('GetObject')
        .map(({ headers }) => Number(/^bytes=(\d+)-/.exec(headers.range ?? '')![1]));
      const begins = [0, ...[0, 1, 2, 3, 4, 5].map((index) => 300_000 + index * MIB)];
      expect(starts.filter((start) => !begins.includes(start)).length).toBeGreaterThan(0);
    });

    test('takes as many connections as ranges come at a time', async () => {
      const layer = await put({ file: randomBytes(12 * MIB) });
      proxy.resetCounters();
      await get(layer);
      expect(proxy.requestsOf('GetObject')).toHaveLength(12);
      expect(proxy.connections).toBeLessThanOrEqual(LIMITS.width);
    });

    test('that never comes ends as an outage', async () => {
      const layer = await put(contents);
      proxy.fault({ on: 'GetObject', behave: { kind: 'stall', afterBytes: 1 } });
      const { code, message } = await problemOf(get(layer));
      expect(code).toBe('store-unavailable');
      expect(message).toContain('broke off 4 times');
    });

    test('that is slow, but comes, arrives', async () => {
      const layer = await put({ file: randomBytes(3 * MIB) });
      proxy.fault({ on: 'GetObject', behave: { kind: 'slow', bytesPerSecond: 400_000 } });
      opened = stores.open(prefix, proxy.endpoint, { ...LIMITS, progressBytes: 200_000 });
      expect(await outcomeOf(get(layer))).toBe('fulfilled');
    });

    test('that is replaced meanwhile is a bad snapshot, and never a mixture', async () => {
      const layer = await put(contents);
      const [object] = (await stores.list(prefix)).filter((name) => name.includes('/layers/'));
      let isReplaced: Promise<unknown> | undefined;
      const getting = outcomeOf(
        get(layer, () => {
          const other = randomBytes(300_000 + 5 * MIB + 1);
          isReplaced ??= stores.open(prefix).bucket.put(object!, other, signal);
        }),
      );
      proxy.fault({ on: 'GetObject', behave: { kind: 'slow', bytesPerSecond: 2_000_000 } });
      expect(await getting).toBe('bad-snapshot');
      await isReplaced;
    });

    test('may meet a server that is busy, or fails for a moment', async () => {
      const layer = await put(contents);
      for (const status of [503, 500] as const) {
        proxy.fault({ on: 'GetObject', times: 3, behave: { kind: 'status', status } });
      }
      expect(await describeFolder(await get(layer))).toEqual(describeContents(contents));
    });

    test('is ended soon by a cancel, though the server is silent', async () => {
      const layer = await put(contents);
      proxy.fault({ on: 'GetObject', behave: { kind: 'stall', afterBytes: 1 } });
      opened = open({ ...LIMITS, silenceMs: 60_000, attemptMs: 60_000 });
      const controller = new AbortController();
      const target = await directories.create('target');
      const options = { signal: controller.signal };
      const getting = outcomeOf(opened.store.getLayer(KEY, layer, target, options));
      await proxy.waitForRequest(({ bytesSent }) => bytesSent > 0);
      controller.abort();
      expect(await getting).toBe('cancelled');
    });
  });

  describe('a large layer on its way up', () => {
    const contents = { one: randomBytes(9 * MIB), two: randomBytes(11 * MIB + 5) };

    test('comes in parts, some of them twice, and is whole', async () => {
      const fault = proxy.fault({ on: 'UploadPart', times: 2, behave: { kind: 'close' } });
      const layer = await put(contents);
      expect(fault.applied).toBe(2);
      expect(proxy.requestsOf('CompleteMultipartUpload')).toHaveLength(1);
      expect(await describeFolder(await get(layer))).toEqual(describeContents(contents));
      expect((await opened.store.list(KEY, signal)).debris).toEqual([]);
    });

    test('goes on where the server stops taking it', async () => {
      const stall = { kind: 'stall', afterBytes: MIB } as const;
      const fault = proxy.fault({ on: 'UploadPart', times: 1, behave: stall });
      const layer = await put(contents);
      expect(fault.applied).toBe(1);
      expect(proxy.requestsOf('UploadPart')).toHaveLength(4);
      expect(await describeFolder(await get(layer))).toEqual(describeContents(contents));
    });

    test('whose last answer was lost is there', async () => {
      const behave = { kind: 'close' } as const;
      proxy.fault({ on: 'CompleteMultipartUpload', afterwards: true, times: 1, behave });
      const layer = await put(contents);
      expect(await describeFolder(await get(layer))).toEqual(describeContents(contents));
    });

    test('that fails leaves nothing', async () => {
      proxy.fault({ on: 'UploadPart', behave: { kind: 'status', status: 403 } });
      expect(await outcomeOf(put(contents))).toBe('store-read-only');
      expect(await opened.store.list(KEY, signal)).toEqual(NOTHING);
    });

    test('that is cancelled at any moment leaves all or nothing', async () => {
      const source = await directories.create('source');
      // From its first request to its last.
      for (const delayMs of [0, 5, 10, 15, 25, 40, 120, 240, 360, 480]) {
        const layer = await writeLayer(source, `layer-${String(delayMs)}`, contents);
        const controller = new AbortController();
        const options = { signal: controller.signal };
        const putting = outcomeOf(opened.store.putLayer(KEY, layer, source, options));
        await sleep(delayMs);
        controller.abort();
        const outcome = await putting;
        expect(['fulfilled', 'cancelled']).toContain(outcome);
        const isThere = await opened.store.hasLayer(KEY, layer.name, signal);
        expect(isThere).toBe(outcome === 'fulfilled');
      }
      expect((await opened.store.list(KEY, signal)).debris).toEqual([]);
    });

    test('that is cancelled before its upload has an id is given up by it', async () => {
      const source = await directories.create('source');
      const layer = await writeLayer(source, 'layer', contents);
      const behave = { kind: 'delay', forMs: 500 } as const;
      proxy.fault({ on: 'CreateMultipartUpload', afterwards: true, behave });
      const controller = new AbortController();
      const options = { signal: controller.signal };
      const putting = outcomeOf(opened.store.putLayer(KEY, layer, source, options));
      await proxy.waitForRequest(({ serverStatus, query }) => 'uploads' in query && !!serverStatus);
      controller.abort();
      expect(await putting).toBe('cancelled');
      expect(await opened.store.list(KEY, signal)).toEqual(NOTHING);
    });

    test('that its writer did not live to end is debris, which can be removed', async () => {
      const { bucket, store } = opened;
      const name = `v1/${KEY}/layers/dead`;
      const upload = await bucket.uploads.begin(name, signal);
      await bucket.uploads.putPart(upload!, 1, randomBytes(5 * MIB), signal);
      await bucket.uploads.begin(`v1/${KEY}-other/layers/alive`, signal);
      const { layers, debris } = await store.list(KEY, signal);
      expect(layers).toEqual([]);
      expect(debris).toEqual([{ name: expect.any(String), ageMs: expect.any(Number) }]);
      const names = debris.map((each) => each.name);
      await store.remove(KEY, { ...NOTHING, debris: names }, signal);
      await store.remove(KEY, { ...NOTHING, debris: names }, signal);
      expect(await store.list(KEY, signal)).toEqual(NOTHING);
      const others = (await store.list(`${KEY}-other`, signal)).debris.map((each) => each.name);
      expect(others).toHaveLength(1);
      await store.remove(`${KEY}-other`, { ...NOTHING, debris: others }, signal);
    });

    test('is none where uploads may not be listed', async () => {
      await create(opened.store, 1, 'text');
      proxy.fault({ on: 'ListMultipartUploads', behave: { kind: 'status', status: 403 } });
      const { manifests, debris } = await opened.store.list(KEY, signal);
      expect([manifests.length, debris.length]).toEqual([1, 0]);
    });
  });

  describe('what is removed', () => {
    test('is no layer where a manifest that may name it stays', async () => {
      await put({ file: Buffer.from('text') });
      await create(opened.store, 1, 'text');
      proxy.fault({ on: 'DeleteObject', times: 1, behave: { kind: 'status', status: 403 } });
      const removal = { manifests: [1], layers: ['layer'], debris: [] };
      expect(await outcomeOf(opened.store.remove(KEY, removal, signal))).toBe('store-read-only');
      expect(await opened.store.hasLayer(KEY, 'layer', signal)).toBe(true);
    });
  });

  describe('a failure is told, and no absence', () => {
    test.each([
      [403, 'AccessDenied', 'allow s3:ListBucket'],
      [403, 'InvalidAccessKeyId', 'does not take these credentials'],
      [403, 'SignatureDoesNotMatch', 'does not take these credentials'],
      [403, 'RequestTimeTooSkewed', "set the machine's clock"],
      [400, 'ExpiredToken', 'the credentials have expired'],
      [400, 'AuthorizationHeaderMalformed', 'in another region'],
      [404, 'NoSuchBucket', 'has no such bucket'],
      [404, '', 'knows no such address'],
      [503, 'SlowDown', 'asks to slow down'],
      [500, 'InternalError', 'the server failed (500)'],
    ] as const)('%d %s', async (status, code, text) => {
      proxy.fault({ on: 'ListObjects', behave: { kind: 'status', status, code } });
      const finding = await problemOf(opened.store.findManifest(KEY, { signal }));
      expect(finding.code).toBe('store-unavailable');
      expect(finding.message).toContain(text);
      // A layer that is missing is looked for in an answer without a body.
      expect((await problemOf(opened.store.hasLayer(KEY, 'none', signal))).message).toContain(text);
    });

    test('a layer that may not be read is an outage, which names the rights', async () => {
      const layer = await put({ file: Buffer.from('text') });
      proxy.fault({ on: 'HeadObject', behave: { kind: 'status', status: 403 } });
      const { code, message } = await problemOf(get(layer));
      expect(code).toBe('store-unavailable');
      expect(message).toContain('s3:GetObject and s3:ListBucket');
    });

    test('who may not write is told so', async () => {
      proxy.fault({ on: 'PutObject', behave: { kind: 'status', status: 403 } });
      const { code, message } = await problemOf(create(opened.store, 1, 'text'));
      expect(code).toBe('store-read-only');
      expect(message).toContain('s3:PutObject');
      expect(await outcomeOf(put({ file: Buffer.from('text') }))).toBe('store-read-only');
    });

    test('a store that is full is one', async () => {
      const behave = { kind: 'status', status: 403, code: 'QuotaExceeded' } as const;
      proxy.fault({ on: isManifest, behave });
      expect(await outcomeOf(create(opened.store, 1, 'text'))).toBe('no-space');
    });
  });
});
