/** A snapshot is restored while upstream is asked; what upstream says then decides. */
import { readdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { addCommits, repositorySizes } from '../../support/repository-fixture.ts';
import { inCache, useCacheService } from '../scenarios/cache-scenario.ts';
import {
  expectMirrorOf,
  failureOf,
  succeed,
  useScenarios,
  type Scenario,
} from '../scenarios/scenario.ts';

const scenarios = useScenarios();
const cache = useCacheService();

/** More than a manifest has, and less than a layer. */
const STALL_AFTER_BYTES = 100_000;
/** Longer than any test waits. */
const STALL_MS = 600_000;

/** A job on a machine where nothing has run, which finds a snapshot of the day before. */
async function jobWithNews(scenario: Scenario) {
  const { mirror } = await scenario.run(inCache(cache(), scenario.server.url));
  await addCommits(scenario.upstream);
  return { job: scenario.job(inCache(cache(), scenario.server.url)), mirror };
}

describe('a restore during the probe', () => {
  test('is done when upstream is slow to answer', async () => {
    const scenario = await scenarios.create(repositorySizes.small);
    const { job } = await jobWithNews(scenario);
    scenario.server.fault({ on: 'probe', times: 1, behave: { kind: 'delay', forMs: 5_000 } });
    const main = await succeed(job.main());
    expect(main.outputs['provenance']).toBe('restored');
    // Lines come when what they tell of has ended.
    expect(main.log).toMatch(/^Restore: .*\n(?:.*\n)*Probe: /m);
    await expectMirrorOf(main.outputs['mirror-path'] ?? '', scenario.upstream);
  });

  test('is ended at once where upstream refuses, and leaves nothing', async () => {
    const scenario = await scenarios.create(repositorySizes.small);
    const { job } = await jobWithNews(scenario);
    scenario.server.fault({ on: 'probe', behave: { kind: 'status', status: 401 } });
    cache().fault({
      on: 'download',
      behave: { kind: 'stall', afterBytes: STALL_AFTER_BYTES, forMs: STALL_MS },
    });
    const main = await job.main();
    expect(failureOf(main)).toMatch(/upstream refused the credentials/);
    expect(main.log).not.toMatch(/did not answer|could not be restored|is not used/);
    // It was stopped: there is one fault, and it is upstream's.
    expect(main.log).toMatch(/^Restore: stopped after /m);
    expect(main.summary).toMatch(/^\| Restore \|.*\| stopped \|/m);
    expect(main.log.match(/: failed after /g)).toHaveLength(1);
    expect(await readdir(job.runnerWorkspace, { recursive: true })).not.toContainEqual(
      expect.stringContaining('staging'),
    );

    // Nothing was said against the snapshot.
    scenario.server.clearFaults();
    cache().clearFaults();
    const next = await succeed(scenario.job(inCache(cache(), scenario.server.url)).main());
    expect(next.outputs['provenance']).toBe('restored');
  });

  test('that found a bad snapshot is ignored where upstream answers with nothing', async () => {
    const scenario = await scenarios.create(repositorySizes.small);
    const { job } = await jobWithNews(scenario);
    await cache().evict(({ key }) => key.includes('/layers/'));
    scenario.server.fault({ on: 'probe', behave: { kind: 'empty' } });
    const main = await job.main();
    expect(failureOf(main)).toMatch(/the answer is not git's protocol/);
    const mirrors = dirname(main.outputs['mirror-path'] ?? job.runnerWorkspace);
    expect(await readdir(mirrors).catch(() => [])).not.toContainEqual(
      expect.stringMatching(/\.git$/),
    );
  });
});
