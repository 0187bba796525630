/** Claims, in memory and among real processes on a disk, some of them killed or stopped. */
import { chmod, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import { createClaimLock } from '../../../src/locks/claims/claims.ts';
import { MirrorError } from '../../../src/lib/errors.ts';
import type { ClaimRecords } from '../../../src/locks/claims/records.ts';
import type { ClaimLock, Hold, Lock } from '../../../src/locks/lock.ts';
import { createDiskRecords } from '../../../src/stores/disk/records.ts';
import { createMemoryRecords, type MemoryRecords } from '../../support/memory/records.ts';
import { temporaryDirectories } from '../../support/temporary-directory.ts';
import { describeClaimProcesses } from './processes-contract.ts';
import { acquire, describeLockContract, take } from '../lock-contract.ts';

const directories = temporaryDirectories();

afterEach(() => directories.removeAll());

/** Lives long enough for a busy machine, and looks often enough for a test. */
const TIMES = { lifeMs: 20_000, heartbeatMs: 50, retryMs: 20, firstPollMs: 10, longestPollMs: 100 };
const NUMBER = 7;
const soakRounds = Number(process.env['CLAIM_RACE_ROUNDS'] ?? 0);
const { signal } = new AbortController();

const SAMPLE = {
  times: TIMES,
  shortLifeMs: 6_000,
  contenders: 10,
  rounds: 10,
  staleRounds: 2,
  raceTimeoutMs: 60_000,
};
const SOAK = {
  // So many look for so long: more rarely, which leaves something of the machine to others.
  times: { ...TIMES, heartbeatMs: 300, longestPollMs: 500 },
  shortLifeMs: 3_000,
  contenders: 32,
  rounds: soakRounds,
  staleRounds: soakRounds,
  raceTimeoutMs: 60_000 + soakRounds * 2_000,
};

function lockOn(records: ClaimRecords, holder = 'a test', times = TIMES): ClaimLock {
  return createClaimLock(records, { number: NUMBER, holder, times });
}

function benchOf(open: () => ClaimRecords) {
  const holds: Hold[] = [];
  const lockOf = (number: number): Lock => {
    const lock = createClaimLock(open(), { number, holder: 'a test', times: TIMES });
    return {
      async acquire(options) {
        const acquisition = await lock.acquire(options);
        if (acquisition.outcome === 'acquired') holds.push(acquisition.hold);
        return acquisition;
      },
    };
  };
  return {
    open: () => lockOf(NUMBER),
    openOther: () => lockOf(NUMBER + 1),
    close: async () => {
      await Promise.all(holds.map((hold) => hold.release()));
    },
  };
}

describeLockContract('claims in memory', () => {
  const records: MemoryRecords = new Map();
  return Promise.resolve(benchOf(() => createMemoryRecords(records)));
});

describeLockContract('claims on a disk', async () => {
  const path = await directories.create('claims');
  return benchOf(() => createDiskRecords({ path, key: 'key' }));
});

describe('what is claimed', () => {
  test('is not needed where it is there already, and nothing is asked for then', async () => {
    const records: MemoryRecords = new Map();
    const lock = lockOn(createMemoryRecords(records));
    const isDone = () => Promise.resolve(true);
    const acquisition = await lock.acquire({ timeoutMs: 0, signal, isDone });
    expect(acquisition).toEqual({ outcome: 'not-needed', waitedMs: 0 });
    expect([...records.keys()]).toEqual([]);
  });

  test('ends the wait of all who wait as soon as it is there, though its holder holds on', async () => {
    const records: MemoryRecords = new Map();
    const hold = await take(lockOn(createMemoryRecords(records), 'the holder'));
    let isMade = false;
    const seen: (string | undefined)[] = [];
    const waiting = Array.from({ length: 5 }, () =>
      lockOn(createMemoryRecords(records)).acquire({
        timeoutMs: 30_000,
        signal,
        isDone: () => Promise.resolve(isMade),
        onWait: (holder) => seen.push(holder),
      }),
    );
    await Promise.all([waitFor(() => seen.length === 5)]);
    isMade = true;
    for (const { outcome } of await Promise.all(waiting)) expect(outcome).toBe('not-needed');
    expect(seen).toEqual(Array.from({ length: 5 }, () => 'the holder'));
    await hold.release();
  });

  test('is looked for before its claim is taken over', async () => {
    const records: MemoryRecords = new Map();
    const hold = await take(lockOn(createMemoryRecords(records)));
    let isMade = false;
    const waiting = lockOn(createMemoryRecords(records)).acquire({
      timeoutMs: 30_000,
      signal,
      isDone: () => Promise.resolve(isMade),
      onWait: () => {
        isMade = true;
        void hold.release();
      },
    });
    expect((await waiting).outcome).toBe('not-needed');
  });
});

describe('a holder', () => {
  test('loses the claim where somebody removes it, and does not come back', async () => {
    const records: MemoryRecords = new Map();
    const hold = await take(lockOn(createMemoryRecords(records)));
    for (const name of records.keys()) if (name.endsWith('.claim')) records.delete(name);
    await waitFor(() => hold.lost.aborted);
    expect(String(hold.lost.reason)).toContain('removed it from the store');
    await hold.release();
    await (await take(lockOn(createMemoryRecords(records)))).release();
  });

  test('whose store fails loses after half a life, and says why', async () => {
    const times = { ...TIMES, lifeMs: 1_000 };
    const memory = createMemoryRecords();
    let fails = false;
    const failing: ClaimRecords = {
      ...memory,
      write: (name, content, given) =>
        fails
          ? Promise.reject(new MirrorError('store-unavailable', 'the disk is gone'))
          : memory.write(name, content, given),
    };
    const hold = await take(lockOn(failing, 'a test', times));
    fails = true;
    await waitFor(() => hold.lost.aborted);
    expect(String(hold.lost.reason)).toMatch(/not succeeded for .*the disk is gone/);
    await hold.release();
  });
});

describe('where the store fails', () => {
  test('there is no claim, and the reason is told', async () => {
    const path = await directories.create('claims');
    await rm(path, { recursive: true });
    const lock = lockOn(createDiskRecords({ path, key: 'key' }));
    const acquisition = await acquire(lock, { timeoutMs: 0 });
    expect(acquisition).toMatchObject({
      outcome: 'unavailable',
      reason: expect.stringContaining(path),
    });
  });

  test('a file where the folder of claims should be is a failure too', async () => {
    const path = await directories.create('claims');
    await writeFile(join(path, 'v1'), 'in the way');
    const lock = lockOn(createDiskRecords({ path, key: 'key' }));
    expect(await acquire(lock, { timeoutMs: 0 })).toMatchObject({ outcome: 'unavailable' });
  });

  const asUser = process.getuid?.() === 0 ? test.skip : test;
  asUser('so is a folder that may only be read', async () => {
    const path = await directories.create('claims');
    await chmod(path, 0o500);
    const lock = lockOn(createDiskRecords({ path, key: 'key' }));
    expect(await acquire(lock, { timeoutMs: 0 })).toMatchObject({ outcome: 'unavailable' });
    await chmod(path, 0o700);
  });

  test('an error of what is waited for counts as the store’s', async () => {
    const isDone = () => Promise.reject(new MirrorError('store-unavailable', 'the line is cut'));
    const lock = lockOn(createMemoryRecords());
    expect(await lock.acquire({ timeoutMs: 0, signal, isDone })).toMatchObject({
      outcome: 'unavailable',
      reason: expect.stringContaining('the line is cut'),
    });
  });
});

describeClaimProcesses(
  'claims on a disk',
  async () => {
    const path = await directories.create('claims');
    return {
      thingOf: (holder, times) => ({ kind: 'claim', path, number: NUMBER, holder, times }),
      records: createDiskRecords({ path, key: 'key' }),
      close: () => directories.removeAll(),
    };
  },
  soakRounds > 0 ? SOAK : SAMPLE,
);

/** Until a condition holds; the test's own timeout ends it. */
async function waitFor(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await new Promise((resolve) => setTimeout(resolve, 5));
}
