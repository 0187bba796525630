/** Checkouts with `fetch-depth: 1` in workspaces that were primed from the Actions cache. */
import { describe, jest, test } from '@jest/globals';
import { inCache, useCacheService } from '../scenarios/cache-scenario.ts';
import { chooseCases } from '../scenarios/rounds.ts';
import { useScenarios } from '../scenarios/scenario.ts';
import {
  TIP_CHANGES,
  TIP_WISHES,
  expectSameCheckout,
  expectSmallFetch,
  type StoreOf,
} from '../scenarios/tip-replays.ts';

jest.setTimeout(180_000);

const scenarios = useScenarios();
const cache = useCacheService();
const storeOf: StoreOf = ({ server }) => inCache(cache(), server.url);

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
