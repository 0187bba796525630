/**
 * What every lock promises, whatever it is made of (src/locks/lock.ts). A back end's own test calls
 * `describeLockContract` and adds what only that back end promises.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import type { AcquireOptions, Acquisition, Hold, Lock } from '../../src/locks/lock.ts';

export interface LockBench {
  /** Another lock object for the same right. */
  open(): Lock;
  /** Another right, held by nobody. */
  openOther(): Lock;
  close(): Promise<void>;
}

const LONG_MS = 30_000;
/** Far from both the moment that a wait should take and from `LONG_MS`, so that a busy machine fails nothing. */
const SOON_MS = LONG_MS / 2;
/** Time for a contender to notice that the lock is held. */
const SETTLE_MS = 100;

export function describeLockContract(name: string, setUp: () => Promise<LockBench>): void {
  describe(`${name}: what every lock promises`, () => {
    let bench: LockBench;
    beforeEach(async () => {
      bench = await setUp();
    });
    afterEach(async () => {
      jest.restoreAllMocks();
      await bench.close();
    });

    testExclusion(() => bench);
    testWaiting(() => bench);
    testCancellation(() => bench);
    testRelease(() => bench);
  });
}

function testExclusion(bench: () => LockBench): void {
  test('a free lock is acquired at once', async () => {
    const acquisition = await acquire(bench().open());
    expect(acquisition).toMatchObject({ outcome: 'acquired' });
    expect(waitedMsOf(acquisition)).toBeLessThan(SOON_MS);
  });

  test('of many contenders one at a time is inside, and each gets its turn', async () => {
    let inside = 0;
    let turns = 0;
    const contend = async () => {
      for (let round = 0; round < 3; round++) {
        const hold = await take(bench().open());
        inside++;
        expect(inside).toBe(1);
        await sleep(Math.random() * 4);
        expect(inside).toBe(1);
        inside--;
        turns++;
        await hold.release();
      }
    };
    await Promise.all(Array.from({ length: 12 }, contend));
    expect(turns).toBe(36);
  });

  test('of many who try once at the same moment, one gets a free lock', async () => {
    for (let round = 0; round < 20; round++) {
      const tries = Array.from({ length: 8 }, () => acquire(bench().open(), { timeoutMs: 0 }));
      const winners = (await Promise.all(tries)).filter(isAcquired);
      expect(winners).toHaveLength(1);
      await winners[0]!.hold.release();
    }
  });

  test('one lock object excludes itself', async () => {
    const lock = bench().open();
    await take(lock);
    expect(await acquire(lock, { timeoutMs: 0 })).toMatchObject({ outcome: 'timed-out' });
  });

  test('locks on different things know nothing of each other', async () => {
    await take(bench().open());
    expect(await acquire(bench().openOther(), { timeoutMs: 0 })).toMatchObject({
      outcome: 'acquired',
    });
  });
}

function testWaiting(bench: () => LockBench): void {
  test('waiting ends at the timeout, and then nothing is held', async () => {
    const hold = await take(bench().open());
    const [acquisition, elapsedMs] = await timed(() => acquire(bench().open(), { timeoutMs: 300 }));
    expect(acquisition).toMatchObject({ outcome: 'timed-out' });
    expect(elapsedMs).toBeGreaterThan(298);
    expect(elapsedMs).toBeLessThan(SOON_MS);
    await hold.release();
    await take(bench().open(), { timeoutMs: 0 });
  });

  test('a timeout of zero tries once and does not wait', async () => {
    await take(bench().open());
    const onWait = jest.fn();
    const [acquisition, elapsedMs] = await timed(() =>
      acquire(bench().open(), { timeoutMs: 0, onWait }),
    );
    expect(acquisition).toMatchObject({ outcome: 'timed-out' });
    expect(elapsedMs).toBeLessThan(SOON_MS);
    expect(onWait).not.toHaveBeenCalled();
  });

  test('a release lets the next in, well before its timeout', async () => {
    const hold = await take(bench().open());
    const next = timed(() => acquire(bench().open()));
    await sleep(SETTLE_MS);
    await hold.release();
    const [acquisition, elapsedMs] = await next;
    expect(acquisition).toMatchObject({ outcome: 'acquired' });
    expect(elapsedMs).toBeLessThan(SOON_MS);
  });

  test('onWait is called once, however long the wait', async () => {
    const hold = await take(bench().open());
    const onWait = jest.fn();
    const next = acquire(bench().open(), { onWait });
    await sleep(1_000);
    await hold.release();
    await next;
    expect(onWait).toHaveBeenCalledTimes(1);
  });

  test('onWait is not called where nobody is waited for', async () => {
    const onWait = jest.fn();
    await take(bench().open(), { onWait });
    expect(onWait).not.toHaveBeenCalled();
  });

  test('waitedMs is the time that was really waited', async () => {
    const hold = await take(bench().open());
    const next = timed(() => acquire(bench().open()));
    await sleep(400);
    await hold.release();
    const [acquired, acquiredMs] = await next;
    expect(waitedMsOf(acquired)).toBeGreaterThan(395);
    expect(waitedMsOf(acquired)).toBeLessThan(acquiredMs + 1);

    const [timedOut, timedOutMs] = await timed(() => acquire(bench().open(), { timeoutMs: 200 }));
    expect(waitedMsOf(timedOut)).toBeGreaterThan(198);
    expect(waitedMsOf(timedOut)).toBeLessThan(timedOutMs + 1);
  });

  test('a wall clock that jumps neither ends a wait nor prolongs it', async () => {
    await take(bench().open());
    const hourMs = 3_600_000;
    for (const jumpMs of [hourMs, -hourMs]) {
      const real = Date.now.bind(Date);
      const next = timed(() => acquire(bench().open(), { timeoutMs: 400 }));
      await sleep(SETTLE_MS);
      jest.spyOn(Date, 'now').mockImplementation(() => real() + jumpMs);
      const [acquisition, elapsedMs] = await next;
      jest.restoreAllMocks();
      expect(acquisition).toMatchObject({ outcome: 'timed-out' });
      expect(elapsedMs).toBeGreaterThan(398);
      expect(elapsedMs).toBeLessThan(SOON_MS);
      expect(waitedMsOf(acquisition)).toBeLessThan(SOON_MS);
    }
  });
}

