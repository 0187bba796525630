/** What evictions and scopes leave to be found in the Actions cache, with the real toolkit. */
import { describe, expect, test } from '@jest/globals';
import { BRANCH, MAIN, useCacheBench } from '../../support/actions-cache/bench.ts';
import { create, find, KEY, outcomeOf, signal } from '../contract/store-contract.ts';

const bench = useCacheBench();

describe('what the platform evicts', () => {
  test('is missed: layers and manifests, each for itself', async () => {
    const layer = await bench.put();
    for (const number of [1, 2]) await create(bench.store, number, 'text');
    await bench.service.evict(({ key }) => key.endsWith('02-2') || key.endsWith('01-2'));
    expect(await find(bench.store)).toBe('1 text');
    await bench.service.evict(({ key }) => key.includes('/layers/'));
    expect(await outcomeOf(bench.get(layer))).toBe('bad-snapshot');
    expect(await bench.store.hasLayer(KEY, 'layer', signal)).toBe(false);
  });

  test('between look-up and download is passed over', async () => {
    for (const number of [1, 2]) await create(bench.store, number, 'text');
    // The second look-up proves that there is nothing above.
    bench.service.resetCounters();
    bench.service.fault({
      on: ({ kind }) => kind === 'lookup' && bench.service.requestsOf('lookup').length === 3,
      times: 1,
      behave: { kind: 'refuse' },
    });
    expect(await find(bench.store)).toBe('1 text');
  });
});

describe('scopes', () => {
  test('a branch reads the default branch’s snapshots, and numbers its own', async () => {
    const layer = await bench.put();
    for (const number of [1, 2]) await create(bench.store, number, `main ${number}`);
    const own = bench.open(bench.environmentOf(BRANCH), { scope: 'refs/heads/feature' });
    const others = bench.open(bench.environmentOf(BRANCH));
    expect(await find(own)).toBeUndefined();
    expect(await find(others)).toBe('2 main 2');
    expect(await outcomeOf(bench.get(layer, others))).toBe('fulfilled');
    expect(await create(own, 1, 'branch 1')).toBe(true);
    expect(await find(own)).toBe('1 branch 1');
    // What a branch saves in the name of the default branch reaches no other.
    expect(await create(others, 3, 'forged')).toBe(true);
    expect(await find(bench.store)).toBe('2 main 2');
  });

  test('any ref is one: with commas, beyond ASCII, and long', async () => {
    const scopes = [
      'refs/heads/a,b',
      'refs/heads/a%2Cb',
      'refs/heads/ü',
      `refs/heads/${'ü'.repeat(200)}`,
    ];
    for (const scope of scopes)
      await create(bench.open(bench.environmentOf(MAIN), { scope }), 1, scope);
    for (const scope of scopes) {
      expect(await find(bench.open(bench.environmentOf(MAIN), { scope }))).toBe(`1 ${scope}`);
    }
  });

  test.each<[string, () => NodeJS.ProcessEnv]>([
    ['token', () => bench.environmentOf({ ...MAIN, permission: 'read' })],
    ['cache-mode', () => ({ ...bench.environmentOf(MAIN), ACTIONS_CACHE_MODE: 'read' })],
  ])('a %s that only reads can read, and is told that it cannot write', async (_, environment) => {
    const layer = await bench.put();
    await create(bench.store, 1, 'text');
    const reader = bench.open(environment());
    expect(await find(reader)).toBe('1 text');
    expect(await outcomeOf(bench.get(layer, reader))).toBe('fulfilled');
    expect(await outcomeOf(create(reader, 2, 'text'))).toBe('store-read-only');
    expect(await outcomeOf(bench.put({ file: 'x' }, reader, 'new'))).toBe('store-read-only');
    expect(await create(reader, 1, 'text')).toBe(false);
  });
});
