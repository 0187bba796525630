import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { silentLog } from '../../src/lib/log.ts';
import {
  PROGRESS_INTERVAL_MS,
  describeProgress,
  withProgress,
  type OnBytes,
} from '../../src/lib/progress.ts';

const MIB = 1024 ** 2;

describe('a line of progress', () => {
  const progress = { doneBytes: 0, totalBytes: 900 * MIB, movedBytes: 0, elapsedMs: 5_000 };

  test.each([
    [
      { doneBytes: 300 * MIB, movedBytes: 50 * MIB },
      '33 % (300 MiB of 900 MiB), 10.0 MiB/s, 1 min 0 s left',
    ],
    [
      { doneBytes: 850 * MIB, movedBytes: 50 * MIB },
      '94 % (850 MiB of 900 MiB), 10.0 MiB/s, 5 s left',
    ],
    [
      { doneBytes: 900 * MIB - 1, movedBytes: MIB },
      '99 % (900 MiB of 900 MiB), 205 KiB/s, 1 s left',
    ],
    [{ doneBytes: 300 * MIB }, '33 % (300 MiB of 900 MiB), nothing moved for 5.0 s'],
    [{}, '0 % (0 B of 900 MiB), nothing moved for 5.0 s'],
    [{ doneBytes: 900 * MIB, movedBytes: MIB }, '100 % (900 MiB of 900 MiB), finishing'],
    [{ totalBytes: 0 }, '100 % (0 B of 0 B), finishing'],
  ])('of %j is %s', (change, expected) => {
    expect(describeProgress({ ...progress, ...change })).toBe(expected);
  });
});

describe('work with progress', () => {
  let lines: string[];
  const log = { ...silentLog, info: (line: string) => void lines.push(line) };

  beforeEach(() => {
    lines = [];
    jest.useFakeTimers();
  });

  afterEach(() => {
    jest.useRealTimers();
  });

  /** Work that waits until it is told to end, and what it was given to tell its bytes. */
  function begin() {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    let tell: OnBytes | undefined;
    const working = withProgress(log, 'saving packs', 100 * MIB, (onBytes) => {
      tell = onBytes;
      return promise;
    });
    return { working, resolve, reject, tell: (bytes: number) => tell?.(bytes) };
  }

  test('says nothing where it is short, and gives what the work gives', async () => {
    const { working, resolve, tell } = begin();
    tell(50 * MIB);
    jest.advanceTimersByTime(PROGRESS_INTERVAL_MS - 1);
    tell(100 * MIB);
    resolve('done');
    await expect(working).resolves.toBe('done');
    jest.advanceTimersByTime(10 * PROGRESS_INTERVAL_MS);
    expect(lines).toEqual([]);
  });

  test('shows one line in each interval, however often it is noted, with the rate of that interval', async () => {
    const { working, resolve, tell } = begin();
    for (let step = 1; step <= 1_000; step++) tell(step * 1024);
    jest.advanceTimersByTime(PROGRESS_INTERVAL_MS);
    tell(50 * MIB + 1000 * 1024);
    jest.advanceTimersByTime(PROGRESS_INTERVAL_MS);
    jest.advanceTimersByTime(PROGRESS_INTERVAL_MS);
    resolve('done');
    await working;
    expect(lines).toEqual([
      '  saving packs: 0 % (1000 KiB of 100 MiB), 200 KiB/s, 8 min 27 s left',
      '  saving packs: 50 % (51.0 MiB of 100 MiB), 10.0 MiB/s, 5 s left',
      '  saving packs: 50 % (51.0 MiB of 100 MiB), nothing moved for 5.0 s',
    ]);
  });

  test('is silent after the work has failed, and fails as it did', async () => {
    const { working, reject } = begin();
    reject(new RangeError('no'));
    await expect(working).rejects.toThrow(RangeError);
    jest.advanceTimersByTime(10 * PROGRESS_INTERVAL_MS);
    expect(lines).toEqual([]);
  });
});
