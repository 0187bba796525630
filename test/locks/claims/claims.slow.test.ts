/** Claims, in memory and among real processes on a disk, some of them killed or stopped. */
import { chmod, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { createClaimLock, type ClaimLockOptions } from '../../../src/locks/claims/claims.ts';
import { MirrorError } from '../../../src/lib/errors.ts';
import type { ClaimRecords } from '../../../src/locks/claims/records.ts';
import type { Hold, Lock } from '../../../src/locks/lock.ts';
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

const SAMPLE = {
  times: TIMES,
  shortLifeMs: 8_000,
  contenders: 10,
  rounds: 5,
  staleRounds: 1,
  raceTimeoutMs: 60_000,
};
const SOAK = {
  // Many jobs look for a long time, so each looks more rarely.
  times: { ...TIMES, heartbeatMs: 300, longestPollMs: 500 },
  shortLifeMs: 3_000,
  contenders: 32,
  rounds: soakRounds,
  staleRounds: soakRounds,
  raceTimeoutMs: 60_000 + soakRounds * 2_000,
};

function claimOn(
  records: ClaimRecords,
  holder = 'a test',
  more: Partial<ClaimLockOptions> = {},
): Lock {
  return createClaimLock(records, { number: NUMBER, holder, times: TIMES, ...more });
}

function benchOf(open: () => ClaimRecords) {
  const holds: Hold[] = [];
  const lockOf = (number: number): Lock => {
    const lock = claimOn(open(), 'a test', { number });
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
    const isMade = () => Promise.resolve(true);
    const lock = claimOn(createMemoryRecords(records), 'a test', { isMade });
    const acquisition = await acquire(lock, { timeoutMs: 0 });
    expect(acquisition).toEqual({ outcome: 'not-needed', waitedMs: 0 });
    expect([...records.keys()]).toEqual([]);
  });

  test('ends the wait of all waiting jobs as soon as it exists, though its holder still holds', async () => {
    const records: MemoryRecords = new Map();
    const hold = await take(claimOn(createMemoryRecords(records), 'the holder'));
    let isMade = false;
    const seen: (string | undefined)[] = [];
    const made = { isMade: () => Promise.resolve(isMade) };
    const waiting = Array.from({ length: 5 }, () =>
      acquire(claimOn(createMemoryRecords(records), 'a test', made), {
        timeoutMs: 30_000,
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
    const hold = await take(claimOn(createMemoryRecords(records)));
    let isMade = false;
    const made = { isMade: () => Promise.resolve(isMade) };
    const waiting = acquire(claimOn(createMemoryRecords(records), 'a test', made), {
      timeoutMs: 30_000,
      onWait: () => {
        isMade = true;
        void hold.release();
      },
    });
    expect((await waiting).outcome).toBe('not-needed');
  });
});

describe('a claim whose holder may be alive or dead', () => {
  const lifeMs = 60_000;
  const number = NUMBER;
  const claim = '0000000007-000001';
  let nowMs = 0;
  let records: MemoryRecords;
  beforeEach(() => {
    nowMs = 1_000_000;
    records = new Map();
  });
  const store = () => createMemoryRecords(records, () => nowMs);
  const tryOnce = (on = store()) =>
    acquire(createClaimLock(on, { number, holder: 'a test' }), { timeoutMs: 0 });
  const put = (name: string, changedMs: number, content = 'the dead') =>
    records.set(name, { content: Buffer.from(content), changedMs });

  test.each([
    ['younger than a life', 1 - lifeMs, 'timed-out'],
    ['as old as a life', -lifeMs, 'acquired'],
    ['of last year', -365 * 24 * 60 * lifeMs, 'acquired'],
    ['from a moment ahead', lifeMs - 1, 'timed-out'],
    ['from the future', lifeMs, 'acquired'],
    ['of no known age', NaN, 'acquired'],
  ])('%s, in one look: %s ms, %s', async (_, changedMs, outcome) => {
    put(claim, nowMs + changedMs);
    const acquisition = await tryOnce();
    expect(acquisition.outcome).toBe(outcome);
    if (acquisition.outcome !== 'acquired') return;
    expect(records.has('0000000007-000002')).toBe(true);
    await waitFor(() => !records.has(claim));
    await acquisition.hold.release();
  });

  test('is stale whatever it holds, and however often it was taken over', async () => {
    put(claim, nowMs - lifeMs, '');
    put('0000000007-000041', nowMs - lifeMs, 'x'.repeat(60_000));
    const acquisition = await tryOnce();
    expect(acquisition.outcome).toBe('acquired');
    expect(records.has('0000000007-000042')).toBe(true);
  });

  test('is not taken for that of another number, nor is anything else that lies there', async () => {
    for (const name of ['0000000008-000001', '0000000006-000001', '7-1', `${claim}.heartbeat`]) {
      put(name, nowMs);
    }
    expect((await tryOnce()).outcome).toBe('acquired');
  });

  test('stays held while its holder writes it, however long that takes', async () => {
    const times = { ...TIMES, lifeMs: 60_000 };
    const lock = createClaimLock(store(), { number, holder: 'the living', times });
    const hold = await take(lock);
    for (let minutes = 1; minutes <= 5; minutes++) {
      nowMs += 50_000;
      await waitFor(() => records.get(claim)?.changedMs === nowMs);
      expect((await tryOnce()).outcome).toBe('timed-out');
    }
    expect(hold.lost.aborted).toBe(false);
    await hold.release();
  });

  test('was released although the store took no more: its record is gone then', async () => {
    const memory = store();
    let isFull = false;
    const full: ClaimRecords = {
      ...memory,
      write: (...given) =>
        isFull
          ? Promise.reject(new MirrorError('no-space', 'no space left'))
          : memory.write(...given),
    };
    const hold = await take(claimOn(full));
    isFull = true;
    await hold.release();
    expect([...records.keys()]).toEqual([]);
    expect((await tryOnce()).outcome).toBe('acquired');
  });

  test.each(['create', 'list'] as const)(
    'is done without where the store fails to %s, and the next job has no trouble',
    async (method) => {
      const failure = new MirrorError('no-space', 'no space left');
      const failing = { ...store(), [method]: () => Promise.reject(failure) };
      expect(await tryOnce(failing)).toEqual({ outcome: 'unavailable', reason: 'no space left' });
      expect((await tryOnce()).outcome).toBe('acquired');
    },
  );

  test('that was created although its reply was lost is in the way for one life', async () => {
    const memory = store();
    const lossy: ClaimRecords = {
      ...memory,
      create: async (...given) => {
        await memory.create(...given);
        throw new MirrorError('store-unavailable', 'no reply');
      },
    };
    expect((await tryOnce(lossy)).outcome).toBe('unavailable');
    expect((await tryOnce()).outcome).toBe('timed-out');
    nowMs += lifeMs;
    expect((await tryOnce()).outcome).toBe('acquired');
  });
});

describe('a holder', () => {
  test('loses the claim where somebody removes it, and does not come back', async () => {
    const records: MemoryRecords = new Map();
    const hold = await take(claimOn(createMemoryRecords(records)));
    records.clear();
    await waitFor(() => hold.lost.aborted);
    expect(hold.lost.reason).toMatchObject({
      code: 'lost-claim',
      message: 'the claim was removed from the store',
    });
    await hold.release();
    await (await take(claimOn(createMemoryRecords(records)))).release();
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
    const hold = await take(claimOn(failing, 'a test', { times }));
    fails = true;
    await waitFor(() => hold.lost.aborted);
    // Nobody is known to have it: the failure is the store's.
    expect(hold.lost.reason).toMatchObject({
      code: 'store-unavailable',
      message: expect.stringMatching(/not succeeded for .*the disk is gone/),
    });
    await hold.release();
  });
});

describe('where the store fails', () => {
  test('there is no claim, and the outcome has the reason', async () => {
    const path = await directories.create('claims');
    await rm(path, { recursive: true });
    const lock = claimOn(createDiskRecords({ path, key: 'key' }));
    const acquisition = await acquire(lock, { timeoutMs: 0 });
    expect(acquisition).toMatchObject({
      outcome: 'unavailable',
      reason: expect.stringContaining(path),
    });
  });

  test('a file where the folder of claims should be is a failure too', async () => {
    const path = await directories.create('claims');
    await writeFile(join(path, 'v1'), 'in the way');
    const lock = claimOn(createDiskRecords({ path, key: 'key' }));
    expect(await acquire(lock, { timeoutMs: 0 })).toMatchObject({ outcome: 'unavailable' });
  });

  const asUser = process.getuid?.() === 0 ? test.skip : test;
  asUser('so is a folder that may only be read', async () => {
    const path = await directories.create('claims');
    await chmod(path, 0o500);
    const lock = claimOn(createDiskRecords({ path, key: 'key' }));
    expect(await acquire(lock, { timeoutMs: 0 })).toMatchObject({ outcome: 'unavailable' });
    await chmod(path, 0o700);
  });

  test('an error of what is waited for counts as the store’s', async () => {
    const isMade = () => Promise.reject(new MirrorError('store-unavailable', 'the line is cut'));
    const lock = claimOn(createMemoryRecords(), 'a test', { isMade });
    expect(await acquire(lock, { timeoutMs: 0 })).toMatchObject({
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
