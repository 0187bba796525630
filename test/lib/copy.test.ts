import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { mkdir, readFile, readdir, stat, statfs, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { copyPlainFile, type CopyOptions } from '../../src/lib/copy.ts';
import { canMount, IMAGE_BYTES, mounts } from '../support/mounts.ts';
import { temporaryDirectories } from '../support/temporary-directory.ts';

const directories = temporaryDirectories();
const mounted = mounts();
const options: CopyOptions = {
  mode: 0o444,
  durable: false,
  signal: new AbortController().signal,
};

afterAll(async () => {
  mounted.removeAll();
  await directories.removeAll();
});

const hasXfs = canMount('xfs');
const onXfs = hasXfs ? describe : describe.skip;

describe('on the file system of temporary folders', () => {
  promises(() => directories.create('copy'));
});

onXfs(
  `on XFS, which shares blocks${hasXfs ? '' : ' (skipped: needs Linux, root, mkfs.xfs)'}`,
  () => {
    let root = '';
    let count = 0;

    beforeAll(() => {
      root = mounted.image('xfs', IMAGE_BYTES['xfs'] ?? 0);
    });

    const newFolder = async () => {
      const folder = join(root, String(++count));
      await mkdir(folder);
      return folder;
    };

    promises(newFolder);

    test('a copy takes no space, and neither file changes with the other', async () => {
      const folder = await newFolder();
      const [from, to] = [join(folder, 'from'), join(folder, 'to')];
      const bytes = 32 * 1024 * 1024;
      await writeFile(from, Buffer.alloc(bytes, 1), { flush: true });
      const free = async () => {
        const { bavail, bsize } = await statfs(root);
        return bavail * bsize;
      };
      const before = await free();
      await copyPlainFile(from, to, bytes, { ...options, mode: 0o644, durable: true });
      expect(before - (await free())).toBeLessThan(bytes / 4);
      await writeFile(from, 'changed');
      expect((await readFile(to)).equals(Buffer.alloc(bytes, 1))).toBe(true);
    });
  },
);

function promises(newFolder: () => Promise<string>): void {
  test('a plain file is copied completely, with its permissions, and its bytes are reported', async () => {
    const folder = await newFolder();
    await writeFile(join(folder, 'from'), 'content');
    const told: number[] = [];
    await copyPlainFile(join(folder, 'from'), join(folder, 'to'), 7, {
      ...options,
      onBytes: (bytes) => told.push(bytes),
    });
    expect(await readFile(join(folder, 'to'), 'utf8')).toBe('content');
    const [from, to] = [await stat(join(folder, 'from')), await stat(join(folder, 'to'))];
    expect(to.ino).not.toBe(from.ino);
    if (process.platform !== 'win32') expect(to.mode & 0o777).toBe(0o444);
    expect(told.at(-1)).toBe(7);
  });

  test('a link is not followed, wherever it leads', async () => {
    const folder = await newFolder();
    await writeFile(join(folder, 'secret'), 'content');
    await symlink('secret', join(folder, 'link'));
    await symlink('nowhere', join(folder, 'dangling'));
    for (const name of ['link', 'dangling']) {
      const copying = copyPlainFile(join(folder, name), join(folder, 'to'), 7, options);
      await expect(copying).rejects.toThrow();
      expect((await readdir(folder)).sort()).toEqual(['dangling', 'link', 'secret']);
    }
  });

  test.each([6, 8])('a file of 7 bytes that should have %d is refused', async (bytes) => {
    const folder = await newFolder();
    await writeFile(join(folder, 'from'), 'content');
    const copying = copyPlainFile(join(folder, 'from'), join(folder, 'to'), bytes, options);
    await expect(copying).rejects.toBeInstanceOf(RangeError);
  });

  test('a folder is refused', async () => {
    const folder = await newFolder();
    await mkdir(join(folder, 'from'));
    const copying = copyPlainFile(join(folder, 'from'), join(folder, 'to'), 0, options);
    await expect(copying).rejects.toThrow();
  });

  test('a target that exists is refused, and stays as it is', async () => {
    const folder = await newFolder();
    await writeFile(join(folder, 'from'), 'content');
    await writeFile(join(folder, 'to'), 'precious');
    const copying = copyPlainFile(join(folder, 'from'), join(folder, 'to'), 7, options);
    await expect(copying).rejects.toMatchObject({ code: 'EEXIST' });
    expect(await readFile(join(folder, 'to'), 'utf8')).toBe('precious');
  });

  test('a cancelled copy does not begin', async () => {
    const folder = await newFolder();
    await writeFile(join(folder, 'from'), 'content');
    const cancelled = { ...options, signal: AbortSignal.abort() };
    const copying = copyPlainFile(join(folder, 'from'), join(folder, 'to'), 7, cancelled);
    await expect(copying).rejects.toMatchObject({ code: 'cancelled' });
    expect(await readdir(folder)).toEqual(['from']);
  });
}
