/** Runners of one machine that share a `mirror-path`. */
import { describe, expect, test } from '@jest/globals';
import { existsSync } from 'node:fs';
import { readFile, readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Job, StepResult } from '../../support/action-runner.ts';
import { waitUntil } from '../../support/processes.ts';
import { addCommits, repositorySizes } from '../../support/repository-fixture.ts';
import {
  expectMirrorOf,
  listManifests,
  readTree,
  succeed,
  useScenarios,
  verdict,
  type Scenario,
} from '../scenarios/scenario.ts';

const scenarios = useScenarios();
const RUNNERS = 8;
/** Twelve processes on two cores, each with a git or two. */
const TIMEOUT_MS = 120_000;

interface Crowd {
  mirror: string;
  jobs: Job[];
}

/** Jobs of several runners of one new machine, with a mirror in common. */
function crowd(scenario: Scenario, inputs: Record<string, string> = {}): Crowd {
  const root = scenario.newMachine();
  const mirror = join(root, 'shared', 'mirror.git');
  const jobs = Array.from({ length: RUNNERS }, (_, index) =>
    scenario.job({
      root,
      runner: `runner-${index + 1}`,
      inputs: { 'mirror-path': mirror, ...inputs },
    }),
  );
  return { mirror, jobs };
}

/** All at once; every one has to succeed. */
async function runAll(jobs: readonly Job[], step: 'main' | 'post'): Promise<StepResult[]> {
  return Promise.all(jobs.map((job) => succeed(job[step]())));
}

function countBy(results: readonly StepResult[], output: string): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { outputs } of results) {
    const value = outputs[output] ?? '';
    counts[value] = (counts[value] ?? 0) + 1;
  }
  return counts;
}

/** One valid mirror, on which all jobs agree, and nothing next to it but its lock. */
async function expectOneMirror(
  scenario: Scenario,
  { mirror }: Crowd,
  mains: readonly StepResult[],
): Promise<void> {
  expect(countBy(mains, 'mirror-path')).toEqual({ [mirror]: RUNNERS });
  expect(Object.keys(countBy(mains, 'refs-digest'))).toHaveLength(1);
  await expectMirrorOf(mirror, scenario.upstream);
  expect(await readFile(join(mirror, 'packed-refs'), 'latin1')).toMatch(
    /^# pack-refs with: peeled fully-peeled sorted \n(?:[0-9a-f]{40} refs\/\S+\n(?:\^[0-9a-f]{40}\n)?)+$/,
  );
  expect(await readdir(dirname(mirror))).toEqual(['mirror.git', 'mirror.git.lock']);
}