function testCancellation(bench: () => LockBench): void {
  test('cancellation ends a wait promptly, and nothing is held', async () => {
    const hold = await take(bench().open());
    const controller = new AbortController();
    const waiting = acquire(bench().open(), { signal: controller.signal });
    const rejected = expect(waiting).rejects.toMatchObject({
      name: 'MirrorError',
      code: 'cancelled',
    });
    await sleep(SETTLE_MS);
    const cancelledMs = performance.now();
    controller.abort();
    await rejected;
    expect(performance.now() - cancelledMs).toBeLessThan(SOON_MS);
    await hold.release();
    await take(bench().open(), { timeoutMs: 0 });
  });

  test('a job that was cancelled before does not get even a free lock', async () => {
    const signal = AbortSignal.abort();
    await expect(acquire(bench().open(), { signal })).rejects.toMatchObject({ code: 'cancelled' });
    await take(bench().open(), { timeoutMs: 0 });
  });

  test('cancellation after the lock was acquired changes nothing', async () => {
    const controller = new AbortController();
    const hold = await take(bench().open(), { signal: controller.signal });
    controller.abort();
    await sleep(SETTLE_MS);
    expect(hold.lost.aborted).toBe(false);
    expect(await acquire(bench().open(), { timeoutMs: 0 })).toMatchObject({
      outcome: 'timed-out',
    });
  });

  test('when a waiting job is cancelled, the others still get their turn', async () => {
    const hold = await take(bench().open());
    const controller = new AbortController();
    const cancelled = acquire(bench().open(), { signal: controller.signal });
    const rejected = expect(cancelled).rejects.toMatchObject({ code: 'cancelled' });
    const next = acquire(bench().open());
    await sleep(SETTLE_MS);
    controller.abort();
    await rejected;
    await hold.release();
    expect(await next).toMatchObject({ outcome: 'acquired' });
  });
}

function testRelease(bench: () => LockBench): void {
  test('work that threw releases like work that did not', async () => {
    const work = async () => {
      const hold = await take(bench().open());
      try {
        throw new Error('the work failed');
      } finally {
        await hold.release();
      }
    };
    await expect(work()).rejects.toThrow('the work failed');
    await take(bench().open(), { timeoutMs: 0 });
  });

  test('a second release does not take the lock from the next holder', async () => {
    const first = await take(bench().open());
    await first.release();
    await take(bench().open(), { timeoutMs: 0 });
    await first.release();
    expect(await acquire(bench().open(), { timeoutMs: 0 })).toMatchObject({
      outcome: 'timed-out',
    });
  });

  test('lost does not fire while the lock is held, nor by releasing it', async () => {
    const hold = await take(bench().open());
    await sleep(SETTLE_MS);
    await hold.release();
    expect(hold.lost.aborted).toBe(false);
  });

  test('one object takes and releases many times', async () => {
    const lock = bench().open();
    for (let round = 0; round < 50; round++) {
      const hold = await take(lock, { timeoutMs: 0 });
      await hold.release();
    }
  });
}

/** `acquire` with options that wait long enough and are never cancelled. */
export function acquire(lock: Lock, options: Partial<AcquireOptions> = {}): Promise<Acquisition> {
  return lock.acquire({
    timeoutMs: LONG_MS,
    signal: new AbortController().signal,
    ...options,
  });
}

/** The hold of a lock that must be had. */
export async function take(lock: Lock, options: Partial<AcquireOptions> = {}): Promise<Hold> {
  const acquisition = await acquire(lock, options);
  if (!isAcquired(acquisition)) {
    throw new Error(`the lock was not had: ${JSON.stringify(acquisition)}`);
  }
  return acquisition.hold;
}

function isAcquired(
  acquisition: Acquisition,
): acquisition is Extract<Acquisition, { outcome: 'acquired' }> {
  return acquisition.outcome === 'acquired';
}

function waitedMsOf(acquisition: Acquisition): number {
  return acquisition.outcome === 'unavailable' ? NaN : acquisition.waitedMs;
}

async function timed<T>(work: () => Promise<T>): Promise<[T, number]> {
  const startedMs = performance.now();
  const result = await work();
  return [result, performance.now() - startedMs];
}
