/** Mirrors of depth `tip`: one commit of each ref with its files, and nothing else whoever meddles with them. */
import { sumBytes } from '../../src/lib/bytes.ts';
import { describe, expect, test } from '@jest/globals';
import { existsSync } from 'node:fs';
import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { countFolderBytes } from '../../src/lib/files.ts';
import type { Depth } from '../../src/mirror/refs.ts';
import { countPackBytes } from '../../src/mirror/packs.ts';
import { identify } from '../../src/snapshot/identity.ts';
import { expectSound } from '../jobs/scenarios/checkout-comparison.ts';
import { chooseCases } from '../jobs/scenarios/rounds.ts';
import { expectTipOf, readShallow } from '../jobs/scenarios/tip.ts';
import {
  listRefs,
  newestSnapshot,
  readStore,
  storeLayer,
  storeManifest,
} from '../jobs/scenarios/scenario.ts';
import { git, tryGit } from '../support/git.ts';
import { prepareFiles } from '../support/git-server/dumb-server.ts';
import { Machine } from '../support/machine.ts';
import { moveTag, renameDefaultBranch } from '../support/repository-change.ts';
import { addCommits, createRepository, repositorySizes } from '../support/repository-fixture.ts';
import { useUpstreams } from './upstreams.ts';

const at = useUpstreams('tip');
let count = 0;

type Format = 'sha1' | 'sha256';

class World {
  readonly upstream: string;
  readonly store: string;
  readonly url: string;
  #machines = 0;

  constructor(name: string) {
    this.upstream = join(at.root, name);
    this.store = join(at.root, `${name}-store`);
    this.url = `${at.server.url}/${name}`;
  }

  newMachine(depth: Depth = 'tip', refspecs?: readonly string[]): Promise<Machine> {
    const place = `${this.upstream}-machine-${(this.#machines += 1)}`;
    const named = refspecs === undefined ? {} : { refspecs };
    return Machine.create({ root: place, url: this.url, store: this.store, depth, ...named });
  }

  /** A machine with a mirror, which it saved. */
  async savedMachine(depth: Depth = 'tip'): Promise<Machine> {
    const machine = await this.newMachine(depth);
    await machine.main();
    expect(await machine.post()).toMatchObject({ result: 'published' });
    return machine;
  }
}

async function createWorld(objectFormat: Format = 'sha1'): Promise<World> {
  const world = new World(`owner/name-${(count += 1)}.git`);
  await createRepository(world.upstream, { ...repositorySizes.tiny, objectFormat });
  await mkdir(world.store);
  return world;
}

/** What the next jobs do: on this machine, and on a new one from the store. */
async function expectNextJobs(world: World, machine: Machine, refs?: string[]): Promise<void> {
  await addCommits(world.upstream, { commits: 2 });
  await machine.main();
  await expectTipOf(machine.path, world.upstream, refs);
  expect(await machine.post()).toMatchObject({ result: 'published' });
  const other = await world.newMachine(
    'tip',
    refs?.slice(1).map((name) => `+${name}:${name}`),
  );
  expect((await other.main()).mirror.provenance).toBe('restored');
  await expectTipOf(other.path, world.upstream, refs);
}

const FORMATS = chooseCases<Format>(['sha1', 'sha256']);

describe.each(FORMATS)('a tip mirror with %s', (format) => {
  test('has the newest commit, whether cloned, restored or there already', async () => {
    const world = await createWorld(format);
    const first = await world.newMachine();
    expect((await first.main()).mirror.provenance).toBe('cloned');
    await expectTipOf(first.path, world.upstream);
    expect(await first.post()).toMatchObject({ result: 'published' });
    const second = await world.newMachine();
    expect((await second.main()).mirror.provenance).toBe('restored');
    await expectTipOf(second.path, world.upstream);
    expect(await second.post()).toMatchObject({ result: 'unchanged' });
    await expectNextJobs(world, first);
  });

  test('fetches what changed, and stores that', async () => {
    const world = await createWorld(format);
    const machine = await world.savedMachine();
    await addCommits(world.upstream, { commits: 3 });
    at.server.resetCounters();
    await machine.main();
    expect(at.server.bytesSent).toBeLessThan(20_000);
    const before = await countFolderBytes(world.store);
    expect(await machine.post()).toMatchObject({ result: 'published' });
    expect((await countFolderBytes(world.store)) - before).toBeLessThan(before / 2);
  });
});

