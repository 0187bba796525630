/** LFS objects on a disk: nothing counts that has not the content of its name. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { createHash } from 'node:crypto';
import { mkdir, readFile, stat, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import {
  adoptObjects,
  bundleObjects,
  findSound,
  objectPath,
  placeObjects,
  tidyObjects,
  unpackBundle,
} from '../../src/lfs/objects.ts';
import type { LfsObject } from '../../src/lfs/pointers.ts';
import { isPresent } from '../../src/lib/files.ts';
import { canMount, mounts } from '../support/mounts.ts';
import { createRandom } from '../support/random.ts';
import { createTemporaryDirectory, removeDirectory } from '../support/temporary-directory.ts';

const { signal } = new AbortController();
const random = createRandom(3);
const CONTENTS = [10, 70_000, 2_500_000].map((bytes) => random.bytes(bytes));
const OBJECTS = CONTENTS.map((content): LfsObject => ({
  oid: createHash('sha256').update(content).digest('hex'),
  size: content.length,
}));
const [FIRST, SECOND, THIRD] = OBJECTS as [LfsObject, LfsObject, LfsObject];

const disks = mounts();
let root: string;
let folder: string;

beforeEach(async () => {
  root = await createTemporaryDirectory('lfs-objects');
  folder = join(root, 'mirror.git.lfs');
  for (const [index, { oid }] of OBJECTS.entries()) await put(oid, CONTENTS[index] ?? '');
});

afterEach(async () => {
  disks.removeAll();
  await removeDirectory(root);
});

async function put(oid: string, content: string | Uint8Array): Promise<void> {
  const path = objectPath(folder, oid);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, content);
}

const oids = (...objects: LfsObject[]) => new Set(objects.map(({ oid }) => oid));

describe('a sound object', () => {
  test('has its size and its content; whatever has not is removed', async () => {
    await put(FIRST.oid, 'x'.repeat(FIRST.size));
    await put(SECOND.oid, 'short');
    const absent = { oid: 'f'.repeat(64), size: 1 };
    expect(await findSound(folder, [...OBJECTS, absent], signal)).toEqual(oids(THIRD));
    expect(await isPresent(objectPath(folder, FIRST.oid))).toBe(false);
    expect(await isPresent(objectPath(folder, SECOND.oid))).toBe(false);
  });

  test('is not one that a pointer of another size names', async () => {
    expect(await findSound(folder, [{ ...FIRST, size: 9 }], signal)).toEqual(new Set());
  });

  test('is what is adopted of a download, and nothing else', async () => {
    const target = join(root, 'target');
    await put(SECOND.oid, 'y'.repeat(SECOND.size));
    expect(await adoptObjects(folder, target, OBJECTS, signal)).toEqual(oids(FIRST, THIRD));
    expect(await findSound(target, OBJECTS, signal)).toEqual(oids(FIRST, THIRD));
  });
});

describe('a bundle', () => {
  const bundle = () => join(root, 'work', 'bundle');
  const options = { signal, onBytes: () => undefined };

  test('gives back the objects that went in', async () => {
    await bundleObjects(folder, OBJECTS, bundle(), options);
    const target = join(root, 'target');
    expect(await unpackBundle(bundle(), OBJECTS, target, signal)).toEqual(oids(...OBJECTS));
    // Over those that are here: whole layers are restored.
    expect(await unpackBundle(bundle(), OBJECTS, target, signal)).toEqual(oids(...OBJECTS));
    for (const [index, { oid }] of OBJECTS.entries()) {
      const content = await readFile(objectPath(target, oid));
      expect(content.equals(CONTENTS[index] ?? Buffer.alloc(0))).toBe(true);
    }
  });

  test('is not made with a wrong object, which is removed', async () => {
    await put(SECOND.oid, 'x'.repeat(SECOND.size));
    await expect(bundleObjects(folder, OBJECTS, bundle(), options)).rejects.toMatchObject({
      code: 'corrupt-mirror',
    });
    expect(await isPresent(objectPath(folder, SECOND.oid))).toBe(false);
  });

  test('that is damaged or cut gives its other objects', async () => {
    await bundleObjects(folder, OBJECTS, bundle(), options);
    const content = await readFile(bundle());
    content[FIRST.size + 5] = (content[FIRST.size + 5] ?? 0) ^ 1;
    await writeFile(bundle(), content.subarray(0, -1));
    const target = join(root, 'target');
    expect(await unpackBundle(bundle(), OBJECTS, target, signal)).toEqual(oids(FIRST));
    expect(await findSound(target, OBJECTS, signal)).toEqual(oids(FIRST));
  });
});

test('objects are placed in a git directory by hard links', async () => {
  const target = join(root, '.git');
  expect(await placeObjects(folder, target, OBJECTS, signal)).toBe(0);
  const [here, there] = [objectPath(folder, THIRD.oid), objectPath(join(target, 'lfs'), THIRD.oid)];
  expect((await stat(there)).ino).toBe((await stat(here)).ino);
});

const onOtherDisk = canMount('tmpfs') ? test : test.skip;

onOtherDisk('objects are placed on another disk by copies, whose bytes are counted', async () => {
  const target = join(disks.memory(16 * 1024 * 1024), '.git');
  const total = OBJECTS.reduce((sum, { size }) => sum + size, 0);
  expect(await placeObjects(folder, target, OBJECTS, signal)).toBe(total);
  expect(await findSound(join(target, 'lfs'), OBJECTS, signal)).toEqual(oids(...OBJECTS));
});

test('an object that nobody needed for a month is removed, one that was needed lately is not', async () => {
  const day = 24 * 60 * 60_000;
  const now = Date.now();
  const age = (oid: string, days: number) => {
    const time = new Date(now - days * day);
    return utimes(objectPath(folder, oid), time, time);
  };
  // No object: it keeps nothing from being tidied.
  await writeFile(join(dirname(objectPath(folder, FIRST.oid)), 'stray'), '');
  // A folder that is where an object `ab` would be, and old.
  const twice = dirname(objectPath(folder, 'ab'.repeat(32)));
  await mkdir(twice, { recursive: true });
  await utimes(twice, new Date(now - 31 * day), new Date(now - 31 * day));
  await age(FIRST.oid, 31);
  await age(SECOND.oid, 31);
  await age(THIRD.oid, 29);
  // A job needs it.
  await findSound(folder, [SECOND], signal);
  await tidyObjects(folder, now, signal);
  expect(await findSound(folder, OBJECTS, signal)).toEqual(oids(SECOND, THIRD));
});
