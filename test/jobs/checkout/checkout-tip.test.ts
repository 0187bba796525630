/** Checkouts in a workspace that was primed with `fetch-depth: 1`: one commit with its files, and no history. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { git } from '../../support/git.ts';
import { moveTag, renameDefaultBranch } from '../../support/repository-change.ts';
import { addCommits } from '../../support/repository-fixture.ts';
import {
  countFileBytes,
  expectSameBehaviour,
  expectSameRefs,
  expectSameWorkspace,
  expectSound,
  readTrackingRefs,
} from '../scenarios/checkout-comparison.ts';
import {
  checkOutAt,
  checkOutBoth,
  createUpstream,
  eventOf,
  prime,
  PUSHES,
  SMALL_BYTES,
  TOKEN,
  type Change,
  type Pair,
  type Site,
  type Wish,
} from '../scenarios/checkout-scenario.ts';
import { chooseCases } from '../scenarios/rounds.ts';
import { succeed, useScenarios, type Scenario } from '../scenarios/scenario.ts';

const scenarios = useScenarios();

const TIP = { inputs: { 'fetch-depth': '1' } };

async function readShallow({ folder }: Pick<Site, 'folder'>): Promise<string[]> {
  return (await readFile(join(folder, '.git', 'shallow'), 'utf8')).trim().split('\n');
}

async function mainOf({ upstream }: Scenario): Promise<Record<string, string>> {
  return { 'refs/remotes/origin/main': await git(upstream, ['rev-parse', 'main']) };
}

/** Same files, one commit, and no history; `old` is the tip that the mirror had. */
async function expectSameTip({ primed, unprimed }: Pair, old: string): Promise<void> {
  await expectSameWorkspace({ primed, unprimed });
  const shallow = await readShallow(unprimed);
  expect(await readShallow(primed)).toEqual([...new Set([...shallow, old])].sort());
  const log = ['log', '--format=%H'];
  expect(await git(primed.folder, log)).toBe(await git(unprimed.folder, log));
  expect((await git(primed.folder, log)).split('\n')).toHaveLength(1);
}

describe('a checkout of the newest commit is as in an empty workspace, and costs next to nothing', () => {
  const cone = ['folder-1', 'folder-2', 'folder-3'];

  const cases: [string, Wish][] = [
    ['by default', {}],
    ['sparse-checkout', { sparseCheckout: cone }],
    ['filter: blob:none', { filter: 'blob:none' }],
    ['clean: false', { clean: false }],
    ['path', { path: 'deps/it' }],
    ['persist-credentials: false', { persistCredentials: false }],
    ['the default branch by its short name', { ref: 'main', sha: undefined }],
    ['a commit', { ref: undefined }],
    ['a repository with SHA-256', { objectFormat: 'sha256' }],
  ];

  test.each(chooseCases(cases))('%s', async (_, wish) => {
    const scenario = await createUpstream(scenarios, wish.objectFormat);
    const pair = await checkOutBoth(scenario, wish, undefined, TIP);
    const main = await mainOf(scenario);
    await expectSameTip(pair, main['refs/remotes/origin/main'] ?? '');
    await expectSameRefs(pair, main);
    expect(pair.primed.bytes).toBeLessThan(SMALL_BYTES);
    expect(pair.unprimed.bytes).toBeGreaterThan(await countFileBytes(pair.unprimed.folder));
    await expectSameBehaviour(pair, scenario, wish.persistCredentials);
  });

  test('twice in one workspace', async () => {
    const scenario = await createUpstream(scenarios);
    const { primed } = await checkOutBoth(scenario, {}, undefined, TIP);
    const { head } = await addCommits(scenario.upstream, { commits: 2 });
    const again = await checkOutAt(scenario, primed.job, await eventOf(scenario));
    expect(again.checkout).toMatchObject({ found: 'kept', commit: head });
    expect(again.bytes).toBeLessThan(SMALL_BYTES);
    await expectSound(again.folder);
  });
});

