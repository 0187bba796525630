/** Claims in a bucket: their records, and what jobs on several machines make of them. */
import { afterAll, afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { createClaimLock } from '../../../src/locks/claims/claims.ts';
import type { ClaimTimes } from '../../../src/locks/claims/times.ts';
import type { Hold, Lock } from '../../../src/locks/lock.ts';
import { useHolders } from '../../support/locks/holder.ts';
import type { HeldThing } from '../../support/locks/lock-holder.ts';
import { s3Servers } from '../../support/s3/servers.ts';
import { S3Stores } from '../../support/s3/stores.ts';
import { describeClaimProcesses } from './processes-contract.ts';
import { describeClaimRecordsContract } from './records-contract.ts';
import { acquire, describeLockContract } from '../lock-contract.ts';
import { create, find, KEY } from '../../stores/contract/store-contract.ts';

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

// `each` rejects an empty list.
for (const server of servers.filter(({ hasConditionalWrites }) => hasConditionalWrites)) {
  describe(server.name, () => {
    const stores = new S3Stores(server, `claims-test/${randomUUID()}`);
    let prefix = '';
    let machines = 0;
    const startHolder = useHolders();

    beforeEach(() => {
      prefix = randomUUID();
    });
    afterEach(() => stores.removeAll(prefix));
    afterAll(() => {
      stores.close();
    });

    function thingOf(
      below: string,
      holder: string,
      times: Partial<ClaimTimes>,
    ): HeldThing & { kind: 's3-claim' } {
      // Machines may come by different ways.
      const place = stores.placeOf(below, machines++ % 2 === 1);
      return { kind: 's3-claim', place, key: KEY, number: NUMBER, holder, times };
    }

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

    describeClaimProcesses(
      'claims in a bucket',
      () => {
        const bench = prefix;
        return Promise.resolve({
          thingOf: (holder, times) => thingOf(bench, holder, times),
          records: stores.open(bench).recordsOf(KEY),
          close: () => stores.removeAll(bench),
        });
      },
      {
        times: TIMES,
        shortLifeMs: 8_000,
        contenders: PROCESSES,
        rounds: ROUNDS,
        staleRounds: Math.ceil(ROUNDS / 10),
        raceTimeoutMs: RACE_TIMEOUT_MS,
      },
    );

    test(
      'of many processes that create one manifest at once one does, in each of some rounds',
      async () => {
        const names = Array.from({ length: PROCESSES }, (_, index) => `writer ${String(index)}`);
        const writers = await Promise.all(
          names.map((name) => startHolder(thingOf(prefix, name, TIMES))),
        );
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
  });
}

for (const server of servers.filter(({ hasConditionalWrites }) => !hasConditionalWrites)) {
  describe(`${server.name}, which has no conditional writes`, () => {
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
  });
}
