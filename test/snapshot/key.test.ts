import { describe, expect, test } from '@jest/globals';
import { EVERY_REF, normalizeRefspecs } from '../../src/mirror/refspecs.ts';
import { identify, type MirrorIdentity, type MirrorSpec } from '../../src/snapshot/identity.ts';
import { isSafeName } from '../../src/stores/names.ts';
import { createRandom, testSeed } from '../support/random.ts';

const HEADS = ['+refs/heads/*:refs/heads/*'];

type Ingredients = MirrorSpec & Pick<MirrorIdentity, 'objectFormat'>;

const plain: Ingredients = {
  url: 'https://github.com/owner/name',
  refspecs: HEADS,
  objectFormat: 'sha1',
  depth: 'full',
  cacheKey: '',
};

const keyOf = ({ objectFormat, ...spec }: Ingredients): string => identify(spec, objectFormat).key;
const of = (changed: Partial<Ingredients>): string => keyOf({ ...plain, ...changed });

test('the key of an upstream with these settings never changes', () => {
  // Another value orphans every snapshot in every store: it needs a reason, and a changelog entry.
  expect(
    keyOf({
      url: 'https://github.com/git/git',
      refspecs: ['+refs/heads/*:refs/heads/*', '+refs/tags/*:refs/tags/*'],
      objectFormat: 'sha1',
      depth: 'full',
      cacheKey: '',
    }),
  ).toBe('github.com_git_git-6d1bce33b3a83b593197bb99b407e235');
});

test('a mirror over SSH has its own key', () => {
  expect(of({ url: 'git@github.com:owner/name.git' })).toMatch(
    /^git_github\.com_owner_name\.git-[0-9a-f]{32}$/,
  );
});

describe('two that differ have two keys', () => {
  const url = (rest: string) => of({ url: `https://${rest}` });

  test.each<[string, string, string]>([
    ['owner and name', url('github.com/foo-bar/baz'), url('github.com/foo/bar-baz')],
    ['a slash and its replacement', url('github.com/foo/bar'), url('github.com/foo_bar')],
    ['a folder more', url('h/a/b/c'), url('h/a/b_c')],
    ['case', url('github.com/owner/name'), url('github.com/owner/Name')],
    ['servers', url('github.com/owner/name'), url('github.example/owner/name')],
    ['ports', url('h:8080/owner/name'), url('h:8081/owner/name')],
    ['a port and a folder', url('h:8080/owner/name'), url('h_8080/owner/name')],
    ['schemes', of({ url: 'http://h/o/n' }), of({ url: 'https://h/o/n' })],
    ['a suffix', url('h/o/n'), url('h/o/n.git')],
    ['HTTP and SSH', url('h/o/n.git'), of({ url: 'git@h:o/n.git' })],
    ['users of SSH', of({ url: 'git@h:o/n.git' }), of({ url: 'me@h:o/n.git' })],
    ['a dot at the front', url('.h/o/n'), url('_h/o/n')],
    ['bytes', url('h/o/\xe9'), url('h/o/\xc3\xa9')],
    ['the end of a long name', url(`h/${'a'.repeat(200)}b`), url(`h/${'a'.repeat(200)}c`)],
    ['refspecs', of({}), of({ refspecs: [...HEADS, '+refs/tags/*:refs/tags/*'] })],
    ['all refs', of({}), of({ refspecs: EVERY_REF })],
    ['what is left out', of({}), of({ refspecs: [...HEADS, '^refs/heads/tmp/*'] })],
    ['one refspec or two', of({ refspecs: ['a","b'] }), of({ refspecs: ['a', 'b'] })],
    ['object formats', of({}), of({ objectFormat: 'sha256' })],
    ['cache-key', of({}), of({ cacheKey: 'x' })],
    ['a space in cache-key', of({ cacheKey: 'x' }), of({ cacheKey: 'x ' })],
    ['halves of a character', of({ cacheKey: '\ud800' }), of({ cacheKey: '\udfff' })],
    ['a cache-key like a format', of({ objectFormat: 'sha256' }), of({ cacheKey: 'sha256' })],
    [
      'a cache-key that imitates what comes before it',
      of({ cacheKey: '","sha1","x' }),
      of({ cacheKey: 'x' }),
    ],
    [
      'a cache-key that goes on with the refspecs',
      of({ refspecs: ['a'], cacheKey: '"],"sha1",""' }),
      of({ refspecs: ['a"],"sha1",""'], cacheKey: '' }),
    ],
    [
      'an upstream that goes on with the refspecs',
      of({ url: 'https://h/o/n",["a"' }),
      of({ url: 'https://h/o/n', refspecs: ['a"'] }),
    ],
  ])('%s', (_, one, other) => {
    expect(one).not.toBe(other);
    // Also where a file system takes case for nothing.
    expect(one.toLowerCase()).not.toBe(other.toLowerCase());
  });

  test('among thousands of hostile ones no two keys meet', () => {
    const random = createRandom(testSeed());
    const pieces = ['a', 'b', '-', '_', '/', '.', ':', '"', ',', '[', ']', '\\', 'sha1', ' ', 'é'];
    const text = () =>
      Array.from({ length: random.integer(5) }, () => random.pick(pieces)).join('');
    const keys = new Map<string, string>();
    for (let round = 0; round < 5_000; round++) {
      const ingredients: Ingredients = {
        url: text(),
        refspecs: Array.from({ length: random.integer(3) }, text),
        objectFormat: random.pick(['sha1', 'sha256']),
        depth: random.pick(['full', 'tip']),
        cacheKey: text(),
      };
      const { url, refspecs, objectFormat, depth, cacheKey } = ingredients;
      const identity = JSON.stringify([url, refspecs, objectFormat, depth, cacheKey]);
      const key = keyOf(ingredients);
      expect(keys.get(key) ?? identity).toBe(identity);
      keys.set(key, identity);
    }
    expect(keys.size).toBeGreaterThan(3_000);
  });
});

test('the same settings have the same key, however they are written down', () => {
  const one = normalizeRefspecs(['refs/tags/*', '+refs/heads/*:refs/heads/*']);
  const other = normalizeRefspecs(['refs/heads/*', 'refs/tags/*:refs/tags/*', 'refs/tags/*']);
  expect(of({ refspecs: one })).toBe(of({ refspecs: other }));
});

test.each([
  'https://github.com/owner/name',
  'https://[::1]:8080/owner/name',
  'git@[::1]:owner/name.git',
  'https://../../../etc/passwd',
  'https://.git/config',
  'https://h/o/n?x=y#z',
  'https://h/\u0000/\n/\u202e/😀',
  `https://${'a/'.repeat(500)}`,
  '../..',
  '.',
  '',
  '-x',
  'CON',
])('every store and file system takes the key of %j', (url) => {
  const key = of({ url, cacheKey: 'x/../\n' });
  expect(key).toMatch(/^[A-Za-z0-9_-][A-Za-z0-9._-]{0,112}$/);
  expect(isSafeName(key)).toBe(true);
});

test('people can tell from the key whose it is', () => {
  expect(of({})).toMatch(/^github\.com_owner_name-[0-9a-f]{32}$/);
});

test('the key holds nothing of cache-key, which may be anything', () => {
  expect(of({ cacheKey: 'canary' })).not.toContain('canary');
});