test('refs that are named are there beside the default branch', async () => {
  const world = await createWorld();
  await moveTag(world.upstream, 'v1', 'main~2', 'a release');
  await git(world.upstream, ['branch', 'old', 'main~1']);
  const blob = await git(world.upstream, ['rev-parse', 'main^{tree}']);
  await git(world.upstream, ['update-ref', 'refs/tags/tree', blob]);
  const names = ['refs/heads/old', 'refs/tags/v1', 'refs/tags/tree'];
  const machine = await world.newMachine(
    'tip',
    names.map((name) => `+${name}:${name}`),
  );
  await machine.main();
  const commits = await Promise.all(
    ['main', 'main~1', 'main~2'].map((name) => git(world.upstream, ['rev-parse', name])),
  );
  expect(await readShallow(machine.path)).toEqual(commits.sort());
  expect((await listRefs(machine.path)).map((line) => line.split('\t')[1]).sort()).toEqual(
    ['refs/heads/main', ...names, 'refs/tags/v1^{}'].sort(),
  );
  expect(await machine.post()).toMatchObject({ result: 'published' });
});

describe('upstream', () => {
  const changes: [string, (world: World) => Promise<unknown>][] = [
    ['rewinds', ({ upstream }) => git(upstream, ['update-ref', 'refs/heads/main', 'main~2'])],
    ['is force-pushed', ({ upstream }) => addCommits(upstream, { from: 'main~2' })],
    ['renames its default branch', ({ upstream }) => renameDefaultBranch(upstream, 'trunk')],
    ['becomes shallow itself', ({ upstream }) => cut(upstream)],
    [
      'becomes shallow and moves on',
      async ({ upstream }) => {
        await cut(upstream);
        await addCommits(upstream, { commits: 2 });
      },
    ],
  ];

  async function cut(upstream: string): Promise<void> {
    const full = `${upstream}.full`;
    await rename(upstream, full);
    await git(at.root, ['clone', '--quiet', '--bare', '--depth=1', `file://${full}`, upstream]);
  }

  test.each(chooseCases(changes))('that %s is followed', async (_, change) => {
    const world = await createWorld();
    const machine = await world.savedMachine();
    await change(world);
    const restored = await world.newMachine();
    for (const each of [machine, restored]) {
      const { mirror } = await each.main();
      expect(mirror.recloned).toBe(false);
      await expectTipOf(each.path, world.upstream);
    }
    await machine.post();
    const next = await world.newMachine();
    expect((await next.main()).mirror.provenance).toBe('restored');
    await expectTipOf(next.path, world.upstream);
  });

  test('that offers plain files is refused by name, and nothing is left', async () => {
    const world = await createWorld();
    await prepareFiles(world.upstream);
    const url = world.url.replace(at.server.url, at.dumb.url);
    const machine = await Machine.create({
      ...{ root: join(at.root, 'dumb-machine'), url, store: world.store, depth: 'tip' },
    });
    await expect(machine.main()).rejects.toMatchObject({
      code: 'depth-refused',
      concern: 'fetch-depth',
    });
    expect(existsSync(machine.path)).toBe(false);
    expect(await readStore(world.store)).toEqual({});
  });
});

