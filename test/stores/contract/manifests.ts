import { expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import {
  create,
  find,
  KEY,
  NOTHING,
  outcomeOf,
  signal,
  type StoreBench,
  type StoreTraits,
} from './store-contract.ts';

export function testManifests(bench: () => StoreBench, traits: StoreTraits): void {
  testFinding(bench);
  testFencing(bench, traits);
  if (traits.canRemove ?? true) testRemoval(bench);
  else testNoRemoval(bench);
}

function testFinding(bench: () => StoreBench): void {
  test('a key that was never written has no manifest and an empty inventory', async () => {
    const { store } = bench();
    expect(await find(store)).toBeUndefined();
    expect(await find(store, { below: 7 })).toBeUndefined();
    expect(await store.list(KEY, signal)).toEqual(NOTHING);
  });

  test('the highest number is the newest, whatever came last', async () => {
    const { store } = bench();
    for (const number of [9, 10, 2, 9_999_999_999, 100]) {
      expect(await create(store, number, 'text')).toBe(true);
    }
    expect(await find(store)).toBe('9999999999 text');
  });

  test('with `below`, the next older manifests are found one after the other', async () => {
    const { store } = bench();
    for (const number of [1, 3, 20]) await create(store, number, `is ${number}`);
    expect(await find(store, { below: 20 })).toBe('3 is 3');
    expect(await find(store, { below: 3 })).toBe('1 is 1');
    expect(await find(store, { below: 1 })).toBeUndefined();
    expect(await find(store, { below: 15 })).toBe('3 is 3');
  });

  test('a manifest comes back byte for byte, to other jobs too', async () => {
    const content = randomBytes(3_000_001);
    const given = Buffer.from(content);
    await bench().store.createManifest(KEY, 1, given, signal);
    given.fill(0);
    const found = await bench().open().findManifest(KEY, { signal });
    expect(content.equals(found!.content)).toBe(true);
    found!.content.fill(0);
    const again = await bench().store.findManifest(KEY, { signal });
    expect(content.equals(again!.content)).toBe(true);
  });

  test('a reader never sees half a manifest', async () => {
    const content = randomBytes(12_000_000);
    const reader = bench().open();
    for (let number = 1; number <= 3; number++) {
      const writing = bench().store.createManifest(KEY, number, content, signal);
      for (let newest = 0; newest < number;) {
        const found = await reader.findManifest(KEY, { signal });
        newest = found?.number ?? 0;
        expect(found === undefined || content.equals(found.content)).toBe(true);
      }
      expect(await writing).toBe(true);
    }
  });

  test('keys know nothing of each other', async () => {
    const { store } = bench();
    const keys = ['a', 'a.b', 'a-b', 'a_b', 'ab', 'v1', 'layers', '...', '-a', 'k'.repeat(200)];
    for (const key of keys) await create(store, 1, `of ${key}`, key);
    for (const key of keys) expect(await find(store, { key })).toBe(`1 of ${key}`);
  });
}

function testFencing(bench: () => StoreBench, { hasAtomicCreate = true }: StoreTraits): void {
  test('a number that exists is never replaced', async () => {
    const { store } = bench();
    expect(await create(store, 5, 'first')).toBe(true);
    expect(await create(store, 5, 'second')).toBe(false);
    expect(await create(bench().open(), 5, 'first')).toBe(false);
    expect(await find(store)).toBe('5 first');
  });

  test("of twelve writers of one number one wins, and the content is the winner's", async () => {
    for (let number = 1; number <= 5; number++) {
      const writers = Array.from({ length: 12 }, (_, index) => index);
      const won = await Promise.all(
        writers.map((writer) => create(bench().open(), number, `by ${writer}`)),
      );
      const winners = writers.filter((writer) => won[writer]);
      expect(winners.length).toBeLessThanOrEqual(1);
      if (hasAtomicCreate) expect(winners).toHaveLength(1);
      const found = await find(bench().store, { below: number + 1 });
      if (winners.length === 1) expect(found).toBe(`${number} by ${winners[0]!}`);
      else expect(found?.startsWith(`${number} `) ?? false).toBe(false);
    }
  });

  test.each([0, -1, 1.5, NaN, Infinity, 10_000_000_000])('%d is no number', async (number) => {
    const { store } = bench();
    expect(await outcomeOf(create(store, number, 'text'))).toBe('TypeError');
    expect(await outcomeOf(store.withdrawManifest(KEY, number, signal))).toBe('TypeError');
    const removal = store.remove(KEY, { ...NOTHING, manifests: [number] }, signal);
    expect(await outcomeOf(removal)).toBe('TypeError');
  });
}

function testRemoval(bench: () => StoreBench): void {
  test('a manifest that is withdrawn is gone, also the second time, and its number is free', async () => {
    const { store } = bench();
    await create(store, 1, 'old');
    await create(store, 2, 'new');
    await store.withdrawManifest(KEY, 2, signal);
    await store.withdrawManifest(KEY, 2, signal);
    expect(await find(store)).toBe('1 old');
    expect(await create(store, 2, 'again')).toBe(true);
    expect(await find(store)).toBe('2 again');
    await store.withdrawManifest('never-written', 1, signal);
  });

  test('a manifest that is withdrawn leaves those of other keys', async () => {
    const { store } = bench();
    for (const key of ['a', 'a-b']) await create(store, 1, `of ${key}`, key);
    await store.withdrawManifest('a', 1, signal);
    expect(await find(store, { key: 'a' })).toBeUndefined();
    expect(await find(store, { key: 'a-b' })).toBe('1 of a-b');
  });

  test('all there is gets listed, the oldest number first, and ages grow', async () => {
    const { store, put } = bench();
    await put('layer-b', { file: 'b' });
    await put('layer-a', { file: 'a' });
    for (const number of [10, 9, 1]) await create(store, number, 'text');
    const first = await store.list(KEY, signal);
    expect(first.manifests.map(({ number }) => number)).toEqual([1, 9, 10]);
    expect(first.layers.map(({ name }) => name).sort()).toEqual(['layer-a', 'layer-b']);
    expect(first.debris).toEqual([]);

    await new Promise((resolve) => setTimeout(resolve, 2_100));
    const second = await bench().open().list(KEY, signal);
    const ages = [...second.manifests, ...second.layers].map(({ ageMs }) => ageMs);
    const before = [...first.manifests, ...first.layers].map(({ ageMs }) => ageMs);
    for (const [index, ageMs] of ages.entries()) {
      expect(before[index]).toBeGreaterThanOrEqual(0);
      // Some stores tell time by the second, and round up.
      expect(ageMs).toBeGreaterThan(before[index]!);
      expect(ageMs).toBeLessThan(60_000);
    }
  });

  test('what is removed is gone, what is gone already is no error, all else stays', async () => {
    const { store, put } = bench();
    const kept = await put('kept', { file: 'kept' });
    const gone = await put('gone', { file: 'gone' });
    await put('gone', { file: 'of another key' }, 'another');
    await create(store, 1, 'old');
    await create(store, 2, 'new');
    const removal = { manifests: [1, 77], layers: ['gone', 'never'], debris: ['never'] };
    await store.remove(KEY, removal, signal);
    await store.remove(KEY, removal, signal);
    await store.remove('never-written', removal, signal);

    const { manifests, layers } = await store.list(KEY, signal);
    expect(manifests.map(({ number }) => number)).toEqual([2]);
    expect(layers.map(({ name }) => name)).toEqual(['kept']);
    expect(await outcomeOf(bench().get(gone))).toBe('bad-snapshot');
    expect(await outcomeOf(bench().get(kept))).toBe('fulfilled');
    expect((await store.list('another', signal)).layers).toHaveLength(1);
  });
}

function testNoRemoval(bench: () => StoreBench): void {
  test('where nothing is removed, nothing is listed, and everything stays', async () => {
    const { store, put } = bench();
    const kept = await put('kept', { file: 'kept' });
    await create(store, 1, 'old');
    expect(await store.list(KEY, signal)).toEqual(NOTHING);
    await store.withdrawManifest(KEY, 1, signal);
    await store.remove(KEY, { manifests: [1], layers: ['kept'], debris: ['any'] }, signal);
    expect(await find(store)).toBe('1 old');
    expect(await outcomeOf(bench().get(kept))).toBe('fulfilled');
  });
}
