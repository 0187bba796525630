/** `publish: early`: machines that share nothing but a store wait for one cold clone. */
import { describe, expect, test } from '@jest/globals';
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { waitUntil } from '../../support/processes.ts';
import { addCommits, repositorySizes } from '../../support/repository-fixture.ts';
import {
  expectMirrorOf,
  listManifests,
  packsOf,
  newestSnapshot,
  succeed,
  tally,
  useScenarios,
  verdict,
  type Scenario,
} from '../scenarios/scenario.ts';

const scenarios = useScenarios();
const MACHINES = 6;
const TIMEOUT_MS = 120_000;

/** Jobs of a matrix, each on a machine of its own, all at once. */
function matrix(scenario: Scenario, inputs: Record<string, string>) {
  return Array.from({ length: MACHINES }, () => scenario.job({ inputs }));
}

describe('jobs on machines of their own', () => {
  test(
    'make one clone for all, and save it once',
    async () => {
      const scenario = await scenarios.create(repositorySizes.small);
      // Slow enough for all to have begun before the first is done.
      scenario.server.fault({
        on: 'clone',
        times: Infinity,
        behave: { kind: 'slow', bytesPerSecond: 200_000 },
      });
      const jobs = matrix(scenario, { publish: 'early' });
      const mains = await Promise.all(jobs.map((job) => succeed(job.main())));
      expect(tally(mains, 'provenance')).toEqual({ cloned: 1, restored: MACHINES - 1 });
      expect(tally(mains, 'lock')).toEqual({ acquired: 1, waited: MACHINES - 1 });
      expect(scenario.server.clones).toBe(1);
      for (const { outputs } of mains) {
        await expectMirrorOf(outputs['mirror-path'] ?? '', scenario.upstream);
      }
      const posts = await Promise.all(jobs.map((job) => succeed(job.post())));
      expect(posts.map(verdict)).toEqual(
        Array.from({ length: MACHINES }, () => expect.stringContaining('nothing changed')),
      );
      expect((await listManifests(scenario.store)).map(({ number }) => number)).toEqual([1]);
    },
    TIMEOUT_MS,
  );

  test(
    'clone each for itself under `publish: post`, and one of them saves',
    async () => {
      const scenario = await scenarios.create();
      const jobs = matrix(scenario, {});
      const mains = await Promise.all(jobs.map((job) => succeed(job.main())));
      expect(tally(mains, 'provenance')).toEqual({ cloned: MACHINES });
      expect(tally(mains, 'lock')).toEqual({ 'not-needed': MACHINES });
      const posts = await Promise.all(jobs.map((job) => succeed(job.post())));
      const saved = posts.map(verdict).filter((line) => line.startsWith('Saved snapshot 1-'));
      expect(saved).toHaveLength(1);
      expect((await listManifests(scenario.store)).map(({ number }) => number)).toEqual([1]);
    },
    TIMEOUT_MS,
  );

  test(
    'heal a bad snapshot by one clone',
    async () => {
      const scenario = await scenarios.create(repositorySizes.small);
      await scenario.run();
      const [pack = ''] = packsOf(await newestSnapshot(scenario.store));
      await writeFile(pack, 'garbage');
      scenario.server.resetCounters();
      scenario.server.fault({
        on: 'clone',
        times: Infinity,
        behave: { kind: 'slow', bytesPerSecond: 200_000 },
      });
      const jobs = matrix(scenario, { publish: 'early' });
      const mains = await Promise.all(jobs.map((job) => succeed(job.main())));
      expect(tally(mains, 'provenance')).toEqual({ cloned: 1, restored: MACHINES - 1 });
      expect(scenario.server.clones).toBe(1);
      const healed = mains.find(({ outputs }) => outputs['provenance'] === 'cloned');
      expect(healed?.outputs['recloned']).toBe('true');
      expect((await newestSnapshot(scenario.store)).number).toBe(2);
    },
    TIMEOUT_MS,
  );
});

