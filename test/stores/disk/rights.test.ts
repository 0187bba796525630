/** The disk store among users: shared by several, or read-only for one. Needs root, to be others. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { chmod, chown, mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { createDiskRecords } from '../../../src/stores/disk/records.ts';
import { createDiskStore } from '../../../src/stores/disk/store.ts';
import { writeLayer } from '../../support/layer-files.ts';
import { canMount, mounts } from '../../support/mounts.ts';
import { runProcess } from '../../support/processes.ts';
import type { TrialResult } from '../../support/store-writer.ts';
import { temporaryDirectories } from '../../support/temporary-directory.ts';
import { create, find, KEY, outcomeOf, signal } from '../contract/store-contract.ts';
import { chooseCases } from '../../jobs/scenarios/rounds.ts';

const WRITER = join(import.meta.dirname, '../../support/store-writer.ts');
const GROUP = 40_000;
const ANNE = { uid: 40_001, gids: [40_001, GROUP] };
const BERT = { uid: 40_002, gids: [40_002, GROUP] };
const STRANGER = { uid: 40_003, gids: [40_003] };

const ALL_DONE = {
  find: 'done',
  put: 'done',
  create: 'done',
  claim: 'done',
  beat: 'done',
  get: 'done',
  list: 'done',
  tidy: 'done',
};
const ONLY_READ = {
  ...ALL_DONE,
  put: 'store-read-only',
  create: 'store-read-only',
  claim: 'store-read-only',
  beat: 'store-read-only',
  list: 'store-read-only',
  tidy: 'store-read-only',
};

const directories = temporaryDirectories();
const disks = mounts();
let path: string;
let source: string;
beforeEach(async () => {
  path = await directories.create('disk-store');
  source = await directories.create('source');
  await chmod(source, 0o755);
  for (let number = 1; number <= 5; number++) await writeLayer(source, 'any', { file: 'text' });
});
afterEach(async () => {
  try {
    disks.removeAll();
  } finally {
    await directories.removeAll();
  }
});

const isRoot = process.getuid?.() === 0;
const testAsRoot = isRoot ? test : test.skip;
const testReadOnly = canMount('tmpfs') ? test : test.skip;
const inStore = (...names: string[]): string => join(path, 'v1', KEY, ...names);

/** Everything a job does with a store, as another user; `number` is one more than the last one's. */
async function work(
  user: { uid: number; gids: number[] },
  umask: number,
  number: number,
  root = path,
): Promise<TrialResult> {
  const layer = { name: `layer-${number}`, files: [{ name: 'file', bytes: 4 }] };
  const task = { do: 'try', path: root, key: KEY, source, layer, number, umask, ...user };
  const { stdout, stderr } = await runProcess(process.execPath, [WRITER, JSON.stringify(task)]);
  expect(stderr).toBe('');
  return JSON.parse(stdout) as TrialResult;
}

async function share(mode: number, uid = 0, gid = GROUP): Promise<void> {
  await chown(path, uid, gid);
  await chmod(path, mode);
}

async function modeOf(...names: string[]): Promise<string> {
  return ((await stat(inStore(...names))).mode & 0o7777).toString(8);
}

describe('two users who share a store save, restore and clean up in turn', () => {
  testAsRoot.each(
    chooseCases<[string, number, number]>([
      ['mode 2775 and umask 022', 0o2775, 0o022],
      ['mode 2775 and umask 077', 0o2775, 0o077],
      ['mode 2775 and umask 002', 0o2775, 0o002],
      ['mode 775, so without setgid, and umask 077', 0o775, 0o077],
      ['mode 2770 and umask 022', 0o2770, 0o022],
      ['mode 777 and umask 077', 0o777, 0o077],
    ]),
  )('with %s', async (_, mode, umask) => {
    await share(mode);
    expect(await work(ANNE, umask, 2)).toEqual({ outcomes: ALL_DONE, messages: [] });
    expect(await work(BERT, umask, 3)).toEqual({ outcomes: ALL_DONE, messages: [] });
    expect(await work(ANNE, umask, 4)).toEqual({ outcomes: ALL_DONE, messages: [] });
    // Anne removed what Bert had saved, and before him Bert what Anne had.
    const store = createDiskStore({ path });
    expect((await store.list(KEY, signal)).layers.map(({ name }) => name)).toEqual(['layer-4']);
  });

  testAsRoot('with the rights of its own folder, whatever the umask', async () => {
    await share(0o2770);
    await work(ANNE, 0o077, 1);
    for (const names of [
      [],
      ['manifests'],
      ['layers'],
      ['claims'],
      ['tmp'],
      ['layers', 'layer-1'],
    ]) {
      expect(`${names.join('/')} ${await modeOf(...names)}`).toBe(`${names.join('/')} 2770`);
    }
    expect(await modeOf('manifests', '0000000001.json.gz')).toBe('660');
    expect(await modeOf('claims', 'claim-1')).toBe('660');
    expect(await modeOf('layers', 'layer-1', 'file')).toBe('440');
    expect((await stat(inStore('layers', 'layer-1', 'file'))).gid).toBe(GROUP);
  });

  testAsRoot('where one of them is root, as in a container', async () => {
    await share(0o755, ANNE.uid, ANNE.uid);
    await create(createDiskStore({ path }), 1, 'by root');
    await createDiskRecords({ path, key: KEY }).create('claim', Buffer.from('by root'), signal);
    expect(await work(ANNE, 0o022, 2)).toEqual({ outcomes: ALL_DONE, messages: [] });
  });
});

