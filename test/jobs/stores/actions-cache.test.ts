/** Jobs on machines that share nothing but the Actions cache, as hosted runners do. */
import { describe, expect, jest, test } from '@jest/globals';
import { mkdir, realpath, symlink } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { addCommits, repositorySizes } from '../../support/repository-fixture.ts';
import { inCache, keysOf, runInCache, useCacheService } from '../scenarios/cache-scenario.ts';
import { failureOf, useScenarios, verdict } from '../scenarios/scenario.ts';
import { expectTipOf } from '../scenarios/tip.ts';

// Every call of the cache starts a process.
jest.setTimeout(180_000);

const scenarios = useScenarios();
const cache = useCacheService();

describe('jobs of the default branch', () => {
  test.each(['azure', 'loopback'] as const)(
    'clone once, and then restore and save what is new (blobs of %s)',
    async (blobHost) => {
      const scenario = await scenarios.create(repositorySizes.small);
      const cold = await runInCache(cache(), scenario, { blobHost });
      expect(cold.main.outputs).toMatchObject({ provenance: 'cloned', 'cache-hit': 'false' });
      expect(cold.main.log).toContain('Store: the Actions cache (default)');
      expect(verdict(cold.post)).toMatch(/^Saved snapshot 1-/);
      expect(keysOf(cache(), 'manifests')).toEqual(['default/manifests/01-1']);

      scenario.server.resetCounters();
      const warm = await runInCache(cache(), scenario, { blobHost });
      expect(warm.main.outputs).toMatchObject({ provenance: 'restored', 'cache-hit': 'true' });
      expect(warm.main.log).toContain('from the Actions cache (default)');
      expect(verdict(warm.post)).toMatch(/nothing changed since snapshot 1-/);
      expect(scenario.server.clones).toBe(0);

      await addCommits(scenario.upstream);
      cache().resetCounters();
      const changed = await runInCache(cache(), scenario, { blobHost });
      expect(changed.main.outputs['provenance']).toBe('restored');
      expect(verdict(changed.post)).toMatch(/^Saved snapshot 2-/);
      // The old layer is named again, and not stored again.
      expect(keysOf(cache(), 'layers')).toHaveLength(2);
      expect(cache().bytesUp()).toBeLessThan(cache().bytesDown() / 4);
    },
  );

  test('clone one commit once with fetch-depth 1, and then restore and save what is new', async () => {
    const scenario = await scenarios.create(repositorySizes.small);
    const job = () =>
      scenario.run(inCache(cache(), scenario.server.url, { inputs: { 'fetch-depth': '1' } }));
    const cold = await job();
    expect(cold.main.outputs).toMatchObject({ provenance: 'cloned', 'cache-hit': 'false' });
    expect(verdict(cold.post)).toMatch(/^Saved snapshot 1-/);
    await addCommits(scenario.upstream);
    const warm = await job();
    expect(warm.main.outputs).toMatchObject({ provenance: 'restored', 'cache-hit': 'true' });
    expect(verdict(warm.post)).toMatch(/^Saved snapshot 2-/);
    await expectTipOf(warm.mirror, scenario.upstream);
  });

  test('work without zstd, as a store of their own', async () => {
    const scenario = await scenarios.create();
    const programs = join(scenario.root, 'programs');
    await mkdir(programs);
    for (const name of ['git', 'gzip', 'node', 'sh', 'tar']) {
      await symlink(await programOf(name), join(programs, name));
    }
    const environment = { PATH: programs };
    expect(verdict((await runInCache(cache(), scenario, { environment })).post)).toMatch(
      /^Saved snapshot 1-/,
    );
    const warm = await runInCache(cache(), scenario, { environment });
    expect(warm.main.outputs['provenance']).toBe('restored');
    const other = await runInCache(cache(), scenario);
    expect(other.main.outputs['provenance']).toBe('cloned');
    expect(verdict(other.post)).toMatch(/^Saved snapshot 1-/);
  });
});

describe('where there is no service', () => {
  test('a job continues without a store, unless it was asked for', async () => {
    const scenario = await scenarios.create();
    const environment = { ACTIONS_RESULTS_URL: '' };
    const { main, post } = await runInCache(cache(), scenario, { environment });
    expect(main.outputs['provenance']).toBe('cloned');
    expect(main.annotations.map(({ message }) => message).join()).toContain('ACTIONS_RESULTS_URL');
    expect(verdict(post)).toContain('there is no store');
    const asked = { environment, inputs: { store: 'actions-cache' } };
    const failed = await scenario.job(inCache(cache(), scenario.server.url, asked)).main();
    expect(failureOf(failed)).toMatch(/Actions cache was asked for.*ACTIONS_RESULTS_URL.*`store`/);
  });

  test('a machine that keeps its disk says so in a notice, only where it clones', async () => {
    const scenario = await scenarios.create();
    const root = scenario.newMachine();
    const environment = { ACTIONS_RESULTS_URL: '' };
    await scenario.run(inCache(cache(), scenario.server.url, { root, environment }));
    const { main } = await scenario.run(
      inCache(cache(), scenario.server.url, { root, environment }),
    );
    expect(main.outputs['provenance']).toBe('existing');
    expect(main.annotations).toEqual([]);
  });
});

async function programOf(name: string): Promise<string> {
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    const found = await realpath(join(folder, name)).catch(() => undefined);
    if (found !== undefined) return found;
  }
  throw new Error(`${name} is not on PATH`);
}
