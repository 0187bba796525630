/** Whether a mirror is saved, and what a save builds on: decided from what the stores have. */
import { describe, expect, test } from '@jest/globals';
import {
  chooseLineage,
  findObstacle,
  findUnchangedBase,
  type SavedState,
} from '../../src/save/decide.ts';
import type { LookUp } from '../../src/snapshot/look-up.ts';
import {
  FORMAT_VERSION,
  snapshotId,
  type Layer,
  type Snapshot,
} from '../../src/snapshot/manifest.ts';

const NOW = Date.parse('2026-11-28T12:00:00Z');
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

const auto = { isForced: false, leastAgeMs: 0 };
const state: SavedState = { refsDigest: 'mine', base: null, rejected: [] };

function layer(name: string): Layer {
  return { name, bytes: 0, files: [] };
}

function snapshot(number: number, refsDigest: string, layers: string[] = []): Snapshot {
  return {
    version: FORMAT_VERSION,
    number,
    createdAt: new Date(NOW).toISOString(),
    ...{ run: 'run', git: '2.39', action: '1.0.0', kind: 'repository', upstream: 'https://h/o/n' },
    ...{ objectFormat: 'sha1', refspecs: [], head: undefined, refs: [], refsDigest },
    layers: layers.map(layer),
    savesSinceFullWalk: 0,
    unreachableBytes: 0,
    depth: 'full',
  };
}

function found(
  number: number,
  refsDigest: string,
  { ageMs = 0, layers = [] as string[] } = {},
): LookUp {
  const id = `${String(number)}-id`;
  const content = new Uint8Array();
  const createdAt = NOW - ageMs;
  const manifest = snapshot(number, refsDigest, layers);
  return { found: 'snapshot', number, id, createdAt, content, manifest };
}

const nothing: LookUp = { found: 'nothing', number: 0 };

describe('a save is pointless or wrong', () => {
  test('never where the store has nothing', () => {
    expect(findObstacle(state, 0, [nothing], auto, NOW)).toBeUndefined();
  });

  test('where the newest snapshot holds the same refs', () => {
    const obstacle = findObstacle(state, 3, [found(3, 'mine')], auto, NOW);
    expect(obstacle).toEqual({ result: 'unchanged', id: '3-id' });
  });

  test('where another store holds the same refs', () => {
    const obstacle = findObstacle(state, 0, [nothing, found(9, 'mine')], auto, NOW);
    expect(obstacle).toEqual({ result: 'unchanged', id: '9-id' });
  });

  test('not where that snapshot was found bad here: it has to be replaced', () => {
    const rejecting = { ...state, rejected: ['3-id'] };
    expect(findObstacle(rejecting, 3, [found(3, 'mine')], auto, NOW)).toBeUndefined();
  });

  test('not where saves are forced, though the refs are the same', () => {
    const forced = { ...auto, isForced: true };
    expect(findObstacle(state, 3, [found(3, 'mine')], forced, NOW)).toBeUndefined();
  });

  test.each<[string, LookUp]>([
    ['a snapshot', found(4, 'theirs')],
    ['a revocation', { found: 'revocation', number: 4, id: '4-id', createdAt: NOW, reason: 'x' }],
    ['a bad manifest', { found: 'bad-manifest', number: 4, id: '4-id', reason: 'x' }],
  ])('where %s came after the fetch began, forced or not', (_, newest) => {
    for (const isForced of [false, true]) {
      const obstacle = findObstacle(state, 3, [newest], { ...auto, isForced }, NOW);
      expect(obstacle).toEqual({ result: 'superseded', number: 4 });
    }
  });

  test('not for the number of another store, which counts for itself', () => {
    expect(findObstacle(state, 0, [nothing, found(9, 'theirs')], auto, NOW)).toBeUndefined();
  });

  test('where a sound snapshot of any store is younger than asked', () => {
    const daily = { ...auto, leastAgeMs: DAY_MS };
    const judge = (ageMs: number, rejected: string[] = []) =>
      findObstacle({ ...state, rejected }, 0, [nothing, found(9, 'theirs', { ageMs })], daily, NOW);
    expect(judge(23 * HOUR_MS)).toMatchObject({ result: 'skipped' });
    expect(judge(25 * HOUR_MS)).toBeUndefined();
    expect(judge(23 * HOUR_MS, ['9-id'])).toBeUndefined();
  });
});

describe("the mirror's own base", () => {
  const content = Buffer.from('a manifest');
  const id = snapshotId(3, content);
  const based = { ...state, base: { number: 3, id, refsDigest: 'mine' } };

  test('tells that nothing changed, without its manifest being parsed', () => {
    expect(findUnchangedBase([undefined, { number: 3, content }], based)).toBe(id);
  });

  test.each<[string, SavedState]>([
    ['there is none', state],
    ['its refs are others', { ...based, refsDigest: 'moved' }],
    ['it was found bad', { ...based, rejected: [id] }],
  ])('tells nothing where %s', (_, other) => {
    expect(findUnchangedBase([{ number: 3, content }], other)).toBeUndefined();
  });

  test('tells nothing where the store has other bytes, or another number', () => {
    expect(findUnchangedBase([{ number: 3, content: Buffer.from('b') }], based)).toBeUndefined();
    expect(findUnchangedBase([{ number: 4, content }], based)).toBeUndefined();
    expect(findUnchangedBase([undefined], based)).toBeUndefined();
  });
});

describe('a new snapshot', () => {
  const own = snapshot(3, 'before', ['a', 'b']);
  const based = { ...state, base: { number: 3, id: '3-id', refsDigest: 'before' } };

  test('builds on the base that is still the newest', () => {
    const lineage = chooseLineage(own, based, [found(3, 'before')]);
    expect(lineage).toEqual({ base: own, layers: own.layers });
  });

  test('has everything walked where its base is not the newest, and names layers that are still named', () => {
    const newest = found(4, 'theirs', { layers: ['b', 'c'] });
    expect(chooseLineage(own, based, [newest])).toEqual({ base: undefined, layers: [layer('b')] });
  });

  test.each<[string, SavedState, LookUp]>([
    ['was found bad', { ...based, rejected: ['4-id'] }, found(4, 'theirs', { layers: ['b'] })],
    ['cannot be read', based, { found: 'bad-manifest', number: 4, id: '4-id', reason: 'x' }],
    ['is not there', based, nothing],
  ])('names no layer where the newest %s', (_, other, newest) => {
    expect(chooseLineage(own, other, [newest])).toEqual({ base: undefined, layers: [] });
  });

  test('starts from scratch where the mirror has no base', () => {
    const newest = found(4, 'theirs', { layers: ['b'] });
    expect(chooseLineage(undefined, state, [newest])).toEqual({ base: undefined, layers: [] });
  });
});
