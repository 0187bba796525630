import { expect, test } from '@jest/globals';
import { Account } from '../../src/job/account.ts';
import type { Job } from '../../src/job/job.ts';
import { silentLog } from '../../src/lib/log.ts';
import { contend, type Work } from '../../src/restore/clone-claim.ts';
import { createMemoryLock, type MemoryLocks } from '../support/memory/lock.ts';
import { createMemoryStore } from '../support/memory/store.ts';

const locks: MemoryLocks = new Map();

function newWork(): Work {
  const job: Partial<Job> = {
    ...{ store: createMemoryStore(), account: new Account(silentLog), log: silentLog },
    signal: new AbortController().signal,
    claimOf: (key, number) => createMemoryLock(`${key}-${String(number)}`, locks),
  };
  return {
    ...{ job, identity: { key: 'key' }, options: { isPublishedEarly: true } },
    claim: { outcome: 'not-needed', hold: undefined },
  } as unknown as Work;
}

test('a job that goes on to another place does not wait for its own claim', async () => {
  const work = newWork();
  expect(await contend(work, 6)).toEqual({ name: 'claim-settled' });
  expect(await contend(newWork(), 6)).toEqual({ name: 'claim-held' });
  expect(await contend(work, 6)).toEqual({ name: 'claim-settled' });
  await work.claim.hold?.release();
  expect(await contend(newWork(), 6)).toEqual({ name: 'claim-settled' });
});
