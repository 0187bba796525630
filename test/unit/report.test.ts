/** What the step says: outputs, summary and lines, by the runner's own files. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { Account, type Job } from '../../src/job.ts';
import { silentLog } from '../../src/log.ts';
import {
  describeSave,
  formatBytes,
  reportMirror,
  reportOutputs,
  reportSave,
} from '../../src/report.ts';
import type { RestoredMirror } from '../../src/restore-mirror.ts';
import { readActionDefinition } from '../support/action-definition.ts';
import { parseFileCommand } from '../support/runner-commands.ts';
import { temporaryDirectories } from '../support/temporary-directory.ts';

const directories = temporaryDirectories();
const { outputs } = readActionDefinition(fileURLToPath(new URL('../..', import.meta.url)));

const OID = 'a'.repeat(40);

const cloned: RestoredMirror = {
  path: '/work/name/_mirrors/key.git',
  isPrivate: false,
  key: 'key',
  objectFormat: 'sha1',
  provenance: 'cloned',
  recloned: false,
  snapshot: undefined,
  head: { ref: 'refs/heads/main', oid: OID },
  refCount: 2,
  refsDigest: 'd'.repeat(64),
  waitedMs: 0,
};

const restored: RestoredMirror = { ...cloned, provenance: 'restored', snapshot: '7-0123456789ab' };

/** As much of a job as reports look at. */
function jobOf(account: Account): Job {
  return {
    account,
    upstream: { access: { url: 'https://h/o/n', token: '' }, refspecs: [] },
  } as Partial<Job> as Job;
}

/** The summary's file is looked up once in a process, so all tests share it. */
let folder: string;

beforeAll(async () => {
  folder = await directories.create('report');
});

beforeEach(() => {
  for (const name of ['GITHUB_OUTPUT', 'GITHUB_STEP_SUMMARY']) {
    process.env[name] = join(folder, name);
    writeFileSync(join(folder, name), '');
  }
});

afterEach(() => {
  delete process.env['GITHUB_OUTPUT'];
  delete process.env['GITHUB_STEP_SUMMARY'];
});

afterAll(() => directories.removeAll());

function outputsOf(mirror: RestoredMirror): Record<string, string> {
  writeFileSync(join(folder, 'GITHUB_OUTPUT'), '');
  reportOutputs(mirror);
  return parseFileCommand(readFileSync(join(folder, 'GITHUB_OUTPUT'), 'utf8'));
}

function summary(): string {
  return readFileSync(join(folder, 'GITHUB_STEP_SUMMARY'), 'utf8');
}

/** Lines for the log go to standard output, which is not looked at here. */
function silently<T>(work: () => Promise<T>): Promise<T> {
  const { write } = process.stdout;
  process.stdout.write = () => true;
  return work().finally(() => {
    process.stdout.write = write;
  });
}

describe('outputs', () => {
  test('are those of action.yml, all of them, every time', () => {
    expect(Object.keys(outputsOf(cloned)).sort()).toEqual([...outputs].sort());
    expect(Object.keys(outputsOf({ ...restored, head: undefined })).sort()).toEqual(
      [...outputs].sort(),
    );
  });

  test('say how it went', () => {
    expect(outputsOf(cloned)).toEqual({
      'mirror-path': cloned.path,
      provenance: 'cloned',
      'cache-hit': 'false',
      recloned: 'false',
      snapshot: '',
      head: OID,
      'refs-digest': cloned.refsDigest,
    });
    expect(outputsOf(restored)).toMatchObject({ 'cache-hit': 'true', snapshot: '7-0123456789ab' });
    expect(outputsOf({ ...cloned, provenance: 'existing' })).toMatchObject({
      'cache-hit': 'false',
    });
    expect(outputsOf({ ...cloned, recloned: true })).toMatchObject({ recloned: 'true' });
    expect(outputsOf({ ...cloned, head: undefined })).toMatchObject({ head: '' });
  });
});

describe('the job summary', () => {
  test('shows the outcome, the phases with times and bytes, and every fallback', async () => {
    const account = new Account(silentLog);
    await account.measure(
      'clone',
      () => Promise.resolve(3 * 1024 * 1024),
      (bytes) => bytes,
    );
    account.fallBack('Snapshot 7 is not used: it is damaged');
    const mirror = { ...cloned, recloned: true, waitedMs: 65_000 };
    await silently(() => reportMirror(mirror, jobOf(account)));
    for (const text of [
      'https://h/o/n',
      'Cloned afresh, after a failure',
      `refs/heads/main at ${OID}`,
      'waited 1 min 5 s for another job',
      '<td>clone</td>',
      '3.0 MiB',
      'Snapshot 7 is not used: it is damaged',
    ]) {
      expect(summary()).toContain(text);
    }
  });

  test('shows a phase that failed as well', async () => {
    const account = new Account(silentLog);
    const failing = account.measure('fetch', () => Promise.reject(new Error('no')));
    await expect(failing).rejects.toThrow('no');
    await silently(() => reportSave({ result: 'skipped', reason: 'x' }, jobOf(account)));
    expect(summary()).toContain('<td>fetch</td>');
  });

  test('holds no markup of others, whatever a server or a ref is called', async () => {
    const account = new Account(silentLog);
    account.fallBack('git says: <script>alert(1)</script> & <img src=x>');
    const head = { ref: 'refs/heads/<b>x</b>', oid: OID };
    await silently(() => reportMirror({ ...cloned, head }, jobOf(account)));
    expect(summary()).not.toMatch(/<(?:script|img|b)[ >]/);
    expect(summary()).toContain('&lt;script&gt;');
  });

  test('shows names as people wrote them', async () => {
    const head = { ref: Buffer.from('refs/heads/café').toString('latin1'), oid: OID };
    await silently(() => reportMirror({ ...cloned, head }, jobOf(new Account(silentLog))));
    expect(summary()).toContain('refs/heads/café at');
  });

  test('is no error where the runner has none', async () => {
    delete process.env['GITHUB_STEP_SUMMARY'];
    const account = new Account(silentLog);
    await silently(() => reportSave({ result: 'skipped', reason: 'x' }, jobOf(account)));
    expect(summary()).toBe('');
  });
});

describe('post says in one line', () => {
  test.each([
    [{ result: 'published', id: '7-ab', bytes: 1_536 }, 'Saved snapshot 7-ab (1.5 KiB)'],
    [{ result: 'unchanged', id: '7-ab' }, 'Nothing saved: nothing changed since snapshot 7-ab'],
    [{ result: 'superseded', number: 8 }, 'Nothing saved: another job saved snapshot 8 meanwhile'],
    [{ result: 'skipped', reason: 'there is no store' }, 'Nothing saved: there is no store'],
    [
      { result: 'corrupt', reason: 'a pack is damaged' },
      'Nothing saved, and the mirror was deleted: a pack is damaged',
    ],
  ] as const)('%j: %s', (result, line) => {
    expect(describeSave(result)).toBe(line);
  });
});

test.each([
  [0, '0 B'],
  [1_023, '1023 B'],
  [1_024, '1.0 KiB'],
  [314 * 1024 ** 2, '314.0 MiB'],
  [1024 ** 3, '1.0 GiB'],
  [5 * 1024 ** 4, '5.0 TiB'],
  [5_000 * 1024 ** 4, '5000.0 TiB'],
])('%d bytes are %s', (bytes, expected) => {
  expect(formatBytes(bytes)).toBe(expected);
});
