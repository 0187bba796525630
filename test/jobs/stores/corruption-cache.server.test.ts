/** Damage to what the Actions cache holds, at random positions. CORRUPTIONS sets how many. */
import { describe } from '@jest/globals';
import { inCache, useCacheService } from '../scenarios/cache-scenario.ts';
import { useScenarios } from '../scenarios/scenario.ts';
import { testDamage } from '../scenarios/stored-damage.ts';

const scenarios = useScenarios();
const cache = useCacheService();

describe('the Actions cache is healed of damage to', () => {
  testDamage(async () => {
    const scenario = await scenarios.create();
    return {
      scenario,
      options: () => inCache(cache(), scenario.server.url),
      objects: {
        list: () => Promise.resolve(cache().entries.map(({ key }) => key)),
        read: (key) => cache().readArchive(key),
        write: (key, content) => cache().writeArchive(key, content),
        remove: async (key) => {
          await cache().evict(key);
        },
      },
    };
  });
});
