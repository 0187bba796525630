/** Machines that the toolkit finds awkward: folders with odd names, and other programs than GNU tar and zstd. */
import { describe, expect, test } from '@jest/globals';
import { chmod, mkdir, readdir, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { MAIN, failureOf, useCacheBench } from '../../support/actions-cache/bench.ts';
import { describeFolder } from '../../support/layer-files.ts';
import { create, find } from '../contract/store-contract.ts';

const bench = useCacheBench();

/** A folder for PATH with these programs of this machine, and with scripts of our own. */
async function programs(
  names: readonly string[],
  scripts: Record<string, string> = {},
): Promise<string> {
  const folder = await bench.directories.create('programs');
  for (const name of names) await symlink(await findProgram(name), join(folder, name));
  for (const [name, script] of Object.entries(scripts)) {
    await writeFile(join(folder, name), `#!/bin/sh\n${script}\n`);
    await chmod(join(folder, name), 0o755);
  }
  return folder;
}

async function findProgram(name: string): Promise<string> {
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    const found = await realpath(join(folder, name)).catch(() => undefined);
    if (found !== undefined) return found;
  }
  throw new Error(`${name} is not on PATH`);
}

const withPath = (PATH: string) => bench.open({ ...bench.environmentOf(MAIN), PATH });

describe('a folder for temporary files', () => {
  test.each([
    'with a space',
    ' at the ends ',
    `it's "quoted"`,
    '$HOME `id` $(id)',
    'Müller 文件',
    '[a] * ? {b}',
    'back\\slash',
    '-C --posix',
  ])('that is called %j', async (name) => {
    if (process.platform === 'win32' && /["*?\\]/.test(name)) return;
    const temporaryFolder = join(bench.temporaryFolder, name);
    await mkdir(temporaryFolder);
    const store = bench.open(undefined, { temporaryFolder });
    expect(await create(store, 1, 'text')).toBe(true);
    expect(await find(store)).toBe('1 text');
    const layer = await bench.put({ file: 'stored' }, store);
    expect(await describeFolder(await bench.get(layer, store))).toEqual({ file: 'stored' });
    // Others see the same entries.
    expect(await find(bench.store)).toBe('1 text');
    expect(await readdir(temporaryFolder)).toEqual([]);
    await rm(temporaryFolder, { recursive: true });
  });

  test('that is not there is an outage of the store', async () => {
    const temporaryFolder = join(bench.temporaryFolder, 'missing');
    const store = bench.open(undefined, { temporaryFolder });
    expect(await failureOf(find(store))).toMatch(/^store-unavailable: .*ENOENT/);
  });
});

describe('a machine', () => {
  test('without zstd works as well, and has another store', async () => {
    const withoutZstd = withPath(await programs(['tar', 'gzip']));
    await create(bench.store, 1, 'zstd');
    expect(await find(withoutZstd)).toBeUndefined();
    expect(await create(withoutZstd, 1, 'gzip')).toBe(true);
    const found = await bench.put({ file: 'gzip' }, withoutZstd);
    expect(await describeFolder(await bench.get(found, withoutZstd))).toEqual({ file: 'gzip' });
    expect(await find(bench.store)).toBe('1 zstd');
    expect(new Set(bench.service.entries.map(({ version }) => version)).size).toBe(2);
  });

  test('without zstd calls a damaged archive so', async () => {
    const withoutZstd = withPath(await programs(['tar', 'gzip']));
    const layer = await bench.put({ file: 'stored' }, withoutZstd);
    bench.service.fault({ on: 'download', behave: { kind: 'garbage-stream', afterBytes: 20 } });
    expect(await failureOf(bench.get(layer, withoutZstd))).toMatch(/^bad-snapshot: .*damaged/);
  });

  test('without tar cannot save, but can find that there is nothing', async () => {
    const nothing = withPath(await bench.directories.create('programs'));
    expect(await failureOf(create(nothing, 1, 'text'))).toMatch(/^store-unavailable: .*\btar\b/);
    expect(await find(bench.store)).toBeUndefined();
  });

  // What busybox says, and does.
  const lacking = (option: string) => `for each in "$@"; do case "$each" in ${option})
      echo "tar: unrecognized option '$each'" >&2; exit 1;; esac; done
    exec TAR "$@"`;

  test.each([
    ['--posix, as busybox does', '--posix', 'done'],
    ['-P', '-P', 'store-unavailable'],
    ['--use-compress-program', '--use-compress-program', 'store-unavailable'],
  ])(
    'whose tar lacks %s names tar, and calls no sound snapshot damaged',
    async (_, option, restored) => {
      const layer = await bench.put();
      await create(bench.store, 1, 'text');
      const script = lacking(option).replace('TAR', await findProgram('tar'));
      const machine = withPath(await programs(['zstd', 'unzstd', 'zstdmt'], { tar: script }));
      const failure = new RegExp(`^store-unavailable: .*tar: unrecognized option '${option}'`);
      expect(await failureOf(create(machine, 2, 'text'))).toMatch(failure);
      expect(await failureOf(bench.put({ file: 'x' }, machine, 'other'))).toMatch(failure);
      const [found, got] = [
        await failureOf(find(machine)),
        await failureOf(bench.get(layer, machine)),
      ];
      if (restored === 'done') expect([found, got]).toEqual(['none', 'none']);
      for (const each of restored === 'done' ? [] : [found, got]) {
        expect(each).toMatch(failure);
        expect(each).toContain('this machine cannot unpack entries of the Actions cache');
      }
    },
  );

  test('without unzstd calls no sound snapshot damaged', async () => {
    const layer = await bench.put();
    const machine = withPath(await programs(['tar', 'zstd', 'zstdmt']));
    expect(await failureOf(bench.get(layer, machine))).toMatch(
      /^store-unavailable: this machine cannot unpack .*tar: Child returned status/,
    );
  });
});
