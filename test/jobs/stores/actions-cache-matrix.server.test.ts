/** Jobs of one workflow run that begin at once, each on a machine of its own, with the Actions cache. */
import { afterEach, describe, expect, jest, test } from '@jest/globals';
import type { Job, RunningStep, StepResult } from '../../support/action-runner.ts';
import { waitUntil } from '../../support/processes.ts';
import { repositorySizes } from '../../support/repository-fixture.ts';
import { inCache, keysOf, useCacheService } from '../scenarios/cache-scenario.ts';
import {
  expectMirrorOf,
  succeed,
  tally,
  useScenarios,
  verdict,
  type Scenario,
} from '../scenarios/scenario.ts';

jest.setTimeout(400_000);

const MACHINES = 20;
const scenarios = useScenarios();
const cache = useCacheService();
const started: RunningStep[] = [];

afterEach(async () => {
  for (const step of started) step.kill();
  await Promise.all(started.splice(0).map(({ finished }) => finished));
});

function matrix(scenario: Scenario, more: Record<string, string>): Job[] {
  // As the runner fills it in from `strategy`.
  const inputs = { 'job-total': String(MACHINES), ...more };
  return Array.from({ length: MACHINES }, (_, index) =>
    scenario.job(
      inCache(cache(), scenario.server.url, { runId: 'matrix', job: `job-${index}`, inputs }),
    ),
  );
}

function runAll(steps: readonly Promise<StepResult>[]): Promise<StepResult[]> {
  return Promise.all(steps.map(succeed));
}

async function expectAllWhole(mains: readonly StepResult[], scenario: Scenario): Promise<void> {
  for (const { outputs } of mains) {
    await expectMirrorOf(outputs['mirror-path'] ?? '', scenario.upstream);
  }
}

describe('a matrix, cold', () => {
  test('with `publish: early` clones once, and uploads each layer once', async () => {
    const scenario = await scenarios.create(repositorySizes.small);
    const jobs = matrix(scenario, { publish: 'early' });
    const mains = await runAll(jobs.map((job) => job.main()));
    expect(tally(mains, 'provenance')).toEqual({ cloned: 1, restored: MACHINES - 1 });
    expect(tally(mains, 'lock')).toMatchObject({ acquired: 1 });
    expect(scenario.server.clones).toBe(1);
    await expectAllWhole(mains, scenario);
    expect(keysOf(cache(), 'layers')).toHaveLength(1);
    expect(keysOf(cache(), 'manifests')).toEqual(['default/manifests/01-1']);
    // A refused one counts for the platform's limits as well: each job tries once at most, and one saves.
    const created = cache().requestsOf('create');
    const claims = created.filter(({ key }) => key?.includes('/claims/'));
    expect(claims.length).toBeLessThanOrEqual(MACHINES);
    expect(created.length - claims.length).toBe(2);

    const posts = await runAll(jobs.map((job) => job.post()));
    for (const post of posts) expect(verdict(post)).toMatch(/nothing changed since snapshot 1-/);
    expect(keysOf(cache(), 'layers')).toHaveLength(1);
  });

  test('with `publish: post` waits for nobody, and one job uploads', async () => {
    const scenario = await scenarios.create(repositorySizes.small);
    const jobs = matrix(scenario, {});
    const mains = await runAll(jobs.map((job) => job.main()));
    expect(tally(mains, 'provenance')).toEqual({ cloned: MACHINES });
    expect(tally(mains, 'lock')).toEqual({ 'not-needed': MACHINES });
    const posts = await runAll(jobs.map((job) => job.post()));
    const saved = posts.filter((post) => verdict(post).startsWith('Saved snapshot 1-'));
    expect(saved).toHaveLength(1);
    expect(
      cache()
        .requestsOf('upload')
        .filter(({ key }) => key?.includes('/layers/')),
    ).toHaveLength(1);
    expect(keysOf(cache(), 'layers')).toHaveLength(1);
    expect(keysOf(cache(), 'manifests')).toEqual(['default/manifests/01-1']);
  });

  test('whose leader is killed continues after `lock-timeout`, each job without the claim', async () => {
    const scenario = await scenarios.create();
    // The first to clone is the one that has the claim.
    scenario.server.fault({ on: 'clone', times: 1, behave: { kind: 'stall', afterBytes: 0 } });
    const jobs = matrix(scenario, { publish: 'early', 'lock-timeout': '30s' });
    const steps = jobs.map((job) => job.startMain());
    started.push(...steps);
    // Its request is the one that stalls.
    await waitUntil(() => scenario.server.clones > 0, { timeoutMs: 120_000, what: 'a clone' });
    const leader = steps.find(({ lines }) => lines.some((line) => line.startsWith('Cloning ')));
    leader?.kill();
    await leader?.finished;
    const followers = steps.filter((step) => step !== leader);
    const mains = await runAll(followers.map(({ finished }) => finished));
    expect(tally(mains, 'lock')).toEqual({ 'timed-out': MACHINES - 1 });
    expect(tally(mains, 'provenance')).toEqual({ cloned: MACHINES - 1 });
    await expectAllWhole(mains, scenario);
    // Its claim outlives it: the next run saves.
    expect(keysOf(cache(), 'manifests')).toEqual([]);
    const next = await scenario.run(inCache(cache(), scenario.server.url));
    expect(verdict(next.post)).toMatch(/^Saved snapshot 1-/);
  });
});