describe('eight jobs start at once on one mirror', () => {
  test(
    'without a snapshot: one clones, the others find its mirror; one snapshot is saved',
    async () => {
      const scenario = await scenarios.create(repositorySizes.small);
      const { server, store } = scenario;
      const all = crowd(scenario);
      const mains = await runAll(all.jobs, 'main');
      expect(countBy(mains, 'provenance')).toEqual({ cloned: 1, existing: RUNNERS - 1 });
      expect(server.clones).toBe(1);
      expect(server.requests.filter(({ kind }) => kind === 'fetch')).toHaveLength(1);
      await expectOneMirror(scenario, all, mains);

      const posts = (await runAll(all.jobs, 'post')).map(verdict);
      const saved = posts.filter((line) => line.startsWith('Saved snapshot 1-'));
      expect(saved).toHaveLength(1);
      const id = saved[0]?.split(' ')[2] ?? '';
      const others = posts.filter((line) => line !== saved[0]);
      expect(new Set(others)).toEqual(
        new Set([`Nothing saved: nothing changed since snapshot ${id}`]),
      );
      expect(await listManifests(store)).toHaveLength(1);
      const further = await scenario.run();
      expect(further.main.outputs).toMatchObject({ provenance: 'restored', snapshot: id });
      await expectMirrorOf(further.mirror, scenario.upstream);
    },
    TIMEOUT_MS,
  );

  test(
    'with a snapshot: one restores, nobody clones',
    async () => {
      const scenario = await scenarios.create(repositorySizes.small);
      const { server } = scenario;
      await scenario.run();
      await addCommits(scenario.upstream);
      server.resetCounters();
      const all = crowd(scenario);
      const mains = await runAll(all.jobs, 'main');
      expect(countBy(mains, 'provenance')).toEqual({ restored: 1, existing: RUNNERS - 1 });
      expect(countBy(mains, 'cache-hit')).toEqual({ true: 1, false: RUNNERS - 1 });
      expect(server.clones).toBe(0);
      expect(server.requests.filter(({ kind }) => kind === 'fetch')).toHaveLength(1);
      await expectOneMirror(scenario, all, mains);

      const posts = (await runAll(all.jobs, 'post')).map(verdict);
      expect(posts.filter((line) => line.startsWith('Saved snapshot 2-'))).toHaveLength(1);
      expect(posts.filter((line) => line.includes('nothing changed'))).toHaveLength(RUNNERS - 1);
      expect(await listManifests(scenario.store)).toHaveLength(2);
    },
    TIMEOUT_MS,
  );

  test(
    'each with a mirror of its own: one snapshot is saved, the others see that it was',
    async () => {
      const scenario = await scenarios.create();
      const jobs = Array.from({ length: RUNNERS }, () => scenario.job());
      const mains = await runAll(jobs, 'main');
      expect(countBy(mains, 'provenance')).toEqual({ cloned: RUNNERS });
      expect(Object.keys(countBy(mains, 'refs-digest'))).toHaveLength(1);
      const posts = (await runAll(jobs, 'post')).map(verdict);
      expect(posts.filter((line) => line.startsWith('Saved snapshot 1-'))).toHaveLength(1);
      // A job that looked before it existed was refused its claim, or its number.
      const late =
        /^Nothing saved: (?:nothing changed since snapshot 1-|another job (?:is saving it|saved snapshot 1 ))/;
      expect(posts.filter((line) => late.test(line))).toHaveLength(RUNNERS - 1);
      expect(await listManifests(scenario.store)).toHaveLength(1);
      const further = await scenario.run();
      expect(further.main.outputs['provenance']).toBe('restored');
      await expectMirrorOf(further.mirror, scenario.upstream);
    },
    TIMEOUT_MS,
  );

  test(
    'while upstream moves on: every job ends with a mirror that upstream once was',
    async () => {
      const scenario = await scenarios.create();
      const all = crowd(scenario);
      const running = all.jobs.map((job) => job.startMain());
      for (let count = 0; count < 6; count += 1) {
        await addCommits(scenario.upstream, { seed: count });
        const seen = scenario.server.requests.length;
        await waitUntil(() => scenario.server.requests.length > seen + 1, {
          timeoutMs: 30_000,
          what: 'another probe',
        });
      }
      const mains = await Promise.all(running.map(async ({ finished }) => succeed(finished)));
      expect(scenario.server.clones).toBe(1);
      expect(countBy(mains, 'provenance')).toEqual({ cloned: 1, existing: RUNNERS - 1 });
      expect(countBy(mains, 'recloned')).toEqual({ false: RUNNERS });
      const last = await succeed(all.jobs[0]?.main() ?? Promise.reject(new Error('no job')));
      expect(last.outputs['provenance']).toBe('existing');
      await expectMirrorOf(all.mirror, scenario.upstream);
      const posts = (await runAll(all.jobs, 'post')).map(verdict);
      expect(posts.filter((line) => line.startsWith('Saved snapshot 1-'))).toHaveLength(1);
      const further = await scenario.run();
      expect(further.main.outputs).toMatchObject({
        ...{ provenance: 'restored', 'refs-digest': last.outputs['refs-digest'] },
      });
    },
    TIMEOUT_MS,
  );
});

