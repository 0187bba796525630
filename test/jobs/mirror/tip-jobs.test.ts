/** Whole jobs with `fetch-depth: 1`: many at once, killed, cancelled. */
import { afterEach, describe, expect, test } from '@jest/globals';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Job, RunningStep } from '../../support/action-runner.ts';
import { createRandom, testSeed } from '../../support/random.ts';
import { addCommits, repositorySizes } from '../../support/repository-fixture.ts';
import { expectSound } from '../scenarios/checkout-comparison.ts';
import {
  endClaims,
  succeed,
  tally,
  useScenarios,
  verdict,
  type Scenario,
} from '../scenarios/scenario.ts';
import { expectTipOf } from '../scenarios/tip.ts';

const scenarios = useScenarios();
const onPosix = process.platform === 'win32' ? describe.skip : describe;
const random = createRandom(testSeed());
const KILLS = Number(process.env['KILLS'] ?? 4);
const running: RunningStep[] = [];

afterEach(async () => {
  for (const step of running.splice(0)) {
    step.kill();
    await step.finished;
  }
});

function start(step: RunningStep): RunningStep {
  running.push(step);
  return step;
}

const inputs = { 'fetch-depth': '1' };

test('a matrix with `publish: early` clones once', async () => {
  const scenario = await scenarios.create(repositorySizes.small);
  const slow = { kind: 'slow', bytesPerSecond: 100_000 } as const;
  scenario.server.fault({ on: 'clone', times: Infinity, behave: slow });
  const jobs = Array.from({ length: 4 }, () =>
    scenario.job({ inputs: { ...inputs, publish: 'early' } }),
  );
  const mains = await Promise.all(jobs.map((job) => succeed(job.main())));
  expect(tally(mains, 'provenance')).toEqual({ cloned: 1, restored: 3 });
  for (const { outputs } of mains) {
    await expectTipOf(outputs['mirror-path'] ?? '', scenario.upstream);
  }
  for (const job of jobs) expect(verdict(await succeed(job.post()))).toMatch(/nothing changed/);
});

onPosix('a step that ends too early', () => {
  const plan = Array.from({ length: KILLS }, (_, index) => ({
    number: index + 1,
    step: (['main', 'post'] as const)[index % 2] ?? 'main',
    isWarm: index % 3 > 0,
    isCancelled: index % 4 === 3,
    moment: random.next(),
  }));

  test.each(plan)(
    '$number: $step, cancelled: $isCancelled, with a snapshot: $isWarm',
    async ({ step, isWarm, isCancelled, moment }) => {
      const scenario = await scenarios.create(repositorySizes.small);
      if (isWarm) {
        await scenario.run({ inputs });
        await addCommits(scenario.upstream, { commits: 3 });
      }
      const undisturbed = scenario.job({ inputs: { ...inputs, save: 'never' } });
      const { durationMs } = await succeed(undisturbed.main());
      const root = scenario.newMachine();
      const job = scenario.job({ root, inputs });
      if (step === 'post') await succeed(job.main());
      const started = start(step === 'main' ? job.startMain() : job.startPost());
      await Promise.race([sleep(moment * durationMs), started.finished]);
      if (isCancelled) await started.cancel();
      else started.kill();
      await started.finished;
      await expectHealed(scenario, job, root);
    },
    120_000,
  );

  /** The next job on that machine, and one on another: both have one commit, and all of it. */
  async function expectHealed(scenario: Scenario, job: Job, root: string): Promise<void> {
    if (existsSync(join(job.workspace, '.git'))) await expectSound(job.workspace);
    await endClaims(scenario.store);
    const next = await scenario.run({ root, inputs });
    await expectTipOf(next.mirror, scenario.upstream);
    expect(verdict(next.post)).toMatch(/^Saved snapshot|nothing changed/);
    const other = await succeed(scenario.job({ inputs: { ...inputs, verify: 'full' } }).main());
    expect(other.outputs).toMatchObject({ provenance: 'restored', recloned: 'false' });
    await expectTipOf(other.outputs['mirror-path'] ?? '', scenario.upstream);
  }
});
