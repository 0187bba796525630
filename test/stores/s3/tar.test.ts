/** A layer as a tar archive: what other programs make of it, and that its bytes follow from the manifest. */
import { afterEach, describe, expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { open, readdir, stat, truncate, writeFile, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import {
  cutTar,
  describeTar,
  readTar,
  writeTar,
  type TarFile,
} from '../../../src/stores/s3/tar.ts';
import { describeContents, describeFolder, writeLayer } from '../../support/layer-files.ts';
import { runProcess } from '../../support/processes.ts';
import { createRandom, testSeed } from '../../support/random.ts';
import { temporaryDirectories } from '../../support/temporary-directory.ts';

const GIB = 1024 ** 3;
const CONTENTS = {
  'pack-1.idx': randomBytes(1_024),
  'pack-1.pack': randomBytes(700_001),
  empty: '',
  ['n'.repeat(99)]: 'the longest name',
  '-odd_.name..': 'x',
};
const directories = temporaryDirectories();
const handles: FileHandle[] = [];
afterEach(async () => {
  await Promise.all(handles.splice(0).map((handle) => handle.close()));
  await directories.removeAll();
});

async function makeArchive(contents: typeof CONTENTS): Promise<Buffer> {
  const folder = await directories.create('source');
  const { entries, bytes } = describeTar(await writeLayer(folder, 'l', contents));
  const files: TarFile[] = [];
  for (const entry of entries) {
    files.push({ ...entry, handle: await openFile(join(folder, entry.name), 'r') });
  }
  // In pieces that end within headers, contents and padding.
  const pieces: Buffer[] = [];
  for (let start = 0; start < bytes; start += 333) {
    const range = { start, end: Math.min(bytes, start + 333) };
    pieces.push(await readTar(files, range, Buffer.alloc(400, 'x')));
  }
  return Buffer.concat(pieces);
}

async function openFile(path: string, flags: string): Promise<FileHandle> {
  const handle = await open(path, flags);
  handles.push(handle);
  return handle;
}

describe('a layer as a tar archive', () => {
  test('opens with tar, as plain files that nobody may write', async () => {
    const folder = await directories.create('unpacked');
    await writeFile(join(folder, 'layer.tar'), await makeArchive(CONTENTS));
    const target = await directories.create('target');
    const unpacking = await runProcess('tar', ['-C', target, '-xf', join(folder, 'layer.tar')]);
    expect(unpacking).toMatchObject({ exitCode: 0, stderr: '' });
    expect(await describeFolder(target)).toEqual(describeContents(CONTENTS));
    expect((await stat(join(target, 'pack-1.pack'))).mode & 0o777).toBe(0o444);
  });

  test('has the same bytes wherever and whenever it is made', async () => {
    const archive = await makeArchive(CONTENTS);
    expect(archive.equals(await makeArchive(CONTENTS))).toBe(true);
  });

  test('lists files of 8 GiB and more with their sizes', async () => {
    const sizes = {
      'pack-1.pack': 8 * GIB,
      'pack-2.pack': 8 * GIB - 1,
      'pack-3.pack': 3 * 1024 * GIB,
    };
    const files = Object.entries(sizes).map(([name, bytes]) => ({ name, bytes }));
    const tar = describeTar({ name: 'layer', files });
    // Headers where they belong, and holes for the rest.
    const path = join(await directories.create('sparse'), 'layer.tar');
    const file = await open(path, 'w');
    for (const { header, headerStart } of tar.entries)
      await file.write(header, 0, 512, headerStart);
    await file.close();
    await truncate(path, tar.bytes);
    const { stdout } = await runProcess('tar', ['--numeric-owner', '-tvf', path]);
    const listed = stdout
      .trimEnd()
      .split('\n')
      .map((line) => line.split(/\s+/));
    expect(listed.map(([, , size, , , name]) => [name, Number(size)])).toEqual(
      Object.entries(sizes),
    );
  });

  test('comes back from ranges of any size that arrive in any pieces', async () => {
    const archive = await makeArchive(CONTENTS);
    const random = createRandom(testSeed());
    for (const maxBytes of [700, 4_096, 100_000, 10_000_000]) {
      const { target, files, fill } = await openTarget(archive.length);
      for (const range of cutTar(describeTar(files), maxBytes)) {
        for (let at = range.start; at < range.end;) {
          const end = Math.min(range.end, at + 1 + random.integer(maxBytes));
          await fill(at, archive.subarray(at, end));
          at = end;
        }
      }
      expect(await describeFolder(target)).toEqual(describeContents(CONTENTS));
    }
  });

  test.each([
    ['another name', 0],
    ['another mode', 105],
    ['another size', 130],
    ['another time', 140],
    ['another type', 156],
    ['another owner’s name', 270],
    ['something behind its fields', 511],
  ])('with %s in a header is a bad snapshot', async (_, offset) => {
    const archive = await makeArchive(CONTENTS);
    archive.writeUInt8(archive.readUInt8(offset) ^ 1, offset);
    const { target, fill } = await openTarget(archive.length);
    const filling = fill(0, archive.subarray(0, 1_000));
    await expect(filling).rejects.toThrow(
      'the header of pack-1.idx differs from what was declared',
    );
    expect((await stat(join(target, 'pack-1.idx'))).size).toBe(0);
    expect(await readdir(target)).toHaveLength(5);
  });

  /** Empty files, and how to write bytes of the archive into them. */
  async function openTarget(bytes: number) {
    const target = await directories.create('target');
    const declared = Object.entries(CONTENTS).map(([name, content]) => ({
      name,
      bytes: Buffer.byteLength(content),
    }));
    const layer = { name: 'layer', files: declared };
    const tar = describeTar(layer);
    expect(tar.bytes).toBe(bytes);
    const opened: TarFile[] = [];
    for (const entry of tar.entries) {
      opened.push({ ...entry, handle: await openFile(join(target, entry.name), 'wx') });
    }
    const fill = (from: number, content: Buffer): Promise<void> =>
      writeTar(opened, from, [content]);
    return { target, files: layer, fill };
  }
});
