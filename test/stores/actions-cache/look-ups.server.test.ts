/** Look-ups in the Actions cache that fail, with the real toolkit. */
import { describe, expect, test } from '@jest/globals';
import type { CacheFault } from '../../support/actions-cache/fault.ts';
import { failureOf, useCacheBench } from '../../support/actions-cache/bench.ts';
import { create, find, KEY, signal } from '../contract/store-contract.ts';

const bench = useCacheBench();

describe('a look-up that fails is no miss, and tells why', () => {
  test.each<[string, CacheFault['behave'], RegExp]>([
    ['429', { kind: 'status', status: 429 }, /^store-unavailable: .*Rate limited.*\(429\)/],
    ['401', { kind: 'status', status: 401 }, /^store-unavailable: .*\(401\)/],
    ['a closed connection', { kind: 'close' }, /^store-unavailable: .*ECONNRESET/],
    [
      'no right to read',
      { kind: 'status', status: 403, message: 'cache read denied: no scope' },
      /^store-unavailable: .*cache read denied: no scope/,
    ],
  ])('%s', async (_, behave, message) => {
    const layer = await bench.put();
    await create(bench.store, 1, 'text');
    const fault = bench.service.fault({ on: 'lookup', behave });
    expect(await failureOf(find(bench.store))).toMatch(message);
    expect(await failureOf(bench.get(layer))).toMatch(message);
    expect(await failureOf(bench.store.hasLayer(KEY, 'layer', signal))).toMatch(message);
    expect(await failureOf(create(bench.store, 2, 'text'))).toMatch(message);
    fault.remove();
    expect(await find(bench.store)).toBe('1 text');
  });

  test('500, which the toolkit asks for five times', async () => {
    bench.service.fault({ on: 'lookup', behave: { kind: 'status', status: 500 } });
    expect(await failureOf(find(bench.store))).toMatch(/^store-unavailable: .*5 attempts.*\(500\)/);
    expect(bench.service.requestsOf('lookup')).toHaveLength(5);
  });

  test('500, for longer than a job waits, which says what the service answered', async () => {
    bench.service.fault({ on: 'lookup', behave: { kind: 'status', status: 500 } });
    const store = bench.open(undefined, { isUnhurried: true, times: { patienceMs: 10_000 } });
    expect(await failureOf(find(store))).toMatch(
      /^store-unavailable: .* not answer within 10\.0 s \(Attempt \d of 5 failed .*\(500\)/,
    );
  });

  test('silence, which is given up after 20 s, and then everything is as before', async () => {
    const fault = bench.service.fault({ on: 'lookup', behave: { kind: 'delay', forMs: 600_000 } });
    expect(await failureOf(find(bench.store))).toBe(
      'store-unavailable: the Actions cache did not answer within 20.0 s',
    );
    fault.remove();
    expect(await find(bench.store)).toBeUndefined();
  });

  test('a rate limit that is over soon is waited for, as long as the service says', async () => {
    await create(bench.store, 1, 'text');
    const behave = { kind: 'status' as const, status: 429 as const, retryAfterSeconds: 2 };
    bench.service.fault({ on: 'lookup', times: 1, behave });
    const startedAt = performance.now();
    expect(await find(bench.store)).toBe('1 text');
    expect(performance.now() - startedAt).toBeGreaterThan(2_000);
  });

  test('a rate limit that outlasts the look-up is not waited for', async () => {
    const behave = { kind: 'status' as const, status: 429 as const, retryAfterSeconds: 30 };
    bench.service.fault({ on: 'lookup', behave });
    expect(await failureOf(find(bench.store))).toMatch(
      /^store-unavailable: .*limits the rate of requests .*will reset in 30 seconds/,
    );
    expect(bench.service.requestsOf('lookup')).toHaveLength(1);
  });
});
