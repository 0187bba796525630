import { expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { LayerFiles, Store } from '../../../src/stores/store.ts';
import { writeLayer } from '../../support/layer-files.ts';
import { createRandom, testSeed } from '../../support/random.ts';
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

const HOSTILE_NAMES = [
  '',
  '.',
  '..',
  '../escape',
  'a/b',
  '/etc/passwd',
  'a\\b',
  'C:a',
  'nul\0byte',
  'new\nline',
  'a b',
  'ä',
  'x'.repeat(201),
];

/** What a store that evicts on its own is never asked. */
const REMOVALS = ['withdrawManifest', 'list', 'remove'];

export function testFailures(bench: () => StoreBench, traits: StoreTraits): void {
  const { hasOutages, canRemove = true } = traits;
  testHostileNames(bench);
  testCancellation(bench, traits);

  const testOutage = hasOutages ? test : test.skip;
  testOutage('a store that cannot be reached is an outage, never an absence', async () => {
    const source = await bench().directory();
    const layer = await writeLayer(source, 'layer', { file: 'text' });
    const store = bench().openUnreachable!();
    const calls = callsOf(store, layer, source, signal);
    for (const [name, call] of calls.filter((each) => canRemove || !REMOVALS.includes(each[0]))) {
      expect(`${name}: ${await outcomeOf(call())}`).toBe(`${name}: store-unavailable`);
    }
  });
}

function testHostileNames(bench: () => StoreBench): void {
  test.each(HOSTILE_NAMES)('%j is refused, whatever it is to name', async (name) => {
    const { store } = bench();
    const above = await bench().directory();
    const folder = join(above, 'folder');
    const honest = await writeLayer(folder, 'layer', { file: 'text' });
    const hostile = [
      { ...honest, name },
      { ...honest, files: [...honest.files, { name, bytes: 4 }] },
    ];
    for (const layer of hostile) {
      expect(await outcomeOf(store.putLayer(KEY, layer, folder, { signal }))).toBe('bad-snapshot');
      expect(await outcomeOf(store.getLayer(KEY, layer, folder, { signal }))).toBe('bad-snapshot');
    }
    for (const [, call] of callsOf(store, honest, folder, signal, name)) {
      expect(await outcomeOf(call())).toBe('TypeError');
    }
    for (const removal of [{ layers: [name] }, { debris: [name] }]) {
      const removing = store.remove(KEY, { ...NOTHING, ...removal }, signal);
      expect(await outcomeOf(removing)).toBe('TypeError');
    }
    expect(await readdir(folder)).toEqual(['file']);
    expect(await readdir(above)).toEqual(['folder']);
    expect(await store.list(KEY, signal)).toEqual(NOTHING);
  });

  test.each<[string, LayerFiles['files']]>([
    ['no files', []],
    ['a file twice', Array.from({ length: 2 }, () => ({ name: 'file', bytes: 4 }))],
    ['a negative size', [{ name: 'file', bytes: -1 }]],
    ['half a byte', [{ name: 'file', bytes: 3.5 }]],
    ['no size', [{ name: 'file', bytes: NaN }]],
  ])('a layer that declares %s is a bad snapshot', async (_, files) => {
    const { store, directory } = bench();
    const layer = { name: 'layer', files };
    const source = await directory();
    await writeLayer(source, 'layer', { file: 'text' });
    expect(await outcomeOf(store.putLayer(KEY, layer, source, { signal }))).toBe('bad-snapshot');
    const getting = store.getLayer(KEY, layer, await directory(), { signal });
    expect(await outcomeOf(getting)).toBe('bad-snapshot');
  });
}

function testCancellation(bench: () => StoreBench, { canRemove = true }: StoreTraits): void {
  test('nothing is begun when the signal has fired', async () => {
    const { store, directory, put } = bench();
    await put('old', { file: 'text' });
    await create(store, 1, 'old');
    const source = await directory();
    const layer = await writeLayer(source, 'new', { file: 'text' });
    for (const [name, call] of callsOf(store, layer, source, AbortSignal.abort())) {
      expect(`${name}: ${await outcomeOf(call())}`).toBe(`${name}: cancelled`);
    }
    expect(await find(store)).toBe('1 old');
    expect(await outcomeOf(bench().get({ ...layer, name: 'new' }))).toBe('bad-snapshot');
    if (!canRemove) return;
    const { manifests, layers, debris } = await store.list(KEY, signal);
    expect([manifests.length, layers.length, debris.length]).toEqual([1, 1, 0]);
  });

  test('a put that is cancelled at any moment leaves all of the layer or nothing', async () => {
    const { store, directory, get } = bench();
    const random = createRandom(testSeed());
    const source = await directory();
    const contents = { a: randomBytes(3_000_000), b: randomBytes(3_000_000), c: 'small' };
    for (let round = 0; round < 12; round++) {
      const layer = await writeLayer(source, `layer-${round}`, contents);
      const controller = new AbortController();
      const putting = outcomeOf(store.putLayer(KEY, layer, source, { signal: controller.signal }));
      await sleep(random.integer(12));
      controller.abort();
      const outcome = await putting;
      expect(['fulfilled', 'cancelled']).toContain(outcome);
      const fate = await outcomeOf(get(layer));
      expect(fate).toBe(outcome === 'fulfilled' ? 'fulfilled' : 'bad-snapshot');
    }
    expect((await store.list(KEY, signal)).debris).toEqual([]);
  });

  test('a manifest whose creation is cancelled at any moment exists only if that was said', async () => {
    const { store } = bench();
    const random = createRandom(testSeed());
    const content = randomBytes(500_000);
    for (let number = 1; number <= 12; number++) {
      const controller = new AbortController();
      const creating = outcomeOf(store.createManifest(KEY, number, content, controller.signal));
      await sleep(random.integer(6));
      controller.abort();
      const outcome = await creating;
      expect(['fulfilled', 'cancelled']).toContain(outcome);
      const found = await store.findManifest(KEY, { signal });
      expect(found?.number === number).toBe(outcome === 'fulfilled');
    }
    expect((await store.list(KEY, signal)).debris).toEqual([]);
  });
}

/** Every call of a store, with arguments that are sound but for those given. */
function callsOf(
  store: Store,
  layer: LayerFiles,
  directory: string,
  given: AbortSignal,
  key = KEY,
): [name: string, call: () => Promise<unknown>][] {
  return [
    ['findManifest', () => store.findManifest(key, { signal: given })],
    ['createManifest', () => store.createManifest(key, 2, Buffer.from('new'), given)],
    ['withdrawManifest', () => store.withdrawManifest(key, 1, given)],
    ['hasLayer', () => store.hasLayer(key, layer.name, given)],
    ['getLayer', () => store.getLayer(key, layer, directory, { signal: given })],
    ['putLayer', () => store.putLayer(key, layer, directory, { signal: given })],
    ['list', () => store.list(key, given)],
    ['remove', () => store.remove(key, { ...NOTHING, manifests: [1], layers: ['old'] }, given)],
  ];
}
