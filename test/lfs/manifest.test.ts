/** The manifest of LFS objects, and its key: what goes in comes out, and nothing else gets in. */
import { describe, expect, test } from '@jest/globals';
import { gunzipSync, gzipSync } from 'node:zlib';
import { deriveLfsKey, identify } from '../../src/snapshot/identity.ts';
import { readSnapshot } from '../../src/snapshot/look-up.ts';
import {
  FORMAT_VERSION,
  encodeManifest,
  parseManifest,
  type LfsSnapshot,
} from '../../src/snapshot/manifest.ts';

const UPSTREAM = 'https://github.com/owner/name';
const [ONE, OTHER] = ['1'.repeat(64), '2'.repeat(64)] as const;

function nameOf(letter: string): string {
  return `${letter.repeat(64)}-${letter.repeat(16)}`;
}

const SNAPSHOT: LfsSnapshot = {
  ...{ version: FORMAT_VERSION, kind: 'lfs-objects', number: 7, upstream: UPSTREAM },
  ...{ createdAt: '2026-11-22T16:00:00.000Z', run: '', git: '2.39.5', action: '0.1.0' },
  layers: [
    { name: nameOf('a'), bytes: 30, objects: [[ONE, 30]] },
    { name: nameOf('b'), bytes: 5, objects: [[OTHER, 5]] },
  ],
};

type Json = Record<string, unknown> & { layers: Record<string, unknown>[] };

async function readChanged(change: (json: Json) => unknown) {
  const json = JSON.parse(gunzipSync(await encodeManifest(SNAPSHOT)).toString()) as Json;
  change(json);
  return parseManifest(gzipSync(JSON.stringify(json)), 7);
}

test('what was written is read', async () => {
  expect(await parseManifest(await encodeManifest(SNAPSHOT), 7)).toEqual(SNAPSHOT);
});

describe('a manifest is refused', () => {
  test.each<[string, (json: Json) => unknown]>([
    ['with another number', (json) => (json['number'] = 8)],
    ['with refs', (json) => (json['refs'] = [])],
    ['without layers', (json) => (json.layers = [])],
    ['with a layer of another size', (json) => (json.layers[0]!['bytes'] = 31)],
    ['with a layer of nothing', (json) => (json.layers[0]!['objects'] = [])],
    ['with files', (json) => (json.layers[0]!['files'] = [])],
    [
      'with an object in two layers',
      (json) => (json.layers[1] = { ...json.layers[0], name: nameOf('c') }),
    ],
    [
      'with an object twice in one',
      (json) =>
        (json.layers[0] = {
          ...json.layers[0],
          bytes: 60,
          objects: [
            [ONE, 30],
            [ONE, 30],
          ],
        }),
    ],
    [
      'with an id that leads elsewhere',
      (json) => (json.layers[0]!['objects'] = [['../../etc/passwd', 30]]),
    ],
    ['with an id in capitals', (json) => (json.layers[0]!['objects'] = [['A'.repeat(64), 30]])],
    [
      'with an empty object',
      (json) => (json.layers[0] = { ...json.layers[0], bytes: 0, objects: [[ONE, 0]] }),
    ],
    [
      'with a negative size',
      (json) => (json.layers[0] = { ...json.layers[0], bytes: -1, objects: [[ONE, -1]] }),
    ],
    ['with a name that leads elsewhere', (json) => (json.layers[0]!['name'] = '../x')],
  ])('%s', async (_, change) => {
    await expect(readChanged(change)).rejects.toMatchObject({ code: 'bad-snapshot' });
  });
});

test('it is no snapshot of a repository', async () => {
  const identity = identify({ url: UPSTREAM, refspecs: [], depth: 'full', cacheKey: '' }, 'sha1');
  const stored = { number: 7, content: await encodeManifest(SNAPSHOT) };
  expect(await readSnapshot(stored, identity)).toMatchObject({
    ...{ found: 'bad-manifest', reason: 'it holds lfs-objects' },
  });
});

test('the key depends on upstream and cache-key alone, and no repository has it', () => {
  const key = deriveLfsKey(UPSTREAM, '');
  expect(key).toMatch(/^lfs-github\.com_owner_name-[0-9a-f]{32}$/);
  const others = [deriveLfsKey(UPSTREAM, 'x'), deriveLfsKey(`${UPSTREAM}2`, '')];
  const repository = { url: UPSTREAM, refspecs: [], depth: 'full', cacheKey: '' } as const;
  others.push(`lfs-${identify(repository, 'sha1').key}`);
  expect(others).not.toContain(key);
});
