/** Calls of the Actions cache that are cancelled, and what they keep secret, with the real toolkit. */
import { afterEach, describe, expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { MAIN, failureOf, useCacheBench } from '../../support/actions-cache/bench.ts';
import type { CacheFault } from '../../support/actions-cache/fault.ts';
import { writeLayer } from '../../support/layer-files.ts';
import { canMount, mounts } from '../../support/mounts.ts';
import { canListProcesses, processesWith } from '../../support/processes.ts';
import { create, find, KEY, outcomeOf, signal } from '../contract/store-contract.ts';

const bench = useCacheBench();
const disks = mounts();
// Defined after the bench's, which ends the workers.
afterEach(() => {
  disks.removeAll();
});

describe('a cancelled call', () => {
  const contents = { file: randomBytes(2_000_000) };

  test.each<[string, CacheFault['on']]>([
    ['look-up', 'lookup'],
    ['reservation', 'create'],
    ['upload', 'upload'],
    ['end', 'finalize'],
  ])('of putting a layer ends soon, in its %s, and with its processes', async (_, on) => {
    bench.service.fault({ on, behave: { kind: 'delay', forMs: 600_000 } });
    const controller = new AbortController();
    const source = await bench.directories.create('source');
    const layer = await writeLayer(source, 'layer', contents);
    const putting = bench.store.putLayer(KEY, layer, source, { signal: controller.signal });
    const outcome = outcomeOf(putting);
    await bench.service.waitForRequest(({ kind }) => kind === on);
    controller.abort();
    expect(await outcome).toBe('cancelled');
    bench.service.clearFaults();
    expect(await outcomeOf(bench.get(layer))).toBe('bad-snapshot');
    if (canListProcesses) expect(processesWith(bench.temporaryFolder)).toEqual([]);
  });

  test('of getting a layer ends soon, and leaves nothing in the mirror', async () => {
    const layer = await bench.put(contents);
    bench.service.fault({
      on: 'download',
      behave: { kind: 'stall', afterBytes: 1_000, forMs: 600_000 },
    });
    const controller = new AbortController();
    const target = await bench.directories.create('target');
    const outcome = outcomeOf(
      bench.store.getLayer(KEY, layer, target, { signal: controller.signal }),
    );
    await bench.service.waitForRequest(({ kind }) => kind === 'download');
    controller.abort();
    expect(await outcome).toBe('cancelled');
    expect(await readdir(target)).toEqual([]);
  });
});

describe('a call whose folder cannot be removed', () => {
  const testMount = canMount('tmpfs') ? test : test.skip;

  testMount('has its result all the same (needs mount)', async () => {
    const temporaryFolder = disks.memory(4 * 1024 * 1024);
    const answering = Promise.withResolvers<undefined>();
    const stall = { kind: 'stall', afterBytes: 0, until: answering.promise } as const;
    bench.service.fault({ on: 'lookup', behave: stall });
    const finding = outcomeOf(
      bench.open(undefined, { temporaryFolder }).hasLayer(KEY, 'layer', signal),
    );
    await bench.service.waitForRequest(({ kind }) => kind === 'lookup');
    disks.makeReadOnly(temporaryFolder);
    answering.resolve(undefined);
    expect(await finding).toBe('fulfilled');
  });
});

describe('secrets', () => {
  test('are in no message, whatever the service says', async () => {
    const environment = bench.environmentOf(MAIN);
    const token = environment['ACTIONS_RUNTIME_TOKEN']!;
    const message = `no, ${token} for https://blob.example/a?sig=abc%2Bdef&x=1 and\nBearer wxyz`;
    bench.service.fault({ on: 'create', behave: { kind: 'refuse', message } });
    bench.service.fault({ on: 'lookup', behave: { kind: 'status', status: 401, message } });
    const failures = [await failureOf(find(bench.open(environment)))];
    bench.service.clearFaults();
    bench.service.fault({ on: 'create', behave: { kind: 'refuse', message } });
    failures.push(await failureOf(create(bench.open(environment), 1, 'text')));
    for (const failure of failures) {
      expect(failure).toContain('no, *** for https://blob.example/a?sig=***&x=1 and Bearer ***');
      expect(failure).not.toContain(token);
    }
  });

  const testProcesses = canListProcesses ? test : test.skip;
  testProcesses('are in no command line', async () => {
    const token = bench.environmentOf(MAIN)['ACTIONS_RUNTIME_TOKEN']!;
    bench.service.fault({ on: 'upload', behave: { kind: 'delay', forMs: 2_000 } });
    const putting = bench.put();
    await bench.service.waitForRequest(({ kind }) => kind === 'upload');
    expect(processesWith('cache-worker').length).toBeGreaterThan(0);
    expect(processesWith(token)).toEqual([]);
    await putting;
  });
});
