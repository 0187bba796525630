/** Mirrors that live long: how many packs they have, what is in them, and what saves cost. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { existsSync } from 'node:fs';
import { mkdir, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { countFolderBytes } from '../../src/lib/files.ts';
import { sumBytes } from '../../src/lib/bytes.ts';
import { tierOf } from '../../src/mirror/tiers.ts';
import { flipBit } from '../support/corruption.ts';
import { git, tryGit } from '../support/git.ts';
import { startGitServer, type GitServer } from '../support/git-server/server.ts';
import { Machine, type MachineOptions } from '../support/machine.ts';
import { createRandom, testSeed } from '../support/random.ts';
import { createBranch, deleteBranch } from '../support/repository-change.ts';
import {
  addCommits,
  createRepository,
  type RepositoryOptions,
} from '../support/repository-fixture.ts';
import { storedBound } from '../support/stored-bound.ts';
import { createTemporaryDirectory, removeDirectory } from '../support/temporary-directory.ts';
import {
  expectMirrorOf,
  newestManifest,
  newestSnapshot,
  storeLayer,
  storeManifest,
} from '../jobs/scenarios/scenario.ts';
import { chooseCases } from '../jobs/scenarios/rounds.ts';

/** A soak runs 100. */
const ROUNDS = Number(process.env['MAINTENANCE_ROUNDS'] ?? 8);

let root = '';
let server: GitServer;
let count = 0;

beforeAll(async () => {
  root = await createTemporaryDirectory('maintenance');
  server = await startGitServer({ root });
});

afterAll(async () => {
  await server.stop();
  await removeDirectory(root);
});

/** Commits that rewrite every file of `small`. */
const wholeTree = { files: 20, changedFiles: 20, fileBytes: 4_000 };

const small = { commits: 30, files: 20, fileBytes: 4_000, branches: 2, annotatedTags: 1 };

/** An upstream, and as many machines as are asked for. */
async function createUpstream(options: RepositoryOptions = small) {
  const name = `owner/name-${(count += 1)}`;
  const upstream = join(root, `${name}.git`);
  await createRepository(upstream, options);
  const store = join(root, `store-${count}`);
  let machines = 0;
  const newMachine = (others: Partial<MachineOptions> = {}): Promise<Machine> =>
    Machine.create({
      root: join(root, `machine-${count}-${(machines += 1)}`),
      url: server.repositoryUrl(name),
      ...others,
    });
  return { upstream, store, newMachine };
}

async function listPacks({ packs }: Machine): Promise<string[]> {
  return (await readdir(packs)).filter((name) => name.endsWith('.pack'));
}

/** Nothing but packs and their indexes, all objects whole, and all that upstream has. */
async function expectWhole({ path, packs }: Machine, upstream: string): Promise<void> {
  await git(path, [`--git-dir=${path}`, 'fsck', '--full', '--strict', '--no-progress']);
  const names = await readdir(packs);
  expect(names.filter((name) => !/^pack-[0-9a-f]+\.(?:pack|idx)$/.test(name))).toEqual([]);
  expect(names.filter((name) => name.endsWith('.idx'))).toHaveLength(names.length / 2);
  expect(await readdir(join(path, 'objects'))).toEqual(['info', 'pack']);
  const reached = await git(upstream, ['rev-list', '--objects', '--no-object-names', '--all']);
  const check = ['cat-file', '--batch-check=%(objecttype)'];
  expect(await git(path, check, { input: `${reached}\n` })).not.toMatch(/missing/);
}

/** At most this many to a tier, of all tiers up to that of the whole. */
async function expectFewPacks(machine: Machine, toATier: number): Promise<void> {
  const tiers = 1 + tierOf(await countFolderBytes(machine.packs));
  expect((await listPacks(machine)).length).toBeLessThanOrEqual(toATier * tiers);
}

