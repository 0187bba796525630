/** Claims in a bucket: their records, and what jobs on several machines make of them. */
import { afterAll, afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { createClaimLock } from '../../src/lock/claims.ts';
import type { Hold, Lock } from '../../src/lock/lock.ts';
import { Holder } from '../support/holder.ts';
import { s3Servers } from '../support/s3-servers.ts';
import { S3Stores } from '../support/s3-stores.ts';
import { describeClaimRecordsContract } from './claim-records-contract.ts';
import { acquire, describeLockContract } from './lock-contract.ts';
import { create, find, KEY } from './store-contract.ts';

const NUMBER = 7;
/** A life that outlasts a busy machine, and looks often enough for a test. */
const TIMES = {
  lifeMs: 30_000,
  heartbeatMs: 200,
  retryMs: 50,
  firstPollMs: 20,
  longestPollMs: 200,
};
const servers = s3Servers();
/** A sample; a soak sets more. */
const ROUNDS = Number(process.env['S3_RACE_ROUNDS'] ?? 10);
const PROCESSES = 16;
const RACE_TIMEOUT_MS = 60_000 + ROUNDS * 6_000;

describe.each(servers.filter(({ hasConditionalWrites }) => hasConditionalWrites))(
  '$name',
  (server) => {
    const stores = new S3Stores(server, `claims-test/${randomUUID()}`);
    let prefix = '';
    const holders: Holder[] = [];

    beforeEach(() => {
      prefix = randomUUID();
    });
    afterEach(async () => {
      const started = holders.splice(0);
      await Promise.all(started.map((holder) => holder.kill()));
      await stores.removeAll(prefix);
      expect(started.map((holder) => holder.complaints).join('')).toBe('');
    });
    afterAll(() => {
      stores.close();
    });

    describeClaimRecordsContract('in a bucket', () => {
      const bench = prefix;
      return Promise.resolve({
        open: (key) => stores.open(bench).recordsOf(key),
        close: () => stores.removeAll(bench),
      });
    });

    describeLockContract('claims in a bucket', () => {
      const bench = prefix;
      const holds: Hold[] = [];
      const lockOf = (number: number): Lock => {
        const records = stores.open(bench).recordsOf(KEY);
        const lock = createClaimLock(records, { number, holder: 'a test', times: TIMES });
        return {
          async acquire(options) {
            const acquisition = await lock.acquire(options);
            if (acquisition.outcome === 'acquired') holds.push(acquisition.hold);
            return acquisition;
          },
        };
      };
      return Promise.resolve({
        open: () => lockOf(NUMBER),
        openOther: () => lockOf(NUMBER + 1),
        close: async () => {
          await Promise.all(holds.map((hold) => hold.release()));
        },
      });
    });

    async function startHolder(holder: string, lifeMs = TIMES.lifeMs): Promise<Holder> {
      const times = { ...TIMES, lifeMs };
      // Machines may come by different ways.
      const place = stores.placeOf(prefix, holders.length % 2 === 1);
      const thing = { kind: 's3-claim', place, key: KEY, number: NUMBER, holder, times } as const;
      const started = new Holder(thing);
      holders.push(started);
      await started.expect('ready');
      return started;
    }

    test('a holder that was killed is succeeded after its life', async () => {
      const holder = await startHolder('the dead', 8_000);
      await holder.take();
      await holder.kill();
      const next = await startHolder('the next', 8_000);
      expect((await next.acquire(0)).event).toBe('timed-out');
      next.send('acquire 60000');
      expect(await next.next()).toEqual({ event: 'waiting', holder: 'the dead' });
      expect((await next.next()).event).toBe('acquired');
    });

    test(
      'of many processes that contend at once one gets it, in each of some rounds',
      async () => {
        const names = Array.from({ length: PROCESSES }, (_, index) => `contender ${String(index)}`);
        const contenders = await Promise.all(names.map((name) => startHolder(name)));
        for (let round = 0; round < ROUNDS; round++) {
          const reports = await Promise.all(contenders.map((contender) => contender.acquire(0)));
          const winners = contenders.filter((_, index) => reports[index]?.event === 'acquired');
          expect(reports.map(({ event }) => event).sort()).toEqual([
            'acquired',
            ...Array.from({ length: PROCESSES - 1 }, () => 'timed-out'),
          ]);
          winners[0]!.send('release');
          await winners[0]!.expect('released');
        }
      },
      RACE_TIMEOUT_MS,
    );

    test(
      'of many processes that create one manifest at once one does, in each of some rounds',
      async () => {
        const names = Array.from({ length: PROCESSES }, (_, index) => `writer ${String(index)}`);
        const writers = await Promise.all(names.map((name) => startHolder(name)));
        for (let number = 1; number <= ROUNDS; number++) {
          for (const writer of writers) writer.send(`create ${String(number)}`);
          const reports = await Promise.all(writers.map((writer) => writer.next()));
          const winners = names.filter((_, index) => reports[index]?.event === 'created');
          expect(reports.filter(({ event }) => event === 'refused')).toHaveLength(PROCESSES - 1);
          expect(await find(stores.open(prefix).store)).toBe(`${String(number)} ${winners[0]!}`);
        }
      },
      RACE_TIMEOUT_MS,
    );
  },
);

describe.each(servers.filter(({ hasConditionalWrites }) => !hasConditionalWrites))(
  '$name, which has no conditional writes',
  (server) => {
    const stores = new S3Stores(server, `claims-test/${randomUUID()}`);
    afterAll(async () => {
      await stores.removeAll();
      stores.close();
    });

    test('has no claims, and says why', async () => {
      const records = stores.open('none').recordsOf(KEY);
      const lock = createClaimLock(records, { number: NUMBER, holder: 'a test', times: TIMES });
      expect(await acquire(lock, { timeoutMs: 60_000 })).toEqual({
        outcome: 'unavailable',
        reason: expect.stringContaining('has no conditional writes'),
      });
    });

    test('keeps manifests by number nevertheless', async () => {
      const { store } = stores.open('none');
      expect(await create(store, 1, 'first')).toBe(true);
      expect(await create(store, 1, 'second')).toBe(false);
      expect(await create(store, 2, 'third')).toBe(true);
      expect(await find(store)).toBe('2 third');
      expect(await find(store, { below: 2 })).toBe('1 first');
    });
  },
);
