/** Checkouts of what the mirror does not have, or has no more: upstream moved after priming. */
import { describe, expect, test } from '@jest/globals';
import {
  createBranch,
  moveTag,
  renameBranch,
  renameDefaultBranch,
} from '../../support/repository-change.ts';
import { addCommits } from '../../support/repository-fixture.ts';
import {
  expectSameBehaviour,
  expectSameRefs,
  expectSameWorkspace,
  readTrackingRefs,
  type Refs,
} from '../scenarios/checkout-comparison.ts';
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
  type Wish,
} from '../scenarios/checkout-scenario.ts';
import { chooseCases } from '../scenarios/rounds.ts';
import { useScenarios, type Scenario } from '../scenarios/scenario.ts';

const scenarios = useScenarios();
const DEPTHS = chooseCases([0, 1]);

/** Only what is new came over the wire, and the requests are no more than without priming. */
function expectDelta({ primed, unprimed }: Pair): void {
  expect(primed.bytes).toBeLessThan(SMALL_BYTES);
  expect(unprimed.bytes).toBeGreaterThan(2 * SMALL_BYTES);
  const fetches = primed.requests.filter(({ kind }) => kind === 'fetch');
  expect(fetches.length).toBeGreaterThan(0);
  expect(fetches.filter(({ hasHaves }) => !hasHaves)).toEqual([]);
  expect(primed.requests.length).toBeLessThanOrEqual(unprimed.requests.length);
}

describe.each(DEPTHS)('with fetch-depth: %s, only what is new is fetched of', (depth) => {
  const changes: Change[] = [
    ...PUSHES,
    ['a forced push', (scenario) => forcePush(scenario, 'main~4')],
    ['a new tag', pushTag],
    [
      'a tag that was moved',
      async (scenario) => {
        const { head } = await addCommits(scenario.upstream);
        await moveTag(scenario.upstream, 'light-1', head);
        return { ref: 'refs/tags/light-1', sha: head };
      },
    ],
  ];

  test.each(chooseCases(changes))('%s', async (_, happen) => {
    const scenario = await createUpstream(scenarios);
    let mirrored: Refs = {};
    const pair = await checkOutBoth(scenario, { fetchDepth: depth }, async () => {
      mirrored = await readTrackingRefs(scenario);
      return happen(scenario);
    });
    await expectSameWorkspace(pair);
    await expectSameRefs(pair, depth === 0 ? {} : mirrored);
    expectDelta(pair);
    if (depth > 0) await expectSameBehaviour(pair, scenario);
  });

  test.each([
    [
      'a branch that was renamed to a name below',
      ({ upstream }: Scenario) => renameBranch(upstream, 'branch-1', 'branch-1/below'),
      'branch-1/below',
      'branch-1',
    ],
    [
      'a branch that was renamed to a name above',
      ({ upstream }: Scenario) => renameBranch(upstream, 'above/below', 'above'),
      'above',
      'above/below',
    ],
  ])('%s', async (_, rename, branch, old) => {
    const scenario = await createUpstream(scenarios);
    await createBranch(scenario.upstream, 'above/below', 'main~3');
    let mirrored: Refs = {};
    const pair = await checkOutBoth(scenario, { fetchDepth: depth }, async () => {
      mirrored = await readTrackingRefs(scenario);
      await rename(scenario);
      return eventOf(scenario, branch);
    });
    await expectSameWorkspace(pair);
    // It stood in the way of the new one.
    const kept = Object.entries(mirrored).filter(([name]) => !name.endsWith(`/origin/${old}`));
    await expectSameRefs(pair, depth === 0 ? {} : Object.fromEntries(kept));
    expect(pair.primed.bytes).toBeLessThan(SMALL_BYTES);
  });
});

// actions/checkout deletes the branch twice then, by its own name and as the goal of origin/HEAD.
test('a default branch renamed to a name below itself makes the checkout start from scratch', async () => {
  const scenario = await createUpstream(scenarios);
  const rename = async (): Promise<Wish> => {
    await renameDefaultBranch(scenario.upstream, 'main/next');
    return eventOf(scenario, 'main/next');
  };
  const pair = await checkOutBoth(scenario, { fetchDepth: 0 }, rename, { found: 'deleted' });
  await expectSameWorkspace(pair);
  await expectSameRefs(pair);
});

describe('changes in a partial checkout', () => {
  const wishes: [string, Wish][] = [
    ['sparse-checkout', { sparseCheckout: ['folder-1', 'folder-2', 'folder-3'] }],
    ['filter: blob:none', { filter: 'blob:none', fetchDepth: 0 }],
  ];
  test.each(chooseCases(wishes))('%s', async (_, wish) => {
    const scenario = await createUpstream(scenarios);
    let mirrored: Refs = {};
    const pair = await checkOutBoth(scenario, wish, async () => {
      mirrored = await readTrackingRefs(scenario);
      await addCommits(scenario.upstream, { commits: 3, files: 32, changedFiles: 32 });
      return eventOf(scenario);
    });
    await expectSameWorkspace(pair);
    await expectSameRefs(pair, wish.fetchDepth === 0 ? {} : mirrored);
    expect(pair.primed.bytes).toBeLessThan(SMALL_BYTES);
    await expectSameBehaviour(pair, scenario);
  });
});
