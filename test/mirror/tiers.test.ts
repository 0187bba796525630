import { describe, expect, test } from '@jest/globals';
import { chooseShared, planSave, planUpkeep, tierOf, type Sized } from '../../src/mirror/tiers.ts';
import { createRandom, testSeed } from '../support/random.ts';
import { storedBound } from '../support/stored-bound.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

function ofKib(...sizes: number[]): Sized[] {
  return sizes.map((kib) => ({ bytes: kib * KIB }));
}

function sum(all: readonly Sized[]): number {
  return all.reduce((total, { bytes }) => total + bytes, 0);
}

describe('a save', () => {
  const large = { bytes: 300 * MIB };

  test('of nothing new names the layers of its base again, whatever their number', () => {
    const layers = ofKib(...Array.from({ length: 30 }, () => 10));
    expect(planSave(layers, [])).toEqual({ shared: layers, repack: 'nothing' });
  });

  test('stores a new pack by itself as long as there are few of its size', () => {
    const layers = [large, ...ofKib(60, 1)];
    expect(planSave(layers, ofKib(5))).toEqual({ shared: layers, repack: 'nothing' });
  });

  test('makes new packs one: they are one layer', () => {
    expect(planSave([large], ofKib(5, 700))).toEqual({ shared: [large], repack: 'merge' });
  });

  test('takes three of a size into its own, with all that are smaller', () => {
    const layers = [large, ...ofKib(10, 60, 1)];
    expect(planSave(layers, ofKib(5))).toEqual({ shared: [large], repack: 'merge' });
    const middle = [large, ...ofKib(200, 200, 200, 60, 1)];
    expect(planSave(middle, ofKib(250))).toEqual({ shared: [large], repack: 'merge' });
  });

  test('leaves those alone that are few of their size, whatever smaller ones there are', () => {
    const layers = [large, ...ofKib(1_000, 60, 1)];
    expect(planSave(layers, ofKib(900))).toEqual({ shared: layers, repack: 'nothing' });
  });

  test('takes in the next tier too, where that is then full', () => {
    const [middle, small] = [ofKib(200, 200, 200), ofKib(60, 60, 60)];
    expect(chooseShared([large, ...middle, ...small], 60 * KIB)).toEqual([large]);
    const few = [large, ...middle.slice(1)];
    expect(chooseShared([...few, ...small], 60 * KIB)).toEqual(few);
  });

  test('takes in a tier that merging has filled, since merged packs may be smaller', () => {
    const layers = [large, ...ofKib(200, 200, 200, 200)];
    expect(planSave(layers, ofKib(20))).toEqual({ shared: [large], repack: 'merge' });
    expect(planSave(layers, ofKib(5_000))).toEqual({ shared: [large], repack: 'merge' });
  });

  test('that stores everything packs what refs reach: without a base, and where it takes all in', () => {
    expect(planSave([], ofKib(300_000))).toEqual({ shared: [], repack: 'nothing' });
    expect(planSave([], ofKib(300_000, 1))).toEqual({ shared: [], repack: 'everything' });
    expect(planSave(ofKib(10, 10, 10), ofKib(1))).toEqual({ shared: [], repack: 'everything' });
  });

  test('packs what refs reach where all others together outgrow the largest', () => {
    const layers = ofKib(100_000, 30_000, 30_000, 30_000);
    expect(planSave(layers, ofKib(9_000)).repack).toBe('nothing');
    expect(planSave(layers, ofKib(11_000))).toEqual({ shared: [], repack: 'everything' });
    // A few new commits don't repack everything: a repack that took too long once would be tried at every save.
    expect(planSave([...layers, ...ofKib(15_000)], ofKib(100)).repack).toBe('nothing');
  });
});

describe('a save whose refs reach less than half of what is stored', () => {
  const layers = ofKib(100_000, 200, 60);
  const bytes = sum(layers);

  test('stores everything again, with new packs and without', () => {
    const everything = { shared: [], repack: 'everything' };
    expect(planSave(layers, ofKib(5), bytes * 0.6)).toEqual(everything);
    expect(planSave(layers, [], bytes * 0.6)).toEqual(everything);
  });

  test('and no other does', () => {
    const nothing = { shared: layers, repack: 'nothing' };
    expect(planSave(layers, [], bytes * 0.5)).toEqual(nothing);
    expect(planSave(layers, ofKib(5), bytes * 0.4)).toEqual(nothing);
    // A few kilobytes cost a store less than another request.
    const small = ofKib(20, 20);
    expect(planSave(small, [], 39 * KIB)).toEqual({ shared: small, repack: 'nothing' });
  });
});

