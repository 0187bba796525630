import { describe, expect, test } from '@jest/globals';
import { formatBytes, formatRate } from '../../src/lib/bytes.ts';

test.each([
  [0, '0 B'],
  [1_023, '1023 B'],
  [1_024, '1.0 KiB'],
  [1_536, '1.5 KiB'],
  [99.9 * 1024, '99.9 KiB'],
  [99.96 * 1024, '100 KiB'],
  [1_023 * 1024, '1023 KiB'],
  [1_023.9 * 1024, '1.0 MiB'],
  [314 * 1024 ** 2, '314 MiB'],
  [1024 ** 3, '1.0 GiB'],
  [5 * 1024 ** 4, '5.0 TiB'],
  [5_000 * 1024 ** 4, '5000 TiB'],
])('%d bytes are %s', (bytes, expected) => {
  expect(formatBytes(bytes)).toBe(expected);
});

describe('a rate', () => {
  test.each([
    [3_072, 2_000, '1.5 KiB/s'],
    [1, 3_000, '0 B/s'],
    [10 * 1024 ** 3, 500, '20.0 GiB/s'],
  ])('of %d bytes in %d ms is %s', (bytes, durationMs, expected) => {
    expect(formatRate(bytes, durationMs)).toBe(expected);
  });
});