describe('in a mirror that stays, a', () => {
  const plots: [string, (mirror: string, upstream: string) => Promise<unknown>][] = [
    ['`shallow` of rubbish', (mirror) => writeFile(join(mirror, 'shallow'), 'rubbish\n')],
    ['`shallow` that is gone', (mirror) => rm(join(mirror, 'shallow'))],
    ['`shallow` that is empty', (mirror) => writeFile(join(mirror, 'shallow'), '')],
    [
      '`shallow` that names the commit to come',
      async (mirror, upstream) => {
        const coming = await git(upstream, ['rev-parse', 'main']);
        await writeFile(join(mirror, 'shallow'), `${coming}\n`);
      },
    ],
    [
      'graft',
      async (mirror) => {
        const tip = await git(mirror, ['rev-parse', 'HEAD']);
        await mkdir(join(mirror, 'info'), { recursive: true });
        await writeFile(join(mirror, 'info', 'grafts'), `${tip} ${tip}\n`);
      },
    ],
    [
      'history that somebody fetched',
      (mirror, upstream) => git(mirror, ['fetch', '--quiet', '--unshallow', upstream, 'main']),
    ],
  ];

  test.each(chooseCases(plots))('%s changes nothing', async (_, plot) => {
    const world = await createWorld();
    const machine = await world.savedMachine();
    await addCommits(world.upstream, { commits: 2 });
    await plot(machine.path, world.upstream);
    expect((await machine.main()).mirror.provenance).toBe('existing');
    await expectTipOf(machine.path, world.upstream);
    expect(await machine.post()).toMatchObject({ result: 'published' });
    await expectNextJobs(world, machine);
  });

  test.each(chooseCases(plots))('%s between main and post is not saved', async (_, plot) => {
    const world = await createWorld();
    const machine = await world.savedMachine();
    await addCommits(world.upstream, { commits: 2 });
    await machine.main();
    await plot(machine.path, world.upstream);
    expect(await machine.post()).toMatchObject({ result: 'published' });
    const next = await world.newMachine();
    expect((await next.main()).mirror.provenance).toBe('restored');
    await expectTipOf(next.path, world.upstream);
  });

  test('hole is found before anything is primed, and the snapshot heals it', async () => {
    const world = await createWorld();
    const machine = await world.savedMachine();
    await punchHole(machine.path);
    const workspace = join(at.root, 'hole-workspace');
    const { mirror } = await machine.main(workspace);
    expect(mirror.provenance).toBe('restored');
    await expectTipOf(machine.path, world.upstream);
    await git(workspace, ['checkout', '--quiet', 'origin/main']);
    await expectSound(workspace);
  });

  test('hole between main and post is not saved', async () => {
    const world = await createWorld();
    const machine = await world.savedMachine();
    await addCommits(world.upstream);
    await machine.main();
    const before = await readStore(world.store);
    await punchHole(machine.path);
    expect(await machine.post()).toMatchObject({ result: 'corrupt' });
    expect(await readStore(world.store)).toEqual(before);
  });
});

/** Packs everything again, without one file of the newest commit. */
async function punchHole(mirror: string): Promise<void> {
  const packs = join(mirror, 'objects', 'pack');
  const objects = (await git(mirror, ['rev-list', '--objects', 'HEAD'])).split('\n');
  const oids = objects.map((line) => line.split(' ')[0] ?? '');
  const files = (await git(mirror, ['ls-tree', '-r', 'HEAD'])).split('\n');
  const lost = /[0-9a-f]{40,}/.exec(files[0] ?? '')?.[0] ?? '';
  const input = oids.filter((oid) => oid !== lost).join('\n');
  const before = await readdir(packs);
  await git(mirror, ['pack-objects', '--quiet', join(packs, 'pack')], { input: `${input}\n` });
  for (const name of before) await rm(join(packs, name), { force: true });
  expect((await tryGit(mirror, ['cat-file', '-e', lost])).exitCode).not.toBe(0);
}

