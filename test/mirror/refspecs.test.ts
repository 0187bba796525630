/** Which refs are mirrored, compared with what git itself fetches. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import {
  EVERY_REF,
  createRefFilter,
  findRefspecFault,
  normalizeRefspecs,
  type Refspecs,
} from '../../src/mirror/refspecs.ts';
import { git } from '../support/git.ts';
import { readRefs } from '../support/repository-change.ts';
import { createRepository, repositorySizes } from '../support/repository-fixture.ts';
import { temporaryDirectories } from '../support/temporary-directory.ts';

const directories = temporaryDirectories();

afterAll(() => directories.removeAll());

function filterOf(refspecs: Refspecs): (name: string) => boolean {
  return createRefFilter({ depth: 'full', refspecs }, undefined);
}

describe('a refspec', () => {
  test.each([
    '+refs/heads/*:refs/heads/*',
    'refs/heads/*:refs/heads/*',
    '+refs/heads/*',
    'refs/heads/main',
    'refs/heads/main:refs/heads/main',
    '+refs/pull/*/head:refs/pull/*/head',
    'refs/heads/release-*',
    'refs/heads/*-stable:refs/heads/*-stable',
    'refs/heads/caf\xc3\xa9',
    'refs/heads/--upload-pack=x',
    '+refs/*:refs/*',
    'refs/stash',
    '^refs/heads/tmp/*',
    '^refs/heads/main',
    '^refs/*',
  ])('%j can be mirrored', (refspec) => {
    expect(findRefspecFault(refspec)).toBeUndefined();
  });

  test.each([
    ['', 'refs/…'],
    ['all', 'refs/…'],
    ['HEAD', 'refs/…'],
    ['HEAD:refs/heads/main', 'refs/…'],
    ['main', 'refs/…'],
    ['heads/main', 'refs/…'],
    ['*', 'refs/…'],
    ['*:*', 'refs/…'],
    [':', 'refs/…'],
    [':refs/heads/main', 'refs/…'],
    ['+', 'refs/…'],
    ['++refs/heads/*:refs/heads/*', 'refs/…'],
    ['refs/', 'refs/…'],
    ['refs', 'refs/…'],
    ['--upload-pack=x', 'refs/…'],
    ['-u x', 'refs/…'],
    ['ext::sh -c x', 'refs/…'],
    ['refs/heads/*/*:refs/heads/*/*', 'refs/…'],
    ['refs/heads/**:refs/heads/**', 'refs/…'],
    ['refs/heads/a\tb', 'refs/…'],
    ['refs/heads/a\x00b', 'refs/…'],
    ['refs/heads/a\nrefs/heads/b', 'refs/…'],
    ['refs/heads/a b', 'refs/…'],
    ['refs/heads/../../config', 'refs/…'],
    ['refs/heads/\u012e\u012e\u012fx', 'refs/…'],
    ['refs/heads/a.lock', 'refs/…'],
    ['refs/heads/@{1}', 'refs/…'],
    ['refs/heads/main~1:refs/heads/main~1', 'refs/…'],
    ['a'.repeat(40), 'refs/…'],
    ['refs/heads/*:refs/heads/*:refs/heads/*', 'refs/…'],
    ['refs/heads/*:refs/remotes/origin/*', 'renames'],
    ['refs/heads/a:refs/heads/b', 'renames'],
    ['refs/heads/main:', 'renames'],
    ['refs/heads/*:refs/heads/main', 'renames'],
    ['refs/heads/main:refs/heads/Main', 'renames'],
    ['^main', '^refs/…'],
    ['^', '^refs/…'],
    ['^HEAD', '^refs/…'],
    ['^+refs/heads/*', '^refs/…'],
    ['^^refs/heads/a', '^refs/…'],
    ['^refs/heads/a:refs/heads/a', '^refs/…'],
    ['^refs/heads/*/*', '^refs/…'],
    [`^${'a'.repeat(40)}`, '^refs/…'],
  ])('%j is refused', (refspec, reason) => {
    expect(findRefspecFault(refspec)).toContain(reason);
  });
});

