/** The servers that the S3 suites run against, and the proxy in front of them, are what they say. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  UploadPartCommand,
  type S3Client,
} from '@aws-sdk/client-s3';
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isRunning, runProcess, waitUntil } from '../processes.ts';
import { s3Client } from '../s3/client.ts';
import type { S3FaultBehaviour } from '../s3/fault.ts';
import { startS3Proxy, type S3Proxy } from '../s3/proxy.ts';
import { namedByEnvironment, s3Servers, startS3Servers, type S3Server } from '../s3/servers.ts';
import { temporaryDirectories } from '../temporary-directory.ts';

const servers = s3Servers();
const ours = servers.filter(({ name }) => name !== 'environment');
const directories = temporaryDirectories();
/** A bucket may be shared with others. */
const prefix = `servers-test/${randomUUID()}`;
const megabyte = 2 ** 20;

afterAll(async () => {
  await directories.removeAll();
});

interface Objects {
  put(key: string, body: string | Buffer, options?: PutOptions): Promise<string | undefined>;
  /** Of two parts: five megabytes, and one byte. */
  putParts(key: string, IfNoneMatch?: string): Promise<void>;
  get(key: string, abortSignal?: AbortSignal): Promise<Buffer>;
  /** Whether there is one. */
  has(key: string): Promise<boolean>;
  list(): Promise<string[]>;
  remove(key: string): Promise<void>;
}

interface PutOptions {
  IfNoneMatch?: string;
  IfMatch?: string;
  abortSignal?: AbortSignal;
}

function objectsOf(client: S3Client, { bucket: Bucket }: S3Server): Objects {
  const named = (key: string) => ({ Bucket, Key: `${prefix}/${key}` });
  return {
    async put(key, Body, { abortSignal, ...conditions } = {}) {
      const command = new PutObjectCommand({ ...named(key), Body, ...conditions });
      return (await client.send(command, { ...(abortSignal && { abortSignal }) })).ETag;
    },
    async putParts(key, IfNoneMatch) {
      const { UploadId } = await client.send(new CreateMultipartUploadCommand(named(key)));
      const Parts = [];
      for (const [index, Body] of [Buffer.alloc(5 * megabyte, '1'), Buffer.from('2')].entries()) {
        const PartNumber = index + 1;
        const part = new UploadPartCommand({ ...named(key), UploadId, PartNumber, Body });
        Parts.push({ PartNumber, ETag: (await client.send(part)).ETag });
      }
      const MultipartUpload = { Parts };
      const whole = { ...named(key), UploadId, MultipartUpload, IfNoneMatch };
      await client.send(new CompleteMultipartUploadCommand(whole));
    },
    async get(key, abortSignal) {
      const options = { ...(abortSignal && { abortSignal }) };
      const { Body } = await client.send(new GetObjectCommand(named(key)), options);
      return Buffer.from(await Body!.transformToByteArray());
    },
    async has(key) {
      try {
        await client.send(new HeadObjectCommand(named(key)));
        return true;
      } catch (error) {
        expect(statusOf(error)).toBe(404);
        return false;
      }
    },
    async list() {
      const { Contents = [] } = await client.send(
        new ListObjectsV2Command({ Bucket, Prefix: `${prefix}/` }),
      );
      return Contents.map(({ Key }) => Key!.slice(prefix.length + 1));
    },
    async remove(key) {
      await client.send(new DeleteObjectCommand(named(key)));
    },
  };
}

/** Either the client still writes, or it waits for the answer, or reads it. */
const lostConnection = /ECONNRESET|EPIPE|socket hang up|aborted/;

