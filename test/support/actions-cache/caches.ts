/** Opens the Actions cache for tests, and closes it after each. */
import { afterEach } from '@jest/globals';
import {
  openActionsCache,
  type ActionsCache,
  type ActionsCacheOptions,
} from '../../../src/stores/actions-cache/session.ts';

/** For the top of a test file, or of a `describe`. */
export function useCaches(): (options: ActionsCacheOptions) => ActionsCache {
  const opened: ActionsCache[] = [];
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((cache) => cache.close()));
  });
  return (options) => {
    const cache = openActionsCache(options);
    opened.push(cache);
    return cache;
  };
}