test(`${ROUNDS} fetches and saves: packs stay few, and what is stored within its bound`, async () => {
  const { upstream, store, newMachine } = await createUpstream();
  const random = createRandom(testSeed());
  const machine = await newMachine({ store });
  let [fetched, stored, largest] = [0, 0, 0];
  for (let round = 0; round <= ROUNDS; round++) {
    const before = round === 0 ? 0 : await countFolderBytes(machine.packs);
    await machine.main();
    const bytes = await countFolderBytes(machine.packs);
    fetched += bytes - before;
    largest = Math.max(largest, bytes);
    const saved = await machine.post();
    expect(saved.result).toBe('published');
    if (saved.result === 'published') stored += saved.bytes;
    expect(machine.account.fallbacks).toEqual([]);
    await expectWhole(machine, upstream);
    // One more while the tier is full that merging has filled.
    await expectFewPacks(machine, 4);
    await addCommits(upstream, {
      ...{ commits: 1 + random.integer(3), files: 1 + random.integer(4), seed: round },
      fileBytes: 2 ** (7 + random.integer(9)),
      content: random.pick(['text', 'random']),
      // A third of them are force pushes.
      ...(random.integer(3) === 0 ? { from: 'HEAD~1' } : {}),
    });
  }
  const bound = storedBound({ fetched, largest, saves: ROUNDS });
  process.stderr.write(`stored ${(stored / fetched).toFixed(1)} of ${fetched} bytes fetched\n`);
  expect(stored).toBeLessThanOrEqual(bound);

  const other = await newMachine({ store });
  const { mirror } = await other.main();
  expect(mirror.provenance).toBe('restored');
  await expectWhole(other, upstream);
}, 600_000);

test(`${ROUNDS} fetches without a store: packs stay few`, async () => {
  const { upstream, newMachine } = await createUpstream();
  const machine = await newMachine();
  for (let round = 0; round <= ROUNDS; round++) {
    await machine.main();
    expect((await machine.post()).result).toBe('skipped');
    expect(machine.account.fallbacks).toEqual([]);
    await expectWhole(machine, upstream);
    await expectFewPacks(machine, 3);
    await addCommits(upstream, { fileBytes: 1_000, seed: round });
  }
}, 600_000);

describe('what no ref reaches goes in time,', () => {
  test.each(
    chooseCases([
      ['with a store', 2.5],
      // Only looked at when some packs have become many.
      ['without a store', 4],
    ]),
  )(
    '%s',
    async (where, times) => {
      const { upstream, store, newMachine } = await createUpstream();
      const machine = await newMachine(where === 'with a store' ? { store } : {});
      await machine.main();
      await machine.post();
      const bytes = await countFolderBytes(machine.packs);
      let [most, oldest] = [0, ''];
      for (let round = 0; round < 20; round++) {
        await createBranch(upstream, 'garbage', 'HEAD');
        const { head } = await addCommits(upstream, {
          branch: 'garbage',
          seed: round,
          ...wholeTree,
        });
        oldest ||= head;
        await machine.main();
        await machine.post();
        await deleteBranch(upstream, 'garbage');
        most = Math.max(most, await countFolderBytes(machine.packs));
        await expectWhole(machine, upstream);
      }
      expect(most).toBeLessThan(times * bytes);
      expect((await tryGit(machine.path, ['cat-file', '-e', oldest])).exitCode).not.toBe(0);
    },
    120_000,
  );
});

test('a workspace primed before packs were merged and dropped stays whole', async () => {
  const { upstream, store, newMachine } = await createUpstream();
  const machine = await newMachine({ store });
  await machine.main();
  await machine.post();
  await addCommits(upstream, { files: 10, fileBytes: 2_000 });
  const workspace = join(machine.path, '..', 'workspace');
  const { used } = await machine.main(workspace);
  expect(used).toMatchObject({ result: 'primed', copiedBytes: 0 });
  const primed = await readdir(join(workspace, '.git', 'objects', 'pack'));
  for (const seed of [1, 2]) {
    await addCommits(upstream, { from: 'HEAD~3', commits: 3, seed, ...wholeTree });
    await machine.main();
    await machine.post();
  }
  const left = new Set(await readdir(machine.packs));
  expect(primed.filter((name) => left.has(name))).toEqual([]);
  expect(await listPacks(machine)).toHaveLength(1);
  const { snapshot } = await newestSnapshot(store);
  expect(snapshot).toMatchObject({ layers: [expect.anything()], savesSinceFullWalk: 0 });
  await git(workspace, ['fsck', '--full', '--strict', '--no-progress']);
  await git(workspace, ['checkout', '--quiet', 'origin/main']);
  expect((await stat(join(workspace, 'folder-0'))).isDirectory()).toBe(true);
});

