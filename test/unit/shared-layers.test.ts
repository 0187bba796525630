import { describe, expect, test } from '@jest/globals';
import { sumBytes, type Layer } from '../../src/snapshot/manifest.ts';
import { chooseShared } from '../../src/snapshot/shared-layers.ts';
import { createRandom } from '../support/random.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

function layerOf(bytes: number): Layer {
  return { name: `layer-${bytes}`, bytes, files: [{ name: 'pack-a.pack', bytes, chunks: [] }] };
}

/** A life of saves: what each stored, and the layers after it. */
function live(first: number, fetched: readonly number[]) {
  let layers = [layerOf(first)];
  const stored: number[] = [];
  let most = 1;
  for (const bytes of fetched) {
    const shared = chooseShared(layers, bytes);
    const taken = sumBytes(layers) - sumBytes(shared);
    if (bytes > 0) layers = [...shared, layerOf(bytes + taken)];
    stored.push(bytes + (bytes > 0 ? taken : 0));
    most = Math.max(most, layers.length);
  }
  return { stored, layers, most };
}

function median(values: readonly number[]): number {
  return values.toSorted((one, other) => one - other)[Math.floor(values.length / 2)]!;
}

describe('a new snapshot', () => {
  test('names the layers of its base again, whatever their number, where nothing is new', () => {
    const layers = Array.from({ length: 30 }, () => layerOf(10 * KIB));
    expect(chooseShared(layers, 0)).toEqual(layers);
  });

  test('takes three small ones into its own', () => {
    const large = layerOf(300 * MIB);
    const small = [10, 60, 1].map((kib) => layerOf(kib * KIB));
    expect(chooseShared([large, ...small.slice(1)], 5 * KIB)).toEqual([large, ...small.slice(1)]);
    expect(chooseShared([large, ...small], 5 * KIB)).toEqual([large]);
  });

  test('takes in the next tier too, where that is then full', () => {
    const large = layerOf(300 * MIB);
    const middle = [200, 200, 200].map((kib) => layerOf(kib * KIB));
    const small = [60, 60, 60].map((kib) => layerOf(kib * KIB));
    expect(chooseShared([large, ...middle, ...small], 60 * KIB)).toEqual([large]);
    expect(chooseShared([large, ...middle.slice(1), ...small], 60 * KIB)).toEqual([
      large,
      ...middle.slice(1),
    ]);
  });

  test('without a base is one layer', () => {
    expect(chooseShared([], 300 * MIB)).toEqual([]);
  });
});

describe('over a life of 1,000 saves', () => {
  const random = createRandom(11);
  const lives: [string, number, number[]][] = [
    ['equal ones', 300 * MIB, Array.from({ length: 1_000 }, () => 100 * KIB)],
    ['tiny ones', 300 * MIB, Array.from({ length: 1_000 }, () => 1 * KIB)],
    [
      'ones of all sizes',
      300 * MIB,
      Array.from({ length: 1_000 }, () => 2 ** random.integer(26) + random.integer(1_000)),
    ],
    ['a small repository that grows', 10 * KIB, Array.from({ length: 1_000 }, () => 300 * KIB)],
  ];

  test.each(lives)('%s: what is stored stays within the bound', (_, first, fetched) => {
    const { stored, layers, most } = live(first, fetched);
    const total = sumBytes(layers);
    expect(total).toBe(first + sumBytes(fetched.map((bytes) => ({ bytes }))));
    const tiers = 1 + Math.ceil(Math.log(total / (64 * KIB)) / Math.log(4));
    const bound = fetched.reduce((sum, bytes) => sum + bytes, first) * tiers;
    expect(stored.reduce((sum, bytes) => sum + bytes, first)).toBeLessThanOrEqual(bound);
    expect(most).toBeLessThanOrEqual(3 * (tiers + 1));
  });

  test('three of four saves of one size store what their fetch brought', () => {
    const { stored } = live(300 * MIB, lives[0]![2]);
    expect(median(stored)).toBe(100 * KIB);
    expect(stored.filter((bytes) => bytes === 100 * KIB)).toHaveLength(750);
  });
});
