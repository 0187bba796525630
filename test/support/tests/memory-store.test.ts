import { expect, test } from '@jest/globals';
import { createMemoryStore } from '../memory/store.ts';
import {
  create,
  describeStoreContract,
  KEY,
  signal,
} from '../../stores/contract/store-contract.ts';

describeStoreContract(
  'the store in memory',
  () => {
    const store = createMemoryStore();
    return Promise.resolve({ open: () => store, close: () => Promise.resolve() });
  },
  { hasOutages: false },
);

test('ages are by the clock that was given, and never negative', async () => {
  let nowMs = 1_000;
  const store = createMemoryStore({ now: () => nowMs });
  await create(store, 1, 'text');
  nowMs = 61_000;
  await create(store, 2, 'text');
  const ages = async () => (await store.list(KEY, signal)).manifests.map(({ ageMs }) => ageMs);
  expect(await ages()).toEqual([60_000, 0]);
  nowMs = 2_000;
  expect(await ages()).toEqual([1_000, 0]);
});