describe('without a save', () => {
  test('packs are merged as they become four of a size', () => {
    expect(planUpkeep([], ofKib(300_000, 10, 20, 30))).toMatchObject({ repack: 'nothing' });
    const packs = ofKib(300_000, 10, 20, 1_000, 30, 40);
    const [largest, , , middle] = packs;
    const { merged, repack } = planUpkeep([], packs);
    expect(repack).toBe('merge');
    expect(packs.filter((pack) => !merged.includes(pack))).toEqual([largest, middle]);
  });

  test('packs that a save would name again stay', () => {
    const layers = ofKib(300_000, 10, 20, 30);
    expect(planUpkeep(layers, ofKib(10, 20, 30))).toEqual({ merged: [], repack: 'nothing' });
    const packs = ofKib(10, 20, 30, 40);
    expect(planUpkeep(layers, packs)).toEqual({ merged: packs, repack: 'merge' });
  });

  test('everything is packed again where the others outgrow the largest', () => {
    const packs = ofKib(1_000, 900, 200, 201, 202, 203);
    expect(planUpkeep([], packs)).toEqual({ merged: packs.slice(2), repack: 'everything' });
    expect(planUpkeep(ofKib(300_000), packs)).toMatchObject({ repack: 'merge' });
  });
});

interface Life {
  first: number;
  fetched: readonly number[];
  /** What is left of packs that are merged, of 1. */
  shrink: () => number;
  /** What refs still reach of everything that was fetched. */
  live: (fetched: number) => number;
}

/** A life of saves: what each stored, the layers after it, and how many packs and bytes there were. */
function live({ first, fetched, shrink, live: reach }: Life) {
  let layers: Sized[] = [{ bytes: first }];
  const stored = [first];
  let [most, total, largest] = [1, first, first];
  let excess = 0;
  for (const bytes of fetched) {
    total += bytes;
    const { shared, repack } = planSave(layers, bytes === 0 ? [] : [{ bytes }]);
    const gross = sum(layers) - sum(shared) + bytes;
    const merged = repack === 'merge' ? Math.ceil(gross * shrink()) : gross;
    const added = repack === 'everything' ? Math.min(gross, Math.ceil(reach(total))) : merged;
    excess = Math.max(excess, sum(layers) + bytes - 2.5 * Math.max(...layers.map(sizeOf)) - bytes);
    layers = added === 0 ? shared : [...shared, { bytes: added }];
    stored.push(added);
    most = Math.max(most, layers.length);
    largest = Math.max(largest, sum(layers));
  }
  return { stored, layers, most, total, largest, excess };
}

function sizeOf({ bytes }: Sized): number {
  return bytes;
}

describe('over a life of 1,000 saves', () => {
  const random = createRandom(testSeed());
  const times = <T>(make: () => T) => Array.from({ length: 1_000 }, make);
  const anySize = () => 2 ** random.integer(26) + random.integer(1_000);
  const whole = { shrink: () => 1, live: (fetched: number) => fetched };
  const lives: [string, Life][] = [
    ['equal ones', { ...whole, first: 300 * MIB, fetched: times(() => 100 * KIB) }],
    ['tiny ones', { ...whole, first: 300 * MIB, fetched: times(() => KIB) }],
    ['ones of all sizes', { ...whole, first: 300 * MIB, fetched: times(anySize) }],
    ['a small repository', { ...whole, first: 10 * KIB, fetched: times(() => 300 * KIB) }],
    ['a tiny repository', { ...whole, first: 10 * KIB, fetched: times(() => KIB) }],
    [
      'packs that shrink as they are merged',
      {
        ...whole,
        shrink: () => 0.2 + 0.8 * random.next(),
        first: 50 * MIB,
        fetched: times(anySize),
      },
    ],
    [
      'packs that always shrink into a lower tier',
      { ...whole, shrink: () => 0.25, first: 300 * MIB, fetched: times(() => 3 * MIB) },
    ],
    [
      'force pushes that leave nothing',
      { shrink: () => 1, live: () => 50 * MIB, first: 50 * MIB, fetched: times(() => 2 * MIB) },
    ],
  ];

  test.each(lives)('%s: what is stored stays within the bound', (name, life) => {
    const { stored, most, total, largest } = live(life);
    const bytes = stored.reduce((all, each) => all + each, 0);
    expect(bytes).toBeLessThanOrEqual(
      storedBound({ fetched: total, largest, saves: life.fetched.length }),
    );
    expect(most).toBeLessThanOrEqual(3 * (tierOf(largest) + 1) + 1);
    process.stderr.write(`${name}: stored ${(bytes / total).toFixed(1)} of what was fetched\n`);
  });

  test('what no ref reaches is never carried for long', () => {
    for (const [, life] of lives) expect(live(life).excess).toBeLessThanOrEqual(0);
  });

  test('three of four saves of one size store what their fetch brought', () => {
    const { stored } = live({ ...whole, first: 300 * MIB, fetched: times(() => 100 * KIB) });
    expect(stored.filter((bytes) => bytes === 100 * KIB)).toHaveLength(750);
  });
});
