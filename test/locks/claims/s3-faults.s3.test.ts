/**
 * Claims and manifests in a bucket among processes that are stopped, cut off, late, or have another
 * time: a proxy stands between some of them and the server.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { createClaimLock } from '../../../src/locks/claims/claims.ts';
import { applyRetention } from '../../../src/save/retention.ts';
import { useHolders, type Holder, type HolderOptions } from '../../support/locks/holder.ts';
import { waitUntil } from '../../support/processes.ts';
import { withClockShiftedBy } from '../../support/locks/shift-clock.ts';
import type { S3FaultBehaviour } from '../../support/s3/fault.ts';
import { startS3Proxy, type S3Proxy } from '../../support/s3/proxy.ts';
import type { S3Request } from '../../support/s3/request.ts';
import { s3Servers } from '../../support/s3/servers.ts';
import { S3Stores } from '../../support/s3/stores.ts';
import { take } from '../lock-contract.ts';
import { find, KEY, signal } from '../../stores/contract/store-contract.ts';

const NUMBER = 2;
const HOUR_MS = 60 * 60_000;
/** Half of it outlasts what a busy machine leaves a process without a turn. */
const SHORT_LIFE_MS = 8_000;
const TIMES = {
  lifeMs: 60_000,
  heartbeatMs: 200,
  retryMs: 50,
  requestMs: 10_000,
  firstPollMs: 20,
  longestPollMs: 200,
};
/** By far longer than a life and a look. */
const PATIENCE_MS = 4 * SHORT_LIFE_MS;
const server = s3Servers().find(({ name }) => name === 'ceph');
const describeIf = server === undefined ? describe.skip : describe;

