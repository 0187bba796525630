/** Which layers of LFS objects a save names again, and what it stores. */
import { describe, expect, test } from '@jest/globals';
import { planLfsSave } from '../../src/lfs/plan.ts';
import type { LfsObject } from '../../src/lfs/pointers.ts';
import type { LfsLayer } from '../../src/snapshot/manifest.ts';
import { createRandom, testSeed } from '../support/random.ts';

const MIB = 1024 * 1024;

function object(name: string, size = MIB): LfsObject {
  return { oid: name, size };
}

function layer(...objects: LfsObject[]): LfsLayer {
  const bytes = objects.reduce((sum, { size }) => sum + size, 0);
  return {
    ...{ name: objects.map(({ oid }) => oid).join('+'), bytes },
    objects: objects.map(({ oid, size }) => [oid, size]),
  };
}

function plan(
  layers: LfsLayer[],
  needed: LfsObject[],
  absent: string[] = [],
  elsewhere: string[] = [],
) {
  const all = [
    ...needed.map(({ oid }) => oid),
    ...layers.flatMap(({ objects }) => objects.map(([oid]) => oid)),
  ];
  const here = new Set(all.filter((oid) => !absent.includes(oid)));
  const { shared, objects } = planLfsSave({ layers, needed, here, elsewhere: new Set(elsewhere) });
  return { shared: shared.map(({ name }) => name), objects: objects.map(({ oid }) => oid) };
}

const [a, b, c, d, e] = ['a', 'b', 'c', 'd', 'e'].map((name) => object(name)) as [
  LfsObject,
  LfsObject,
  LfsObject,
  LfsObject,
  LfsObject,
];

describe('a save', () => {
  test('stores what the layers lack, and nothing without that', () => {
    expect(plan([], [a, b])).toEqual({ shared: [], objects: ['a', 'b'] });
    expect(plan([layer(a)], [a, b])).toEqual({ shared: ['a'], objects: ['b'] });
    expect(plan([layer(a, b)], [a, b])).toEqual({ shared: ['a+b'], objects: [] });
    expect(plan([layer(a, b)], [b])).toEqual({ shared: ['a+b'], objects: [] });
  });

  test('stores nothing that another store has for all jobs, nor what this machine lacks', () => {
    expect(plan([], [a, b], [], ['a'])).toEqual({ shared: [], objects: ['b'] });
    expect(plan([], [a, b], ['b'])).toEqual({ shared: [], objects: ['a'] });
  });

  test('merges small layers before they become many', () => {
    const layers = [layer(a), layer(b), layer(c)];
    const merged = plan(layers, [a, b, c, d]);
    expect(merged).toEqual({ shared: [], objects: ['a', 'b', 'c', 'd'] });
    expect(plan(layers.slice(1), [b, c, d]).shared).toEqual(['b', 'c']);
  });

  test('never stores a large layer again only to merge it', () => {
    const layers = ['1', '2', '3', '4', '5'].map((name) => layer(object(name, 65 * MIB)));
    const needed = [...layers.map(({ name }) => object(name, 65 * MIB)), object('6', 65 * MIB)];
    expect(plan(layers, needed)).toEqual({ shared: ['1', '2', '3', '4', '5'], objects: ['6'] });
  });

  test('drops a layer of which less than half is needed, and stores the rest of it again', () => {
    expect(plan([layer(a, b, c)], [a, e])).toEqual({ shared: [], objects: ['a', 'e'] });
    expect(plan([layer(a, b)], [a, e])).toEqual({ shared: ['a+b'], objects: ['e'] });
    expect(plan([layer(a, b)], [e])).toEqual({ shared: [], objects: ['e'] });
  });

  test('keeps a layer whose objects this machine lacks', () => {
    expect(plan([layer(a, b, c)], [a, e], ['a'])).toEqual({ shared: ['a+b+c'], objects: ['e'] });
    const layers = [layer(a), layer(b), layer(c)];
    expect(plan(layers, [a, b, c, d], ['b']).shared).toContain('b');
  });

  test('loses no needed object that was stored or is here, whatever came before', () => {
    const random = createRandom(testSeed());
    let layers: LfsLayer[] = [];
    const pool = Array.from({ length: 60 }, (_, index) =>
      object(`o${String(index)}`, 1 + random.integer(20 * MIB)),
    );
    for (let save = 0; save < 200; save++) {
      const needed = pool.filter(() => random.integer(3) === 0);
      const stored = new Set(layers.flatMap(({ objects }) => objects.map(([oid]) => oid)));
      const here = new Set(pool.filter(() => random.integer(4) > 0).map(({ oid }) => oid));
      const { shared, objects } = planLfsSave({ layers, needed, here, elsewhere: new Set() });
      const next = objects.length === 0 ? shared : [...shared, layer(...objects)];
      const held = next.flatMap((each) => each.objects.map(([oid]) => oid));
      expect(new Set(held).size).toBe(held.length);
      for (const { oid } of needed.filter((each) => stored.has(each.oid) || here.has(each.oid))) {
        expect(held).toContain(oid);
      }
      for (const { oid } of objects) expect(here.has(oid)).toBe(true);
      layers = next;
    }
  });
});