describe('only what differs from the newest commit is fetched of', () => {
  const changes: Change[] = [
    ...PUSHES,
    [
      'a forced push',
      async (scenario) => {
        await addCommits(scenario.upstream, { from: 'main~1' });
        return eventOf(scenario);
      },
    ],
    ['another branch', (scenario) => branchNearMain(scenario)],
    [
      'a tag',
      async (scenario) => {
        const { head } = await addCommits(scenario.upstream);
        await moveTag(scenario.upstream, 'v2', head, 'a release');
        return { ref: 'refs/tags/v2', sha: head };
      },
    ],
    [
      'a default branch with another name',
      async (scenario) => {
        await addCommits(scenario.upstream);
        await renameDefaultBranch(scenario.upstream, 'trunk');
        return eventOf(scenario, 'trunk');
      },
    ],
  ];

  test.each(chooseCases(changes))('%s', async (_, happen) => {
    const scenario = await createUpstream(scenarios);
    const main = await mainOf(scenario);
    const old = main['refs/remotes/origin/main'] ?? '';
    const pair = await checkOutBoth(scenario, {}, () => happen(scenario), TIP);
    await expectSameTip(pair, old);
    await expectSameRefs(pair, main);
    expect(pair.primed.bytes).toBeLessThan(SMALL_BYTES);
    expect(pair.unprimed.bytes).toBeGreaterThan(2 * SMALL_BYTES);
  });

  async function branchNearMain(scenario: Scenario): Promise<Wish> {
    await git(scenario.upstream, ['branch', 'topic', 'main']);
    await addCommits(scenario.upstream, { branch: 'topic', commits: 2 });
    return eventOf(scenario, 'topic');
  }

  test('branches and tags that `refs` names, beside the default branch', async () => {
    const scenario = await createUpstream(scenarios);
    const inputs = { ...TIP.inputs, refs: 'refs/heads/branch-1\nrefs/tags/annotated-1' };
    const event = () => eventOf(scenario, 'branch-1');
    const pair = await checkOutBoth(scenario, {}, event, { inputs });
    await expectSameWorkspace(pair);
    const all = await readTrackingRefs(scenario);
    const named = [
      'refs/remotes/origin/main',
      'refs/remotes/origin/branch-1',
      'refs/tags/annotated-1',
    ];
    await expectSameRefs(pair, Object.fromEntries(named.map((name) => [name, all[name] ?? ''])));
    expect(pair.primed.bytes).toBeLessThan(SMALL_BYTES);
  });
});

describe('a checkout that asks for more', () => {
  test.each<[string, Wish]>([
    ['fetch-depth: 0', { fetchDepth: 0 }],
    ['fetch-depth: 5', { fetchDepth: 5 }],
    ['fetch-depth: 0 after a push', { fetchDepth: 0 }],
  ])('%s gets it, whole', async (name, wish) => {
    const scenario = await createUpstream(scenarios);
    const between = async (): Promise<Wish> => {
      if (name.endsWith('push')) await addCommits(scenario.upstream, { commits: 2 });
      return eventOf(scenario);
    };
    const pair = await checkOutBoth(scenario, wish, between, TIP);
    await expectSameWorkspace(pair);
    await expectSameRefs(pair);
    await expectSameBehaviour(pair, scenario);
    const post = await succeed(pair.primed.job.post());
    if (wish.fetchDepth === 0) {
      expect(post.log).toMatch(/whole history.*`fetch-depth: 0`/);
    } else {
      expect(post.log).not.toMatch(/whole history/);
    }
  });

  test('fetch-tags gets all tags', async () => {
    const scenario = await createUpstream(scenarios);
    const pair = await checkOutBoth(scenario, { fetchTags: true }, undefined, TIP);
    await expectSameWorkspace(pair);
    await expectSameRefs(pair, await mainOf(scenario));
    await expectSameBehaviour(pair, scenario);
  });
});

test('the workspace costs upstream what changed since the last snapshot, on any machine', async () => {
  const scenario = await createUpstream(scenarios);
  await scenario.run({ token: TOKEN, inputs: TIP.inputs });
  await addCommits(scenario.upstream, { commits: 2 });
  const { server } = scenario;
  server.resetCounters();
  const job = await prime(scenario, {}, scenario.newMachine(), TIP.inputs);
  const site = await checkOutAt(scenario, job, await eventOf(scenario));
  expect(server.bytesSent).toBeLessThan(SMALL_BYTES);
  expect(site.checkout.found).toBe('kept');
  await expectSound(site.folder);
});
