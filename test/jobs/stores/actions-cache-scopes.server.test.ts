/** What jobs with the Actions cache see of each other: branches, pull requests, and what the platform evicts. */
import { describe, expect, jest, test } from '@jest/globals';
import { addCommits, repositorySizes } from '../../support/repository-fixture.ts';
import { keysOf, runInCache, useCacheService } from '../scenarios/cache-scenario.ts';
import { useScenarios, verdict } from '../scenarios/scenario.ts';

// Every call of the cache starts a process.
jest.setTimeout(180_000);

const scenarios = useScenarios();
const cache = useCacheService();

describe('branches', () => {
  const branch = { ref: 'refs/heads/feature' };

  test('restore what the default branch saved, and save nothing that only they could read', async () => {
    const scenario = await scenarios.create();
    await runInCache(cache(), scenario);
    await addCommits(scenario.upstream);
    const { main, post } = await runInCache(cache(), scenario, branch);
    expect(main.outputs['provenance']).toBe('restored');
    expect(main.log).toContain('Store: the Actions cache (refs/heads/feature), else the Actions');
    expect(verdict(post)).toContain('a snapshot of the last day exists');
    expect(keysOf(cache(), 'manifests')).toEqual(['default/manifests/01-1']);
  });

  test('save for themselves where there is nothing else, and do not see each other', async () => {
    const scenario = await scenarios.create();
    const first = await runInCache(cache(), scenario, branch);
    expect(verdict(first.post)).toMatch(/^Saved snapshot 1-/);
    expect((await runInCache(cache(), scenario, branch)).main.outputs['provenance']).toBe(
      'restored',
    );
    const other = await runInCache(cache(), scenario, { ref: 'refs/heads/other' });
    expect(other.main.outputs['provenance']).toBe('cloned');
    expect((await runInCache(cache(), scenario)).main.outputs['provenance']).toBe('cloned');
  });

  test('take the newer of the two, whatever its number', async () => {
    const scenario = await scenarios.create();
    const always = { ...branch, inputs: { save: 'always' } };
    for (let count = 0; count < 3; count++) await runInCache(cache(), scenario, always);
    await addCommits(scenario.upstream);
    const { post } = await runInCache(cache(), scenario);
    const [, id = 'none'] = /Saved snapshot (1-\w+)/.exec(verdict(post)) ?? [];
    const { main } = await runInCache(cache(), scenario, branch);
    expect(main.outputs).toMatchObject({ provenance: 'restored', snapshot: id });
    await addCommits(scenario.upstream);
    const own = verdict((await runInCache(cache(), scenario, always)).post);
    expect(own).toMatch(/^Saved snapshot 4-/);
    const last = await runInCache(cache(), scenario, branch);
    expect(own).toContain(last.main.outputs['snapshot']);
  });

  test('of a pull request read those of its base branch', async () => {
    const scenario = await scenarios.create();
    await runInCache(cache(), scenario, { ref: 'refs/heads/release' });
    const { main, post } = await runInCache(cache(), scenario, {
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
    await runInCache(cache(), scenario);
    await addCommits(scenario.upstream);
    cache().resetCounters();
    const { main, post } = await runInCache(cache(), scenario, fork);
    expect(main.outputs['provenance']).toBe('restored');
    expect(verdict(post)).toMatch(/Nothing saved: .*fork/);
    expect(cache().requestsOf('create')).toEqual([]);
  });

  test.each([
    ['its token says so', { grant: fork.grant }],
    ['the workflow says so', { environment: { ACTIONS_CACHE_MODE: 'read' } }],
  ])('says that nothing was saved, where %s', async (_, given) => {
    const scenario = await scenarios.create();
    await runInCache(cache(), scenario);
    await addCommits(scenario.upstream);
    const ref = 'refs/pull/8/merge';
    const { main, post } = await runInCache(cache(), scenario, {
      ref,
      inputs: { save: 'always' },
      ...given,
    });
    expect(main.outputs['provenance']).toBe('restored');
    expect(verdict(post)).toMatch(/Nothing saved: the Actions cache can only be read by this job/);
    expect(post.annotations.filter(({ level }) => level === 'warning')).toEqual([]);
    expect(keysOf(cache(), 'manifests')).toEqual(['default/manifests/01-1']);
  });

  test('continues if it may not even read, and says why there is no store', async () => {
    const scenario = await scenarios.create();
    const { main } = await runInCache(cache(), scenario, {
      environment: { ACTIONS_CACHE_MODE: 'none' },
    });
    expect(main.annotations.map(({ message }) => message).join()).toContain('cache-mode is none');
    expect(cache().requests).toEqual([]);
  });
});

describe('what the platform evicts', () => {
  test('a layer: the next older snapshot serves, and the job says which was missing', async () => {
    const scenario = await scenarios.create(repositorySizes.small);
    await runInCache(cache(), scenario);
    const [first] = keysOf(cache(), 'layers');
    await addCommits(scenario.upstream);
    await runInCache(cache(), scenario);
    await cache().evict(({ key }) => key.includes('/layers/') && !key.endsWith(String(first)));
    const { main, post } = await runInCache(cache(), scenario);
    expect(main.outputs['provenance']).toBe('restored');
    expect(main.outputs['snapshot']).toMatch(/^1-/);
    expect(main.log).toMatch(/Snapshot 2-\S+ .*the archive of layer \S+ is not there/);
    expect(verdict(post)).toMatch(/^Saved snapshot 3-/);
  });

  test('all layers: the job clones, and saves again', async () => {
    const scenario = await scenarios.create();
    await runInCache(cache(), scenario);
    await cache().evict(({ key }) => key.includes('/layers/'));
    const { main, post } = await runInCache(cache(), scenario);
    expect(main.outputs).toMatchObject({ provenance: 'cloned', recloned: 'true' });
    expect(verdict(post)).toMatch(/^Saved snapshot 2-/);
    expect((await runInCache(cache(), scenario)).main.outputs['provenance']).toBe('restored');
  });

  test('a manifest: the one before it serves', async () => {
    const scenario = await scenarios.create();
    await runInCache(cache(), scenario);
    await addCommits(scenario.upstream);
    await runInCache(cache(), scenario);
    await cache().evict(({ key }) => key.endsWith('/manifests/01-2'));
    const { main, post } = await runInCache(cache(), scenario);
    expect(main.outputs['snapshot']).toMatch(/^1-/);
    expect(verdict(post)).toMatch(/^Saved snapshot [23]-/);
  });
});
