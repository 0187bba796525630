/** Checkouts of one commit in a workspace that was primed with `fetch-depth: 1`, whatever the store. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import type { JobOptions } from '../../support/action-runner.ts';
import { git } from '../../support/git.ts';
import { renameDefaultBranch } from '../../support/repository-change.ts';
import { addCommits } from '../../support/repository-fixture.ts';
import {
  countFileBytes,
  expectSameBehaviour,
  expectSameRefs,
  expectSameWorkspace,
} from './checkout-comparison.ts';
import {
  checkOutBoth,
  createUpstream,
  eventOf,
  forcePush,
  PUSHES,
  pushTag,
  SMALL_BYTES,
  type Change,
  type Pair,
  type Site,
  type Wish,
} from './checkout-scenario.ts';
import { chooseCases } from './rounds.ts';
import type { Scenario, Scenarios } from './scenario.ts';

export const TIP = { 'fetch-depth': '1' };

/** Options of the jobs of a scenario that keep their snapshots in one store. */
export type StoreOf = (scenario: Scenario) => Partial<JobOptions>;

export async function mainOf({ upstream }: Scenario): Promise<Record<string, string>> {
  return { 'refs/remotes/origin/main': await git(upstream, ['rev-parse', 'main']) };
}

async function readShallow({ folder }: Pick<Site, 'folder'>): Promise<string[]> {
  return (await readFile(join(folder, '.git', 'shallow'), 'utf8')).trim().split('\n');
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

/** Checkouts of the newest commit. */
const TIP_WISHES: readonly [string, Wish][] = [
  ['by default', {}],
  ['sparse-checkout', { sparseCheckout: ['folder-1', 'folder-2', 'folder-3'] }],
  ['filter: blob:none', { filter: 'blob:none' }],
  ['clean: false', { clean: false }],
  ['path', { path: 'deps/it' }],
  ['persist-credentials: false', { persistCredentials: false }],
  ['the default branch by its short name', { ref: 'main', sha: undefined }],
  ['a commit', { ref: undefined }],
  ['a repository with SHA-256', { objectFormat: 'sha256' }],
];

/** Such a checkout is as in an empty workspace, and costs next to nothing. */
async function expectSameCheckout(
  scenarios: Scenarios,
  wish: Wish,
  storeOf?: StoreOf,
): Promise<void> {
  const scenario = await createUpstream(scenarios, wish.objectFormat);
  const store = storeOf?.(scenario);
  const pair = await checkOutBoth(scenario, wish, undefined, { inputs: TIP, store });
  const main = await mainOf(scenario);
  await expectSameTip(pair, main['refs/remotes/origin/main'] ?? '');
  await expectSameRefs(pair, main);
  expect(pair.primed.bytes).toBeLessThan(SMALL_BYTES);
  expect(pair.unprimed.bytes).toBeGreaterThan(await countFileBytes(pair.unprimed.folder));
  await expectSameBehaviour(pair, scenario, wish.persistCredentials);
}

/** What a checkout asks for that the mirror does not have. */
const TIP_CHANGES: readonly Change[] = [
  ...PUSHES,
  ['a forced push', (scenario) => forcePush(scenario, 'main~1')],
  [
    'another branch',
    async (scenario) => {
      await git(scenario.upstream, ['branch', 'topic', 'main']);
      await addCommits(scenario.upstream, { branch: 'topic', commits: 2 });
      return eventOf(scenario, 'topic');
    },
  ],
  ['a tag', pushTag],
  [
    'a default branch with another name',
    async (scenario) => {
      await addCommits(scenario.upstream);
      await renameDefaultBranch(scenario.upstream, 'trunk');
      return eventOf(scenario, 'trunk');
    },
  ],
];

/** Only what differs from the mirror's commit is fetched. */
async function expectSmallFetch(
  scenarios: Scenarios,
  happen: Change[1],
  storeOf?: StoreOf,
): Promise<void> {
  const scenario = await createUpstream(scenarios);
  const main = await mainOf(scenario);
  const old = main['refs/remotes/origin/main'] ?? '';
  const store = storeOf?.(scenario);
  const pair = await checkOutBoth(scenario, {}, () => happen(scenario), { inputs: TIP, store });
  await expectSameTip(pair, old);
  await expectSameRefs(pair, main);
  expect(pair.primed.bytes).toBeLessThan(SMALL_BYTES);
  expect(pair.unprimed.bytes).toBeGreaterThan(2 * SMALL_BYTES);
}

/** Declares the tests, for workspaces that are primed from a clone, or from a snapshot in a store. */
export function describeTipReplays(scenarios: Scenarios, storeOf?: StoreOf): void {
  describe('a checkout of the newest commit is as in an empty workspace, and costs next to nothing', () => {
    test.each(chooseCases(TIP_WISHES))('%s', async (_, wish) => {
      await expectSameCheckout(scenarios, wish, storeOf);
    });
  });

  describe('only what differs from the newest commit is fetched of', () => {
    test.each(chooseCases(TIP_CHANGES))('%s', async (_, happen) => {
      await expectSmallFetch(scenarios, happen, storeOf);
    });
  });
}
