/** Saves to the Actions cache that fail, with the real toolkit. */
import { describe, expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { failureOf, useCacheBench } from '../../support/actions-cache/bench.ts';
import type { CacheFault } from '../../support/actions-cache/fault.ts';
import { describeContents, describeFolder } from '../../support/layer-files.ts';
import { create, find, outcomeOf } from '../contract/store-contract.ts';

const bench = useCacheBench();

describe('a save that fails', () => {
  test.each<[string, CacheFault['behave'], RegExp]>([
    ['a refusal', { kind: 'refuse', message: 'no room' }, /^store-unavailable: .*no room/],
    ['a closed connection', { kind: 'close' }, /^store-unavailable: .*ECONNRESET/],
    [
      'a full storage',
      { kind: 'status', status: 403, message: 'insufficient usage to create' },
      /^store-unavailable: .*storage quota has been hit/,
    ],
    [
      'no right to write',
      { kind: 'refuse', message: 'cache write denied: untrusted' },
      /^store-read-only: .*cache write denied: untrusted/,
    ],
    [
      'HTTP 403',
      { kind: 'status', status: 403, message: 'not allowed' },
      /^store-read-only: .*\(403\).*not allowed/,
    ],
  ])('at the reservation, with %s', async (_, behave, message) => {
    const fault = bench.service.fault({ on: 'create', behave });
    expect(await failureOf(create(bench.store, 1, 'text'))).toMatch(message);
    expect(await failureOf(bench.put())).toMatch(message);
    fault.remove();
    expect(bench.service.entries).toEqual([]);
    expect(await create(bench.store, 1, 'text')).toBe(true);
  });

  test('at a rate limit is tried again, a few times', async () => {
    const behave = { kind: 'status' as const, status: 429 as const };
    bench.service.fault({ on: 'create', times: 1, behave });
    expect(await create(bench.store, 1, 'text')).toBe(true);
    bench.service.fault({ on: 'create', behave });
    expect(await failureOf(create(bench.store, 2, 'text'))).toMatch(
      /^store-unavailable: .*limits the rate of requests \(200 uploads a minute.*\(429\)/,
    );
    expect(bench.service.requestsOf('create')).toHaveLength(5);
  });

  test('at a rate limit waits as long as the service says, and no longer than a minute', async () => {
    const limit = { kind: 'status' as const, status: 429 as const };
    bench.service.fault({ on: 'create', times: 1, behave: { ...limit, retryAfterSeconds: 2 } });
    const startedAt = performance.now();
    await bench.put();
    expect(performance.now() - startedAt).toBeGreaterThan(2_000);
    bench.service.resetCounters();
    bench.service.fault({ on: 'create', behave: { ...limit, retryAfterSeconds: 90 } });
    expect(await failureOf(bench.put({ file: 'x' }, bench.store, 'other'))).toMatch(
      /^store-unavailable: .*limits the rate of requests .*will reset in 90 seconds/,
    );
    expect(bench.service.requestsOf('create')).toHaveLength(1);
  });

  test.each<[string, CacheFault]>([
    ['an upload that is refused', { on: 'upload', behave: { kind: 'status', status: 403 } }],
    ['an upload that falls short', { on: 'upload', behave: { kind: 'shorten', afterBytes: 50 } }],
    ['an end that is refused', { on: 'finalize', behave: { kind: 'status', status: 404 } }],
  ])('at %s leaves a number that is taken, and nothing under it', async (_, fault) => {
    const active = bench.service.fault(fault);
    expect(await failureOf(create(bench.store, 1, 'text'))).toMatch(/^store-unavailable: /);
    expect(await failureOf(bench.put())).toMatch(/^store-unavailable: /);
    active.remove();
    expect(await find(bench.store)).toBeUndefined();
    expect(await create(bench.store, 1, 'text')).toBe(false);
    expect(await create(bench.store, 2, 'text')).toBe(true);
    expect(await find(bench.store)).toBe('2 text');
    expect(await outcomeOf(bench.put())).toBe('store-unavailable');
    expect(await outcomeOf(bench.put({ file: 'stored' }, bench.store, 'another'))).toBe(
      'fulfilled',
    );
  });

  test('only as far as its reply goes is a success', async () => {
    bench.service.fault({ on: 'finalize', afterwards: true, behave: { kind: 'close' } });
    expect(await create(bench.store, 1, 'text')).toBe(true);
    const layer = await bench.put();
    expect(await find(bench.store)).toBe('1 text');
    expect(await outcomeOf(bench.get(layer))).toBe('fulfilled');
  });

  test('in the middle of an upload goes on', async () => {
    const contents = { file: randomBytes(500_000) };
    const behave = { kind: 'cut' as const, afterBytes: 100_000, reset: true };
    const fault = bench.service.fault({ on: 'upload', times: 1, behave });
    const layer = await bench.put(contents);
    expect(fault.applied).toBe(1);
    expect(await describeFolder(await bench.get(layer))).toEqual(describeContents(contents));
  });

  test('by wrong bytes on their way shows when they are read', async () => {
    bench.service.fault({ on: 'upload', behave: { kind: 'garbage-stream', afterBytes: 0 } });
    const layer = await bench.put();
    await create(bench.store, 1, 'text');
    expect(await outcomeOf(bench.get(layer))).toBe('bad-snapshot');
    expect(await find(bench.store)).toBe('1 ');
  });

  test('because the number was taken meanwhile is a refusal', async () => {
    bench.service.fault({
      on: ({ kind }) => kind === 'create',
      times: 1,
      behave: { kind: 'status', status: 409 },
    });
    expect(await create(bench.store, 1, 'text')).toBe(false);
  });
});
