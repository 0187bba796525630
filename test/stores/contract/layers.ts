import { expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdir, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { LayerFiles } from '../../../src/stores/store.ts';
import { describeContents, describeFolder, writeLayer } from '../../support/layer-files.ts';
import {
  KEY,
  NOTHING,
  outcomeOf,
  signal,
  type StoreBench,
  type StoreTraits,
} from './store-contract.ts';

export function testLayers(bench: () => StoreBench, traits: StoreTraits): void {
  testRoundTrips(bench);
  testDeclarations(bench);
  testWholeness(bench, traits);
  testProgress(bench);
}

function testRoundTrips(bench: () => StoreBench): void {
  test('a layer comes back byte for byte, as files of its own', async () => {
    const contents = {
      'pack-1.idx': '',
      'pack-1.pack': randomBytes(5_000_003),
      '-odd_.name..': 'one byte more',
    };
    const layer = await bench().put('layer', contents);
    const [one, other] = [await bench().get(layer), await bench().get(layer)];
    expect(await describeFolder(one)).toEqual(describeContents(contents));
    await rm(join(one, 'pack-1.pack'));
    expect(await describeFolder(other)).toEqual(describeContents(contents));
  });

  test('layers that are brought at once do not get in each other’s way', async () => {
    const contents = Array.from({ length: 5 }, (_, index) => ({
      'pack.pack': randomBytes(index === 0 ? 3_000_000 : 10 + index),
    }));
    const layers: LayerFiles[] = [];
    for (const [index, each] of contents.entries()) {
      layers.push(await bench().put(`layer-${index}`, each));
    }
    const folders = await Promise.all(layers.map((layer) => bench().get(layer)));
    const found = await Promise.all(folders.map(describeFolder));
    expect(found).toEqual(contents.map(describeContents));
  });

  test('files arrive as git has its packs: to be read, not to be written', async () => {
    const target = await bench().get(await bench().put('layer', { file: 'text' }));
    expect((await stat(join(target, 'file'))).mode & 0o777).toBe(0o444);
  });

  test('a layer is there from when it was put, and no other', async () => {
    const { store } = bench();
    expect(await store.hasLayer(KEY, 'layer', signal)).toBe(false);
    await bench().put('layer', { file: 'text' });
    expect(await bench().open().hasLayer(KEY, 'layer', signal)).toBe(true);
    expect(await store.hasLayer(KEY, 'laye', signal)).toBe(false);
    expect(await store.hasLayer(`${KEY}-other`, 'layer', signal)).toBe(false);
  });

  test('a name is never used again', async () => {
    const layer = await bench().put('layer', { file: 'first' });
    expect(await outcomeOf(bench().put('layer', { file: 'other' }))).toBe('store-unavailable');
    expect(await describeFolder(await bench().get(layer))).toEqual(
      describeContents({ file: 'first' }),
    );
  });

  test('a file that is in the way is not replaced', async () => {
    const layer = await bench().put('layer', { file: 'stored' });
    const target = await bench().directory();
    await writeFile(join(target, 'file'), 'here before');
    const outcome = await outcomeOf(bench().store.getLayer(KEY, layer, target, { signal }));
    expect(outcome).toBe('store-unavailable');
    expect(await describeFolder(target)).toEqual(describeContents({ file: 'here before' }));
  });

  test('of two layers whose names differ only by case both are whole, or the second is refused', async () => {
    const lower = await bench().put('layer-a', { file: 'lower' });
    const upper = await bench()
      .put('layer-A', { file: 'upper' })
      .catch(() => undefined);
    expect(await describeFolder(await bench().get(lower))).toEqual(
      describeContents({ file: 'lower' }),
    );
    if (upper === undefined) return;
    expect(await describeFolder(await bench().get(upper))).toEqual(
      describeContents({ file: 'upper' }),
    );
  });
}

function testDeclarations(bench: () => StoreBench): void {
  const stored = { one: 'a text', two: 'another' };
  const declared = (changes: Record<string, number>): LayerFiles => ({
    name: 'layer',
    files: Object.entries({ one: 6, two: 7, ...changes }).map(([name, bytes]) => ({ name, bytes })),
  });

  test.each([
    ['longer than declared', declared({ two: 6 })],
    ['shorter than declared', declared({ two: 8 })],
    ['declared as empty', declared({ one: 0 })],
    ['declared beyond measure', declared({ one: Number.MAX_SAFE_INTEGER })],
    ['missing', declared({ three: 1 })],
    ['missing with its layer', { ...declared({}), name: 'never-put' }],
  ])('a file that is %s is a bad snapshot', async (_, layer) => {
    await bench().put('layer', stored);
    expect(await outcomeOf(bench().get(layer))).toBe('bad-snapshot');
    expect(await outcomeOf(bench().get(declared({})))).toBe('fulfilled');
  });

  test('a layer of another key is a bad snapshot', async () => {
    const layer = await bench().put('layer', stored, 'another');
    expect(await outcomeOf(bench().get(layer))).toBe('bad-snapshot');
  });

  test('a file that is stored and not declared does not arrive', async () => {
    await bench().put('layer', stored);
    const target = await bench().directory();
    const layer = { name: 'layer', files: [{ name: 'one', bytes: 6 }] };
    const outcome = await outcomeOf(bench().store.getLayer(KEY, layer, target, { signal }));
    // A store whose layers are archives may refuse the whole.
    expect(['fulfilled', 'bad-snapshot']).toContain(outcome);
    expect(await readdir(target)).not.toContain('two');
  });

  test('only what is declared is put', async () => {
    const source = await bench().directory();
    await writeLayer(source, 'layer', { ...stored, tmp_pack_1: 'debris', config: 'not ours' });
    await mkdir(join(source, 'folder'));
    await bench().store.putLayer(KEY, declared({}), source, { signal });
    expect(await describeFolder(await bench().get(declared({})))).toEqual(describeContents(stored));
    const more = bench().get(declared({ config: 8 }));
    expect(await outcomeOf(more)).toBe('bad-snapshot');
  });

  test.each([
    ['longer', declared({ two: 6 })],
    ['shorter', declared({ two: 8 })],
    ['missing', declared({ three: 5 })],
    ['a folder', declared({ folder: 4096 })],
  ])('nothing is put where a file is %s', async (_, layer) => {
    const source = await bench().directory();
    await writeLayer(source, 'layer', stored);
    await mkdir(join(source, 'folder'));
    const { store } = bench();
    expect(await outcomeOf(store.putLayer(KEY, layer, source, { signal }))).toBe('bad-snapshot');
    expect(await store.list(KEY, signal)).toEqual(NOTHING);
  });
}

function testWholeness(bench: () => StoreBench, { canRemove = true }: StoreTraits): void {
  const contents = { a: 'a'.repeat(1_500_000), b: 'b'.repeat(20), c: 'c'.repeat(700_000) };
  const layer: LayerFiles = {
    name: 'layer',
    files: Object.entries(contents).map(([name, { length }]) => ({ name, bytes: length })),
  };

  test('a reader never sees half a layer while it is put', async () => {
    const progress = { settled: false };
    const putting = bench()
      .put('layer', contents)
      .finally(() => (progress.settled = true));
    const reader = bench().open();
    for (let outcome = ''; outcome !== 'fulfilled';) {
      const mustBeThere = progress.settled;
      const target = await bench().directory();
      outcome = await outcomeOf(reader.getLayer(KEY, layer, target, { signal }));
      expect(outcome).toBe(mustBeThere || outcome === 'fulfilled' ? 'fulfilled' : 'bad-snapshot');
      if (outcome !== 'fulfilled') continue;
      expect(await describeFolder(target)).toEqual(describeContents(contents));
    }
    await putting;
  });

  const testRemoval = canRemove ? test : test.skip;
  testRemoval('a reader gets all of a layer or a bad snapshot while it is removed', async () => {
    const { store, put, directory } = bench();
    for (let round = 0; round < 8; round++) {
      const name = `layer-${round}`;
      await put(name, contents);
      const target = await directory();
      const getting = outcomeOf(
        bench()
          .open()
          .getLayer(KEY, { ...layer, name }, target, { signal }),
      );
      await new Promise((resolve) => setTimeout(resolve, round));
      await store.remove(KEY, { ...NOTHING, layers: [name] }, signal);
      const outcome = await getting;
      expect(['fulfilled', 'bad-snapshot']).toContain(outcome);
      if (outcome === 'fulfilled')
        expect(await describeFolder(target)).toEqual(describeContents(contents));
    }
    expect(await store.list(KEY, signal)).toEqual(NOTHING);
  });
}

function testProgress(bench: () => StoreBench): void {
  const contents = { a: 'a'.repeat(3_000_000), b: '', c: 'c'.repeat(20) };
  const bytes = 3_000_020;

  test('a layer that is put and one that comes back tell how far they are: never back, in the end all', async () => {
    const { store, directory } = bench();
    const source = join(await directory(), 'source');
    const layer = await writeLayer(source, 'layer', contents);
    const [put, got]: [number[], number[]] = [[], []];
    const onPut = (done: number) => void put.push(done);
    await store.putLayer(KEY, layer, source, { signal, onBytes: onPut });
    const onGot = (done: number) => void got.push(done);
    await store.getLayer(KEY, layer, await directory(), { signal, onBytes: onGot });
    for (const told of [put, got]) {
      expect(told).toEqual(told.toSorted((one, other) => one - other));
      expect(told.at(-1)).toBe(bytes);
    }
  });

  test('a store reports bytes only after it wrote them, and none of them twice', async () => {
    const large = { a: randomBytes(3_000_000), b: '', c: randomBytes(20) };
    const layer = await bench().put('layer', large);
    const target = await bench().directory();
    const told: Record<string, [number, number][]> = {};
    const wrong: unknown[] = [];
    const onFilled = (name: string, start: number, end: number): void => {
      (told[name] ??= []).push([start, end]);
      const expected = Buffer.from(large[name as keyof typeof large]).subarray(start, end);
      // At once, so that nothing can be filled later.
      if (!readFileSync(join(target, name)).subarray(start, end).equals(expected)) {
        wrong.push([name, start, end]);
      }
    };
    await bench().store.getLayer(KEY, layer, target, { signal, onFilled });
    expect(wrong).toEqual([]);
    for (const [name, stretches] of Object.entries(told)) {
      let before = 0;
      for (const [start, end] of stretches.sort(([one], [other]) => one - other)) {
        expect(start).toBeGreaterThanOrEqual(before);
        expect(end).toBeGreaterThan(start);
        before = end;
      }
      expect(before).toBeLessThanOrEqual(large[name as keyof typeof large].length);
    }
  });

  test('a layer that is not as declared never tells more than is declared', async () => {
    const { store, directory } = bench();
    const source = join(await directory(), 'source');
    const layer = await writeLayer(source, 'layer', contents);
    await store.putLayer(KEY, layer, source, { signal });
    const shorter = layer.files.map((file) =>
      file.name === 'a' ? { ...file, bytes: file.bytes - 1 } : file,
    );
    const told: number[] = [];
    const onBytes = (done: number) => void told.push(done);
    const getting = store.getLayer(KEY, { ...layer, files: shorter }, await directory(), {
      signal,
      onBytes,
    });
    expect(await outcomeOf(getting)).toBe('bad-snapshot');
    expect(Math.max(0, ...told)).toBeLessThan(bytes);
  });
}
