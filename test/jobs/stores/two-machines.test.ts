/** Machines that keep their mirrors and share a store. */
import { describe, expect, test } from '@jest/globals';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { truncate } from '../../support/corruption.ts';
import { addCommits } from '../../support/repository-fixture.ts';
import {
  expectMirrorOf,
  listManifests,
  newestSnapshot,
  packsOf,
  readTree,
  succeed,
  useScenarios,
  verdict,
} from '../scenarios/scenario.ts';

const scenarios = useScenarios();

describe('two machines with mirrors of their own and one store', () => {
  test('save each change once, and nothing repeatedly', async () => {
    const scenario = await scenarios.create();
    const [a, b] = [scenario.newMachine(), scenario.newMachine()];
    await scenario.run({ root: a });
    expect(verdict((await scenario.run({ root: b })).post)).toMatch(/nothing changed/);
    await addCommits(scenario.upstream);
    expect(verdict((await scenario.run({ root: a })).post)).toMatch(/^Saved snapshot 2-/);
    const settled = await readTree(scenario.store);
    for (const root of [b, a, b, a]) {
      const { main, post } = await scenario.run({ root });
      expect(main.outputs['provenance']).toBe('existing');
      expect(verdict(post)).toMatch(/^Nothing saved: nothing changed since snapshot 2-/);
    }
    expect(await readTree(scenario.store)).toEqual(settled);
  });

  test('save in turns, and walk everything where the base is not the newest', async () => {
    const scenario = await scenarios.create();
    const [a, b] = [scenario.newMachine(), scenario.newMachine()];
    await scenario.run({ root: a });
    await scenario.run({ root: b });
    await addCommits(scenario.upstream);
    await scenario.run({ root: a });
    expect((await newestSnapshot(scenario.store)).snapshot.savesSinceFullWalk).toBe(1);
    await addCommits(scenario.upstream);
    const { post, mirror } = await scenario.run({ root: b });
    expect(verdict(post)).toMatch(/^Saved snapshot 3-/);
    expect((await newestSnapshot(scenario.store)).snapshot.savesSinceFullWalk).toBe(0);
    await expectMirrorOf(mirror, scenario.upstream);
    expect((await listManifests(scenario.store)).map(({ number }) => number)).toEqual([1, 2, 3]);
  });
});

test('a clone that heals a bad snapshot is saved by a later job where its own post never ran', async () => {
  const scenario = await scenarios.create();
  await scenario.run();
  const [pack = ''] = packsOf(await newestSnapshot(scenario.store));
  truncate(pack, -30);
  const root = scenario.newMachine();
  const healing = await succeed(scenario.job({ root }).main());
  expect(healing.outputs).toMatchObject({ provenance: 'cloned', recloned: 'true' });
  const { main, post } = await scenario.run({ root });
  expect(main.outputs['provenance']).toBe('existing');
  expect(verdict(post)).toMatch(/^Saved snapshot 2-/);
  expect((await scenario.run()).main.outputs['provenance']).toBe('restored');
});

describe('an empty folder at mirror-path', () => {
  test('is where a clone goes, also without a snapshot', async () => {
    const scenario = await scenarios.create();
    const path = join(scenario.newMachine(), 'mirror.git');
    await mkdir(path, { recursive: true });
    const { main, mirror } = await scenario.run({ inputs: { 'mirror-path': path } });
    expect(main.outputs['provenance']).toBe('cloned');
    await expectMirrorOf(mirror, scenario.upstream);
  });
});

describe('post', () => {
  test('saves what main mirrored, whatever the inputs say by then', async () => {
    const scenario = await scenarios.create();
    const job = scenario.job();
    await succeed(job.main());
    job.setInputs({ refs: '+refs/heads/*:refs/heads/*', 'cache-key': 'another' });
    expect(verdict(await succeed(job.post()))).toMatch(/^Saved snapshot 1-/);
    const { main } = await scenario.run();
    expect(main.outputs['provenance']).toBe('restored');
  });
});
