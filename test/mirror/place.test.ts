/** What may be touched at and around a mirror's place, on a real file system. */
import { afterEach, describe, expect, test } from '@jest/globals';
import { mkdir, mkdtemp, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { silentLog } from '../../src/lib/log.ts';
import { createStaging, layOut, sweep } from '../../src/mirror/directory.ts';
import { inspectPlace } from '../../src/mirror/occupant.ts';
import { enterPlace, removePrivatePlace } from '../../src/mirror/place.ts';
import { RECORD_FILE, writeRecord, type MirrorRecord } from '../../src/mirror/record.ts';
import { git } from '../support/git.ts';
import { temporaryDirectories } from '../support/temporary-directory.ts';

const directories = temporaryDirectories();
afterEach(() => directories.removeAll());

const UPSTREAM = 'https://example.com/o/n';
const record = {
  version: 1 as const,
  key: 'key',
  upstream: UPSTREAM,
  head: null,
  refsDigest: '0',
  walkedRefsDigest: null,
  base: null,
  fence: null,
  rejected: [],
};

async function folderWith(content: string | object): Promise<string> {
  const path = join(await directories.create(), 'app');
  await mkdir(path);
  if (typeof content === 'string') await writeFile(join(path, RECORD_FILE), content);
  else await writeRecord(path, content as MirrorRecord);
  await writeFile(join(path, 'payroll.db'), 'x');
  return path;
}

describe('a place is refused, and left as it is,', () => {
  test.each<[string, string | object, string]>([
    ['a file of our name that is no record', '{"my":"config"}', 'not a mirror of this action'],
    ['a file of our name that is no JSON', 'hello', 'not a mirror of this action'],
    ['a record of a later version', { version: 2 }, 'of another version of this action'],
    ['a record of another upstream', { ...record, upstream: 'https://e.com/x' }, 'of https://e'],
    ['a record of other settings', { ...record, key: 'other' }, 'with other refs'],
  ])('where a folder holds %s', async (_, content, message) => {
    const path = await folderWith(content);
    const refusal = expect.objectContaining({
      code: 'mirror-refused',
      message: expect.stringContaining(message),
    });
    await expect(inspectPlace(path, 'key', UPSTREAM)).rejects.toEqual(refusal);
    expect(await readdir(path)).toEqual([RECORD_FILE, 'payroll.db']);
  });
});

describe('a sweep', () => {
  test('takes staging and trash of that place, and nothing that only looks alike', async () => {
    const path = join(await directories.create(), 'app');
    const own = await createStaging(path);
    await mkdir(`${path}.trash-mirror-action-AbC123`);
    const kept = [`${path}.staging-env`, `${path}.staging-mirror-action-longer-name`];
    for (const folder of kept) await mkdir(folder);
    await writeFile(`${path}.trash-mirror-action-abcdef`, 'a file');
    await mkdir(`${path}2.staging-mirror-action-abcdef`);
    await sweep(path, silentLog);
    await expect(stat(own)).rejects.toThrow('ENOENT');
    expect(await readdir(join(path, '..'))).toEqual(
      [
        'app.staging-env',
        'app.staging-mirror-action-longer-name',
        'app.trash-mirror-action-abcdef',
        'app2.staging-mirror-action-abcdef',
      ].sort(),
    );
  });
});

describe('opening a mirror', () => {
  test('looks like a repository at any time to those who read it', async () => {
    const path = join(await directories.create(), 'mirror.git');
    await mkdir(path);
    await layOut(path, 'sha1');
    await writeRecord(path, record);
    const before = await stat(join(path, 'refs'));
    await mkdir(join(path, 'refs', 'heads', 'x'));
    await mkdir(join(path, 'refs', 'other'));
    await layOut(path, 'sha1');
    expect((await stat(join(path, 'refs'))).ino).toBe(before.ino);
    expect(await readdir(join(path, 'refs'), { recursive: true })).toEqual(['heads', 'tags']);
    expect(await git(path, [`--git-dir=${path}`, 'rev-parse', '--is-bare-repository'])).toBe(
      'true',
    );
  });
});

describe('a private place', () => {
  test('is removed after the job, and no other folder is', async () => {
    const temporaryFolder = await directories.create();
    const place = await enterPlace({
      path: '/srv/mirror.git',
      lock: { acquire: () => Promise.resolve({ outcome: 'timed-out', waitedMs: 5 }) },
      timeoutMs: 0,
      temporaryFolder,
      signal: new AbortController().signal,
      onWait: () => undefined,
    });
    expect(place).toMatchObject({ isPrivate: true, waitedMs: 5 });
    const other = await mkdtemp(join(temporaryFolder, 'other-'));
    const elsewhere = await directories.create('mirror-');
    for (const path of [place.path, join(other, 'm.git'), join(elsewhere, 'm.git')]) {
      await removePrivatePlace(path, temporaryFolder);
    }
    expect(await readdir(temporaryFolder)).toEqual([other.slice(temporaryFolder.length + 1)]);
    expect((await stat(elsewhere)).isDirectory()).toBe(true);
  });
});