describe('a snapshot', () => {
  test('with a hole, as a writer that checks nothing makes it, is not used', async () => {
    const world = await createWorld();
    const machine = await world.savedMachine();
    await punchHole(machine.path);
    const { folder, snapshot } = await newestSnapshot(world.store);
    const layers = [await storeLayer(folder, machine.packs)];
    await storeManifest(folder, { ...snapshot, layers });
    const next = await world.newMachine();
    const { mirror } = await next.main();
    expect(mirror).toMatchObject({ provenance: 'cloned', recloned: true });
    await expectTipOf(next.path, world.upstream);
    expect(await next.post()).toMatchObject({ result: 'published' });
    expect((await (await world.newMachine()).main()).mirror.provenance).toBe('restored');
  });

  test.each<[string, Depth, Depth]>([
    ['full mirror under the key of a tip mirror', 'full', 'tip'],
    ['tip mirror under the key of a full mirror', 'tip', 'full'],
  ])('of a %s is not used', async (_, made, wanted) => {
    const world = await createWorld();
    await world.savedMachine(made);
    const next = await world.newMachine(wanted);
    await moveKey(world, made, wanted);
    const { mirror } = await next.main();
    expect(mirror).toMatchObject({ provenance: 'cloned', recloned: true });
    expect(next.account.fallbacks.map(({ reason }) => reason).join()).toMatch(
      new RegExp(`it has the depth ${made}`),
    );
    expect(await next.post()).toMatchObject({ result: 'published' });
    const after = await world.newMachine(wanted);
    expect((await after.main()).mirror.provenance).toBe('restored');
    expect(existsSync(join(after.path, 'shallow'))).toBe(wanted === 'tip');
  });
});

/** Puts the snapshots of one depth where those of another are looked for. */
async function moveKey(world: World, from: Depth, to: Depth): Promise<void> {
  const keyOf = (depth: Depth): string => {
    const heads = ['+refs/heads/*:refs/heads/*', '+refs/tags/*:refs/tags/*'];
    const refspecs = depth === 'full' ? heads : [];
    return identify({ url: world.url, refspecs, depth, cacheKey: '' }, 'sha1').key;
  };
  const folder = join(world.store, 'v1');
  await rename(join(folder, keyOf(from)), join(folder, keyOf(to)));
}

describe('a moving tip', () => {
  const DAYS = Number(process.env['TIP_DAYS'] ?? 10);

  test(
    `of ${String(DAYS)} days: a mirror and a snapshot hold at most about twice the tree`,
    async () => {
      const world = await createWorld();
      const machine = await world.savedMachine();
      const files = { files: 40, changedFiles: 3, fileBytes: 4_000 };
      const days: { fetched: number; stored: number; mirror: number; restored: number }[] = [];
      for (let day = 0; day < DAYS; day += 1) {
        await addCommits(world.upstream, { commits: 2, ...files });
        at.server.resetCounters();
        await machine.main();
        const saved = await machine.post();
        const { snapshot } = await newestSnapshot(world.store);
        days.push({
          fetched: at.server.bytesSent,
          stored: saved.result === 'published' ? saved.bytes : 0,
          mirror: await countPackBytes(machine.path),
          restored: sumBytes(snapshot.layers),
        });
      }
      await expectTipOf(machine.path, world.upstream);
      const fresh = await Machine.create({
        ...{ root: join(at.root, 'fresh-machine'), url: world.url, depth: 'tip' },
      });
      await fresh.main();
      const tree = await countPackBytes(fresh.path);
      const part = (bytes: readonly number[]) =>
        Math.round((100 * bytes.reduce((sum, each) => sum + each, 0)) / bytes.length / tree) / 100;
      const largest = (bytes: readonly number[]) =>
        Math.round((100 * Math.max(...bytes)) / tree) / 100;
      const of = (name: keyof (typeof days)[number]) => days.map((each) => each[name]);
      const summary = {
        days: DAYS,
        treeBytes: tree,
        fetchedADay: part(of('fetched')),
        storedADay: part(of('stored')),
        largestMirror: largest(of('mirror')),
        largestSnapshot: largest(of('restored')),
      };
      process.stderr.write(`${JSON.stringify(summary)}\n`);
      expect(days.every(({ stored }) => stored > 0)).toBe(true);
      expect(summary.largestMirror).toBeLessThan(2.5);
      expect(summary.largestSnapshot).toBeLessThan(2.5);
    },
    60_000 + DAYS * 5_000,
  );
});
