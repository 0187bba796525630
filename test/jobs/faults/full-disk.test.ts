/**
 * A disk that is full: a message that says so, nothing unfinished left, what was there kept. The
 * disk is a real one, of memory.
 */
import { afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { cpSync, mkdirSync, readdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { git } from '../../support/git.ts';
import { canMount, mounts } from '../../support/mounts.ts';
import { addCommits } from '../../support/repository-fixture.ts';
import {
  expectMirrorOf,
  failureOf,
  listManifests,
  listRefs,
  readStore,
  readTree,
  succeed,
  useScenarios,
  verdict,
  type Scenario,
} from '../scenarios/scenario.ts';
import { chooseCases } from '../scenarios/rounds.ts';

const scenarios = useScenarios();
const disks = mounts();
const MIB = 1024 * 1024;
/** Without a disk of a given size there is nothing to fill. */
const onSmallDisks = canMount('tmpfs') ? describe : describe.skip;

/** Its pack has 3 MiB, and the new commits 2 MiB. */
const repository = { commits: 10, files: 30, fileBytes: 60_000, branches: 2 };
const newCommits = { commits: 10, files: 30, fileBytes: 100_000 };

let scenario: Scenario;
/** A mirror, and a store with its snapshot, which both lack upstream's new commits. */
let base: string;
let baseRefs: string[];
let baseStore: string;

beforeAll(async () => {
  if (!canMount('tmpfs')) return;
  scenario = await scenarios.create(repository);
  base = (await scenario.run()).mirror;
  baseRefs = await listRefs(base);
  baseStore = join(scenario.root, 'base-store');
  cpSync(scenario.store, baseStore, { recursive: true });
  await addCommits(scenario.upstream, newCommits);
});

afterEach(() => {
  disks.removeAll();
});

const NO_SPACE = /no space left/i;

function freeBytes(path: string): number {
  const { bavail, bsize } = statfsSync(path);
  return bavail * bsize;
}

/** Leaves that many bytes free; gives what frees the rest again. */
function fill(disk: string, leave: number): () => void {
  const file = join(disk, 'ballast');
  writeFileSync(file, Buffer.alloc(Math.max(0, freeBytes(disk) - leave)));
  return () => {
    rmSync(file);
  };
}

function newStore(): string {
  const store = join(scenario.newMachine(), 'store');
  mkdirSync(store, { recursive: true });
  return store;
}

/** Names next to the mirror's place. */
function left(disk: string): string[] {
  return readdirSync(disk).filter((name) => name !== 'ballast');
}

onSmallDisks('the disk of the mirror is full', () => {
  test('while it is cloned: main fails, nothing is left, post saves nothing', async () => {
    const disk = disks.memory(2 * MIB);
    const store = newStore();
    const before = freeBytes(disk);
    const job = scenario.job({
      inputs: { 'mirror-path': join(disk, 'name.git'), 'disk-path': store },
    });
    expect(failureOf(await job.main())).toMatch(NO_SPACE);
    expect(left(disk)).toEqual(['name.git.lock']);
    expect(freeBytes(disk)).toBeGreaterThanOrEqual(before - 8192);
    expect(verdict(await succeed(job.post()))).toMatch(/the fetch did not succeed/);
    expect(readdirSync(store)).toEqual([]);
  });

  test.each(
    chooseCases([
      ['within its snapshot', 2 * MIB],
      ['within its fetch', 4 * MIB],
    ]),
  )('while it is restored, %s: main fails, nothing is left', async (_, bytes) => {
    const disk = disks.memory(bytes);
    const before = await readStore(baseStore);
    const job = scenario.job({
      inputs: { 'mirror-path': join(disk, 'name.git'), 'disk-path': baseStore },
    });
    expect(failureOf(await job.main())).toMatch(NO_SPACE);
    expect(left(disk)).toEqual(['name.git.lock']);
    expect(verdict(await succeed(job.post()))).toMatch(/the fetch did not succeed/);
    expect(await readStore(baseStore)).toEqual(before);
  });

  test.each(
    chooseCases([
      ['with room for half of the new commits', MIB],
      ['with no room at all', 0],
    ]),
  )('while it is fetched, %s: the old mirror stays, and nothing else', async (_, room) => {
    const disk = disks.memory(16 * MIB);
    const path = join(disk, 'name.git');
    cpSync(base, path, { recursive: true });
    const free = fill(disk, room);
    const before = freeBytes(disk);
    const inputs = { 'mirror-path': path, 'disk-path': baseStore };
    const job = scenario.job({ inputs });
    expect(failureOf(await job.main())).toMatch(NO_SPACE);
    expect(verdict(await succeed(job.post()))).toMatch(/the fetch did not succeed/);

    expect(left(disk).sort()).toEqual(['name.git', 'name.git.lock']);
    expect(Object.keys(await readTree(path))).toEqual(Object.keys(await readTree(base)));
    expect(freeBytes(disk)).toBeGreaterThanOrEqual(before - 8192);
    expect(await listRefs(path)).toEqual(baseRefs);
    await git(path, [`--git-dir=${path}`, 'fsck', '--full', '--strict']);

    free();
    const run = await scenario.run({ inputs: { ...inputs, 'disk-path': newStore() } });
    expect(run.main.outputs).toMatchObject({ provenance: 'existing', recloned: 'false' });
    await expectMirrorOf(path, scenario.upstream);
  });

  test('a mirror at fault that has no room for its successor makes way for it', async () => {
    const disk = disks.memory(8 * MIB);
    const path = join(disk, 'name.git');
    cpSync(base, path, { recursive: true });
    scenario.server.fault({ on: 'delta-fetch', behave: { kind: 'empty' } });
    const run = await scenario.run({
      inputs: { 'mirror-path': path, 'disk-path': newStore() },
    });
    expect(run.main.outputs).toMatchObject({ provenance: 'cloned', recloned: 'true' });
    expect(left(disk).sort()).toEqual(['name.git', 'name.git.lock']);
    await expectMirrorOf(path, scenario.upstream);
  });
});

onSmallDisks('the disk of the store is full', () => {
  test.each(
    chooseCases([
      ['with room for half of it', 2 * MIB],
      ['with no room at all', 0],
    ]),
  )('while the first snapshot is saved, %s: said, and nothing is left', async (_, room) => {
    const disk = disks.memory(16 * MIB);
    const free = fill(disk, room);
    const job = scenario.job({ inputs: { 'disk-path': disk } });
    await succeed(job.main());
    const post = await succeed(job.post());
    expect(verdict(post)).toMatch(/^Nothing saved: .*no space left/);
    expect(post.annotations).toMatchObject([{ level: 'warning' }]);
    expect(filesIn(await readStore(disk))).toEqual(['ballast']);

    free();
    const later = await scenario.run({ inputs: { 'disk-path': disk } });
    expect(verdict(later.post)).toMatch(/^Saved snapshot 1-/);
    const restored = await succeed(scenario.job({ inputs: { 'disk-path': disk } }).main());
    expect(restored.outputs['provenance']).toBe('restored');
  });

  test('while the next snapshot is saved: the one before stays, and is restored', async () => {
    const disk = disks.memory(16 * MIB);
    cpSync(baseStore, disk, { recursive: true });
    fill(disk, MIB);
    const before = await readStore(disk);
    const { main, post, mirror } = await scenario.run({ inputs: { 'disk-path': disk } });
    expect(main.outputs['provenance']).toBe('restored');
    expect(verdict(post)).toMatch(/^Nothing saved: .*no space left/);
    expect(await readStore(disk)).toEqual(before);
    expect(await listManifests(disk)).toHaveLength(1);
    await expectMirrorOf(mirror, scenario.upstream);
    const again = await succeed(scenario.job({ inputs: { 'disk-path': disk } }).main());
    expect(again.outputs['provenance']).toBe('restored');
  });

  function filesIn(tree: Record<string, string>): string[] {
    return Object.entries(tree)
      .filter(([, what]) => what !== 'folder')
      .map(([name]) => name);
  }
});

onSmallDisks("the disk of the runner's temporary files is full", () => {
  test('the steps say so, or do without', async () => {
    const disk = disks.memory(16 * MIB);
    const root = join(disk, 'machine');
    const job = scenario.job({ root, inputs: { 'mirror-path': join(base, '..', 'other.git') } });
    const before = await readStore(scenario.store);
    fill(disk, 0);
    const main = await job.main();
    // What the runner is told cannot be written: the step must not claim success.
    expect(failureOf(main)).toMatch(NO_SPACE);
    await succeed(job.post());
    expect(await readStore(scenario.store)).toEqual(before);
  });
});
