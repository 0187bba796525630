/** Jobs on machines that share nothing but the Actions cache, as hosted runners do. */
import { describe, expect, jest, test } from '@jest/globals';
import { mkdir, realpath, symlink } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { addCommits, repositorySizes } from '../../support/repository-fixture.ts';
import {
  expectNothingLeft,
  inCache,
  keysOf,
  useCacheService,
  type CacheJobOptions,
} from '../scenarios/cache-scenario.ts';
import {
  expectMirrorOf,
  failureOf,
  useScenarios,
  verdict,
  type Run,
  type Scenario,
} from '../scenarios/scenario.ts';
import { expectTipOf } from '../scenarios/tip.ts';

// Every call of the cache starts a process.
jest.setTimeout(180_000);

const scenarios = useScenarios();
const cache = useCacheService();

async function run(scenario: Scenario, options: CacheJobOptions = {}): Promise<Run> {
  const done = await scenario.run(inCache(cache(), scenario.server.url, options));
  await expectMirrorOf(done.mirror, scenario.upstream);
  await expectNothingLeft(done.job);
  return done;
}

describe('jobs of the default branch', () => {
  test.each(['azure', 'loopback'] as const)(
    'clone once, and then restore and save what is new (blobs of %s)',
    async (blobHost) => {
      const scenario = await scenarios.create(repositorySizes.small);
      const cold = await run(scenario, { blobHost });
      expect(cold.main.outputs).toMatchObject({ provenance: 'cloned', 'cache-hit': 'false' });
      expect(cold.main.log).toContain('Store: the Actions cache (default)');
      expect(verdict(cold.post)).toMatch(/^Saved snapshot 1-/);
      expect(keysOf(cache(), 'manifests')).toEqual(['default/manifests/01-1']);

      scenario.server.resetCounters();
      const warm = await run(scenario, { blobHost });
      expect(warm.main.outputs).toMatchObject({ provenance: 'restored', 'cache-hit': 'true' });
      expect(warm.main.log).toContain('from the Actions cache (default)');
      expect(verdict(warm.post)).toMatch(/nothing changed since snapshot 1-/);
      expect(scenario.server.clones).toBe(0);

      await addCommits(scenario.upstream);
      cache().resetCounters();
      const changed = await run(scenario, { blobHost });
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
    expect(verdict((await run(scenario, { environment })).post)).toMatch(/^Saved snapshot 1-/);
    const warm = await run(scenario, { environment });
    expect(warm.main.outputs['provenance']).toBe('restored');
    const other = await run(scenario);
    expect(other.main.outputs['provenance']).toBe('cloned');
    expect(verdict(other.post)).toMatch(/^Saved snapshot 1-/);
  });
});

describe('branches', () => {
  const branch = { ref: 'refs/heads/feature' };

  test('restore what the default branch saved, and save nothing that only they could read', async () => {
    const scenario = await scenarios.create();
    await run(scenario);
    await addCommits(scenario.upstream);
    const { main, post } = await run(scenario, branch);
    expect(main.outputs['provenance']).toBe('restored');
    expect(main.log).toContain('Store: the Actions cache (refs/heads/feature), else the Actions');
    expect(verdict(post)).toContain('a snapshot of the last day exists');
    expect(keysOf(cache(), 'manifests')).toEqual(['default/manifests/01-1']);
  });

  test('save for themselves where there is nothing else, and do not see each other', async () => {
    const scenario = await scenarios.create();
    const first = await run(scenario, branch);
    expect(verdict(first.post)).toMatch(/^Saved snapshot 1-/);
    expect((await run(scenario, branch)).main.outputs['provenance']).toBe('restored');
    const other = await run(scenario, { ref: 'refs/heads/other' });
    expect(other.main.outputs['provenance']).toBe('cloned');
    expect((await run(scenario)).main.outputs['provenance']).toBe('cloned');
  });

  test('take the newer of the two, whatever its number', async () => {
    const scenario = await scenarios.create();
    const always = { ...branch, inputs: { save: 'always' } };
    for (let count = 0; count < 3; count++) await run(scenario, always);
    await addCommits(scenario.upstream);
    const { post } = await run(scenario);
    const [, id = 'none'] = /Saved snapshot (1-\w+)/.exec(verdict(post)) ?? [];
    const { main } = await run(scenario, branch);
    expect(main.outputs).toMatchObject({ provenance: 'restored', snapshot: id });
    await addCommits(scenario.upstream);
    const own = verdict((await run(scenario, always)).post);
    expect(own).toMatch(/^Saved snapshot 4-/);
    const last = await run(scenario, branch);
    expect(own).toContain(last.main.outputs['snapshot']);
  });

  test('of a pull request read those of its base branch', async () => {
    const scenario = await scenarios.create();
    await run(scenario, { ref: 'refs/heads/release' });
    const { main, post } = await run(scenario, {
      ref: 'refs/pull/7/merge',
      event: pullRequest('owner/name'),
      grant: { baseBranch: 'refs/heads/release' },
    });
    expect(main.outputs['provenance']).toBe('restored');
    expect(verdict(post)).toContain('Nothing saved');
  });
});

