import { describe, expect, test } from '@jest/globals';
import { drawComparison, judge, type Comparison } from '../../scripts/start/verdict.ts';

const MIB = 2 ** 20;

/** A repository of 300 MB. */
const large: Comparison = {
  deep: { ms: 21_000, bytes: 314 * MIB },
  shallow: { ms: 1_700, bytes: 39 * MIB },
  cold: { ms: 22_000, postMs: 3_000, bytes: 314 * MIB },
  warm: { ms: 1_900, postMs: 400, bytes: 0 },
};

test('the table has a row for each method, aligned for a terminal', () => {
  expect(drawComparison(large)).toBe(
    `
| to a checked-out tree                               | time   | at the end of the job | from upstream |
| --------------------------------------------------- | ------ | --------------------- | ------------- |
| actions/checkout, fetch-depth: 0                    | 21.0 s |                       | 314 MiB       |
| actions/checkout, fetch-depth: 1 (no history)       | 1.7 s  |                       | 39.0 MiB      |
| mirror-action, cold: the first job clones and saves | 22.0 s | 3.0 s                 | 314 MiB       |
| mirror-action, warm: every later job                | 1.9 s  | 400 ms                | 0 B           |
`.trim(),
  );
});

describe('the verdict', () => {
  test('on a large repository is to adopt it for full history, and to keep depth 1 elsewhere', () => {
    expect(judge(large)).toEqual([
      'Worth it where jobs use fetch-depth: 0: 1.9 s instead of 21.0 s, and upstream sends 0 B instead of 314 MiB.',
      'Where jobs need no history, keep fetch-depth: 1, which takes 1.7 s.',
      'The first job takes 4.0 s longer. 1 warm job makes up for that.',
    ]);
  });

  test.each([
    [
      'saves less than half a second',
      { deep: { ms: 900, bytes: MIB }, warm: { ms: 500, bytes: 0 } },
    ],
    [
      'saves less than a fifth',
      { deep: { ms: 21_000, bytes: MIB }, warm: { ms: 17_000, bytes: 0 } },
    ],
    ['is slower', { deep: { ms: 1_000, bytes: MIB }, warm: { ms: 2_000, bytes: 0 } }],
  ])('is not to adopt it where a warm job %s', (_, part) => {
    const [verdict, ...others] = judge({ ...large, ...part });
    expect(verdict).toMatch(/^Not worth it for its time: .*1\.0 MiB/);
    expect(others).toHaveLength(1);
  });

  test('says that a warm job beats a shallow checkout where it does', () => {
    const [, second] = judge({ ...large, shallow: { ms: 6_900, bytes: MIB } });
    expect(second).toBe('A warm job is also faster than fetch-depth: 1, which takes 6.9 s.');
  });

  test.each([
    [78_000, 'The first job takes 1 min 0 s longer. 4 warm jobs make up for that.'],
    [18_000, 'The first job costs nothing more.'],
  ])('counts what the first job costs: a clone in %d ms', (ms, expected) => {
    const cold = { ms, postMs: 3_000, bytes: 0 };
    expect(judge({ ...large, cold }).at(-1)).toBe(expected);
  });
});
