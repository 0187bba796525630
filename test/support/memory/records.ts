import type { ClaimRecords } from '../../../src/locks/claims/records.ts';
import { turn } from './store.ts';
import { assertNames, assertPrefix, assertRecordSize } from '../../../src/stores/names.ts';

export type MemoryRecords = Map<string, Uint8Array>;

/** Records that live as long as the map does, for tests; who shares the map shares the records. */
export function createMemoryRecords(records: MemoryRecords = new Map()): ClaimRecords {
  return {
    async create(name, content, signal) {
      assertNames('record', name);
      assertRecordSize(content);
      const copy = Uint8Array.from(content);
      await turn(signal);
      if (records.has(name)) return false;
      records.set(name, copy);
      return true;
    },
    async read(name, signal) {
      assertNames('record', name);
      await turn(signal);
      return records.get(name)?.slice();
    },
    async write(name, content, signal) {
      assertNames('record', name);
      assertRecordSize(content);
      const copy = Uint8Array.from(content);
      await turn(signal);
      records.set(name, copy);
    },
    async list(prefix, signal) {
      assertPrefix(prefix);
      await turn(signal);
      return [...records.keys()].filter((name) => name.startsWith(prefix));
    },
    async remove(name, signal) {
      assertNames('record', name);
      await turn(signal);
      records.delete(name);
    },
  };
}
