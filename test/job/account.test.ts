import { describe, expect, test } from '@jest/globals';
import { MirrorError } from '../../src/lib/errors.ts';
import { Account, describePhase, type Phase } from '../../src/job/account.ts';
import type { Log } from '../../src/lib/log.ts';

/** A log that keeps what it is given, one entry for each call. */
function recorder(): { log: Log; said: string[] } {
  const said: string[] = [];
  const keep = (kind: string) => (text: string) => void said.push(`${kind}: ${text}`);
  const endGroup = () => void said.push('end');
  const [debug, info, notice, warning] = ['debug', 'info', 'notice', 'warning'].map(keep);
  return {
    said,
    log: {
      debug: debug!,
      info: info!,
      notice: notice!,
      warning: warning!,
      group: keep('group'),
      endGroup,
    },
  };
}

/** Lines without their times. */
const timeless = (lines: string[]) => lines.map((line) => line.replace(/\d[\d.]* m?s/, 'TIME'));

describe('a phase', () => {
  test('is a group, followed by a line with its time and bytes', async () => {
    const { log, said } = recorder();
    const account = new Account(log);
    const work = () => {
      log.info('within');
      return Promise.resolve(3 * 1024 ** 2);
    };
    await account.measure('fetch', work, (bytes) => bytes);
    expect(timeless(said)).toEqual([
      'group: Fetch what is new',
      'info: within',
      'end',
      'info: Fetch: TIME, 3.0 MiB',
    ]);
    expect(account.phases).toMatchObject([
      { name: 'fetch', end: 'succeeded', bytes: 3 * 1024 ** 2 },
    ]);
  });

  test('that fails ends its group and is logged as failed', async () => {
    const { log, said } = recorder();
    const account = new Account(log);
    const failing = account.measure('lock', () => Promise.reject(new RangeError('no')));
    await expect(failing).rejects.toThrow(RangeError);
    expect(timeless(said)).toEqual([
      "group: Enter the mirror's place",
      'end',
      'info: Lock: failed after TIME',
    ]);
    expect(account.phases).toMatchObject([{ name: 'lock', end: 'failed' }]);
  });

  test('within another phase is a line of its group, even if it fails: groups do not nest', async () => {
    const { log, said } = recorder();
    const account = new Account(log);
    const inner = () => account.measure('check', () => Promise.reject(new Error('no')));
    await account.measure(
      'clone',
      () => inner().catch(() => 0),
      (bytes) => bytes,
    );
    await account.measure('prime', () => Promise.resolve());
    expect(timeless(said)).toEqual([
      'group: Clone the repository',
      'info: Check: failed after TIME',
      'end',
      'info: Clone: TIME',
      'group: Prime the workspace',
      'end',
      'info: Prime: TIME',
    ]);
  });

  test('that runs in parallel with others has a line of its own and no group', async () => {
    const { log, said } = recorder();
    const account = new Account(log);
    const answered = Promise.withResolvers<undefined>();
    const probing = account.measure('probe', () => answered.promise);
    await account.measure('restore', () => {
      answered.resolve(undefined);
      return probing;
    });
    await account.measure('fetch', () => Promise.resolve());
    expect(timeless(said)).toEqual([
      'group: Restore a snapshot',
      'end',
      'info: Restore: TIME',
      'info: Probe: TIME',
      'group: Fetch what is new',
      'end',
      'info: Fetch: TIME',
    ]);
  });

  test('that is minor and short is left out', async () => {
    const { log, said } = recorder();
    const account = new Account(log);
    await account.measure('lock', () => Promise.resolve());
    await account.measure('look-up', () => Promise.resolve());
    expect(said).toEqual(["group: Enter the mirror's place", 'end']);
    expect(account.phases).toEqual([]);
  });

  test('starts after the one before it', async () => {
    const account = new Account(recorder().log);
    await account.measure('probe', () => new Promise((resolve) => setTimeout(resolve, 20)));
    await account.measure('clone', () => Promise.resolve());
    const [probe, clone] = account.phases;
    expect(probe?.startedMs).toBeGreaterThanOrEqual(0);
    expect(clone?.startedMs).toBeGreaterThanOrEqual(probe!.startedMs + probe!.durationMs);
    expect(account.elapsedMs).toBeGreaterThanOrEqual(clone!.startedMs + clone!.durationMs);
  });
});

test.each([
  [{ durationMs: 200 }, 'Fetch: 200 ms'],
  [{ durationMs: 200, bytes: 312 * 1024 }, 'Fetch: 200 ms, 312 KiB'],
  [{ durationMs: 1_200, bytes: 312 * 1024 }, 'Fetch: 1.2 s, 312 KiB, 260 KiB/s'],
  [{ durationMs: 1_200, bytes: 0 }, 'Fetch: 1.2 s'],
  [{ durationMs: 1_200, end: 'failed' as const }, 'Fetch: failed after 1.2 s'],
  [{ durationMs: 1_200, end: 'stopped' as const }, 'Fetch: stopped after 1.2 s'],
])('%j is the line %s', (facts, expected) => {
  const phase: Phase = {
    ...{ name: 'fetch', label: 'Fetch', title: 'Fetch', startedMs: 0, durationMs: 0 },
    ...{ end: 'succeeded', ...facts },
  };
  expect(describePhase(phase)).toBe(expected);
});

test('bytes are added up by their way, those of phases that failed left out', async () => {
  const account = new Account(recorder().log);
  const move = (name: 'fetch' | 'clone' | 'restore' | 'prime', bytes: number) =>
    account.measure(
      name,
      () => Promise.resolve(bytes),
      (moved) => moved,
    );
  await move('fetch', 1);
  await move('clone', 10);
  await move('restore', 100);
  await move('prime', 1_000);
  await account.measure('fetch', () => Promise.reject(new Error('no'))).catch(() => undefined);
  expect(account.bytesMoved('from upstream')).toBe(11);
  expect(account.bytesMoved('from the store')).toBe(100);
  expect(account.bytesMoved('to the store')).toBe(0);
});

test('a fallback is a warning, what was cured at once is not, and both are kept', () => {
  const { log, said } = recorder();
  const account = new Account(log);
  account.recover('tried once more', new MirrorError('network', 'cut'));
  account.fallBack('cloning from scratch', 'unusable-mirror');
  expect(said).toEqual(['info: tried once more', 'warning: cloning from scratch']);
  expect(account.fallbacks).toEqual([
    { code: 'network', reason: 'tried once more' },
    { code: 'unusable-mirror', reason: 'cloning from scratch' },
  ]);
});