describe('normalised refspecs', () => {
  const normal = ['+refs/heads/*:refs/heads/*', '+refs/tags/v1:refs/tags/v1', '^refs/heads/tmp/*'];

  test('have one form for one meaning, whatever their order and spelling', () => {
    for (const given of [
      ['refs/heads/*', 'refs/tags/v1', '^refs/heads/tmp/*'],
      ['^refs/heads/tmp/*', '+refs/tags/v1', 'refs/heads/*:refs/heads/*'],
      [...normal].reverse(),
      ['refs/tags/v1:refs/tags/v1', ...normal, 'refs/heads/*', '^refs/heads/tmp/*'],
    ]) {
      expect(normalizeRefspecs(given)).toEqual(normal);
    }
  });

  test('stay as they are when normalised again, and are sound', () => {
    expect(normalizeRefspecs(normal)).toEqual(normal);
    expect(normalizeRefspecs(EVERY_REF)).toEqual(EVERY_REF);
    for (const refspec of [...normal, ...EVERY_REF]) {
      expect(findRefspecFault(refspec)).toBeUndefined();
    }
  });

  test('keep names apart that differ in case or in bytes', () => {
    const given = ['refs/heads/a', 'refs/heads/A', 'refs/heads/\xe9', 'refs/heads/\xc3\xa9'];
    expect(normalizeRefspecs(given)).toHaveLength(4);
  });
});

describe('the filter', () => {
  let root: string;
  let upstream: string;
  let names: string[];

  beforeAll(async () => {
    root = await directories.create('refspecs');
    upstream = join(root, 'upstream.git');
    const { head } = await createRepository(upstream, { ...repositorySizes.tiny, pullRefs: 2 });
    const more = [
      ...[
        'heads/release',
        'heads/release-1',
        'heads/release.2',
        'heads/x-release',
        'heads/r/release',
      ],
      ...['heads/tmp/a', 'heads/tmp/b/c', 'heads/tmpx', 'pull/1/merge', 'stash', 'notes/commits'],
    ];
    for (const name of more) {
      await git(upstream, ['update-ref', `refs/${name}`, head]);
    }
    names = [...(await readRefs(upstream)).keys()];
  });

  async function fetchedByGit(refspecs: readonly string[]): Promise<string[]> {
    const target = join(await directories.create('fetched'), 'mirror.git');
    await mkdir(target);
    await git(target, ['init', '--quiet', '--bare', '--template=']);
    await git(target, ['fetch', '--quiet', '--no-tags', upstream, ...refspecs]);
    return [...(await readRefs(target)).keys()];
  }

  test.each([
    { refspecs: ['refs/heads/*'] },
    { refspecs: ['refs/*'] },
    { refspecs: ['refs/heads/*', '^refs/heads/tmp/*'] },
    { refspecs: ['refs/heads/*', 'refs/tags/*', '^refs/heads/main'] },
    { refspecs: ['refs/heads/main'] },
    { refspecs: ['refs/heads/release*'] },
    { refspecs: ['refs/heads/*release'] },
    { refspecs: ['refs/heads/release-1*'] },
    { refspecs: ['refs/heads/*e-1'] },
    { refspecs: ['refs/pull/*/head'] },
    { refspecs: ['refs/*', '^refs/pull/*', '^refs/heads/tmp*', '^refs/stash'] },
    { refspecs: ['refs/stash', 'refs/tags/light-1'] },
    { refspecs: ['refs/heads/*', '^refs/heads/release-1*'] },
  ])('lets through what git fetches: $refspecs', async ({ refspecs }) => {
    const normal = normalizeRefspecs(refspecs);
    const mirrored = names.filter(filterOf(normal));
    expect(mirrored).toEqual(await fetchedByGit(normal));
    expect(mirrored.length).toBeGreaterThan(0);
  });

  test('lets nothing through that only negative refspecs name, or none', () => {
    expect(names.filter(filterOf(['^refs/heads/tmp/*']))).toEqual([]);
    expect(names.filter(filterOf([]))).toEqual([]);
  });

  test('never lets refs/replace through, whatever asks for it', () => {
    const replace = `refs/replace/${'a'.repeat(40)}`;
    for (const refspecs of [EVERY_REF, normalizeRefspecs(['refs/replace/*', replace])]) {
      expect(filterOf(refspecs)(replace)).toBe(false);
      expect(filterOf(refspecs)('refs/replace/x/y')).toBe(false);
    }
    expect(filterOf(EVERY_REF)('refs/heads/replace')).toBe(true);
  });

  test('tells names apart by case and by bytes', () => {
    const filter = filterOf(normalizeRefspecs(['refs/heads/a', 'refs/heads/\xc3\xa9*']));
    expect(['refs/heads/a', 'refs/heads/\xc3\xa9x'].map(filter)).toEqual([true, true]);
    expect(['refs/heads/A', 'refs/heads/\xe9x', 'refs/heads/\xc3'].map(filter)).toEqual([
      false,
      false,
      false,
    ]);
  });
});