describe('a user without the rights', () => {
  testAsRoot('to write restores, and learns that the store is read-only and why', async () => {
    await share(0o2775);
    await work(ANNE, 0o022, 1);
    const { outcomes, messages } = await work(STRANGER, 0o022, 2);
    // Nothing was put under the name it asks for.
    expect(outcomes).toEqual({ ...ONLY_READ, get: 'bad-snapshot' });
    expect(messages[0]).toMatch(
      /the disk store \S+ can only be read by this job \(EACCES: .*\): user 40003 needs the right to read and write in it, e\.g\. by a group that all users share and mode 2775$/,
    );
  });

  testAsRoot('to write in an empty store finds nothing, and the store is read-only', async () => {
    await share(0o755);
    const { outcomes } = await work(STRANGER, 0o022, 3);
    expect(outcomes).toEqual({ ...ONLY_READ, get: 'bad-snapshot', list: 'done', tidy: 'done' });
  });

  testAsRoot.each<[string, () => string]>([
    ['the folder', () => inStore()],
    ['a manifest', () => inStore('manifests', '0000000001.json.gz')],
  ])('to read %s has no store, and is told which right is missing', async (_, closed) => {
    await share(0o2775);
    await work(ANNE, 0o022, 1);
    await chmod(closed(), 0o700);
    const { outcomes, messages } = await work(STRANGER, 0o022, 2);
    expect(outcomes).toMatchObject({ find: 'store-unavailable' });
    expect(messages[0]).toMatch(/EACCES.*: user 40003 needs the right to read in it/);
  });
});

describe('a disk that is mounted read-only', () => {
  testReadOnly.each([
    ['with snapshots', true],
    ['that is empty', false],
  ])('%s can be read, and is named (needs mount)', async (_, isFilled) => {
    const root = disks.memory(4 * 1024 * 1024);
    const store = createDiskStore({ path: root });
    const layer = await writeLayer(join(source, 'sub'), 'layer', { file: 'text' });
    if (isFilled) {
      await store.putLayer(KEY, layer, join(source, 'sub'), { signal });
      await create(store, 1, 'text');
    }
    disks.makeReadOnly(root);
    expect(await find(store)).toBe(isFilled ? '1 text' : undefined);
    const target = await directories.create('target');
    const getting = outcomeOf(store.getLayer(KEY, layer, target, { signal }));
    expect(await getting).toBe(isFilled ? 'fulfilled' : 'bad-snapshot');
    expect(await outcomeOf(create(store, 2, 'text'))).toBe('store-read-only');
    const putting = store.putLayer(KEY, { ...layer, name: 'other' }, join(source, 'sub'), {
      signal,
    });
    expect(await outcomeOf(putting)).toBe('store-read-only');
    const records = createDiskRecords({ path: root, key: KEY });
    expect(await records.list(signal)).toEqual([]);
    const creating = records.create('claim', Buffer.from('claim'), signal);
    await expect(creating).rejects.toThrow(
      /^the disk store \S+ can only be read by this job \(EROFS: [^)]*\)$/,
    );
  });

  testReadOnly('and its folder may not be writable either (needs mount)', async () => {
    const root = disks.memory(4 * 1024 * 1024);
    await mkdir(join(root, 'store'), { mode: 0o755 });
    await chmod(root, 0o755);
    await chmod(join(root, '..'), 0o755);
    disks.makeReadOnly(root);
    const { outcomes } = await work(ANNE, 0o022, 2, join(root, 'store'));
    expect(outcomes).toMatchObject({ find: 'done', create: 'store-read-only' });
  });
});

test('a mirror that this user may not read is no read-only store', async () => {
  if (!isRoot) return;
  await share(0o777);
  await chmod(join(source, 'file'), 0o600);
  const { outcomes, messages } = await work(ANNE, 0o022, 1);
  expect(outcomes).toMatchObject({ put: 'store-unavailable', create: 'done' });
  expect(messages[0]).not.toContain('can only be read');
});

test('nor is one whose path begins like that of the store', async () => {
  if (!isRoot) return;
  await share(0o777);
  const root = join(path, 'git');
  await mkdir(root);
  await chmod(root, 0o777);
  source = join(path, 'git-mirror');
  await mkdir(source);
  await writeLayer(source, 'any', { file: 'text' });
  await chmod(join(source, 'file'), 0o600);
  const { outcomes } = await work(ANNE, 0o022, 1, root);
  expect(outcomes).toMatchObject({ put: 'store-unavailable', create: 'done' });
});