describe('lock-timeout passes while another job works', () => {
  const inputs = { 'lock-timeout': '1s' };

  test(
    'the job continues with a mirror of its own, which is gone after post',
    async () => {
      const scenario = await scenarios.create();
      const { server, upstream, store } = scenario;
      const all = crowd(scenario, inputs);
      const [holder, first, second] = all.jobs as [Job, Job, Job];
      const { promise: until, resolve: goOn } = Promise.withResolvers<unknown>();
      server.fault({
        ...{ on: 'clone', times: 1 },
        behave: { kind: 'stall', afterBytes: 100, until },
      });
      const working = holder.startMain();
      await server.waitForRequest(({ isClone }) => isClone);

      const mains = await Promise.all([first, second].map(async (job) => succeed(job.main())));
      expect(existsSync(all.mirror)).toBe(false);
      for (const [index, main] of mains.entries()) {
        const path = main.outputs['mirror-path'] ?? '';
        const job = [first, second][index];
        expect(dirname(dirname(path))).toBe(job?.temp);
        expect(main.outputs).toMatchObject({ provenance: 'cloned', recloned: 'false' });
        expect(main.summary).toMatch(
          /the place could not be used: this job made a mirror of its own/,
        );
        expect(main.log).toMatch(/Another job is working on .*mirror\.git; waiting for it/);
        expect(main.annotations).toMatchObject([
          {
            level: 'warning',
            message: expect.stringMatching(/held its lock for too long.*set `lock-timeout`/),
          },
        ]);
        await expectMirrorOf(path, upstream);
      }

      // The first post saves, though the holder still works; the second sees that it did.
      const saved = verdict(await succeed(first.post()));
      expect(saved).toMatch(/^Saved snapshot 1-/);
      const late = `Nothing saved: nothing changed since snapshot ${saved.split(' ')[2] ?? ''}`;
      expect(verdict(await succeed(second.post()))).toBe(late);
      for (const main of mains) {
        expect(existsSync(dirname(main.outputs['mirror-path'] ?? ''))).toBe(false);
      }

      goOn(undefined);
      const done = await succeed(working.finished);
      expect(done.outputs).toMatchObject({ provenance: 'cloned', 'mirror-path': all.mirror });
      await expectMirrorOf(all.mirror, upstream);
      const before = await readTree(store);
      expect(verdict(await succeed(holder.post()))).toBe(late);
      expect(await readTree(store)).toEqual(before);
      expect(await readdir(dirname(all.mirror))).toEqual(['mirror.git', 'mirror.git.lock']);
    },
    TIMEOUT_MS,
  );

  test('a snapshot is restored into a private mirror too; with `save: never` it goes as well', async () => {
    const scenario = await scenarios.create();
    const { server, upstream } = scenario;
    await scenario.run();
    await addCommits(upstream, { fileBytes: 2_000 });
    const all = crowd(scenario, { ...inputs, save: 'never' });
    const [holder, other] = all.jobs as [Job, Job];
    const { promise: until, resolve: goOn } = Promise.withResolvers<unknown>();
    server.fault({
      ...{ on: 'delta-fetch', times: 1 },
      behave: { kind: 'stall', afterBytes: 100, until },
    });
    server.resetCounters();
    const working = holder.startMain();
    await server.waitForRequest(({ hasHaves }) => hasHaves);
    const main = await succeed(other.main());
    const path = main.outputs['mirror-path'] ?? '';
    expect(path.startsWith(other.temp)).toBe(true);
    expect(main.outputs['provenance']).toBe('restored');
    await expectMirrorOf(path, upstream);
    expect(verdict(await succeed(other.post()))).toBe('Nothing saved: `save` is `never`');
    expect(existsSync(dirname(path))).toBe(false);
    goOn(undefined);
    await succeed(working.finished);
    await expectMirrorOf(all.mirror, upstream);
  });
});