describe('a job that waits', () => {
  test('continues without the claim after `lock-timeout`', async () => {
    const scenario = await scenarios.create();
    scenario.server.fault({ on: 'clone', times: 1, behave: { kind: 'stall', afterBytes: 0 } });
    const holder = scenario.job({ inputs: { publish: 'early' } }).startMain();
    try {
      await waitUntil(() => holder.lines.some((line) => line.includes('Clon')), {
        timeoutMs: 20_000,
        what: 'the first job to clone',
      });
      const late = await succeed(
        scenario.job({ inputs: { publish: 'early', 'lock-timeout': '1s' } }).main(),
      );
      expect(late.outputs).toMatchObject({ provenance: 'cloned', lock: 'timed-out' });
      expect(late.log).toContain(`Waiting for ${scenario.repository}/`);
      // The one that it waited for is alive, and will save.
      expect(late.log).toContain('another job is saving it');
      expect(await listManifests(scenario.store)).toEqual([]);
    } finally {
      holder.kill();
      await holder.finished;
    }
  });

  test(
    'takes over from one that was killed, and one clone serves the others',
    async () => {
      const scenario = await scenarios.create();
      scenario.server.fault({ on: 'clone', times: 1, behave: { kind: 'stall', afterBytes: 0 } });
      const holder = scenario.job({ inputs: { publish: 'early' } }).startMain();
      await waitUntil(() => scenario.server.clones > 0, { timeoutMs: 20_000, what: 'a clone' });
      holder.kill();
      await holder.finished;
      const jobs = matrix(scenario, { publish: 'early' });
      const mains = await Promise.all(jobs.map((job) => succeed(job.main())));
      expect(tally(mains, 'lock')).toEqual({ acquired: 1, waited: MACHINES - 1 });
      expect(tally(mains, 'provenance')).toEqual({ cloned: 1, restored: MACHINES - 1 });
      expect(scenario.server.clones).toBe(2);
      expect((await listManifests(scenario.store)).map(({ number }) => number)).toEqual([1]);
    },
    TIMEOUT_MS,
  );
});

test(
  'jobs that share a mirror do not spend their lock-timeout on each other while they wait for a clone',
  async () => {
    const scenario = await scenarios.create();
    scenario.server.fault({ on: 'clone', times: 1, behave: { kind: 'stall', afterBytes: 0 } });
    const holder = scenario.job({ inputs: { publish: 'early' } }).startMain();
    await waitUntil(() => scenario.server.clones > 0, { timeoutMs: 20_000, what: 'a clone' });
    const root = scenario.newMachine();
    const inputs = { publish: 'early', 'mirror-path': join(root, 'shared.git') };
    const sharing = ['one', 'two'].map((runner) =>
      scenario.job({ root, runner, inputs }).startMain(),
    );
    try {
      // Both wait for the clone at the same time, so neither holds the mirror's lock.
      await waitUntil(
        () => sharing.every(({ lines }) => lines.some((line) => line.startsWith('Waiting for'))),
        { timeoutMs: 60_000, what: 'both jobs to wait for the clone' },
      );
    } finally {
      await holder.cancel();
    }
    const mains = await Promise.all(sharing.map((step) => succeed(step.finished)));
    expect(tally(mains, 'provenance')).toEqual({ cloned: 1, existing: 1 });
    expect(tally(mains, 'mirror-path')).toEqual({ [inputs['mirror-path']]: 2 });
    await expectMirrorOf(inputs['mirror-path'], scenario.upstream);
  },
  TIMEOUT_MS,
);

describe('what is saved early', () => {
  test('is what post then finds, and new commits go into the next', async () => {
    const scenario = await scenarios.create();
    const job = scenario.job({ inputs: { publish: 'early' } });
    const main = await succeed(job.main());
    expect(main.log).toMatch(/Saved snapshot 1-/);
    expect(verdict(await succeed(job.post()))).toMatch(/nothing changed since snapshot 1-/);
    await addCommits(scenario.upstream);
    const next = await scenario.run({ inputs: { publish: 'early' } });
    expect(next.main.outputs).toMatchObject({ provenance: 'restored', lock: 'not-needed' });
    expect(verdict(next.post)).toMatch(/^Saved snapshot 2-/);
  });

  test('is nothing where nothing may be saved', async () => {
    const scenario = await scenarios.create();
    const main = await succeed(
      scenario.job({ inputs: { publish: 'early', save: 'never' } }).main(),
    );
    expect(main.outputs).toMatchObject({ provenance: 'cloned', lock: 'not-needed' });
    expect(await readdir(scenario.store)).toEqual([]);
  });

  test('leaves the job whole where the store fails', async () => {
    const scenario = await scenarios.create();
    const job = scenario.job({ inputs: { publish: 'early' } });
    // A file where the store's folder of snapshots should be.
    await writeFile(join(scenario.store, 'v1'), 'in the way');
    const main = await succeed(job.main());
    expect(main.outputs['provenance']).toBe('cloned');
    await succeed(job.post());
  });
});
