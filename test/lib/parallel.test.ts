import { describe, expect, test } from '@jest/globals';
import { setImmediate as turn } from 'node:timers/promises';
import type { MirrorError } from '../../src/lib/errors.ts';
import { Slots, mapEachOf } from '../../src/lib/parallel.ts';

/** Notes how much is done at once. */
class Meter {
  now = 0;
  most = 0;

  async run(turns: number): Promise<void> {
    this.now += 1;
    this.most = Math.max(this.most, this.now);
    for (let index = 0; index < turns; index += 1) await turn();
    this.now -= 1;
  }
}

const { signal } = new AbortController();

describe('work on all items', () => {
  test('is done N at a time, and once on each', async () => {
    const meter = new Meter();
    const done: number[] = [];
    await mapEachOf([1, 2, 3, 4, 5, 6, 7], 3, signal, async (item) => {
      await meter.run(item % 3);
      done.push(item);
    });
    expect(done.toSorted()).toEqual([1, 2, 3, 4, 5, 6, 7]);
    expect(meter.most).toBe(3);
  });

  test('ends with the first failure, when all that was begun has ended', async () => {
    const ended: number[] = [];
    const begun: number[] = [];
    const work = mapEachOf([1, 2, 3, 4], 2, signal, async (item, bounded) => {
      begun.push(item);
      if (item === 1) throw new Error('the first');
      while (!bounded.aborted) await turn();
      await turn();
      ended.push(item);
      throw new Error('because it was ended');
    });
    await expect(work).rejects.toThrow('the first');
    expect(begun).toEqual([1, 2]);
    expect(ended).toEqual([2]);
  });

  test('is cancelled as a whole', async () => {
    const controller = new AbortController();
    const begun: number[] = [];
    const work = mapEachOf([1, 2, 3], 2, controller.signal, async (item) => {
      begun.push(item);
      controller.abort();
      await turn();
    });
    await expect(work).rejects.toMatchObject({ code: 'cancelled' } satisfies Partial<MirrorError>);
    expect(begun).toEqual([1]);
  });

  test('may be on none', async () => {
    await expect(mapEachOf([], 2, signal, () => Promise.reject(new Error()))).resolves.toEqual([]);
  });
});

describe('slots', () => {
  test('hold so much work at a time, first come, first served', async () => {
    const slots = new Slots(2);
    const meter = new Meter();
    const order: number[] = [];
    const items = Array.from({ length: 8 }, (_, index) => index);
    await Promise.all(
      items.map((item) =>
        slots.run(async () => {
          order.push(item);
          await meter.run(2);
        }),
      ),
    );
    expect(order).toEqual(items);
    expect(meter.most).toBe(2);
  });

  test('are free again after work that failed', async () => {
    const slots = new Slots(1);
    await expect(slots.run(() => Promise.reject(new Error('failed')))).rejects.toThrow('failed');
    await expect(slots.run(() => Promise.resolve('done'))).resolves.toBe('done');
  });
});
