import { performance } from 'node:perf_hooks';
import type { ClaimRecords } from '../../../src/locks/claims/records.ts';
import { checkRecords } from '../../../src/stores/back-end.ts';
import { turn } from './store.ts';

/** Records with the time of their last change. */
export type MemoryRecords = Map<string, { content: Uint8Array; changedMs: number }>;

/**
 * Records that live as long as the map does, for tests; who shares the map shares the records. `now` is
 * the store's clock.
 */
export function createMemoryRecords(
  records: MemoryRecords = new Map(),
  now: () => number = () => performance.now(),
): ClaimRecords {
  const put = (name: string, content: Uint8Array) =>
    records.set(name, { content, changedMs: now() });
  return checkRecords('memory', {
    async create(name, content, signal) {
      await turn(signal);
      if (records.has(name)) return false;
      put(name, content);
      return true;
    },
    async read(name, signal) {
      await turn(signal);
      return records.get(name)?.content.slice();
    },
    async write(name, content, signal) {
      await turn(signal);
      put(name, content);
    },
    async list(signal) {
      await turn(signal);
      const nowMs = now();
      return [...records].map(([name, { changedMs }]) => ({ name, ageMs: nowMs - changedMs }));
    },
    async remove(name, signal) {
      await turn(signal);
      records.delete(name);
    },
  });
}
