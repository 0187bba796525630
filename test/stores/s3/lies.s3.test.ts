/** The store on servers that confirm what they don't do, refuse what others do, or are no S3 servers. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { MirrorError } from '../../../src/lib/errors.ts';
import type { LayerFiles } from '../../../src/stores/store.ts';
import { describeContents, describeFolder, writeLayer } from '../../support/layer-files.ts';
import type { S3FaultBehaviour } from '../../support/s3/fault.ts';
import { startS3Proxy, type S3Proxy } from '../../support/s3/proxy.ts';
import type { S3Request } from '../../support/s3/request.ts';
import { s3Servers } from '../../support/s3/servers.ts';
import { S3Stores, type OpenedS3 } from '../../support/s3/stores.ts';
import { temporaryDirectories } from '../../support/temporary-directory.ts';
import { create, find, KEY, NOTHING, outcomeOf, signal } from '../contract/store-contract.ts';

const MIB = 1024 * 1024;
const SMALL = { file: randomBytes(100_000) };
const LARGE = { one: randomBytes(9 * MIB), two: randomBytes(11 * MIB + 5) };
const server = s3Servers().find(({ name }) => name === 'ceph');
const describeIf = server === undefined ? describe.skip : describe;

const isManifest = ({ method, key }: S3Request): boolean =>
  method === 'PUT' && key.includes('/manifests/');
const isConditional = ({ headers }: S3Request): boolean => 'if-none-match' in headers;

describeIf('a server that', () => {
  const directories = temporaryDirectories();
  let stores: S3Stores;
  let proxy: S3Proxy;
  let prefix: string;
  let opened: OpenedS3;

  beforeAll(async () => {
    stores = new S3Stores(server!, `lies-test/${randomUUID()}`);
    proxy = await startS3Proxy(server!);
  });
  beforeEach(() => {
    prefix = randomUUID();
    opened = stores.open(prefix, proxy.endpoint);
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

  async function put(contents: Record<string, Buffer>): Promise<LayerFiles> {
    const source = await directories.create('source');
    const layer = await writeLayer(source, 'layer', contents);
    await opened.store.putLayer(KEY, layer, source, { signal });
    return layer;
  }

  async function expectStored(layer: LayerFiles, contents: Record<string, Buffer>): Promise<void> {
    const target = await directories.create('target');
    await stores.open(prefix).store.getLayer(KEY, layer, target, { signal });
    expect(await describeFolder(target)).toEqual(describeContents(contents));
  }

  async function problemOf(work: Promise<unknown>): Promise<MirrorError> {
    const error = await work.then(
      () => undefined,
      (failure: unknown) => failure,
    );
    expect(error).toBeInstanceOf(MirrorError);
    const problem = error as MirrorError;
    expect([problem.code, problem.concern]).toEqual(['store-unavailable', 's3-endpoint']);
    expect(problem.message).toContain(proxy.endpoint);
    return problem;
  }

  describe('confirms a manifest and', () => {
    const CASES: [string, S3FaultBehaviour, string][] = [
      ['drops it', { kind: 'drop' }, 'the server confirmed it, but does not have it'],
      ['damages it', { kind: 'damage' }, 'the server confirmed it, but holds other bytes'],
    ];

    test.each(CASES)('%s is named, and nothing is left', async (_, behave, text) => {
      proxy.fault({ on: isManifest, behave });
      expect((await problemOf(create(opened.store, 1, 'text'))).message).toContain(text);
      expect(await find(stores.open(prefix).store)).toBeUndefined();
      proxy.clearFaults();
      expect(await create(opened.store, 1, 'again')).toBe(true);
    });

    test.each(CASES)('%s, and has no conditions, is named too', async (_, behave, text) => {
      const refusal = { kind: 'status', status: 501 } as const;
      proxy.fault({ on: isConditional, behave: refusal });
      proxy.fault({ on: isManifest, behave });
      expect((await problemOf(create(opened.store, 1, 'text'))).message).toContain(text);
      expect(await find(stores.open(prefix).store)).toBeUndefined();
    });

    test('does not list it is named', async () => {
      await create(opened.store, 1, 'text');
      const name = `v1/${KEY}/manifests/0000000002`;
      const isOther = ({ operation, query }: S3Request): boolean =>
        operation === 'ListObjects' && query['prefix']!.endsWith(name);
      const empty = { kind: 'drop' } as const;
      proxy.fault({ on: isOther, behave: empty });
      expect((await problemOf(create(opened.store, 2, 'text'))).message).toContain(
        'not answer with a list',
      );
    });
  });

  test('refuses a number as if it were taken, and has nothing under it, is named', async () => {
    await create(opened.store, 1, 'text');
    proxy.fault({ on: isManifest, behave: { kind: 'status', status: 412 } });
    const { message } = await problemOf(create(opened.store, 2, 'text'));
    expect(message).toContain('refuses to create it as if it existed, but does not have it');
  });

  describe('confirms a layer and', () => {
    test.each([
      ['drops it', SMALL, 'PutObject', { kind: 'drop' }, 'does not have it'],
      ['damages it', SMALL, 'PutObject', { kind: 'damage' }, 'holds other bytes than were sent'],
      [
        'damages a part',
        LARGE,
        'UploadPart',
        { kind: 'damage' },
        'holds other bytes than were sent',
      ],
    ] as const)('%s is named, and nothing is left', async (_, contents, on, behave, text) => {
      proxy.fault({ on, times: 1, behave });
      expect((await problemOf(put(contents))).message).toContain(text);
      expect(await stores.open(prefix).store.list(KEY, signal)).toEqual(NOTHING);
    });

    test('drops the end of its upload is an outage, and nothing is left', async () => {
      proxy.fault({ on: 'CompleteMultipartUpload', behave: { kind: 'drop' } });
      expect(await outcomeOf(put(LARGE))).toBe('store-unavailable');
      expect(await stores.open(prefix).store.list(KEY, signal)).toEqual(NOTHING);
    });

    test('gives ETags that are no digests is believed once the layer was read back', async () => {
      proxy.fault({ on: 'PutObject', behave: { kind: 'other-etag' } });
      await expectStored(await put(SMALL), SMALL);
      expect(proxy.requestsOf('GetObject')).toHaveLength(1);
    });

    test('gives digests is asked for nothing but the size', async () => {
      await expectStored(await put(SMALL), SMALL);
      await opened.store.remove(KEY, { ...NOTHING, layers: ['layer'] }, signal);
      proxy.resetCounters();
      await expectStored(await put(LARGE), LARGE);
      expect(proxy.requestsOf('GetObject')).toHaveLength(0);
      // Whether there is one, whether all of it arrived.
      expect(proxy.requestsOf('HeadObject')).toHaveLength(2);
    });
  });

  describe('is a web server:', () => {
    test.each([200, 302, 403, 404] as const)(
      'a page with status %d is named as one',
      async (status) => {
        proxy.fault({ on: 'any', behave: { kind: 'html', status } });
        const source = await directories.create('source');
        const layer = await writeLayer(source, 'layer', SMALL);
        const { store, recordsOf } = opened;
        const calls: Record<string, () => Promise<unknown>> = {
          find: () => store.findManifest(KEY, { signal }),
          create: () => create(store, 1, 'text'),
          list: () => store.list(KEY, signal),
          withdraw: () => store.withdrawManifest(KEY, 1, signal),
          records: () => recordsOf(KEY).list(signal),
          claim: () => recordsOf(KEY).create('claim', Buffer.from('ours'), signal),
          has: () => store.hasLayer(KEY, 'layer', signal),
          put: () => store.putLayer(KEY, layer, source, { signal }),
          get: async () =>
            store.getLayer(KEY, layer, await directories.create('target'), { signal }),
        };
        for (const [name, call] of Object.entries(calls)) {
          const { message } = await problemOf(call());
          expect(`${name}: ${message}`).toContain(
            `answers with a web page (text/html, status ${String(status)}), not as an S3 server`,
          );
        }
      },
    );

    test('answers without content are no empty store', async () => {
      proxy.fault({ on: 'any', behave: { kind: 'drop' } });
      const { message } = await problemOf(opened.store.findManifest(KEY, { signal }));
      expect(message).toContain('the server did not answer with a list');
    });
  });

  test.each(['', '<NextContinuationToken></NextContinuationToken>'])(
    'cuts a list short, and does not tell how it continues (%j), is no empty store',
    async (token) => {
      const list = `<ListBucketResult><IsTruncated>true</IsTruncated>${token}</ListBucketResult>`;
      const old = createServer((_, response) => {
        response.writeHead(200, { 'Content-Type': 'application/xml' }).end(list);
      });
      await once(old.listen(0, '127.0.0.1'), 'listening');
      try {
        const endpoint = `http://127.0.0.1:${String((old.address() as AddressInfo).port)}`;
        const finding = find(stores.open(prefix, endpoint).store);
        await expect(finding).rejects.toThrow('does not tell how a long list continues');
      } finally {
        old.closeAllConnections();
        old.close();
      }
    },
  );

  describe('has no conditional writes and', () => {
    test.each([
      ['refuses them', { kind: 'status', status: 304 } as const],
      ['refuses them', { kind: 'status', status: 400 } as const],
      ['refuses them', { kind: 'status', status: 400, code: 'InvalidArgument' } as const],
      ['refuses them', { kind: 'status', status: 405 } as const],
      ['refuses them', { kind: 'status', status: 501 } as const],
      ['refuses them', { kind: 'status', status: 400, code: 'NotImplemented' } as const],
      ['ignores them', { kind: 'unconditional' } as const],
    ])('%s (%j) is saved to, and keeps its numbers', async (_, behave) => {
      proxy.fault({ on: isConditional, behave });
      expect(await create(opened.store, 1, 'first')).toBe(true);
      expect(await create(stores.open(prefix, proxy.endpoint).store, 1, 'other')).toBe(false);
      expect(await find(stores.open(prefix).store)).toBe('1 first');
    });

    test('refuses every write says why, and not that it has no conditions', async () => {
      proxy.fault({
        on: 'PutObject',
        behave: { kind: 'status', status: 400, code: 'ExpiredToken' },
      });
      const creating = create(opened.store, 1, 'text');
      await expect(creating).rejects.toThrow('the credentials have expired');
      proxy.clearFaults();
      proxy.fault({ on: 'PutObject', behave: { kind: 'status', status: 400, code: 'Odd' } });
      await expect(create(opened.store, 1, 'text')).rejects.toThrow('on purpose');
    });

    test('is believed to have them by some jobs never has two manifests that count', async () => {
      proxy.fault({ on: isConditional, behave: { kind: 'unconditional' } });
      for (let number = 1; number <= 8; number++) {
        const through = Array.from({ length: 3 }, () => stores.open(prefix, proxy.endpoint));
        const direct = Array.from({ length: 3 }, () => stores.open(prefix));
        const won = await Promise.all(
          [...through, ...direct].map(({ store }, index) => create(store, number, String(index))),
        );
        const winners = won.flatMap((isWon, index) => (isWon ? [String(index)] : []));
        expect(winners.length).toBeLessThanOrEqual(1);
        const found = await find(stores.open(prefix).store, { below: number + 1 });
        if (winners.length === 1) expect(found).toBe(`${String(number)} ${winners[0]!}`);
        else expect(found?.startsWith(`${String(number)} `) ?? false).toBe(false);
      }
    });
  });

  describe('has no multipart uploads', () => {
    test.each([
      { kind: 'status', status: 501 },
      { kind: 'status', status: 405 },
      { kind: 'status', status: 400, code: 'NotImplemented' },
    ] as const)('(%j) gets a large layer by one request', async (behave) => {
      proxy.fault({ on: 'CreateMultipartUpload', behave });
      // The first attempt breaks off.
      proxy.fault({ on: 'PutObject', times: 1, behave: { kind: 'cut', afterBytes: MIB } });
      await expectStored(await put(LARGE), LARGE);
      expect(proxy.requestsOf('UploadPart')).toHaveLength(0);
    });

    test('and damages what it gets is named', async () => {
      proxy.fault({ on: 'CreateMultipartUpload', behave: { kind: 'status', status: 501 } });
      proxy.fault({ on: 'PutObject', afterwards: true, behave: { kind: 'other-etag' } });
      await expectStored(await put(LARGE), LARGE);
      await opened.store.remove(KEY, { ...NOTHING, layers: ['layer'] }, signal);
      proxy.clearFaults();
      proxy.fault({ on: 'CreateMultipartUpload', behave: { kind: 'status', status: 501 } });
      proxy.fault({ on: 'PutObject', behave: { kind: 'drop' } });
      expect((await problemOf(put(LARGE))).message).toContain('does not have it');
    });
  });

  describe('accepts and never answers', () => {
    const never = new Promise(() => undefined);
    const calls: [string, (opened: OpenedS3) => Promise<unknown>][] = [
      ['a look for a manifest', ({ store }) => store.findManifest(KEY, { signal })],
      ['a look for a layer', ({ store }) => store.hasLayer(KEY, 'layer', signal)],
      ['a listing', ({ store }) => store.list(KEY, signal)],
      ['a manifest', ({ store }) => create(store, 1, 'text')],
      ['a claim', ({ recordsOf }) => recordsOf(KEY).create('c', Buffer.from('ours'), signal)],
    ];

    test.each(calls)('%s is given up after one request', async (_, call) => {
      proxy.fault({ on: 'any', behave: { kind: 'hold', until: never } });
      const { message } = await problemOf(call(stores.open(prefix, proxy.endpoint, {}, 300)));
      expect(message).toContain('the server has not answered for 300 ms');
      // None where this machine was too busy to send it.
      expect(proxy.requests.length).toBeLessThanOrEqual(1);
    });

    test('a manifest that stops half-way is given up, one that goes on is not', async () => {
      const content = 'x'.repeat(3_000_000);
      await create(opened.store, 1, content);
      const patient = stores.open(prefix, proxy.endpoint, {}, 1_500).store;
      const stalled = proxy.fault({
        on: 'GetObject',
        behave: { kind: 'stall', afterBytes: 1_000 },
      });
      expect((await problemOf(find(patient))).message).toContain('has not answered for 1.5 s');
      stalled.remove();
      proxy.fault({ on: 'GetObject', behave: { kind: 'slow', bytesPerSecond: 900_000 } });
      expect(await find(patient)).toBe(`1 ${content}`);
    });
  });
});
