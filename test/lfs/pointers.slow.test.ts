/** Pointers of a commit, as git-lfs finds them. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { join } from 'node:path';
import { openGit, type Git } from '../../src/git/git.ts';
import { formatPointer, listObjects, parsePointer } from '../../src/lfs/pointers.ts';
import { silentLog } from '../../src/lib/log.ts';
import { git, gitEnvironment } from '../support/git.ts';
import { createRepository, repositorySizes } from '../support/repository-fixture.ts';
import { addFiles } from '../jobs/scenarios/checkout-scenario.ts';
import { createTemporaryDirectory, removeDirectory } from '../support/temporary-directory.ts';

const [ONE, OTHER] = ['1'.repeat(64), '2'.repeat(64)] as const;
const pointer = (oid: string, size: number) => formatPointer({ oid, size });

let root: string;
let tool: Git;

beforeAll(async () => {
  root = await createTemporaryDirectory('pointers');
  const { signal } = new AbortController();
  tool = await openGit({
    ...{ environment: gitEnvironment(), workingDirectory: root, signal, log: silentLog },
  });
});

afterAll(async () => {
  await removeDirectory(root);
});

describe('a pointer', () => {
  test.each<[string, string, number | undefined]>([
    ['as git-lfs writes it', pointer(ONE, 5), 5],
    [
      'of an extension',
      `version https://git-lfs.github.com/spec/v1\next-0-foo sha256:${OTHER}\noid sha256:${ONE}\nsize 5\n`,
      5,
    ],
    [
      'of the tool’s first name',
      `version https://hawser.github.com/spec/v1\noid sha256:${ONE}\nsize 5\n`,
      5,
    ],
    ['without a last line end', pointer(ONE, 5).trimEnd(), 5],
    ['of nothing', pointer(ONE, 0), undefined],
    ['with another hash', pointer(ONE, 5).replace('sha256', 'md5'), undefined],
    ['with a short id', pointer(ONE.slice(1), 5), undefined],
    ['with more behind it', `${pointer(ONE, 5)}more\n`, undefined],
    ['with a negative size', pointer(ONE, -5), undefined],
    ['that is none', 'version 1\n', undefined],
  ])('%s', (_, content, size) => {
    expect(parsePointer(content)).toEqual(size === undefined ? undefined : { oid: ONE, size });
  });
});

describe('the objects of a commit', () => {
  test('are those of its plain files, each once, whatever their paths and neighbours', async () => {
    const directory = join(root, 'all.git');
    await createRepository(directory, repositorySizes.tiny);
    await addFiles(directory, [
      { path: 'one.bin', content: pointer(ONE, 5) },
      { path: 'größe/ein "Tab"\tund mehr', content: pointer(OTHER, 7), mode: '100755' },
      { path: 'again.bin', content: pointer(ONE, 5) },
      // A submodule's objects are its own.
      { path: 'sub', content: '5'.repeat(40), mode: '160000' },
      { path: 'link', content: pointer('3'.repeat(64), 1), mode: '120000' },
      { path: 'long', content: `${pointer('4'.repeat(64), 1)}${'x'.repeat(1_000)}` },
      { path: 'text', content: 'x'.repeat(500) },
    ]);
    const head = await git(directory, ['rev-parse', 'main']);
    expect(await listObjects(tool, directory, head)).toEqual([
      { oid: ONE, size: 5 },
      { oid: OTHER, size: 7 },
    ]);
  });

  test('are found among thousands of small files', async () => {
    const directory = join(root, 'many.git');
    await createRepository(directory, repositorySizes.tiny);
    const oids = Array.from({ length: 3_000 }, (_, index) => index.toString(16).padStart(64, '0'));
    const files = oids.map((oid, index) => ({
      path: `data/${String(index)}`,
      content: index % 3 === 0 ? pointer(oid, index + 1) : `text ${oid} ${'.'.repeat(index % 400)}`,
    }));
    const head = await addFiles(directory, files);
    const found = await listObjects(tool, directory, head);
    expect(found.map(({ oid }) => oid)).toEqual(oids.filter((_, index) => index % 3 === 0));
  });

  test('are none in a commit without pointers', async () => {
    const directory = join(root, 'none.git');
    const { head } = await createRepository(directory, repositorySizes.tiny);
    expect(await listObjects(tool, directory, head)).toEqual([]);
  });
});
