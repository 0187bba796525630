import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { mkdir, readdir, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { countBytesBelow, makeFolder, sweepFolders } from '../../src/lib/files.ts';
import { silentLog } from '../../src/lib/log.ts';
import { createTemporaryDirectory, removeDirectory } from '../support/temporary-directory.ts';

const linuxTest = process.platform === 'linux' ? test : test.skip;
let root = '';

beforeAll(async () => {
  root = await createTemporaryDirectory('files');
});

afterAll(() => removeDirectory(root));

describe('makeFolder', () => {
  test('makes a folder with those above it, and returns the outermost new one', async () => {
    expect(await makeFolder(join(root, 'a', 'b', 'c'))).toBe(join(root, 'a'));
    expect((await stat(join(root, 'a', 'b', 'c'))).isDirectory()).toBe(true);
    expect(await makeFolder(join(root, 'a', 'b', 'd'))).toBe(join(root, 'a', 'b', 'd'));
  });

  test('returns undefined for a folder that exists', async () => {
    expect(await makeFolder(root)).toBeUndefined();
    expect(await makeFolder('/')).toBeUndefined();
  });

  test('makes one folder for several that ask at the same time', async () => {
    const path = join(root, 'at', 'once', 'only');
    await Promise.all(Array.from({ length: 8 }, () => makeFolder(path)));
    expect((await stat(path)).isDirectory()).toBe(true);
  });

  test('fails below a file', async () => {
    await writeFile(join(root, 'file'), '');
    await expect(makeFolder(join(root, 'file'))).rejects.toMatchObject({ code: 'EEXIST' });
    await expect(makeFolder(join(root, 'file', 'x', 'y'))).rejects.toMatchObject({
      code: 'EEXIST',
    });
  });

  linuxTest.each(['/proc/x/m.git', '/proc/self/x/y/z', '/sys/x/y'])(
    'fails for %s, where no folder can be made',
    async (path) => {
      await expect(makeFolder(path)).rejects.toMatchObject({
        code: expect.stringMatching(/^(?:ENOENT|EACCES|EPERM|EROFS)$/),
      });
    },
  );
});

test('sweepFolders removes the folders that are meant, and tells of each', async () => {
  const folder = join(root, 'swept');
  await makeFolder(folder);
  for (const name of ['left-1', 'left-2', 'other']) await mkdir(join(folder, name));
  await writeFile(join(folder, 'left-3'), 'a file');
  const logged: string[] = [];
  const log = { ...silentLog, info: (message: string) => void logged.push(message) };
  await sweepFolders(folder, (name) => name.startsWith('left'), log);
  expect(await readdir(folder)).toEqual(['left-3', 'other']);
  expect(logged.sort()).toEqual(
    ['left-1', 'left-2'].map(
      (name) => `Removed ${join(folder, name)}, which an earlier step left behind`,
    ),
  );
  await sweepFolders(join(folder, 'nowhere'), () => true, log);
});

test('countBytesBelow counts files at any depth, and none where there is no folder', async () => {
  const folder = join(root, 'counted');
  await makeFolder(join(folder, 'deeper'));
  const before = await countBytesBelow(folder);
  await writeFile(join(folder, 'first'), 'x'.repeat(1_000));
  await writeFile(join(folder, 'deeper', 'second'), 'x'.repeat(200));
  expect((await countBytesBelow(folder)) - before).toBe(1_200);
  expect(await countBytesBelow(join(folder, 'nowhere'))).toBe(0);
});

linuxTest('countBytesBelow does not follow a link', async () => {
  const folder = join(root, 'linked');
  await makeFolder(folder);
  await symlink(root, join(folder, 'up'));
  expect(await countBytesBelow(folder)).toBe(root.length);
});
