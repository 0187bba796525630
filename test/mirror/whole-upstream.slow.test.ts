/** Upstreams that do not give everything: a mirror of them is whole, or there is none. */
import { describe, expect, test } from '@jest/globals';
import { existsSync } from 'node:fs';
import { mkdir, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { silentLog } from '../../src/lib/log.ts';
import { chooseCases } from '../jobs/scenarios/rounds.ts';
import { expectMirrorOf, newestSnapshot, readStore, readTree } from '../jobs/scenarios/scenario.ts';
import { git } from '../support/git.ts';
import { prepareFiles } from '../support/git-server/dumb-server.ts';
import { Machine, type MachineOptions } from '../support/machine.ts';
import { createBranch } from '../support/repository-change.ts';
import { addCommits, createRepository, repositorySizes } from '../support/repository-fixture.ts';
import { useUpstreams } from './upstreams.ts';

const at = useUpstreams('whole');
let count = 0;

type Format = 'sha1' | 'sha256';
type Provenance = 'cloned' | 'existing' | 'restored';

const FORMATS: readonly Format[] = ['sha1', 'sha256'];
const CASES = FORMATS.flatMap((format) =>
  (['cloned', 'existing', 'restored'] as const).map((provenance) => [provenance, format] as const),
);

interface World {
  upstream: string;
  store: string;
  newMachine(options?: Partial<MachineOptions>): Promise<Machine>;
}

async function createWorld(objectFormat: Format, baseUrl = at.server.url): Promise<World> {
  const name = `owner/name-${(count += 1)}.git`;
  const upstream = join(at.root, name);
  await createRepository(upstream, { ...repositorySizes.tiny, objectFormat });
  const store = join(at.root, `store-${count}`);
  await mkdir(store);
  let machines = 0;
  const newMachine: World['newMachine'] = (options) =>
    Machine.create({
      ...options,
      ...{ root: join(at.root, `machine-${count}-${(machines += 1)}`), store },
      url: `${baseUrl}/${name}`,
    });
  return { upstream, store, newMachine };
}

/** The machine whose next main has that provenance. */
async function prepare(world: World, provenance: Provenance): Promise<Machine> {
  const machine = await world.newMachine();
  if (provenance === 'cloned') return machine;
  await machine.main();
  expect(await machine.post()).toMatchObject({ result: 'published' });
  return provenance === 'existing' ? machine : world.newMachine();
}

/** Puts a clone with a cut history in upstream's place. */
async function cut(upstream: string, ...options: string[]): Promise<void> {
  const full = `${upstream}.full`;
  await rename(upstream, full);
  await git(at.root, ['clone', '--quiet', '--bare', ...options, `file://${full}`, upstream]);
}

/** Main fails and names the fault; mirror, store and workspace are as they were. */
async function expectRefusal({ store }: World, machine: Machine): Promise<void> {
  const workspace = join(machine.path, '..', 'workspace');
  await mkdir(workspace);
  const before = { store: await readStore(store), mirror: await treeOf(machine.path) };
  await expect(machine.main(workspace)).rejects.toMatchObject({
    code: 'shallow-upstream',
    message: expect.stringContaining('is a shallow repository'),
  });
  expect({ store: await readStore(store), mirror: await treeOf(machine.path) }).toEqual(before);
  expect(await readdir(workspace)).toEqual([]);
}

async function treeOf(path: string) {
  return existsSync(path) ? readTree(path) : undefined;
}

describe('a shallow upstream', () => {
  test.each(chooseCases(CASES))(
    'leaves a %s mirror, %s, as it was, and is named',
    async (provenance, format) => {
      const world = await createWorld(format);
      const machine = await prepare(world, provenance);
      await addCommits(world.upstream, { commits: 3 });
      await cut(world.upstream, '--depth=1');
      await expectRefusal(world, machine);
    },
  );

  test.each(chooseCases(['cloned', 'existing', 'restored'] as const))(
    'with one branch cut and others whole fails a %s mirror',
    async (provenance) => {
      const world = await createWorld('sha1');
      const machine = await prepare(world, provenance);
      await addCommits(world.upstream, { commits: 5 });
      await createBranch(world.upstream, 'old', 'main~12');
      await cut(world.upstream, '--depth=2', '--branch=main');
      const full = `file://${world.upstream}.full`;
      await git(world.upstream, ['fetch', '--quiet', '--update-shallow', full, 'old:old']);
      await expectRefusal(world, machine);
    },
  );

  test.each(chooseCases(['existing', 'restored'] as const))(
    'whose missing history a %s mirror holds gives a whole mirror',
    async (provenance) => {
      const world = await createWorld('sha1');
      const machine = await prepare(world, provenance);
      await addCommits(world.upstream, { commits: 2 });
      await cut(world.upstream, '--depth=5', '--no-single-branch');
      await machine.main();
      await expectMirrorOf(machine.path, `${world.upstream}.full`);
      expect(existsSync(join(machine.path, 'shallow'))).toBe(false);
      expect(await machine.post()).toMatchObject({ result: 'published' });
      const next = await world.newMachine();
      expect((await next.main()).mirror.provenance).toBe('restored');
      await expectMirrorOf(next.path, `${world.upstream}.full`);
    },
  );
});

/** Every object is a file of its own. */
async function explodePacks(upstream: string): Promise<void> {
  const folder = join(upstream, 'objects', 'pack');
  const aside = join(upstream, 'aside');
  await rename(folder, aside);
  await mkdir(folder);
  for (const name of (await readdir(aside)).filter((each) => each.endsWith('.pack'))) {
    await git(upstream, ['unpack-objects', '-q'], { input: [await readFile(join(aside, name))] });
  }
  await rm(aside, { recursive: true });
}

async function addLooseCommit(upstream: string): Promise<void> {
  const tree = await git(upstream, ['rev-parse', 'main^{tree}']);
  const commit = await git(upstream, ['commit-tree', '-p', 'main', '-m', 'a loose one', tree]);
  await git(upstream, ['update-ref', 'refs/heads/main', commit]);
  await prepareFiles(upstream);
}

describe('a dumb server', () => {
  test.each(chooseCases(CASES))(
    'of loose objects gives a whole %s mirror, %s',
    async (provenance, format) => {
      const world = await createWorld(format, at.dumb.url);
      await explodePacks(world.upstream);
      await prepareFiles(world.upstream);
      await expectWhole(world, await prepare(world, provenance), provenance);
    },
  );

  test.each(chooseCases(CASES))(
    'of packs and a loose commit gives a whole %s mirror, %s',
    async (provenance, format) => {
      const world = await createWorld(format, at.dumb.url);
      await prepareFiles(world.upstream);
      const machine = await prepare(world, provenance);
      await addLooseCommit(world.upstream);
      await expectWhole(world, machine, provenance);
    },
  );

  test('that lacks an object of the history leaves no mirror and no snapshot', async () => {
    const world = await createWorld('sha1', at.dumb.url);
    await explodePacks(world.upstream);
    await prepareFiles(world.upstream);
    const tree = await git(world.upstream, ['rev-parse', 'main~5^{tree}']);
    await rm(join(world.upstream, 'objects', tree.slice(0, 2), tree.slice(2)));
    const machine = await world.newMachine();
    await expect(machine.main()).rejects.toMatchObject({ name: 'MirrorError' });
    expect(existsSync(machine.path)).toBe(false);
    expect(await readdir(world.store)).toEqual([]);
  });

  async function expectWhole(world: World, machine: Machine, provenance: Provenance) {
    const workspace = join(machine.path, '..', 'workspace');
    await mkdir(workspace);
    const { mirror, used } = await machine.main(workspace);
    expect(mirror.provenance).toBe(provenance);
    expect(used?.result).toBe('primed');
    await expectMirrorOf(machine.path, world.upstream);
    expect(await readdir(join(machine.path, 'objects'))).toEqual(['info', 'pack']);
    await git(workspace, ['fsck', '--full', '--strict', '--no-progress']);
    await git(workspace, ['cat-file', '-e', 'refs/remotes/origin/main^{tree}']);
    expect((await machine.post()).result).toMatch(/^(?:published|unchanged)$/);
    const next = await world.newMachine();
    expect((await next.main()).mirror.provenance).toBe('restored');
    await expectMirrorOf(next.path, world.upstream);
  }
});

test('the first save of a clone walks everything, whatever its fetch said', async () => {
  const world = await createWorld('sha1');
  const machine = await world.newMachine();
  await machine.main();
  // One old file goes missing, in a pack and an index that are sound.
  const objects = await git(machine.path, ['rev-list', '--objects', '--all']);
  const gone = await git(machine.path, ['rev-list', '--objects', 'main~6', '--not', 'main~7']);
  const blob = gone.split('\n').at(-1)!.split(' ')[0]!;
  const kept = objects
    .split('\n')
    .map((line) => line.split(' ')[0]!)
    .filter((oid) => oid !== blob);
  const old = await readdir(machine.packs);
  await git(machine.path, ['pack-objects', '-q', join(machine.packs, 'pack')], {
    input: [Buffer.from(`${kept.join('\n')}\n`)],
  });
  for (const name of old) await rm(join(machine.packs, name));
  expect(await machine.post()).toMatchObject({ result: 'corrupt' });
  expect(existsSync(machine.path)).toBe(false);
  await expect(newestSnapshot(world.store)).rejects.toThrow();
});

test('refs that no repository can hold together are left out, and named', async () => {
  const world = await createWorld('sha1');
  const file = join(world.upstream, 'packed-refs');
  const lines = (await readFile(file, 'utf8')).trimEnd().split('\n');
  const tip = await git(world.upstream, ['rev-parse', 'main']);
  const pair = [`${tip} refs/heads/branch-1/under`, `${tip} refs/tags/light-1/x/y`];
  const [header = '', ...refs] = lines;
  const nameOf = (line: string) => line.slice(41);
  const groups = [...refs, ...pair].reduce<string[][]>((all, line) => {
    // A peeled id belongs to the line before.
    if (line.startsWith('^')) all.at(-1)?.push(line);
    else all.push([line]);
    return all;
  }, []);
  const sorted = groups.sort(([one = ''], [other = '']) => (nameOf(one) < nameOf(other) ? -1 : 1));
  await writeFile(file, `${[header, ...sorted.flat()].join('\n')}\n`);
  const warnings: string[] = [];
  const machine = await world.newMachine({
    log: { ...silentLog, warning: (text) => warnings.push(text) },
  });
  const { mirror } = await machine.main();
  expect(mirror.refs.map(({ name }) => name)).not.toContain('refs/heads/branch-1/under');
  expect(warnings).toHaveLength(1);
  expect(warnings[0]).toContain('refs/heads/branch-1/under (next to refs/heads/branch-1)');
  expect(warnings[0]).toContain('refs/tags/light-1/x/y (next to refs/tags/light-1)');
  await expectMirrorOf(
    machine.path,
    world.upstream,
    (name) => !pair.some((line) => nameOf(line) === name),
  );
  expect(await machine.post()).toMatchObject({ result: 'published' });
});