describeIf('claims in a bucket, where things go wrong', () => {
  const startHolder = useHolders();
  let stores: S3Stores;
  let proxy: S3Proxy;
  let prefix: string;

  beforeAll(async () => {
    stores = new S3Stores(server!, `claims-faults-test/${randomUUID()}`);
    proxy = await startS3Proxy(server!);
  });
  beforeEach(() => {
    prefix = randomUUID();
  });
  afterEach(async () => {
    proxy.clearFaults();
    proxy.resetCounters();
    await stores.removeAll();
  });
  afterAll(async () => {
    stores.close();
    await proxy.stop();
  });

  interface Machine extends HolderOptions {
    way: 'direct' | 'proxy';
    lifeMs?: number;
    /** What its store is below, if not that of the test. */
    below?: string;
  }

  function start(holder: string, { way, lifeMs, below, ...options }: Machine): Promise<Holder> {
    const place = stores.placeOf(below ?? prefix, way === 'direct');
    if (way === 'proxy') place.server = proxy.server;
    const times = { ...TIMES, ...(lifeMs !== undefined && { lifeMs }) };
    const thing = { kind: 's3-claim', place, key: KEY, number: NUMBER, holder, times } as const;
    return startHolder(thing, options);
  }

  async function release(holder: Holder): Promise<void> {
    holder.send('release');
    await holder.expect('released');
  }

  async function numbers(below = prefix): Promise<number[]> {
    const { manifests } = await stores.open(below).store.list(KEY, signal);
    return manifests.map(({ number }) => number);
  }

  const isManifest = ({ method, key }: S3Request) =>
    method === 'PUT' && key.includes('/manifests/');
  const isClaim = ({ method, key }: S3Request) => method === 'PUT' && /\/claims\/[-\d]+$/.test(key);

  describe('a claim', () => {
    const recordsBehindProxy = () => stores.open(prefix, proxy.endpoint).recordsOf(KEY);
    const lose = (times: number) =>
      proxy.fault({ on: isClaim, afterwards: true, times, behave: { kind: 'close' } });

    test.each([
      ['one answer', 1],
      ['all answers', Infinity],
    ])('whose %s was lost belongs to its writer, and to nobody else', async (_, times) => {
      const fault = lose(times);
      const records = recordsBehindProxy();
      expect(await records.create('0-0', Buffer.from('ours'), signal)).toBe(true);
      expect(fault.applied).toBeGreaterThanOrEqual(Math.min(times, 2));
      fault.remove();
      const refusal = lose(1);
      const others = recordsBehindProxy();
      expect(await others.create('0-0', Buffer.from('theirs'), signal)).toBe(false);
      expect(refusal.applied).toBeGreaterThan(0);
      expect(String(await records.read('0-0', signal))).toBe('ours');
    });

    test('whose answers were all lost is held, in its first epoch', async () => {
      const fault = lose(Infinity);
      const records = recordsBehindProxy();
      const options = { number: NUMBER, holder: 'a test', times: TIMES };
      const hold = await take(createClaimLock(records, options));
      expect(fault.applied).toBeGreaterThan(1);
      const names = (await records.list(signal)).map(({ name }) => name);
      expect(names).toEqual(['0000000002-000001']);
      await hold.release();
    });
  });

  test('a holder that is cut off has lost before anybody else can hold, and does not come back', async () => {
    const cuts: Record<string, { behave: S3FaultBehaviour; afterwards?: true }> = {
      silence: { behave: { kind: 'delay', forMs: 10 * PATIENCE_MS } },
      resets: { behave: { kind: 'close', reset: true } },
      'lost answers': { behave: { kind: 'close' }, afterwards: true },
    };
    await Promise.all(
      Object.entries(cuts).map(async ([kind, cut]) => {
        const below = randomUUID();
        const [old, next] = await Promise.all([
          start('the old', { way: 'proxy', lifeMs: SHORT_LIFE_MS, below }),
          start('the next', { way: 'direct', lifeMs: SHORT_LIFE_MS, below }),
        ]);
        await old.take();
        const fault = proxy.fault({ on: ({ key }) => key.includes(below), ...cut });
        next.send(`acquire ${String(PATIENCE_MS)}`);
        await next.expect('waiting');
        old.send(`publish ${String(NUMBER)}`);
        const order: string[] = [];
        const ending = async (): Promise<void> => {
          const events = [(await old.next()).event, (await old.next()).event];
          order.push(...events.sort());
        };
        const succession = async (): Promise<void> => {
          order.push((await next.next()).event);
        };
        await Promise.all([ending(), succession()]);
        // What it was about to do has ended too.
        expect({ kind, order }).toEqual({ kind, order: ['failed', 'lost', 'acquired'] });
        expect(fault.applied).toBeGreaterThan(0);

        fault.remove();
        await release(old);
        expect({ kind, ...(await old.acquire(0)) }).toMatchObject({ kind, event: 'timed-out' });
        // The other one still holds: it would have told that it has lost.
        await release(next);
        await old.take();
        expect(await numbers(below)).toEqual([]);
      }),
    );
  });

  describe('a writer that comes when its number is free again', () => {
    /** Saves that number and two more, after which retention frees it. */
    async function overtake(by: Holder): Promise<void> {
      for (const number of [NUMBER, NUMBER + 1, NUMBER + 2]) {
        by.send(`publish ${String(number)}`);
        expect(await by.next()).toEqual({ event: 'published', number });
      }
      const options = { maxSnapshots: 1, graceMs: 0, signal };
      const { store } = stores.open(prefix);
      expect(await applyRetention(store, KEY, options)).toEqual([NUMBER, NUMBER + 1]);
    }

    function hold(): { letGo: () => void } {
      const { promise: until, resolve: letGo } = Promise.withResolvers<undefined>();
      proxy.fault({ on: isManifest, times: 1, behave: { kind: 'hold', until } });
      return {
        letGo: () => {
          letGo(undefined);
        },
      };
    }

    const isCreated = (request: S3Request) => isManifest(request) && request.status === 200;

    test('notices while it believes that it holds, and takes its own back', async () => {
      const [old, next] = await Promise.all([
        start('the old', { way: 'proxy' }),
        start('the next', { way: 'direct' }),
      ]);
      await old.take();
      const held = hold();
      old.send(`publish ${String(NUMBER)}`);
      await proxy.waitForRequest(isManifest);
      await overtake(next);
      held.letGo();
      expect(await old.next()).toEqual({ event: 'superseded', number: NUMBER + 2 });
      await proxy.waitForRequest(isCreated);
      expect(await numbers()).toEqual([NUMBER + 2]);
      await release(old);
    });

    test('notices when it was stopped for longer than its claim lives', async () => {
      const [old, next] = await Promise.all([
        start('the old', { way: 'proxy', lifeMs: SHORT_LIFE_MS }),
        start('the next', { way: 'direct', lifeMs: SHORT_LIFE_MS }),
      ]);
      await old.take();
      const held = hold();
      old.send(`publish ${String(NUMBER)}`);
      await proxy.waitForRequest(isManifest);
      old.signal('SIGSTOP');
      expect((await next.acquire(PATIENCE_MS)).event).toBe('acquired');
      await overtake(next);
      await release(next);
      // It goes on when its manifest is there, and its claim is another one's.
      held.letGo();
      await proxy.waitForRequest(isCreated);
      expect(await numbers()).toEqual([NUMBER, NUMBER + 2]);
      old.signal('SIGCONT');
      const reports = [await old.next(), await old.next()];
      expect(reports).toContainEqual({ event: 'lost' });
      expect(reports).toContainEqual({ event: 'superseded', number: NUMBER + 2 });
      expect(await numbers()).toEqual([NUMBER + 2]);
      await release(old);
    });

    test('leaves nothing where it cannot look', async () => {
      const old = await start('the old', { way: 'proxy' });
      const isLook = ({ method, key }: S3Request) =>
        method === 'GET' && key.includes('/manifests/');
      const fault = proxy.fault({ on: isLook, behave: { kind: 'status', status: 403 } });
      old.send(`publish ${String(NUMBER)}`);
      expect((await old.next()).event).toBe('failed');
      expect(fault.applied).toBeGreaterThan(0);
      await proxy.waitForRequest(isCreated);
      expect(await numbers()).toEqual([]);
    });
  });

  describe('machines whose clocks are an hour off', () => {
    const shiftsMs = [-HOUR_MS, 0, HOUR_MS];
    const isRefused = ({ serverStatus }: S3Request) => serverStatus === 403;

    test('contend for claims and numbers as if they were not', async () => {
      const all = await Promise.all(
        shiftsMs.map((shiftMs, index) =>
          start(`${String(index)}, off by ${String(shiftMs)} ms`, {
            way: 'proxy',
            environment: withClockShiftedBy(shiftMs),
          }),
        ),
      );
      for (let round = 1; round <= 3; round++) {
        const claimed = await Promise.all(all.map((each) => each.acquire(0)));
        expect(claimed.map(({ event }) => event).sort()).toEqual([
          'acquired',
          ...all.slice(1).map(() => 'timed-out'),
        ]);
        await release(all[claimed.findIndex(({ event }) => event === 'acquired')]!);
        for (const each of all) each.send(`create ${String(round)}`);
        const created = await Promise.all(all.map((each) => each.next()));
        const winners = created.flatMap(({ event }, index) => (event === 'created' ? index : []));
        expect(winners).toHaveLength(1);
        expect(created.filter(({ event }) => event === 'refused')).toHaveLength(all.length - 1);
        expect(await find(stores.open(prefix).store)).toMatch(
          new RegExp(`^${String(round)} ${String(winners[0])}, off by`),
        );
      }
      // The server did refuse what was signed at another time.
      expect(proxy.requests.filter(isRefused).length).toBeGreaterThan(0);
    });

    test('keep what they hold when their clocks are set', async () => {
      const environment = withClockShiftedBy(HOUR_MS);
      const [holder, other] = await Promise.all([
        start('the holder', { way: 'proxy', environment }),
        start('the other', { way: 'direct' }),
      ]);
      await holder.take();
      proxy.resetCounters();
      holder.signal('SIGUSR2');
      await proxy.waitForRequest(isRefused);
      const heartbeats = () =>
        proxy.requests.filter((request) => isClaim(request) && request.status === 200);
      await waitUntil(() => heartbeats().length > 3, { timeoutMs: 30_000, what: 'heartbeats' });
      expect((await other.acquire(0)).event).toBe('timed-out');
      await release(holder);
      await other.take();
    });
  });
});
