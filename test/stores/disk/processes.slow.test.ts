/** The disk store among processes that race, die, or may not do everything. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, statSync } from 'node:fs';
import { mkdir, readdir, rm, symlink, truncate, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createDiskRecords } from '../../../src/stores/disk/records.ts';
import { createDiskStore } from '../../../src/stores/disk/store.ts';
import type { LayerFiles, Store } from '../../../src/stores/store.ts';
import { describeContents, describeFolder, writeLayer } from '../../support/layer-files.ts';
import { type ProcessResult, runProcess, waitUntil } from '../../support/processes.ts';
import { createRandom, testSeed } from '../../support/random.ts';
import type { WriterTask } from '../../support/store-writer.ts';
import { temporaryDirectories } from '../../support/temporary-directory.ts';
import { create, find, KEY, NOTHING, signal } from '../contract/store-contract.ts';

const MIB = 1024 * 1024;
const SHARED_MEMORY = '/dev/shm';
const WRITER = join(import.meta.dirname, '../../support/store-writer.ts');
const STORE = new URL('../../../src/stores/disk/store.ts', import.meta.url).href;

const directories = temporaryDirectories();
let path: string;
let store: Store;
beforeEach(async () => {
  path = await directories.create('disk-store');
  store = createDiskStore({ path });
});
afterEach(() => directories.removeAll());

const testIf = (condition: boolean) => (condition ? test : test.skip);
const inStore = (root: string, ...names: string[]): string => join(root, 'v1', KEY, ...names);

async function runWriter(task: WriterTask): Promise<ProcessResult> {
  return runProcess(process.execPath, [WRITER, JSON.stringify(task)], { timeoutMs: 30_000 });
}

/** Kills a writer that long after it has saved so many snapshots. Returns what it said, and its death. */
async function killWriter(task: WriterTask, saves: number, delayMs: number): Promise<string> {
  const child = spawn(process.execPath, [WRITER, JSON.stringify(task)]);
  const ended = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>;
  let [said, marks] = ['', 0];
  child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
  child.stdout.on('data', (chunk: Buffer) => (marks += chunk.length));
  // The first mark says that it has begun.
  const isDue = () => marks > saves || child.exitCode !== null;
  await waitUntil(isDue, { timeoutMs: 30_000, what: 'a writer that saves' });
  await sleep(delayMs);
  child.kill('SIGKILL');
  return `${said}${String((await ended)[1])}`;
}

/** Six processes contend for ten numbers; each number must have one winner, who is in it. */
async function expectOneWinnerEach(root: string): Promise<void> {
  const numbers = 10;
  const startAtMs = Date.now() + 800; // all have started by then, more or less
  const writers = ['a', 'b', 'c', 'd', 'e', 'f'];
  const results = await Promise.all(
    writers.map((writer) =>
      runWriter({ do: 'race', path: root, key: KEY, writer, numbers, startAtMs }),
    ),
  );
  const won = results.map(({ stdout, stderr }) => {
    expect(stderr).toBe('');
    return JSON.parse(stdout) as number[];
  });
  for (let number = 1; number <= numbers; number++) {
    const winners = writers.filter((_, index) => won[index]!.includes(number));
    expect(winners).toHaveLength(1);
    const text = await find(createDiskStore({ path: root }), { below: number + 1 });
    expect(text).toBe(`${number} ${`${winners[0]!} `.repeat(2_000)}`);
  }
  expect(await readdir(inStore(root, 'tmp'))).toEqual([]);
}