test("machines that save in turn name each other's layers again", async () => {
  const { upstream, store, newMachine } = await createUpstream({ ...small, fileBytes: 40_000 });
  const machines = [await newMachine({ store }), await newMachine({ store })];
  let first = 0;
  for (let round = 0; round < 8; round++) {
    const machine = machines[round % 2]!;
    await machine.main();
    const saved = await machine.post();
    if (saved.result !== 'published') throw new Error(`not saved: ${JSON.stringify(saved)}`);
    if (round === 0) first = saved.bytes;
    else expect(saved.bytes).toBeLessThan(first / 10);
    await expectWhole(machine, upstream);
    await addCommits(upstream, { seed: round });
  }
}, 120_000);

const TOO_LATE = {
  code: 'timeout',
  reason: expect.stringMatching(/^The packs stay as they are: .*did not end within/) as unknown,
};

test('a repack that takes too long is given up, and the packs are saved as they are', async () => {
  const { upstream, store, newMachine } = await createUpstream();
  const machine = await newMachine({ store, repackTimeoutMs: 1 });
  await machine.main();
  for (let round = 0; round < 3; round++) {
    await addCommits(upstream, { seed: round, ...wholeTree });
    await machine.main();
  }
  const packs = await listPacks(machine);
  expect(packs).toHaveLength(4);
  expect((await machine.post()).result).toBe('published');
  expect(machine.account.fallbacks).toEqual([TOO_LATE]);
  expect(await listPacks(machine)).toEqual(packs);
  await expectWhole(machine, upstream);
  expect((await newestSnapshot(store)).snapshot.layers).toHaveLength(1);
  const other = await newMachine({ store });
  expect((await other.main()).mirror.provenance).toBe('restored');
  await expectWhole(other, upstream);
});

test('a repack that took too long is done by a later job', async () => {
  const { upstream, newMachine } = await createUpstream();
  const machine = await newMachine({ repackTimeoutMs: 1 });
  await machine.main();
  for (let round = 0; round < 4; round++) {
    await addCommits(upstream, { seed: round, ...wholeTree });
    await machine.main();
  }
  expect((await machine.post()).result).toBe('skipped');
  expect(machine.account.fallbacks).toContainEqual(TOO_LATE);
  expect(await listPacks(machine)).toHaveLength(5);
  machine.repackTimeoutMs = 60_000;
  await machine.main();
  await machine.post();
  expect(machine.account.fallbacks).toEqual([]);
  expect((await listPacks(machine)).length).toBeLessThan(3);
  await expectWhole(machine, upstream);
});

describe('a mirror that is damaged is removed and not saved,', () => {
  test('where a pack that is to be merged has a flipped bit', async () => {
    const { upstream, newMachine } = await createUpstream();
    const machine = await newMachine();
    for (let round = 0; round < 4; round++) {
      await machine.main();
      await addCommits(upstream, { seed: round });
    }
    await machine.main();
    const sizes = new Map<string, number>();
    for (const name of await listPacks(machine)) {
      sizes.set(name, (await stat(join(machine.packs, name))).size);
    }
    const [smallest = ''] = [...sizes.keys()].sort(
      (one, other) => sizes.get(one)! - sizes.get(other)!,
    );
    flipBit(join(machine.packs, smallest), Math.floor(sizes.get(smallest)! / 2));
    await machine.post();
    expect(machine.account.fallbacks).toMatchObject([
      { code: 'corrupt-mirror', reason: expect.stringMatching(/checksum.*is removed$/) },
    ]);
    expect(existsSync(machine.path)).toBe(false);
    expect((await machine.main()).mirror.provenance).toBe('cloned');
    await expectWhole(machine, upstream);
  });

  test('where an old object is missing, which a fetch and a walk of new objects miss', async () => {
    const { upstream, store, newMachine } = await createUpstream();
    const writer = await newMachine({ store });
    await writer.main();
    await writer.post();
    await replaceByHoled(store, upstream);

    const machine = await newMachine({ store });
    for (const seed of [1, 2]) {
      await addCommits(upstream, { from: 'HEAD~3', commits: 3, seed, ...wholeTree });
      const { mirror } = await machine.main();
      expect(mirror.provenance).toBe(seed === 1 ? 'restored' : 'existing');
      const saved = await machine.post();
      expect(saved.result).toBe(seed === 1 ? 'published' : 'corrupt');
    }
    expect(existsSync(machine.path)).toBe(false);
    expect(await newestManifest(store)).toMatchObject({ manifest: { kind: 'revocation' } });
    expect((await machine.main()).mirror.provenance).toBe('cloned');
    expect((await machine.post()).result).toBe('published');
    await expectWhole(machine, upstream);
  });

  /** As a bad writer might: the snapshot's pack without a file of long ago, under the right digests. */
  async function replaceByHoled(store: string, upstream: string): Promise<void> {
    const { folder, snapshot } = await newestSnapshot(store);
    const listed = await git(upstream, ['rev-list', '--objects', '--no-object-names', '--all']);
    const first = await git(upstream, ['rev-list', '--max-parents=0', 'HEAD']);
    const now = new Set((await git(upstream, ['ls-tree', '-r', 'HEAD'])).match(/[0-9a-f]{40}/g));
    const blobs = (await git(upstream, ['ls-tree', '-r', first])).match(/[0-9a-f]{40}/g) ?? [];
    const lost = blobs.find((blob) => !now.has(blob));
    const left = listed.split('\n').filter((oid) => oid !== lost);
    const packs = join(folder, 'holed');
    await mkdir(packs);
    const input = `${left.join('\n')}\n`;
    await git(upstream, ['pack-objects', '--quiet', join(packs, 'pack')], { input });
    const layer = await storeLayer(folder, packs);
    await storeManifest(folder, { ...snapshot, layers: [layer] });
  }
});

