/** Whole jobs with an upstream that hangs, stalls half-way or computes for long. */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from '@jest/globals';
import { createComputing } from '../../support/git-server/computing.ts';
import { repositorySizes } from '../../support/repository-fixture.ts';
import {
  expectMirrorOf,
  failureOf,
  succeed,
  useScenarios,
  verdict,
} from '../scenarios/scenario.ts';

const scenarios = useScenarios();
const onPosix = process.platform === 'win32' ? describe.skip : describe;

onPosix('with `stall-timeout: 3s`', () => {
  const inputs = { 'stall-timeout': '3s' };

  test('a job waits for a server that computes for longer and reports its progress', async () => {
    const scenario = await scenarios.create();
    const computing = createComputing(join(scenario.root, 'computing'), 'progress');
    Object.assign(scenario.server.configuration, computing.configuration);
    try {
      const step = scenario.job({ inputs }).startMain();
      await computing.started();
      await sleep(7_500);
      computing.finish();
      const main = await succeed(step.finished);
      expect(main.outputs).toMatchObject({ provenance: 'cloned', recloned: 'false' });
      expect(main.log).not.toContain('no sign of life');
      expect(scenario.server.clones).toBe(1);
      await expectMirrorOf(main.outputs['mirror-path'] ?? '', scenario.upstream);
    } finally {
      delete scenario.server.configuration['uploadpack.packObjectsHook'];
    }
  });

  test('a clone that stalls half-way is tried again, says so, and is saved', async () => {
    const scenario = await scenarios.create(repositorySizes.small);
    const behave = { kind: 'stall', afterBytes: 20_000 } as const;
    scenario.server.fault({ on: 'clone', times: 1, behave });
    const { main, post, mirror } = await scenario.run({ inputs });
    expect(main.log).toMatch(/upstream showed no sign of life for 3\.0 s; trying again in 1\.\d s/);
    expect(main.outputs).toMatchObject({ provenance: 'cloned', recloned: 'false' });
    expect(main.annotations).toEqual([]);
    await expectMirrorOf(mirror, scenario.upstream);
    expect(verdict(post)).toMatch(/^Saved snapshot 1-/);
  });

  test('an upstream that never answers fails the step long before `fetch-timeout`, and names both', async () => {
    const scenario = await scenarios.create();
    scenario.server.fault({ on: 'any', behave: { kind: 'stall', afterBytes: 0 } });
    const job = scenario.job({ inputs: { ...inputs, 'fetch-timeout': '10h' } });
    const main = await job.main();
    expect(failureOf(main)).toContain('upstream showed no sign of life for 3.0 s');
    expect(main.summary).toContain('set <code>stall-timeout</code> to a longer time');
    expect(verdict(await succeed(job.post()))).toMatch(/^Nothing saved/);
  });
});
