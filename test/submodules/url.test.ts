/** URLs of submodules: as git resolves them, and as addresses on the job's own server. */
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { locateUpstream, originOf, resolveUrl } from '../../src/submodules/url.ts';
import { git } from '../support/git.ts';
import { createRepository, repositorySizes } from '../support/repository-fixture.ts';
import { temporaryDirectories } from '../support/temporary-directory.ts';

const directories = temporaryDirectories();
afterAll(() => directories.removeAll());

const HTTP = 'https://host:8443/owner/name';
const SSH = 'git@host:owner/name.git';

describe('a URL in .gitmodules is resolved as `git submodule init` does it', () => {
  const cases: [base: string, url: string, resolved: string][] = [
    [HTTP, 'https://other/a/b', 'https://other/a/b'],
    [HTTP, 'git@host:a/b.git', 'git@host:a/b.git'],
    [HTTP, '../other', 'https://host:8443/owner/other'],
    [HTTP, '../other.git/', 'https://host:8443/owner/other.git'],
    [HTTP, './below', 'https://host:8443/owner/name/below'],
    [HTTP, '../../else/other', 'https://host:8443/else/other'],
    [HTTP, '.././../else/other', 'https://host:8443/else/other'],
    [`${HTTP}/`, '../other', 'https://host:8443/owner/other'],
    [HTTP, '../a/../b', 'https://host:8443/owner/a/../b'],
    [SSH, '../other.git', 'git@host:owner/other.git'],
    [SSH, '../../else/other', 'git@host:else/other'],
    [SSH, './below', 'git@host:owner/name.git/below'],
  ];

  test.each(cases)('%s and %s', async (base, url, resolved) => {
    expect(resolveUrl(base, url)).toBe(resolved);

    const folder = await directories.create('resolve');
    await createRepository(join(folder, 'x.git'), repositorySizes.tiny);
    const oid = await git(join(folder, 'x.git'), ['rev-parse', 'main']);
    await git(folder, ['init', '--quiet', 'work']);
    const work = join(folder, 'work');
    await git(work, ['remote', 'add', 'origin', base]);
    for (const [key, value] of [
      ['path', 'sub'],
      ['url', url],
    ] as const) {
      await git(work, ['config', '--file', '.gitmodules', `submodule.sub.${key}`, value]);
    }
    await git(work, ['add', '.gitmodules']);
    await git(work, ['update-index', '--add', '--cacheinfo', `160000,${oid},sub`]);
    await git(work, ['submodule', '--quiet', 'init']);
    expect(await git(work, ['config', 'submodule.sub.url'])).toBe(resolved);
  });

  test.each([
    [HTTP, '../../../other/a/b'],
    [HTTP, '../../../../other'],
    [SSH, '../../../other'],
    ['/srv/git/name', '../other'],
  ])('but not one that leads out of its server: %s and %s', (base, url) => {
    expect(resolveUrl(base, url)).toBeUndefined();
  });
});

describe('a submodule is served from the job’s own server', () => {
  const server = { origin: 'https://host', isSuffixOptional: true };
  test.each([
    ['https://host/a/b', 'https://host/a/b'],
    ['https://host/a/b.git', 'https://host/a/b'],
    ['https://host/a/b/', 'https://host/a/b'],
    ['https://HOST:443/a/b', 'https://host/a/b'],
    ['https://host/group/folder/b', 'https://host/group/folder/b'],
    // As actions/checkout fetches it.
    ['git@host:a/b.git', 'https://host/a/b'],
  ])('%s', (url, address) => {
    expect(locateUpstream(url, server)).toEqual({ url: address });
  });

  test('with `.git` where that may be another repository', () => {
    const other = { ...server, isSuffixOptional: false };
    expect(locateUpstream('https://host/a/b.git', other)).toEqual({ url: 'https://host/a/b.git' });
  });

  test.each([
    ['git@host:a/b', 'git@host:a/b.git'],
    ['git@host:a/b.git', 'git@host:a/b.git'],
  ])('over SSH: %s', (url, address) => {
    const ssh = { origin: 'git@host', isSuffixOptional: true };
    expect(locateUpstream(url, ssh)).toEqual({ url: address });
  });

  test.each([
    ['https://other/a/b'],
    ['http://host/a/b'],
    ['https://host:8443/a/b'],
    ['https://host.evil/a/b'],
    ['https://host@evil/a/b'],
    ['https://user:secret@host/a/b'],
    ['https://evil/https://host/a/b'],
    ['https://host\\@evil/a/b'],
    ['ssh://git@host/a/b'],
    ['other@host:a/b'],
    ['git@evil:a/b'],
    ['git://host/a/b'],
    ['file:///etc'],
    ['ext::sh -c id'],
    ['/srv/git/b'],
    ['--upload-pack=id'],
    [''],
  ])('and never from elsewhere: %j', (url) => {
    const reason = expect.stringMatching(/^is not on /) as unknown;
    expect(locateUpstream(url, server)).toEqual({ reason });
  });

  test.each([
    ['https://host/a/../b'],
    ['https://host/a/%2e%2e/b'],
    ['https://host/a/b?x'],
    ['https://host/a/b#x'],
    ['https://host//a/b'],
    ['https://host/'],
    ['git@host:-x/b'],
    ['git@host:/srv/b'],
    ['https://host/a/b\n'],
  ])('nor from a path that is none of a repository: %j', (url) => {
    expect(locateUpstream(url, server)).toHaveProperty('reason');
  });

  test.each([
    ['https://host/a', 'https://host'],
    ['http://host:80/a', 'http://host:80'],
    ['git@host:a/b', 'git@host'],
    ['https://user@host/a', undefined],
    ['/srv/a:b', undefined],
    ['https://host', 'https://host'],
  ])('the origin of %s is %s', (url, origin) => {
    expect(originOf(url)).toBe(origin);
  });
});
