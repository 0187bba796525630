/** A save stores what the fetch brought, and the snapshot names what its base has stored. */
import { sumBytes } from '../../../src/lib/bytes.ts';
import { describe, expect, test } from '@jest/globals';
import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Job } from '../../support/action-runner.ts';
import { git } from '../../support/git.ts';
import { createRandom, testSeed } from '../../support/random.ts';
import {
  createBranch,
  deleteBranch,
  moveTag,
  renameBranch,
  renameDefaultBranch,
} from '../../support/repository-change.ts';
import { addCommits, repositorySizes } from '../../support/repository-fixture.ts';
import {
  expectMirrorOf,
  newestSnapshot,
  readTree,
  succeed,
  useScenarios,
  verdict,
  type Scenario,
} from '../scenarios/scenario.ts';

const RACES = Number(process.env['SAVE_RACES'] ?? 1);

const scenarios = useScenarios();

/** Names and sizes of the layers that the newest snapshot names. */
async function layersOf({ store }: Scenario): Promise<Record<string, number>> {
  const { snapshot } = await newestSnapshot(store);
  return Object.fromEntries(snapshot.layers.map(({ name, bytes }) => [name, bytes]));
}

async function storedBytes({ store }: Scenario): Promise<number> {
  const { folder } = await newestSnapshot(store);
  const files = Object.keys(await readTree(join(folder, 'layers')));
  const sizes = await Promise.all(
    files.map(async (name) => ({
      bytes: (await readFile(join(folder, 'layers', name)).catch(() => '')).length,
    })),
  );
  return sumBytes(sizes);
}

async function listStoredLayers({ store }: Scenario): Promise<string[]> {
  const { folder } = await newestSnapshot(store);
  return readdir(join(folder, 'layers'));
}

describe('a save', () => {
  test('stores one new layer in addition to that of its base', async () => {
    const scenario = await scenarios.create(repositorySizes.small);
    await scenario.run();
    const first = await layersOf(scenario);
    const before = await storedBytes(scenario);
    await addCommits(scenario.upstream);
    const { post } = await scenario.run();
    expect(verdict(post)).toMatch(/^Saved snapshot 2-/);
    const second = await layersOf(scenario);
    expect(Object.keys(second)).toEqual([...Object.keys(first), expect.any(String)]);
    const [bytes] = Object.values(first) as [number];
    const added = (await storedBytes(scenario)) - before;
    expect(added).toBe(sumBytes(Object.values(second).map((each) => ({ bytes: each }))) - bytes);
    expect(added).toBeGreaterThan(0);
    expect(added).toBeLessThan(bytes / 10);

    const { main, mirror } = await scenario.run();
    expect(main.outputs['provenance']).toBe('restored');
    await expectMirrorOf(mirror, scenario.upstream);
  });

  test('stores no layer where only refs have moved', async () => {
    const scenario = await scenarios.create();
    await scenario.run();
    const before = await layersOf(scenario);
    await createBranch(scenario.upstream, 'another', 'main');
    const { post } = await scenario.run();
    expect(verdict(post)).toMatch(/^Saved snapshot 2-/);
    expect(await layersOf(scenario)).toEqual(before);
    const { mirror } = await scenario.run();
    await expectMirrorOf(mirror, scenario.upstream);
  });

  test('takes small layers into its own, so that they stay few', async () => {
    const scenario = await scenarios.create(repositorySizes.small);
    await scenario.run();
    const counts: number[] = [];
    for (let save = 2; save <= 6; save++) {
      await addCommits(scenario.upstream);
      await scenario.run();
      counts.push(Object.keys(await layersOf(scenario)).length);
    }
    expect(counts).toEqual([2, 3, 4, 2, 3]);
    const { mirror } = await scenario.run();
    await expectMirrorOf(mirror, scenario.upstream);
  });

  test('stores everything again where its base is not the newest, or was found bad', async () => {
    const scenario = await scenarios.create();
    await scenario.run();
    const [first = ''] = Object.keys(await layersOf(scenario));
    const { folder } = await newestSnapshot(scenario.store);
    await rm(join(folder, 'layers', first), { recursive: true });
    const { main, post } = await scenario.run();
    expect(main.outputs).toMatchObject({ provenance: 'cloned', recloned: 'true' });
    expect(verdict(post)).toMatch(/^Saved snapshot 2-/);
    expect(Object.keys(await layersOf(scenario))).not.toContain(first);
  });

  test('of a mirror that stays on its machine names the layers that it has saved', async () => {
    const scenario = await scenarios.create(repositorySizes.small);
    const root = scenario.newMachine();
    await scenario.run({ root });
    const [first = ''] = Object.keys(await layersOf(scenario));
    await addCommits(scenario.upstream);
    const { main } = await scenario.run({ root });
    expect(main.outputs['provenance']).toBe('existing');
    expect(Object.keys(await layersOf(scenario))).toEqual([first, expect.any(String)]);
  });

  test('stores a layer again that its store has let go of', async () => {
    const scenario = await scenarios.create(repositorySizes.small);
    const root = scenario.newMachine();
    await scenario.run({ root });
    const [first = ''] = Object.keys(await layersOf(scenario));
    const { folder } = await newestSnapshot(scenario.store);
    await rm(join(folder, 'layers', first), { recursive: true });
    await addCommits(scenario.upstream);
    await scenario.run({ root });
    expect(Object.keys(await layersOf(scenario))).not.toContain(first);
    const { main, mirror } = await scenario.run();
    expect(main.outputs).toMatchObject({ provenance: 'restored', recloned: 'false' });
    await expectMirrorOf(mirror, scenario.upstream);
  });

  test('of a mirror that somebody has repacked stores it as it is now', async () => {
    const scenario = await scenarios.create(repositorySizes.small);
    const root = scenario.newMachine();
    const { mirror } = await scenario.run({ root });
    const [first = ''] = Object.keys(await layersOf(scenario));
    await addCommits(scenario.upstream);
    await succeed(scenario.job({ root }).main());
    await git(mirror, ['repack', '-adq']);
    await addCommits(scenario.upstream);
    await scenario.run({ root });
    expect(Object.keys(await layersOf(scenario))).not.toContain(first);
    const next = await scenario.run();
    await expectMirrorOf(next.mirror, scenario.upstream);
  });
});

