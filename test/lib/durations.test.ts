import { describe, expect, test } from '@jest/globals';
import { formatDuration, parseDuration } from '../../src/lib/durations.ts';

describe('a duration', () => {
  test.each([
    ['90s', 90_000],
    ['10m', 600_000],
    ['1h', 3_600_000],
    ['45', 45_000],
    ['0', 0],
    ['0s', 0],
    ['007m', 420_000],
    [' 10m\n', 600_000],
    ['9999999h', 35_999_996_400_000],
  ])('%j is %d ms', (text, expected) => {
    expect(parseDuration(text)).toBe(expected);
  });

  test.each([
    ...[
      '',
      ' ',
      's',
      'm',
      '-1',
      '-1s',
      '+1s',
      '1.5h',
      '1,5h',
      '1e3',
      '0x10',
      '10 m',
      '10M',
      '10ms',
    ],
    ...['1d', '10min', '1h30m', '12345678', '10m;', 'ten', 'NaN', 'Infinity', '١٠', '--timeout=1'],
  ])('%j is none', (text) => {
    expect(parseDuration(text)).toBeUndefined();
  });

  test('is never one that clocks cannot count', () => {
    expect(Number.isSafeInteger(parseDuration('9999999h'))).toBe(true);
  });
});

describe('for people', () => {
  test.each([
    [0, '0 ms'],
    [0.4, '0 ms'],
    [350.2, '350 ms'],
    [999.4, '999 ms'],
    [1_000, '1.0 s'],
    [4_240, '4.2 s'],
    [60_000, '1 min 0 s'],
    [185_000, '3 min 5 s'],
    [119_700, '2 min 0 s'],
    [3_600_000, '60 min 0 s'],
  ])('%d ms is %s', (durationMs, expected) => {
    expect(formatDuration(durationMs)).toBe(expected);
  });

  test.each([
    [999.6, '1.0 s'],
    [59_960, '1 min 0 s'],
    [59_999, '1 min 0 s'],
  ])('%d ms is rounded up to the next unit: %s', (durationMs, expected) => {
    expect(formatDuration(durationMs)).toBe(expected);
  });
});