describe('what refs no longer reach', () => {
  const large = { commits: 40, files: 20, changedFiles: 20, fileBytes: 4_000 };

  test('leaves the snapshots when upstream is rewritten to a much smaller history', async () => {
    const { upstream, store, newMachine } = await createUpstream({
      commits: 3,
      files: 3,
      fileBytes: 400,
    });
    const start = await git(upstream, ['rev-parse', 'main']);
    await addCommits(upstream, large);
    const machine = await newMachine({ store });
    await machine.main();
    await machine.post();
    const before = await newestSnapshot(store);
    await git(upstream, ['update-ref', 'refs/heads/main', start]);
    await addCommits(upstream, { commits: 1, files: 1, fileBytes: 100 });
    await machine.main();
    expect(await machine.post()).toMatchObject({ result: 'published' });
    const after = await newestSnapshot(store);
    expect(sumBytes(after.snapshot.layers)).toBeLessThan(sumBytes(before.snapshot.layers) / 20);
    expect(after.snapshot).toMatchObject({ unreachableBytes: 0, savesSinceFullWalk: 0 });
    await expectMirrorOf(machine.path, upstream);
    const next = await newMachine({ store });
    expect((await next.main()).mirror.provenance).toBe('restored');
    await expectMirrorOf(next.path, upstream);
  });

  test('adds up as branches are deleted one by one, without any new object', async () => {
    const { upstream, store, newMachine } = await createUpstream({
      commits: 3,
      files: 3,
      fileBytes: 400,
    });
    for (const name of ['one', 'two', 'three', 'four']) {
      await createBranch(upstream, name, 'main');
      await addCommits(upstream, { ...large, commits: 10, branch: name, seed: name.length });
    }
    const machine = await newMachine({ store });
    const bytes: number[] = [];
    for (const name of [undefined, 'one', 'two', 'three']) {
      if (name !== undefined) await deleteBranch(upstream, name);
      await machine.main();
      await machine.post();
      bytes.push(sumBytes((await newestSnapshot(store)).snapshot.layers));
    }
    const [all = 0, first = 0, , last = 0] = bytes;
    expect(first).toBe(all);
    expect(last).toBeLessThan(all / 2);
    await expectMirrorOf(machine.path, upstream);
  });

  test('stays while most of it is reachable', async () => {
    const { upstream, store, newMachine } = await createUpstream(small);
    await createBranch(upstream, 'short-lived', 'main');
    await addCommits(upstream, { commits: 2, files: 2, fileBytes: 400, branch: 'short-lived' });
    const machine = await newMachine({ store });
    await machine.main();
    await machine.post();
    const { snapshot } = await newestSnapshot(store);
    await deleteBranch(upstream, 'short-lived');
    await machine.main();
    await machine.post();
    const after = (await newestSnapshot(store)).snapshot;
    expect(after.layers).toEqual(snapshot.layers);
    expect(after.unreachableBytes).toBeGreaterThan(0);
  });
});
