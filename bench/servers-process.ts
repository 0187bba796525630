/**
 * The servers that jobs use, in a process of their own, so that their time and memory don't count: an
 * upstream over HTTP, and the Actions cache. Started by servers.ts, whose requests it answers.
 */
import { startActionsCacheService } from '../test/support/actions-cache/service.ts';
import { startGitServer } from '../test/support/git-server/server.ts';

const [repositories = '{}'] = process.argv.slice(2);
const upstream = await startGitServer({
  repositories: JSON.parse(repositories) as Record<string, string>,
});
const cache = await startActionsCacheService();
let kept: readonly string[] = [];

const calls = {
  url: () => upstream.url,
  /** Bytes that upstream has sent so far. */
  bytesSent: () => upstream.bytesSent,
  cacheEnvironment: () => cache.environmentFor({ ref: 'refs/heads/main' }),
  /** Protects the current entries from `forgetNewer`. */
  keepEntries: () => {
    kept = cache.entries.map(({ key }) => key);
  },
  forgetNewer: async () => {
    await cache.evict(({ key }) => !kept.includes(key));
  },
  forgetAll: async () => {
    await cache.evict();
  },
};

export type ServerCalls = typeof calls;

process.on('message', ({ id, call }: { id: number; call: keyof ServerCalls }) => {
  void Promise.resolve(calls[call]()).then((result) => {
    process.send?.({ id, result });
  });
});
// It ends with the process that started it.
process.on('disconnect', () => {
  void Promise.all([upstream.stop(), cache.stop()]).finally(() => process.exit());
});
process.send?.({ id: 0 });
