import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { spawnSync } from 'node:child_process';
import {
  chmod,
  link,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { createDiskStore } from '../../../src/stores/disk/store.ts';
import { MAX_MANIFEST_BYTES, type Store } from '../../../src/stores/store.ts';
import { describeContents, describeFolder, writeLayer } from '../../support/layer-files.ts';
import { temporaryDirectories } from '../../support/temporary-directory.ts';
import {
  create,
  describeStoreContract,
  find,
  KEY,
  NOTHING,
  outcomeOf,
  signal,
} from '../contract/store-contract.ts';

const directories = temporaryDirectories();
let path: string;
let store: Store;
beforeEach(async () => {
  path = await directories.create('disk-store');
  store = createDiskStore({ path });
});
afterEach(() => directories.removeAll());

describeStoreContract(
  'the disk store',
  () =>
    Promise.resolve({
      open: () => createDiskStore({ path }),
      openUnreachable: () => createDiskStore({ path: join(path, 'not-mounted') }),
      close: () => Promise.resolve(),
    }),
  { hasOutages: true },
);

const inStore = (...names: string[]): string => join(path, 'v1', KEY, ...names);
const LAYER = { name: 'layer', files: [{ name: 'file', bytes: 6 }] };

async function putLayer(): Promise<void> {
  const source = await directories.create('source');
  await writeLayer(source, 'layer', { file: 'stored' });
  await store.putLayer(KEY, LAYER, source, { signal });
}

async function getLayer(): Promise<string> {
  const target = await directories.create('target');
  await store.getLayer(KEY, LAYER, target, { signal });
  return target;
}

describe('the layout', () => {
  test('is manifests by number, a folder for each layer, and no more', async () => {
    await putLayer();
    await create(store, 7, 'text');
    expect(await readdir(path)).toEqual(['v1']);
    expect((await readdir(inStore())).sort()).toEqual(['layers', 'manifests', 'tmp']);
    expect(await readFile(inStore('manifests', '0000000007.json.gz'), 'utf8')).toBe('text');
    expect(await readFile(inStore('layers', 'layer', 'file'), 'utf8')).toBe('stored');
    expect(await readdir(inStore('tmp'))).toEqual([]);
    expect((await stat(inStore('manifests', '0000000007.json.gz'))).nlink).toBe(1);
  });

  test('files that are none of ours are let be', async () => {
    await putLayer();
    await create(store, 7, 'text');
    const foreign = ['8.json.gz', '0000000009.json', '0000000000.json.gz', 'x0000000009.json.gz'];
    for (const name of [...foreign, '.nfs0001', '0000000009.json.gz.part']) {
      await writeFile(inStore('manifests', name), 'none of ours');
    }
    await writeFile(inStore('layers', 'a file'), 'none of ours');
    await writeFile(inStore('tmp', 'a file'), 'none of ours');
    expect(await find(store)).toBe('7 text');
    const { manifests, layers, debris } = await store.list(KEY, signal);
    expect(manifests).toHaveLength(1);
    expect(layers).toHaveLength(1);
    expect(debris).toEqual([]);
  });

  test('a manifest beyond measure is cut short, not read whole', async () => {
    await create(store, 1, 'text');
    await truncate(inStore('manifests', '0000000001.json.gz'), MAX_MANIFEST_BYTES + 10);
    const found = await store.findManifest(KEY, { signal });
    expect(found?.content.length).toBe(MAX_MANIFEST_BYTES);
    const tooLarge = new Uint8Array(MAX_MANIFEST_BYTES + 1);
    expect(await outcomeOf(store.createManifest(KEY, 2, tooLarge, signal))).toBe('TypeError');
  });

  test('a manifest that retention removes under our eyes leads to the next older one', async () => {
    for (let number = 1; number <= 40; number++) await create(store, number, 'text');
    const removing = (async () => {
      for (let number = 40; number > 1; number--) {
        await store.remove(KEY, { ...NOTHING, manifests: [number] }, signal);
      }
    })();
    let last = 41;
    while (last > 1) {
      const found = await store.findManifest(KEY, { signal });
      expect(found!.number).toBeLessThanOrEqual(last);
      expect(Buffer.from(found!.content).toString()).toBe('text');
      last = found!.number;
    }
    await removing;
  });

  test('debris is listed, ages, and is removed with all it holds', async () => {
    await putLayer();
    await mkdir(inStore('tmp', 'left-by-a-dead-writer'));
    await writeFile(inStore('tmp', 'left-by-a-dead-writer', 'pack-1.pack'), 'half');
    await chmod(inStore('tmp', 'left-by-a-dead-writer', 'pack-1.pack'), 0o444);
    const { debris } = await store.list(KEY, signal);
    expect(debris.map(({ name }) => name)).toEqual(['left-by-a-dead-writer']);
    expect(debris[0]!.ageMs).toBeGreaterThanOrEqual(0);
    await store.remove(KEY, { ...NOTHING, debris: ['left-by-a-dead-writer'] }, signal);
    expect(await readdir(inStore('tmp'))).toEqual([]);
  });
});

describe("the store's own folder", () => {
  test('is never created: if it is missing, that is an outage that tells the path', async () => {
    const missing = join(path, 'not', 'mounted');
    const other = createDiskStore({ path: missing });
    await expect(find(other)).rejects.toThrow(`${missing} does not exist`);
    expect(await outcomeOf(create(other, 1, 'text'))).toBe('store-unavailable');
    expect(await readdir(path)).toEqual([]);
  });

  test('may vanish while it is used: then layers are not bad, but out of reach', async () => {
    await putLayer();
    await rename(path, `${path}-away`);
    try {
      expect(await outcomeOf(getLayer())).toBe('store-unavailable');
      expect(await outcomeOf(find(store))).toBe('store-unavailable');
    } finally {
      await rename(`${path}-away`, path);
    }
    expect(await outcomeOf(getLayer())).toBe('fulfilled');
  });

  test('may not be a file, nor a link to nowhere', async () => {
    await writeFile(join(path, 'file'), '');
    await symlink('nowhere', join(path, 'dangling'));
    for (const name of ['file', 'dangling']) {
      const other = createDiskStore({ path: join(path, name) });
      expect(await outcomeOf(find(other))).toBe('store-unavailable');
      expect(await outcomeOf(create(other, 1, 'text'))).toBe('store-unavailable');
    }
  });
});

describe('what somebody planted in the store', () => {
  const secret = async (): Promise<string> => {
    const file = join(await directories.create('secret'), 'secret');
    await writeFile(file, 'secret');
    return file;
  };

  test('a symlink in place of a file is not followed', async () => {
    await putLayer();
    const file = inStore('layers', 'layer', 'file');
    await rm(file);
    await symlink(await secret(), file);
    expect(await outcomeOf(getLayer())).toBe('bad-snapshot');
  });

  test('a symlink in place of a layer is not followed, and removing it removes only itself', async () => {
    await putLayer();
    const elsewhere = await directories.create('elsewhere');
    await writeFile(join(elsewhere, 'file'), 'secret');
    await rm(inStore('layers', 'layer'), { recursive: true });
    await symlink(elsewhere, inStore('layers', 'layer'));
    expect(await outcomeOf(getLayer())).toBe('bad-snapshot');
    await store.remove(KEY, { ...NOTHING, layers: ['layer'] }, signal);
    expect(await readdir(elsewhere)).toEqual(['file']);
    expect((await store.list(KEY, signal)).layers).toEqual([]);
  });

  const testPipe = process.platform === 'win32' ? test.skip : test;
  testPipe('a pipe in place of a file does not hang the reader', async () => {
    await putLayer();
    await rm(inStore('layers', 'layer', 'file'));
    spawnSync('mkfifo', [inStore('layers', 'layer', 'file')]);
    expect(await outcomeOf(getLayer())).toBe('bad-snapshot');
  });

  test('a symlink or a folder in place of a manifest reads as nothing, and takes its number', async () => {
    await create(store, 1, 'text');
    await symlink(await secret(), inStore('manifests', '0000000002.json.gz'));
    await mkdir(inStore('manifests', '0000000003.json.gz'));
    expect(await find(store)).toBe('3 ');
    expect(await find(store, { below: 3 })).toBe('2 ');
    expect(await find(store, { below: 2 })).toBe('1 text');
    expect(await create(store, 3, 'new')).toBe(false);
    await store.remove(KEY, { ...NOTHING, manifests: [2, 3] }, signal);
    expect(await find(store)).toBe('1 text');
  });

  test('files that were not declared stay where they are', async () => {
    await putLayer();
    await mkdir(inStore('layers', 'layer', 'hooks'));
    await writeFile(inStore('layers', 'layer', 'config'), '[core]');
    expect(await readdir(await getLayer())).toEqual(['file']);
  });
});

describe('store and mirror share no file', () => {
  const inodeOf = async (file: string): Promise<number> => (await stat(file)).ino;

  test('a write in place on one side does not change the other', async () => {
    const source = await directories.create('source');
    await writeLayer(source, 'layer', { file: 'stored' });
    await store.putLayer(KEY, LAYER, source, { signal });
    const stored = inStore('layers', 'layer', 'file');
    const restored = join(await getLayer(), 'file');
    const files = [join(source, 'file'), stored, restored];
    expect(new Set(await Promise.all(files.map(inodeOf))).size).toBe(3);
    for (const [index, file] of files.entries()) {
      await chmod(file, 0o600);
      await writeFile(file, `side ${index}`, { flag: 'r+' });
    }
    expect(await Promise.all(files.map((file) => readFile(file, 'utf8')))).toEqual([
      'side 0',
      'side 1',
      'side 2',
    ]);
  });

  test('a file that has other names is copied, too', async () => {
    const source = await directories.create('source');
    await writeLayer(source, 'layer', { file: 'stored' });
    await link(join(source, 'file'), join(source, 'other-name'));
    await store.putLayer(KEY, LAYER, source, { signal });
    expect((await stat(inStore('layers', 'layer', 'file'))).nlink).toBe(1);
    expect(await describeFolder(await getLayer())).toEqual(describeContents({ file: 'stored' }));
  });
});
