/** A checkout with submodules that were primed gives what it gives unprimed, and asks the server nothing for them. */
import { describe, expect, test } from '@jest/globals';
import { readdir, rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { git } from '../../support/git.ts';
import { expectSameBehaviour, expectSameWorkspace } from '../scenarios/checkout-comparison.ts';
import {
  addFiles,
  checkOutAt,
  checkOutBoth,
  createUpstream,
  eventOf,
  prime,
  type Wish,
} from '../scenarios/checkout-scenario.ts';
import {
  commitOf,
  createNeighbour,
  expectSameSubmodules,
  isPrimed,
  link,
  linkAllKinds,
  outcomesOf,
  relativeUrl,
  requestsForSubmodules,
  type Link,
} from '../scenarios/submodule-scenario.ts';
import { IS_SAMPLE, chooseCases } from '../scenarios/rounds.ts';
import { succeed, useScenarios, verdict, type Scenario } from '../scenarios/scenario.ts';

const scenarios = useScenarios();

const RECURSIVE = { submodules: 'recursive' } as const;

describe('submodules of all kinds', () => {
  type Case = [string, Wish & { submodules: true | 'recursive' }, Record<string, string>?];
  const cases: Case[] = [
    ['submodules: true, fetch-depth: 0', { submodules: true, fetchDepth: 0 }],
    ['submodules: true', { submodules: true }],
    ['submodules: recursive, fetch-depth: 0', { submodules: 'recursive', fetchDepth: 0 }],
    ['submodules: recursive', { submodules: 'recursive' }],
    ['in a folder', { submodules: 'recursive', fetchDepth: 0, path: 'some/where' }],
    ['recursive, without history', { submodules: 'recursive' }, { 'fetch-depth': '1' }],
    ['with SHA-256', { submodules: 'recursive', fetchDepth: 0, objectFormat: 'sha256' }],
  ];

  test.each(chooseCases(cases))('%s', async (_, wish, more = {}) => {
    const scenario = await createUpstream(scenarios, wish.objectFormat);
    const { direct, nested } = await linkAllKinds(scenario, wish.objectFormat);
    const inputs = { submodules: String(wish.submodules), ...more };
    const pair = await checkOutBoth(scenario, wish, undefined, { inputs });
    await expectSameWorkspace(pair);
    const paths = wish.submodules === 'recursive' ? [...direct, ...nested] : direct;
    await expectSameSubmodules(pair, paths);
    expect(requestsForSubmodules(pair.primed, scenario)).toEqual([]);
    expect(requestsForSubmodules(pair.unprimed, scenario).length).toBeGreaterThan(paths.length);
    await expectSameBehaviour(pair, scenario);
  });

  test('are restored from snapshots, saved in post only when they changed, and shared by workflows', async () => {
    const scenario = await createUpstream(scenarios);
    const { direct } = await linkAllKinds(scenario);
    const options = await optionsOf(scenario, 'recursive');
    const cold = await scenario.run(options);
    expect(outcomesOf(cold.main)).toEqual({
      ...Object.fromEntries(direct.map((path) => [path, 'cloned'])),
      'deps/outer/inner': 'cloned',
    });
    expect(Object.values(outcomesOf(cold.post))).toEqual(['published', 'published', 'published']);
    expect(cold.post.log).toMatch(/^deps\/outer\/inner: Saved snapshot 1-/m);

    const warm = await scenario.run(options);
    expect(new Set(Object.values(outcomesOf(warm.main)))).toEqual(new Set(['restored']));
    expect(new Set(Object.values(outcomesOf(warm.post)))).toEqual(new Set(['unchanged']));
    expect(verdict(warm.post)).toMatch(/nothing changed/);
    for (const { main, post } of [cold, warm]) {
      expect([...main.annotations, ...post.annotations]).toEqual([]);
      expect(main.summary).toMatch(
        /^\| <code>deps\/outer\/inner<\/code> \| (?:cloned|restored) \|/m,
      );
    }

    // A workflow of the submodule's own repository.
    const outer = scenario.job({
      ...{ token: options.token, repository: `${scenario.repository}-outer` },
    });
    const main = await succeed(outer.main());
    expect(main.outputs['provenance']).toBe('restored');
  });

  test('are saved early, beside a mirror whose place was chosen', async () => {
    const scenario = await createUpstream(scenarios);
    const { direct } = await linkAllKinds(scenario);
    const options = await optionsOf(scenario);
    const place = join(scenario.newMachine(), 'mirrors');
    const early = { publish: 'early', 'mirror-path': join(place, 'chosen.git') };
    const { main, post } = await scenario.run({
      ...{ ...options, inputs: { ...options.inputs, ...early } },
    });
    expect(Object.keys(outcomesOf(main)).sort()).toEqual(direct.toSorted());
    expect(main.log).toMatch(/^deps\/outer: Saved snapshot 1-/m);
    expect(new Set(Object.values(outcomesOf(post)))).toEqual(new Set(['unchanged']));
    const mirrors = (await readdir(place)).filter((name) => name.endsWith('.git'));
    expect(mirrors).toHaveLength(3);
  });

  test('are checked out where nobody asks for them, and after the workspace has moved', async () => {
    const scenario = await createUpstream(scenarios);
    const { direct, nested } = await linkAllKinds(scenario);
    const inputs = { submodules: 'recursive' };
    const job = await prime(scenario, {}, undefined, inputs);
    const without = await checkOutAt(scenario, job, await eventOf(scenario));
    expect(without.checkout.found).toBe('kept');
    expect(await git(without.folder, ['status', '--porcelain'])).toBe('');

    const moved = await prime(scenario, {}, undefined, inputs);
    const elsewhere = scenario.job({ root: scenario.newMachine() });
    await rename(join(moved.workspace, '.git'), join(elsewhere.workspace, '.git'));
    const primed = await checkOutAt(scenario, elsewhere, {
      ...RECURSIVE,
      ...(await eventOf(scenario)),
    });
    expect(requestsForSubmodules(primed, scenario)).toEqual([]);
    const unprimedJob = scenario.job({ root: scenario.newMachine() });
    const wish = { ...RECURSIVE, ...(await eventOf(scenario)) };
    const unprimed = await checkOutAt(scenario, unprimedJob, wish);
    await expectSameSubmodules({ primed, unprimed }, [...direct, ...nested]);
  });
});

describe('what changes between runs', () => {
  test('submodules that are added, removed, renamed, moved, and at newer commits', async () => {
    const scenario = await createUpstream(scenarios);
    const { links } = await linkAllKinds(scenario);
    const inputs = { submodules: 'true' };
    await scenario.run(await optionsOf(scenario));

    const added = await createNeighbour(scenario, 'added');
    const [outer, spaced] = links as [Link, Link, Link];
    const newer = await addFiles(join(scenario.root, 'outer.git'), [{ path: 'new', content: 'x' }]);
    const after: Link[] = [
      { ...outer, commit: newer },
      { ...spaced, path: 'moved/c' },
      {
        path: 'again',
        name: 'other',
        url: relativeUrl(scenario, 'added'),
        commit: await commitOf(added),
      },
    ];
    await link(scenario.upstream, after, links);
    const wish: Wish = { submodules: true, fetchDepth: 0 };
    const pair = await checkOutBoth(scenario, wish, undefined, { inputs });
    await expectSameWorkspace(pair);
    await expectSameSubmodules(
      pair,
      after.map(({ path }) => path),
    );
    expect(requestsForSubmodules(pair.primed, scenario)).toEqual([]);
  });

  test('a commit that no branch reaches any more', async () => {
    const scenario = await createUpstream(scenarios);
    scenario.server.configuration['uploadpack.allowAnySHA1InWant'] = 'true';
    const { links } = await linkAllKinds(scenario);
    const spaced = join(scenario.root, 'c.git');
    const lost = await addFiles(spaced, [{ path: 'lost', content: 'x' }]);
    await link(
      scenario.upstream,
      links.map((each, index) => (index === 1 ? { ...each, commit: lost } : each)),
    );
    await git(spaced, ['update-ref', 'refs/heads/main', `${lost}~1`]);
    const wish: Wish = { submodules: true, fetchDepth: 0 };
    const inputs = { submodules: 'true' };
    const pair = await checkOutBoth(scenario, wish, undefined, { inputs });
    await expectSameSubmodules(
      pair,
      links.map(({ path }) => path),
    );
    expect(requestsForSubmodules(pair.primed, scenario)).toEqual([]);
    delete scenario.server.configuration['uploadpack.allowAnySHA1InWant'];
  });

  test('a commit that upstream gives nobody: its checkout fails as it does unprimed', async () => {
    const scenario = await createUpstream(scenarios);
    const { links } = await linkAllKinds(scenario);
    const missing = links.map((each, index) =>
      index === 1 ? { ...each, commit: 'b'.repeat(40) } : each,
    );
    await link(scenario.upstream, missing);
    const job = await prime(scenario, {}, undefined, { submodules: 'true' });
    expect(isPrimed(job.workspace, 'with space/and more')).toBe(false);
    expect(isPrimed(job.workspace, 'renamed')).toBe(true);
    const wish = { submodules: true, ...(await eventOf(scenario)) };
    await expect(checkOutAt(scenario, job, wish)).rejects.toThrow(/third party\/c/);
  });

  const depths = chooseCases(['0', '1']);
  test.each(depths)('a pull request that moves a submodule, fetch-depth: %s', async (depth) => {
    const scenario = await createUpstream(scenarios);
    scenario.server.configuration['uploadpack.allowReachableSHA1InWant'] = 'true';
    const { links } = await linkAllKinds(scenario);
    const before = await commitOf(scenario.upstream);
    const added = await createNeighbour(scenario, 'added');
    const [outer, spaced, again] = links as [Link, Link, Link];
    const url = relativeUrl(scenario, 'added');
    const sha = await link(scenario.upstream, [
      outer,
      { ...spaced, url, commit: await commitOf(added) },
      again,
    ]);
    await git(scenario.upstream, ['update-ref', 'refs/pull/1/merge', sha]);
    await git(scenario.upstream, ['update-ref', 'refs/heads/main', before]);
    const event = { ref: 'refs/pull/1/merge', sha };
    const primedJob = await pullRequest(scenario, event, depth);
    const unprimedJob = scenario.job({ root: scenario.newMachine() });
    const wish: Wish = { submodules: true, fetchDepth: Number(depth), ...event };
    const unprimed = await checkOutAt(scenario, unprimedJob, wish);
    const primed = await checkOutAt(scenario, primedJob, wish);
    await expectSameSubmodules(
      { primed, unprimed },
      links.map(({ path }) => path),
    );
    expect(requestsForSubmodules(primed, scenario)).toEqual([]);
    delete scenario.server.configuration['uploadpack.allowReachableSHA1InWant'];
  });
});

test('in a workspace that has a repository they are left alone: not even the commit of the job is fetched', async () => {
  const scenario = await createUpstream(scenarios);
  const { upstream, server } = scenario;
  await linkAllKinds(scenario);
  const sha = await git(upstream, ['commit-tree', 'main^{tree}', '-p', 'main', '-m', 'merge']);
  await git(upstream, ['update-ref', 'refs/pull/1/merge', sha]);
  const event = { ref: 'refs/pull/1/merge', sha };
  const inputs = { submodules: 'true' };
  const job = scenario.job({ token: server.token ?? '', inputs, ...event });
  await git(job.workspace, ['init', '--quiet']);
  server.resetCounters();
  const main = await succeed(job.main());
  expect(main.log).toContain('Submodules are left to actions/checkout: the workspace is not');
  expect(server.requests.filter(({ kind }) => kind === 'fetch')).toMatchObject([{ isClone: true }]);
});

/** Of a job of a push to the main branch. */
async function optionsOf(scenario: Scenario, submodules = 'true') {
  const { sha = '' } = await eventOf(scenario);
  return { sha, token: scenario.server.token ?? '', inputs: { submodules } };
}

async function pullRequest(scenario: Scenario, event: { ref: string; sha: string }, depth: string) {
  const job = scenario.job({
    ...{ root: scenario.newMachine(), token: scenario.server.token ?? '', ...event },
    inputs: { submodules: 'true', 'fetch-depth': depth },
  });
  await succeed(job.main());
  return job;
}

/** Of one repository each. */
const MANY = IS_SAMPLE ? 6 : 60;

test(`${String(MANY)} submodules`, async () => {
  const scenario = await createUpstream(scenarios);
  const directory = await createNeighbour(scenario, 'many');
  const commit = await commitOf(directory);
  const links = Array.from({ length: MANY }, (_, index): Link => {
    scenario.server.repositories[`${scenario.repository}-many-${index}`] = directory;
    return { path: `deps/${index}`, url: relativeUrl(scenario, `many-${index}`), commit };
  });
  await link(scenario.upstream, links);
  const options = await optionsOf(scenario);
  const { post } = await scenario.run(options);
  expect(new Set(Object.values(outcomesOf(post)))).toEqual(new Set(['published']));
  const job = scenario.job({ root: scenario.newMachine(), ...options });
  const main = await succeed(job.main());
  expect(Object.keys(outcomesOf(main))).toHaveLength(MANY);
  expect(new Set(Object.values(outcomesOf(main)))).toEqual(new Set(['restored']));
  const site = await checkOutAt(scenario, job, { submodules: true, ...(await eventOf(scenario)) });
  expect(requestsForSubmodules(site, scenario)).toEqual([]);
  expect(site.requests.length).toBeLessThanOrEqual(4);
  const status = await git(site.folder, ['submodule', 'status']);
  expect(status.match(/^ ?[0-9a-f]{40} /gm)).toHaveLength(MANY);
  expect(dirname(main.outputs['mirror-path'] ?? '')).toContain('_mirrors');
}, 300_000);
