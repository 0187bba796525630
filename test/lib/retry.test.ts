/** Failures that pass by themselves are tried again, with pauses that grow. */
import { describe, expect, test } from '@jest/globals';
import { backOff, retry } from '../../src/lib/retry.ts';

const { signal } = new AbortController();

/** Fails that often, each time by another error; then succeeds. */
function failing(times: number): { attempt: () => Promise<string>; made: () => number } {
  let made = 0;
  const attempt = () => {
    made += 1;
    return made <= times
      ? Promise.reject(new Error(`failure ${String(made)}`))
      : Promise.resolve('done');
  };
  return { attempt, made: () => made };
}

describe('a failure', () => {
  test('is tried again while there is a pause for it, which is reported first', async () => {
    const { attempt, made } = failing(2);
    const told: string[] = [];
    const result = await retry(attempt, {
      signal,
      pauseAfter: (_, failures) => failures,
      onPause: (error, pauseMs) => void told.push(`${String(error)}: ${String(pauseMs)}`),
    });
    expect(result).toBe('done');
    expect(made()).toBe(3);
    expect(told).toEqual(['Error: failure 1: 1', 'Error: failure 2: 2']);
  });

  test('is thrown where there is no pause: the last one', async () => {
    const { attempt, made } = failing(5);
    const pauseAfter = (_: unknown, failures: number) => (failures < 3 ? 1 : undefined);
    await expect(retry(attempt, { signal, pauseAfter })).rejects.toThrow('failure 3');
    expect(made()).toBe(3);
  });

  test('is not tried again after a cancel, which ends the pause', async () => {
    const { attempt, made } = failing(5);
    const cancellation = new AbortController();
    const running = retry(attempt, {
      signal: cancellation.signal,
      pauseAfter: () => 3_600_000,
      onPause: () => {
        cancellation.abort();
      },
    });
    await expect(running).rejects.toMatchObject({ code: 'cancelled' });
    expect(made()).toBe(1);
  });
});

test('pauses grow fourfold up to a limit, each up to half as long again', () => {
  const options = { firstMs: 1_000, longestMs: 60_000 };
  for (const [failures, least] of [
    [1, 1_000],
    [2, 4_000],
    [3, 16_000],
    [4, 60_000],
    [99, 60_000],
  ] as const) {
    const pauses = Array.from({ length: 200 }, () => backOff(failures, options));
    expect(Math.min(...pauses)).toBeGreaterThanOrEqual(least);
    expect(Math.max(...pauses)).toBeLessThanOrEqual(least * 1.5);
    expect(new Set(pauses).size).toBeGreaterThan(50);
  }
});
