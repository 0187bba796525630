import { expect, test } from '@jest/globals';
import { createMemoryLock, type MemoryLocks } from '../memory/lock.ts';
import { acquire, describeLockContract, take } from '../../locks/lock-contract.ts';

describeLockContract('the lock in memory', () => {
  const locks: MemoryLocks = new Map();
  return Promise.resolve({
    open: () => createMemoryLock('mirror', locks),
    openOther: () => createMemoryLock('another mirror', locks),
    close: () => Promise.resolve(),
  });
});

test('the job that has waited longest is next', async () => {
  const locks: MemoryLocks = new Map();
  const order: number[] = [];
  const hold = await take(createMemoryLock('mirror', locks));
  const waiting = [1, 2, 3].map(async (place) => {
    const turn = await take(createMemoryLock('mirror', locks));
    order.push(place);
    await turn.release();
  });
  await hold.release();
  await Promise.all(waiting);
  expect(order).toEqual([1, 2, 3]);
  expect(locks.size).toBe(0);
});

test('registries know nothing of each other', async () => {
  await take(createMemoryLock('mirror', new Map()));
  const other = createMemoryLock('mirror', new Map());
  expect(await acquire(other, { timeoutMs: 0 })).toMatchObject({ outcome: 'acquired' });
});
