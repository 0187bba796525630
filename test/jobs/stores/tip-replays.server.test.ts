/** Checkouts with `fetch-depth: 1` in workspaces that were primed from the Actions cache. */
import { jest } from '@jest/globals';
import { inCache, useCacheService } from '../scenarios/cache-scenario.ts';
import { useScenarios } from '../scenarios/scenario.ts';
import { describeTipReplays, type StoreOf } from '../scenarios/tip-replays.ts';

jest.setTimeout(180_000);

const scenarios = useScenarios();
const cache = useCacheService();
const storeOf: StoreOf = ({ server }) => inCache(cache(), server.url);

describeTipReplays(scenarios, storeOf);