test(
  'two jobs save different commits on one base: one is superseded, nothing is lost',
  async () => {
    const scenario = await scenarios.create(repositorySizes.small);
    const random = createRandom(testSeed());
    await scenario.run();
    for (let race = 1; race <= RACES; race++) {
      const before = new Set(await listStoredLayers(scenario));
      const jobs: Job[] = [];
      const fetched: (string | undefined)[] = [];
      for (const seed of [1, 2]) {
        await addCommits(scenario.upstream, { seed: 10 * race + seed });
        const job = scenario.job();
        const { outputs } = await succeed(job.main());
        expect(outputs['provenance']).toBe('restored');
        jobs.push(job);
        fetched.push(outputs['refs-digest']);
      }
      const order = random.pick([jobs, jobs.toReversed()]);
      const delayMs = random.integer(500);
      const posts = await Promise.all(
        order.map(async (job, index) => {
          await sleep(index * delayMs);
          return succeed(job.post());
        }),
      );
      const saved = posts.filter((post) => verdict(post).startsWith(`Saved snapshot ${race + 1}-`));
      expect({ delayMs, saved: saved.length, all: posts.map(verdict) }).toMatchObject({ saved: 1 });

      const { snapshot } = await newestSnapshot(scenario.store);
      expect(snapshot.number).toBe(race + 1);
      expect(fetched).toContain(snapshot.refsDigest);
      const stored = await listStoredLayers(scenario);
      const named = snapshot.layers.map(({ name }) => name);
      expect(stored).toEqual(expect.arrayContaining(named));
      expect(named.filter((name) => !before.has(name)).length).toBeLessThanOrEqual(1);
      // At most one more, that nothing names: what the other had put before it was told.
      expect(stored.filter((name) => !before.has(name)).length).toBeLessThanOrEqual(2);
      const { outputs } = await succeed(scenario.job().main());
      expect(outputs).toMatchObject({ provenance: 'restored', recloned: 'false' });
      await expectMirrorOf(outputs['mirror-path'] ?? '', scenario.upstream);
    }
  },
  RACES * 60_000,
);

test('a life of changes of all kinds: every snapshot restores to upstream', async () => {
  const scenario = await scenarios.create(repositorySizes.tiny);
  const { upstream } = scenario;
  const changes: ((round: number) => Promise<unknown>)[] = [
    () => addCommits(upstream),
    (round) => createBranch(upstream, `made-${round}`, 'HEAD'),
    (round) => moveTag(upstream, 'moving', 'HEAD', `tagged ${round}`),
    // What was a branch is a folder of branches now.
    async (round) => {
      await createBranch(upstream, `way-${round}`, 'HEAD');
      await deleteBranch(upstream, `way-${round}`);
      await createBranch(upstream, `way-${round}/further`, 'HEAD');
    },
    (round) => renameDefaultBranch(upstream, `trunk-${round}`),
    async (round) => {
      await createBranch(upstream, `short-${round}`, 'HEAD~2');
      await renameBranch(upstream, `short-${round}`, `long-${round}`);
    },
    // A force push.
    () => git(upstream, ['update-ref', 'refs/heads/branch-1', 'HEAD~1']),
  ];
  await scenario.run();
  for (const [round, change] of changes.entries()) {
    await change(round);
    const { main, mirror } = await scenario.run();
    expect(main.outputs).toMatchObject({ provenance: 'restored', recloned: 'false' });
    await expectMirrorOf(mirror, upstream);
  }
}, 180_000);