/** To be compared: jest takes seconds for the bytes themselves. */
function digest(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function statusOf(error: unknown): number | undefined {
  return (error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode;
}

/** `{ status }` of what was refused. */
function refused(status: number): unknown {
  return expect.objectContaining({
    $metadata: expect.objectContaining({ httpStatusCode: status }),
  });
}

describe.each(servers)('$name', (server) => {
  const client = s3Client(server);
  const objects = objectsOf(client, server);

  afterAll(async () => {
    for (const key of await objects.list()) await objects.remove(key);
    client.destroy();
  });

  test('keeps, lists and removes objects, whatever their names', async () => {
    const names = ['plain', 'a/b c+d', 'ümläut', 'per%20cent', "it's(1)*~!"].sort();
    const content = randomBytes(100_000);
    for (const name of names) await objects.put(name, content);
    expect((await objects.list()).sort()).toEqual(names);
    for (const name of names) expect(digest(await objects.get(name))).toBe(digest(content));
    for (const name of names) await objects.remove(name);
    expect(await objects.list()).toEqual([]);
    expect(await objects.has('plain')).toBe(false);
  });

  test('puts parts together, and only once if it is told so', async () => {
    await objects.putParts('parts', '*');
    expect(await objects.get('parts')).toHaveLength(5 * megabyte + 1);
    // Even Swift 2.30 holds to that.
    await expect(objects.putParts('parts', '*')).rejects.toEqual(refused(412));
    await objects.putParts('parts');
  });

  test('refuses who has the wrong secret', async () => {
    const stranger = s3Client({ ...server, secretAccessKey: 'wrong' });
    await expect(objectsOf(stranger, server).has('plain')).rejects.toThrow();
    await expect(objectsOf(stranger, server).get('plain')).rejects.toEqual(refused(403));
    stranger.destroy();
  });

  if (server.hasConditionalWrites) {
    test('creates what is not there yet, and nothing else, with If-None-Match', async () => {
      await objects.put('once', 'first', { IfNoneMatch: '*' });
      const again = objects.put('once', 'second', { IfNoneMatch: '*' });
      await expect(again).rejects.toEqual(refused(412));
      expect(String(await objects.get('once'))).toBe('first');
    });

    test('replaces what is still the same, and nothing else, with If-Match', async () => {
      const IfMatch = (await objects.put('changing', 'first'))!;
      await objects.put('changing', 'second', { IfMatch });
      const late = objects.put('changing', 'third', { IfMatch });
      await expect(late).rejects.toEqual(refused(412));
      expect(String(await objects.get('changing'))).toBe('second');
      await expect(objects.put('gone', 'any', { IfMatch })).rejects.toEqual(refused(404));
    });

    test('of many who create at once, one wins, by whichever way they come', async () => {
      const others = s3Client(server, server.otherEndpoint);
      const ways = [objects, objectsOf(others, server)];
      for (let round = 0; round < 5; round++) {
        const key = `race-${round}`;
        const outcomes = await Promise.allSettled(
          Array.from({ length: 16 }, async (_, index) => {
            const name = `creator ${index}`;
            await ways[index % 2]!.put(key, name, { IfNoneMatch: '*' });
            return name;
          }),
        );
        const winners = outcomes.filter((each) => each.status === 'fulfilled');
        const losers = outcomes.filter((each) => each.status === 'rejected');
        expect(winners).toHaveLength(1);
        for (const { reason } of losers) expect([409, 412]).toContain(statusOf(reason));
        for (const way of ways) expect(String(await way.get(key))).toBe(winners[0]?.value);
      }
      others.destroy();
    });
  } else {
    test('refuses writes with a condition, and writes nothing', async () => {
      const IfMatch = (await objects.put('there', 'first'))!;
      await expect(objects.put('there', 'second', { IfMatch })).rejects.toEqual(refused(501));
      for (const name of ['there', 'new']) {
        const created = objects.put(name, 'second', { IfNoneMatch: '*' });
        await expect(created).rejects.toEqual(refused(501));
      }
      expect(String(await objects.get('there'))).toBe('first');
      expect(await objects.has('new')).toBe(false);
    });
  }
});

// What is signed names the host, so a proxy needs a server that takes any name.
const proxied = ours.length > 0 ? describe : describe.skip;
proxied.each(ours.length > 0 ? ours : servers)('the proxy before $name', (server) => {
  let proxy: S3Proxy;
  let client: S3Client;
  /** Through the proxy, and not. */
  let objects: Objects;
  let direct: Objects;
  const content = randomBytes(3 * megabyte);

  beforeAll(async () => {
    proxy = await startS3Proxy(server);
    client = s3Client(proxy.server);
    objects = objectsOf(client, server);
    direct = objectsOf(s3Client(server), server);
    await direct.put('kept', content);
  });

  afterEach(() => {
    proxy.clearFaults();
    proxy.resetCounters();
  });

  afterAll(async () => {
    client.destroy();
    await proxy.stop();
    for (const key of await direct.list()) await direct.remove(key);
  });

  test('lets everything pass as it came, and tells of it', async () => {
    await objects.put('a/b c+d', content);
    expect(digest(await objects.get('a/b c+d'))).toBe(digest(content));
    expect(await objects.has('none')).toBe(false);
    await objects.remove('a/b c+d');
    expect(await objects.list()).toEqual(['kept']);
    const told = { bucket: server.bucket, ending: 'complete', bytesReceived: 0, bytesSent: 0 };
    const key = `${prefix}/a/b c+d`;
    const path = `/${server.bucket}/${prefix}/a/b%20c%2Bd`;
    expect(proxy.requests).toMatchObject([
      { ...told, operation: 'PutObject', key, path, status: 200, bytesReceived: content.length },
      { ...told, operation: 'GetObject', key, path, status: 200, bytesSent: content.length },
      { ...told, operation: 'HeadObject', key: `${prefix}/none`, status: 404 },
      { ...told, operation: 'DeleteObject', key, status: 204 },
      { operation: 'ListObjects', key: '', status: 200, query: { prefix: `${prefix}/` } },
    ]);
    expect(proxy.bytesUp).toBe(content.length);
    expect(proxy.bytesDown).toBeGreaterThan(content.length);
    expect(proxy.requestsOf('GetObject', key)).toHaveLength(1);
    expect(proxy.requestsOf('GetObject', 'other')).toEqual([]);
  });

  test('a server that wants no body gets none', async () => {
    await expect(objects.put('kept', content, { IfNoneMatch: '*' })).rejects.toThrow();
    expect(proxy.requests).toMatchObject([{ headers: { expect: '100-continue' } }]);
    expect([412, 501]).toContain(proxy.requests[0]?.status);
    expect(digest(await direct.get('kept'))).toBe(digest(content));
  });

  describe('an upload', () => {
    test.each([
      { status: 500, name: 'InternalError' },
      { status: 503, name: 'SlowDown' },
      { status: 429, name: 'TooManyRequests' },
      { status: 403, name: 'AccessDenied' },
    ] as const)('that gets $status $name is none', async ({ status, name }) => {
      proxy.fault({ on: 'PutObject', behave: { kind: 'status', status, retryAfterSeconds: 3 } });
      const failed = await objects.put('new', content).catch((error: unknown) => error);
      expect(failed).toEqual(refused(status));
      expect(failed).toMatchObject({ name, message: expect.stringContaining('on purpose') });
      expect(await direct.has('new')).toBe(false);
      expect(proxy.requests[0]?.serverStatus).toBeUndefined();
    });

    test.each<S3FaultBehaviour>([
      { kind: 'close', reset: false },
      { kind: 'close', reset: true },
      { kind: 'cut', afterBytes: megabyte, reset: false },
      { kind: 'cut', afterBytes: megabyte, reset: true },
    ])('that loses its connection is none: $kind, reset $reset', async (behave) => {
      proxy.fault({ on: 'PutObject', behave });
      await expect(objects.put('new', content)).rejects.toThrow(lostConnection);
      expect(await direct.has('new')).toBe(false);
      expect(proxy.requests).toMatchObject([{ ending: 'broken' }]);
    });

    test.each<{ behave: S3FaultBehaviour; status: number }>([
      { behave: { kind: 'garbage-stream', afterBytes: 1000 }, status: 400 },
      { behave: { kind: 'shorten', afterBytes: 1000 }, status: 403 },
    ])('other than what was signed is none: $behave.kind', async ({ behave, status }) => {
      proxy.fault({ on: 'PutObject', behave });
      await expect(objects.put('new', content)).rejects.toEqual(refused(status));
      expect(await direct.has('new')).toBe(false);
    });

    test('may be done though its answer is lost', async () => {
      const behave = { kind: 'close', reset: true } as const;
      proxy.fault({ on: 'PutObject', afterwards: true, behave });
      await expect(objects.put('lost-1', content)).rejects.toThrow(lostConnection);
      expect(digest(await direct.get('lost-1'))).toBe(digest(content));
      expect(proxy.requests).toMatchObject([{ serverStatus: 200, ending: 'broken' }]);
      expect(proxy.requests[0]?.status).toBeUndefined();

      proxy.clearFaults();
      const status = { kind: 'status', status: 500 } as const;
      proxy.fault({ on: 'PutObject', afterwards: true, behave: status });
      await expect(objects.put('lost-2', content)).rejects.toEqual(refused(500));
      expect(digest(await direct.get('lost-2'))).toBe(digest(content));
    });

    test('that stalls waits until somebody gives up', async () => {
      proxy.fault({ on: 'PutObject', behave: { kind: 'stall', afterBytes: megabyte } });
      const giveUp = new AbortController();
      const put = objects.put('new', content, { abortSignal: giveUp.signal });
      const given = expect(put).rejects.toThrow(/abort/i);
      const request = await proxy.waitForRequest(({ bytesReceived }) => bytesReceived >= megabyte);
      giveUp.abort();
      await given;
      await waitUntil(() => request.ending === 'broken', { timeoutMs: 5_000 });
      expect(await direct.has('new')).toBe(false);
    });
  });

  describe('a download', () => {
    test.each<S3FaultBehaviour>([
      { kind: 'cut', afterBytes: megabyte, reset: false },
      { kind: 'cut', afterBytes: megabyte, reset: true },
    ])('that is cut fails: reset $reset', async (behave) => {
      proxy.fault({ on: 'GetObject', behave });
      await expect(objects.get('kept')).rejects.toThrow(lostConnection);
      expect(proxy.requests).toMatchObject([{ status: 200, bytesSent: megabyte }]);
    });

    test('may end early, and have other bytes', async () => {
      proxy.fault({ on: 'GetObject', times: 1, behave: { kind: 'shorten', afterBytes: 1000 } });
      expect(digest(await objects.get('kept'))).toBe(digest(content.subarray(0, 1000)));
      proxy.fault({ on: 'GetObject', behave: { kind: 'garbage-stream', afterBytes: 1000 } });
      const damaged = await objects.get('kept');
      expect(damaged).toHaveLength(content.length);
      expect(damaged.subarray(1000, 1016).toString()).toBe('Z'.repeat(16));
      expect(digest(damaged.subarray(1016))).toBe(digest(content.subarray(1016)));
    });

    test('that stalls waits until somebody gives up', async () => {
      proxy.fault({ on: 'GetObject', behave: { kind: 'stall', afterBytes: megabyte } });
      const giveUp = new AbortController();
      const got = expect(objects.get('kept', giveUp.signal)).rejects.toThrow(/abort/i);
      const request = await proxy.waitForRequest(({ bytesSent }) => bytesSent === megabyte);
      giveUp.abort();
      await got;
      await waitUntil(() => request.ending === 'broken', { timeoutMs: 5_000 });
    });

    test('that is refused is known by its status', async () => {
      const fault = proxy.fault({ on: 'any', behave: { kind: 'status', status: 403 } });
      await expect(objects.get('kept')).rejects.toEqual(refused(403));
      const head = new HeadObjectCommand({ Bucket: server.bucket, Key: `${prefix}/kept` });
      await expect(client.send(head)).rejects.toEqual(refused(403));
      expect(fault.applied).toBe(2);
      fault.remove();
      expect(await objects.has('kept')).toBe(true);
    });
  });

  test('what is late or slow is waited for', async () => {
    const faults = [
      proxy.fault({ on: 'PutObject', behave: { kind: 'slow', bytesPerSecond: 10_000_000 } }),
      proxy.fault({ on: 'HeadObject', behave: { kind: 'delay', forMs: 100 } }),
      proxy.fault({
        on: 'GetObject',
        times: 1,
        behave: { kind: 'stall', afterBytes: 9, forMs: 99 },
      }),
      proxy.fault({ on: 'GetObject', afterwards: true, behave: { kind: 'delay', forMs: 100 } }),
    ];
    await objects.put('slow', content);
    expect(await objects.has('slow')).toBe(true);
    expect(digest(await objects.get('slow'))).toBe(digest(content));
    expect(digest(await objects.get('slow'))).toBe(digest(content));
    expect(faults.map(({ applied }) => applied)).toEqual([1, 1, 1, 1]);
  });

  test('may make a server of it that ignores conditions', async () => {
    const IfMatch = await direct.put('ignored', 'first');
    await direct.put('ignored', 'second');
    proxy.fault({ on: 'any', behave: { kind: 'unconditional' } });
    await objects.put('ignored', 'third', { ...(IfMatch && { IfMatch }) });
    await objects.put('ignored', 'fourth', { IfNoneMatch: '*' });
    expect(String(await objects.get('ignored'))).toBe('fourth');
    await objects.putParts('ignored', '*');
    expect(await direct.get('ignored')).toHaveLength(5 * megabyte + 1);
    await objects.remove('ignored');
  });

  test('a fault is for those requests that it says, as often as it says', async () => {
    proxy.fault({
      on: ({ operation, key }) => operation === 'PutObject' && key.endsWith('/chosen'),
      times: 1,
      behave: { kind: 'status', status: 503 },
    });
    await objects.put('not-chosen', 'any');
    await expect(objects.put('chosen', 'any')).rejects.toEqual(refused(503));
    await objects.put('chosen', 'any');
  });

  test('it ends with all connections, stalled or not', async () => {
    const other = await startS3Proxy(server);
    const through = s3Client(other.server);
    other.fault({ on: 'GetObject', behave: { kind: 'stall', afterBytes: megabyte } });
    const stalled = expect(objectsOf(through, server).get('kept')).rejects.toThrow();
    const request = await other.waitForRequest(({ bytesSent }) => bytesSent === megabyte);
    await other.stop();
    await stalled;
    expect(request.ending).toBe('broken');
    through.destroy();
  });
});

test('there is no proxy for a server that is reached by https', async () => {
  const server = { ...servers[0]!, endpoint: 'https://127.0.0.1:1' };
  await expect(startS3Proxy(server)).rejects.toThrow('https://127.0.0.1:1: not http');
});

describe('a server named by the environment', () => {
  const variables = {
    MIRROR_S3_ENDPOINT: 'https://s3.example.com',
    MIRROR_S3_BUCKET: 'some-bucket',
    AWS_ACCESS_KEY_ID: 'some-id',
    AWS_SECRET_ACCESS_KEY: 'some-secret',
  };

  test('is used as it is named', () => {
    expect(namedByEnvironment({})).toBeUndefined();
    expect(namedByEnvironment(variables)).toEqual({
      name: 'environment',
      endpoint: 'https://s3.example.com',
      region: 'us-east-1',
      accessKeyId: 'some-id',
      secretAccessKey: 'some-secret',
      bucket: 'some-bucket',
      hasConditionalWrites: true,
      pids: {},
    });
    const more = {
      MIRROR_S3_OTHER_ENDPOINT: 'https://s3-2.example.com',
      MIRROR_S3_CONDITIONAL_WRITES: 'false',
      AWS_REGION: 'eu-central-1',
      AWS_SESSION_TOKEN: 'some-token',
    };
    expect(namedByEnvironment({ ...variables, ...more })).toMatchObject({
      otherEndpoint: 'https://s3-2.example.com',
      hasConditionalWrites: false,
      region: 'eu-central-1',
      sessionToken: 'some-token',
    });
  });

  test.each(['MIRROR_S3_BUCKET', 'AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'])(
    'needs %s',
    (name) => {
      expect(() => namedByEnvironment({ ...variables, [name]: '' })).toThrow(`set ${name}`);
    },
  );
});

// Not where servers are named: others need not be had then.
(ours.length > 0 ? describe : describe.skip)('the life of servers', () => {
  const support = (name: string) => fileURLToPath(new URL(`../${name}`, import.meta.url));
  const pidsOf = (started: S3Server[]) => started.flatMap(({ pids }) => Object.values(pids));

  test('they can be there twice, and end when they are told', async () => {
    const started = await startS3Servers();
    const pids = pidsOf(started.servers);
    expect(pids).toHaveLength(9);
    expect(pids.filter(isRunning)).toEqual(pids);
    await started.stop();
    expect(pids.filter(isRunning)).toEqual([]);
    expect(pidsOf(servers).filter(isRunning)).toEqual(pidsOf(servers));
  }, 180_000);

  test('they end with the process that started them, however that ends', async () => {
    const directory = await directories.create('s3-life');
    const program = `
      const { startS3Servers } = await import(${JSON.stringify(support('s3/servers.ts'))});
      process.stdout.write(JSON.stringify((await startS3Servers()).servers));
      process.kill(process.pid, 'SIGKILL');
    `;
    const environment = { ...process.env, TMPDIR: directory } as Record<string, string>;
    const ended = await runProcess(
      process.execPath,
      ['--input-type=module', '--disable-warning=ExperimentalWarning', '--eval', program],
      { environment, timeoutMs: 150_000 },
    );
    expect(ended).toMatchObject({ signal: 'SIGKILL', stderr: '' });
    const pids = pidsOf(JSON.parse(ended.stdout) as S3Server[]);
    expect(pids).toHaveLength(9);
    await waitUntil(() => !pids.some(isRunning), { timeoutMs: 10_000, what: 'their end' });
  }, 180_000);

  test.each(['ceph', 'swift'])('%s that is not installed says how to', async (name) => {
    const directory = await directories.create('s3-life');
    const script = support(`s3/${name}.sh`);
    const environment = { ...process.env, MIRROR_TEST_CACHE: directory } as Record<string, string>;
    const ran = await runProcess('bash', [script, 'run', directory], { environment });
    expect(ran).toMatchObject({
      exitCode: 1,
      stderr: `${name}.sh: not installed: run bash ${script} install\n`,
    });
  });

  test('one that does not start says why', async () => {
    const directory = await directories.create('s3-life');
    for (const name of ['dev', 'proc', 'server']) {
      mkdirSync(join(directory, 'swift-bookworm', name), { recursive: true });
    }
    const environment = { ...process.env, MIRROR_TEST_CACHE: directory } as Record<string, string>;
    const server = join(directory, 'server');
    const ran = await runProcess('bash', [support('s3/swift.sh'), 'run', server], { environment });
    expect(ran.exitCode).toBe(1);
    expect(ran.stderr).toMatch(
      /failed to run command .*\n.*the rings could not be made, see above/,
    );
  });
});
