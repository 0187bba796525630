import { createDiskRecords } from '../../../src/stores/disk/records.ts';
import { createMemoryRecords, type MemoryRecords } from '../../support/memory/records.ts';
import { temporaryDirectories } from '../../support/temporary-directory.ts';
import { describeClaimRecordsContract } from './records-contract.ts';

const directories = temporaryDirectories();

describeClaimRecordsContract('in memory', () => {
  const keys = new Map<string, MemoryRecords>();
  return Promise.resolve({
    open(key) {
      const records = keys.get(key) ?? (new Map() as MemoryRecords);
      keys.set(key, records);
      return createMemoryRecords(records);
    },
    close: () => Promise.resolve(),
  });
});

describeClaimRecordsContract('on a disk', async () => {
  const path = await directories.create('records');
  return { open: (key) => createDiskRecords({ path, key }), close: () => directories.removeAll() };
});
