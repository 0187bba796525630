/** The disk store on real disks: full, hung, sharing blocks; and with files that take long. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, stat, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createDiskStore } from '../../../src/stores/disk/store.ts';
import type { Store } from '../../../src/stores/store.ts';
import { describeContents, describeFolder, writeLayer } from '../../support/layer-files.ts';
import { canMount, freeze, IMAGE_BYTES, mounts, thaw } from '../../support/mounts.ts';
import { runProcess } from '../../support/processes.ts';
import { temporaryDirectories } from '../../support/temporary-directory.ts';
import { create, find, KEY, NOTHING, outcomeOf, signal } from '../contract/store-contract.ts';

const MIB = 1024 * 1024;
const WRITER = join(import.meta.dirname, '../../support/store-writer.ts');

const directories = temporaryDirectories();
const disks = mounts();
let path: string;
let store: Store;
beforeEach(async () => {
  path = await directories.create('disk-store');
  store = createDiskStore({ path });
});
afterEach(async () => {
  try {
    disks.removeAll();
  } finally {
    await directories.removeAll();
  }
});

const testIf = (condition: boolean) => (condition ? test : test.skip);
const inStore = (root: string, ...names: string[]): string => join(root, 'v1', KEY, ...names);

describe('a full disk', () => {
  const testFull = testIf(canMount('tmpfs'));
  const large = { file: 'x'.repeat(6 * MIB) };

  async function fill(root: string): Promise<void> {
    const filling = writeFile(join(root, 'filler'), Buffer.alloc(8 * MIB));
    await expect(filling).rejects.toMatchObject({ code: 'ENOSPC' });
  }

  testFull('refuses a layer with no-space and keeps nothing of it (needs mount)', async () => {
    const root = disks.memory(4 * MIB);
    const small = createDiskStore({ path: root });
    const source = await directories.create('source');
    const layer = await writeLayer(source, 'layer', large);
    expect(await outcomeOf(small.putLayer(KEY, layer, source, { signal }))).toBe('no-space');
    expect(await small.list(KEY, signal)).toEqual(NOTHING);
    expect(await readdir(inStore(root, 'tmp'))).toEqual([]);
    expect(await create(small, 1, 'fits')).toBe(true);
  });

  testFull('refuses a manifest with no-space, and can be tidied (needs mount)', async () => {
    const root = disks.memory(4 * MIB);
    const small = createDiskStore({ path: root });
    const source = await directories.create('source');
    const layer = await writeLayer(source, 'layer', { file: 'x'.repeat(MIB) });
    await small.putLayer(KEY, layer, source, { signal });
    await create(small, 1, 'old');
    await fill(root);
    expect(await outcomeOf(create(small, 2, 'y'.repeat(MIB)))).toBe('no-space');
    expect(await readdir(inStore(root, 'tmp'))).toEqual([]);
    expect(await find(small)).toBe('1 old');
    // Retention is what makes space: it must work without any.
    expect((await small.list(KEY, signal)).layers).toHaveLength(1);
    await small.remove(KEY, { ...NOTHING, layers: ['layer'] }, signal);
    expect(await create(small, 2, 'y'.repeat(MIB / 2))).toBe(true);
  });

  testFull("on the mirror's side is no-space, too (needs mount)", async () => {
    const source = await directories.create('source');
    const layer = await writeLayer(source, 'layer', large);
    await store.putLayer(KEY, layer, source, { signal });
    const target = disks.memory(4 * MIB);
    expect(await outcomeOf(store.getLayer(KEY, layer, target, { signal }))).toBe('no-space');
  });
});

describe('a full disk without hard links', () => {
  testIf(canMount('tmpfs'))('keeps nothing of a manifest (needs mount)', async () => {
    const full = disks.memory(4 * MIB);
    await mkdir(inStore(path), { recursive: true });
    await symlink(full, inStore(path, 'manifests'));
    const content = new Uint8Array(6 * MIB);
    expect(await outcomeOf(store.createManifest(KEY, 1, content, signal))).toBe('no-space');
    expect(await readdir(full)).toEqual([]);
    expect(await readdir(inStore(path, 'tmp'))).toEqual([]);
  });
});

describe('a disk that does not answer', () => {
  const CALL_ENDS_IN_MS = 4_000;

  testIf(canMount('hung'))('is given up once, and holds no process (needs mount)', async () => {
    const task = { do: 'open', path: disks.hung(), key: KEY };
    const { exitCode, stdout } = await runProcess(process.execPath, [WRITER, JSON.stringify(task)]);
    expect(exitCode).toBe(0);
    const [opened, found] = JSON.parse(stdout) as { failure: string; afterMs: number }[];
    expect(opened!.failure).toBe('none');
    expect(found!.failure).toMatch(/finding a manifest: the disk store \S+ still does not answer$/);
    expect(found!.afterMs - opened!.afterMs).toBeLessThan(15_000);
  });

  testIf(canMount('ext4'))('holds a cancelled job only for a moment (needs mount)', async () => {
    const root = disks.image('ext4', IMAGE_BYTES['ext4']!);
    const hung = createDiskStore({ path: root });
    const source = await directories.create('source');
    const layer = await writeLayer(source, 'layer', { file: 'text' });
    await create(hung, 1, 'old');
    freeze(root);
    const controller = new AbortController();
    const calls = [
      hung.putLayer(KEY, layer, source, { signal: controller.signal }),
      hung.createManifest(KEY, 2, Buffer.from('new'), controller.signal),
    ].map(outcomeOf);
    await sleep(200);
    controller.abort();
    const abortedAt = performance.now();
    expect(await Promise.all(calls)).toEqual(['cancelled', 'cancelled']);
    expect(performance.now() - abortedAt).toBeLessThan(CALL_ENDS_IN_MS);

    thaw(root);
    // The calls that were given up go on, fail and tidy up: until nothing has moved for a while.
    for (let quiet = 0; quiet < 25; quiet++) {
      await sleep(20);
      if ((await readdir(inStore(root, 'tmp'))).length > 0) quiet = 0;
    }
    expect(await hung.list(KEY, signal)).toMatchObject({ layers: [], debris: [] });
    expect(await find(hung)).toBe('1 old');
  });
});

describe('a disk that shares blocks', () => {
  testIf(canMount('xfs'))('takes no second copy (needs mount and mkfs.xfs)', async () => {
    const root = disks.image('xfs', IMAGE_BYTES['xfs']!);
    const sharing = createDiskStore({ path: root });
    const source = join(root, 'source');
    const bytes = randomBytes(40 * MIB);
    const layer = await writeLayer(source, 'layer', { file: bytes });
    // The disk has room for few plain copies, not for nine.
    for (const name of ['one', 'two', 'three', 'four']) {
      await sharing.putLayer(KEY, { ...layer, name }, source, { signal });
      const target = join(root, `restored-${name}`);
      await mkdir(target);
      await sharing.getLayer(KEY, { ...layer, name }, target, { signal });
      expect((await stat(join(target, 'file'))).mode & 0o777).toBe(0o444);
      expect(await describeFolder(target)).toEqual(describeContents({ file: bytes }));
    }
  });
});

describe('a large file', () => {
  const bytes = 8 * 1024 * 1024 * 1024;
  const large = { name: 'large', files: [{ name: 'pack', bytes }] };

  async function cancelSoon(work: (signal: AbortSignal) => Promise<void>): Promise<number> {
    const controller = new AbortController();
    const outcome = outcomeOf(work(controller.signal));
    await new Promise((resolve) => setTimeout(resolve, 150));
    controller.abort();
    const abortedAt = performance.now();
    expect(await outcome).toBe('cancelled');
    return performance.now() - abortedAt;
  }

  test('does not delay a cancelled put, and nothing of it stays', async () => {
    const source = await directories.create('source');
    await writeFile(join(source, 'pack'), '');
    await truncate(join(source, 'pack'), bytes); // all hole: it takes no space
    const put = (given: AbortSignal) => store.putLayer(KEY, large, source, { signal: given });
    expect(await cancelSoon(put)).toBeLessThan(2_500);
    expect(await readdir(inStore(path, 'tmp'))).toEqual([]);
    expect(await readdir(inStore(path, 'layers'))).toEqual([]);
  });

  test('does not delay a cancelled get', async () => {
    await create(store, 1, 'text');
    await mkdir(inStore(path, 'layers', 'large'));
    await writeFile(inStore(path, 'layers', 'large', 'pack'), '');
    await truncate(inStore(path, 'layers', 'large', 'pack'), bytes);
    const target = await directories.create('target');
    const get = (given: AbortSignal) => store.getLayer(KEY, large, target, { signal: given });
    expect(await cancelSoon(get)).toBeLessThan(2_500);
  });
});