function pullRequest(from: string) {
  return {
    name: 'pull_request',
    payload: {
      pull_request: {
        head: { repo: { full_name: from } },
        base: { repo: { full_name: 'owner/name' } },
      },
    },
  };
}

describe('a job that may only read', () => {
  const fork = {
    ref: 'refs/pull/8/merge',
    event: pullRequest('stranger/name'),
    grant: { baseBranch: 'refs/heads/main', permission: 'read' as const },
  };

  test('restores, and does not even try to save, in a pull request from a fork', async () => {
    const scenario = await scenarios.create();
    await run(scenario);
    await addCommits(scenario.upstream);
    cache().resetCounters();
    const { main, post } = await run(scenario, fork);
    expect(main.outputs['provenance']).toBe('restored');
    expect(verdict(post)).toMatch(/Nothing saved: .*fork/);
    expect(cache().requestsOf('create')).toEqual([]);
  });

  test.each([
    ['its token says so', { grant: fork.grant }],
    ['the workflow says so', { environment: { ACTIONS_CACHE_MODE: 'read' } }],
  ])('says that nothing was saved, where %s', async (_, given) => {
    const scenario = await scenarios.create();
    await run(scenario);
    await addCommits(scenario.upstream);
    const ref = 'refs/pull/8/merge';
    const { main, post } = await run(scenario, { ref, inputs: { save: 'always' }, ...given });
    expect(main.outputs['provenance']).toBe('restored');
    expect(verdict(post)).toMatch(/Nothing saved: the Actions cache can only be read by this job/);
    expect(post.annotations.filter(({ level }) => level === 'warning')).toEqual([]);
    expect(keysOf(cache(), 'manifests')).toEqual(['default/manifests/01-1']);
  });

  test('continues if it may not even read, and says why there is no store', async () => {
    const scenario = await scenarios.create();
    const { main } = await run(scenario, { environment: { ACTIONS_CACHE_MODE: 'none' } });
    expect(main.annotations.map(({ message }) => message).join()).toContain('cache-mode is none');
    expect(cache().requests).toEqual([]);
  });
});

describe('where there is no service', () => {
  test('a job continues without a store, unless it was asked for', async () => {
    const scenario = await scenarios.create();
    const environment = { ACTIONS_RESULTS_URL: '' };
    const { main, post } = await run(scenario, { environment });
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

describe('what the platform evicts', () => {
  test('a layer: the next older snapshot serves, and the job says which was missing', async () => {
    const scenario = await scenarios.create(repositorySizes.small);
    await run(scenario);
    const [first] = keysOf(cache(), 'layers');
    await addCommits(scenario.upstream);
    await run(scenario);
    await cache().evict(({ key }) => key.includes('/layers/') && !key.endsWith(String(first)));
    const { main, post } = await run(scenario);
    expect(main.outputs['provenance']).toBe('restored');
    expect(main.outputs['snapshot']).toMatch(/^1-/);
    expect(main.log).toMatch(/Snapshot 2-\S+ .*the archive of layer \S+ is not there/);
    expect(verdict(post)).toMatch(/^Saved snapshot 3-/);
  });

  test('all layers: the job clones, and saves again', async () => {
    const scenario = await scenarios.create();
    await run(scenario);
    await cache().evict(({ key }) => key.includes('/layers/'));
    const { main, post } = await run(scenario);
    expect(main.outputs).toMatchObject({ provenance: 'cloned', recloned: 'true' });
    expect(verdict(post)).toMatch(/^Saved snapshot 2-/);
    expect((await run(scenario)).main.outputs['provenance']).toBe('restored');
  });

  test('a manifest: the one before it serves', async () => {
    const scenario = await scenarios.create();
    await run(scenario);
    await addCommits(scenario.upstream);
    await run(scenario);
    await cache().evict(({ key }) => key.endsWith('/manifests/01-2'));
    const { main, post } = await run(scenario);
    expect(main.outputs['snapshot']).toMatch(/^1-/);
    expect(verdict(post)).toMatch(/^Saved snapshot [23]-/);
  });
});

async function programOf(name: string): Promise<string> {
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    const found = await realpath(join(folder, name)).catch(() => undefined);
    if (found !== undefined) return found;
  }
  throw new Error(`${name} is not on PATH`);
}