describe('processes', () => {
  test('that contend for a number: one wins', async () => {
    await expectOneWinnerEach(path);
  });

  test('that are killed at any moment leave nothing half visible', async () => {
    const random = createRandom(testSeed());
    const source = await directories.create('source');
    const contents = { 'pack-1.idx': randomBytes(70_000), 'pack-1.pack': randomBytes(6 * MIB) };
    const { files } = await writeLayer(source, 'any', contents);
    for (let round = 0; round < 8; round++) {
      const both = ['a', 'b'].map((side) => {
        const writer = `${side}${round}`;
        const task = { do: 'save', path, key: KEY, writer, source, files } as const;
        return killWriter(task, round % 2, random.integer(300));
      });
      expect(await Promise.all(both)).toEqual(['SIGKILL', 'SIGKILL']);
    }

    const { manifests, layers, debris } = await store.list(KEY, signal);
    expect(manifests.length).toBeGreaterThan(0);
    expect(layers.length).toBeGreaterThanOrEqual(manifests.length);
    expect(debris.length).toBeGreaterThan(0);
    for (const { number } of manifests) {
      const found = await store.findManifest(KEY, { below: number + 1, signal });
      const layer = JSON.parse(Buffer.from(found!.content).toString()) as LayerFiles;
      expect(layers.map(({ name }) => name)).toContain(layer.name);
    }
    for (const { name } of layers) {
      const target = await directories.create('target');
      await store.getLayer(KEY, { name, files }, target, { signal });
      expect(await describeFolder(target)).toEqual(describeContents(contents));
      await rm(target, { recursive: true });
    }
    const names = debris.map(({ name }) => name);
    await store.remove(KEY, { ...NOTHING, debris: names }, signal);
    expect(await readdir(inStore(path, 'tmp'))).toEqual([]);
  });
});

test('a process that is killed while it asks for the time leaves debris that can be removed', async () => {
  await create(store, 1, 'text');
  const script = `
    import fs from 'node:fs';
    import { syncBuiltinESMExports } from 'node:module';
    fs.promises.rm = () => process.kill(process.pid, 'SIGKILL');
    syncBuiltinESMExports();
    const { createDiskStore } = await import('${STORE}');
    const store = createDiskStore({ path: ${JSON.stringify(path)} });
    await store.list('${KEY}', new AbortController().signal);`;
  await runProcess(process.execPath, ['--input-type=module', '--eval', script]);
  const { debris } = await store.list(KEY, signal);
  expect(debris).toHaveLength(1);
  await store.remove(KEY, { ...NOTHING, debris: debris.map(({ name }) => name) }, signal);
  expect(await readdir(inStore(path, 'tmp'))).toEqual([]);
});

test('one that asked for the time of claims leaves what no list shows, and a later one removes', async () => {
  const records = createDiskRecords({ path, key: KEY });
  await records.create('claim', Buffer.from('a job'), signal);
  const left = inStore(path, 'claims/clock-0123456789abcdef01234567');
  await writeFile(left, '');
  expect((await records.list(signal)).map(({ name }) => name)).toEqual(['claim']);
  expect(existsSync(left)).toBe(true);
  const longAgo = new Date(Date.now() - 2 * 60 * 60_000);
  await utimes(left, longAgo, longAgo);
  await records.list(signal);
  expect(await readdir(inStore(path, 'claims'))).toEqual(['claim']);
});

describe('a disk without hard links', () => {
  // A folder that lies on another disk: a link into it fails with EXDEV, for real and for anyone.
  const isElsewhere =
    existsSync(SHARED_MEMORY) && statSync(SHARED_MEMORY).dev !== statSync(tmpdir()).dev;
  const testLinkless = testIf(isElsewhere);
  const elsewhere = join(SHARED_MEMORY, `mirror-action-${process.pid}`);

  beforeEach(async () => {
    if (!isElsewhere) return;
    await mkdir(elsewhere);
    await mkdir(inStore(path), { recursive: true });
    await symlink(elsewhere, inStore(path, 'manifests'));
  });
  afterEach(() => rm(elsewhere, { recursive: true, force: true }));

  testLinkless('still has one winner of a number (needs /dev/shm)', async () => {
    await expectOneWinnerEach(path);
    expect(await readdir(elsewhere)).toHaveLength(10);
  });

  testLinkless('never replaces a number, nor one that a dead writer left half', async () => {
    expect(await create(store, 1, 'whole')).toBe(true);
    expect(await create(store, 1, 'other')).toBe(false);
    await truncate(join(elsewhere, '0000000001.json.gz'), 2);
    expect(await create(store, 1, 'other')).toBe(false);
    expect(await find(store)).toBe('1 wh');
    await store.withdrawManifest(KEY, 1, signal);
    expect(await find(store)).toBeUndefined();
  });
});
