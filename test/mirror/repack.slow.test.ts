/** Making one pack of many: what is in it, what goes, and what stops it. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { existsSync } from 'node:fs';
import { cp, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { openGit, type Git } from '../../src/git/git.ts';
import { MirrorError } from '../../src/lib/errors.ts';
import { silentLog } from '../../src/lib/log.ts';
import { layOut } from '../../src/mirror/directory.ts';
import { mergePacks, repackEverything } from '../../src/mirror/maintenance.ts';
import { PackIndex } from '../../src/mirror/pack-index.ts';
import { listPacks, packDirectory, tidyPacks } from '../../src/mirror/packs.ts';
import { flipBit, randomOffset, truncate } from '../support/corruption.ts';
import { git, gitEnvironment, tryGit } from '../support/git.ts';
import { createRandom, testSeed } from '../support/random.ts';
import { addCommits, createRepository } from '../support/repository-fixture.ts';
import {
  createTemporaryDirectory,
  removeDirectory,
  temporaryDirectories,
} from '../support/temporary-directory.ts';

const FLIPS = Number(process.env['FLIPS'] ?? 20);
const repository = {
  commits: 10,
  files: 10,
  fileBytes: 4_000,
  content: 'text',
  annotatedTags: 1,
} as const;

const directories = temporaryDirectories();
/** Windows runs no script named `git`. */
const onPosix = process.platform === 'win32' ? test.skip : test;
const random = createRandom(testSeed());
const { signal } = new AbortController();
const options = { objectFormat: 'sha1' as const, timeoutMs: 60_000, signal };
let root = '';
let mirrorGit: Git;
const templates = new Map<string, string>();

beforeAll(async () => {
  root = await createTemporaryDirectory('repack');
  mirrorGit = await openGit({
    environment: gitEnvironment(),
    workingDirectory: root,
    signal: new AbortController().signal,
    log: silentLog,
  });
  for (const objectFormat of ['sha1', 'sha256'] as const) {
    const upstream = join(root, `upstream-${objectFormat}`);
    const mirror = join(root, `mirror-${objectFormat}`);
    await createRepository(upstream, { ...repository, objectFormat });
    await mkdir(mirror);
    await layOut(mirror, objectFormat);
    for (let round = 0; round < 5; round++) {
      await git(mirror, [
        '-c',
        'fetch.unpackLimit=1',
        'fetch',
        '--quiet',
        upstream,
        '+refs/*:refs/*',
      ]);
      await addCommits(upstream, { files: 10, fileBytes: 4_000, content: 'text' });
    }
    await git(mirror, ['pack-refs', '--all']);
    templates.set(objectFormat, mirror);
  }
});

afterEach(() => directories.removeAll());
afterAll(() => removeDirectory(root));

/** A mirror of five packs, each of its own. */
async function createMirror(objectFormat: 'sha1' | 'sha256' = 'sha1'): Promise<string> {
  const mirror = join(await directories.create('repack'), 'mirror.git');
  await cp(templates.get(objectFormat)!, mirror, { recursive: true });
  await layOut(mirror, objectFormat);
  return mirror;
}

async function refsOf(mirror: string): Promise<string[]> {
  const listed = await git(mirror, ['for-each-ref', '--format=%(objectname)']);
  return listed.split('\n');
}

/** Ids of all objects in packs. */
async function objectsOf(mirror: string): Promise<string[]> {
  const format = ['--batch-all-objects', '--batch-check=%(objectname)'];
  return (await git(mirror, ['cat-file', ...format])).split('\n');
}

async function isWhole(mirror: string): Promise<boolean> {
  return (await tryGit(mirror, ['fsck', '--full', '--strict', '--no-progress'])).exitCode === 0;
}

/** What fsck says of a mirror that has lost nothing, and of what it holds besides. */
async function expectTidy(mirror: string): Promise<void> {
  const names = await readdir(packDirectory(mirror));
  expect(names.filter((name) => !/^pack-[0-9a-f]+\.(?:pack|idx)$/.test(name))).toEqual([]);
}

describe.each(['sha1', 'sha256'] as const)('of %s', (objectFormat) => {
  const ofFormat = { ...options, objectFormat };

  test('some packs become one with all they hold, also what no ref reaches', async () => {
    const mirror = await createMirror(objectFormat);
    const before = await objectsOf(mirror);
    await git(mirror, ['update-ref', 'refs/heads/main', 'HEAD~3']);
    const packs = await listPacks(mirror);
    const [kept = '', ...merged] = packs;
    await mergePacks(mirrorGit, mirror, merged, ofFormat);
    const after = await listPacks(mirror);
    expect(after).toHaveLength(2);
    expect(after).toContain(kept);
    expect(await objectsOf(mirror)).toEqual(before);
    expect(await isWhole(mirror)).toBe(true);
    await expectTidy(mirror);
  });

  test('all packs become one with what is reached, and nothing else', async () => {
    const mirror = await createMirror(objectFormat);
    const [gone, detached] = (await git(mirror, ['rev-list', '-2', 'main'])).split('\n');
    await git(mirror, ['update-ref', 'refs/heads/main', 'main~3']);
    await repackEverything(mirrorGit, mirror, [...(await refsOf(mirror)), detached!], ofFormat);
    expect(await listPacks(mirror)).toHaveLength(1);
    const left = await objectsOf(mirror);
    expect(left).toContain(detached);
    expect(left).not.toContain(gone);
    const reach = ['rev-list', '--objects', '--no-object-names', '--all', detached!];
    expect(left.sort()).toEqual((await git(mirror, reach)).split('\n').sort());
    expect(await isWhole(mirror)).toBe(true);
    await expectTidy(mirror);
  });

  test('an index tells what its pack holds', async () => {
    const mirror = await createMirror(objectFormat);
    const known = new Set<string>();
    for (const name of await listPacks(mirror)) {
      const path = join(packDirectory(mirror), name.replace(/pack$/, 'idx'));
      const index = await PackIndex.read(path, objectFormat);
      const oids = [...index.oids()].map((oid) => oid.toString('hex'));
      const shown = await git(mirror, ['show-index', `--object-format=${objectFormat}`], {
        input: await readFile(path),
      });
      expect(oids).toEqual(shown.split('\n').map((line) => line.split(' ')[1]));
      expect(index.size).toBe(oids.length);
      for (const oid of oids) {
        expect(index.has(Buffer.from(oid, 'hex'))).toBe(true);
        const other = Buffer.from(oid, 'hex');
        other.writeUInt8(other.readUInt8(other.length - 1) ^ 1, other.length - 1);
        expect(index.has(other)).toBe(oids.includes(other.toString('hex')));
        known.add(oid);
      }
    }
    expect([...known].sort()).toEqual(await objectsOf(mirror));
  });
});

test('packs that hold nothing of their own go, and leave no new one', async () => {
  const mirror = await createMirror();
  const before = await objectsOf(mirror);
  const packs = await listPacks(mirror);
  const all = await git(mirror, ['pack-objects', '--quiet', join(packDirectory(mirror), 'pack')], {
    input: `${before.join('\n')}\n`,
  });
  await mergePacks(mirrorGit, mirror, packs, options);
  expect(await listPacks(mirror)).toEqual([`pack-${all}.pack`]);
  expect(await objectsOf(mirror)).toEqual(before);
});

test('a pack that is made again as it was stays', async () => {
  const mirror = await createMirror();
  let isSame = false;
  for (let round = 0; round < 10 && !isSame; round++) {
    const packs = await listPacks(mirror);
    await repackEverything(mirrorGit, mirror, await refsOf(mirror), options);
    isSame = packs.join() === (await listPacks(mirror)).join();
    expect(await listPacks(mirror)).toHaveLength(1);
    expect(await isWhole(mirror)).toBe(true);
  }
  expect(isSame).toBe(true);
});

test("a user's configuration does not split packs", async () => {
  const mirror = await createMirror();
  const environment = { ...gitEnvironment(), HOME: await directories.create('home') };
  await writeFile(join(environment.HOME, '.gitconfig'), '[pack]\npackSizeLimit = 1m\n');
  await git(mirror, ['config', 'pack.packSizeLimit', '1m']);
  const { signal } = new AbortController();
  const own = await openGit({ environment, workingDirectory: root, signal, log: silentLog });
  await addCommits(mirror, { files: 3, changedFiles: 3, fileBytes: 1_000_000 });
  await repackEverything(own, mirror, await refsOf(mirror), options);
  expect(await listPacks(mirror)).toHaveLength(1);
});

describe('what is damaged or missing', () => {
  const both = [
    ['of some', (mirror: string, packs: string[]) => mergePacks(mirrorGit, mirror, packs, options)],
    [
      'of all',
      async (mirror: string) => repackEverything(mirrorGit, mirror, await refsOf(mirror), options),
    ],
  ] as const;

  test.each(both)(
    'stops a repack %s, which leaves all as it was',
    async (_, repack) => {
      let stopped = 0;
      for (let flip = 0; flip < FLIPS; flip++) {
        const mirror = await createMirror();
        const packs = await listPacks(mirror);
        const file = join(packDirectory(mirror), random.pick(packs));
        const offset = randomOffset(random, file, 12, 20);
        flipBit(file, offset, random.integer(8));
        const before = (await readdir(packDirectory(mirror))).sort();
        try {
          await repack(mirror, packs);
          // Another pack has the object too, or only bits were hit that say nothing.
          expect(await isWhole(mirror)).toBe(true);
        } catch (error) {
          expect(error).toMatchObject({ code: 'corrupt-mirror' });
          expect((await readdir(packDirectory(mirror))).sort()).toEqual(before);
          stopped += 1;
        }
      }
      expect(stopped).toBeGreaterThan(0);
    },
    120_000,
  );

  test('an object whose length is not what its pack says stops a repack', async () => {
    const mirror = await createMirror();
    const packs = await listPacks(mirror);
    const file = join(packDirectory(mirror), packs[0] ?? '');
    const listed = await git(mirror, ['verify-pack', '-v', file]);
    const [, offset] = /^[0-9a-f]+ blob +\d+ \d+ (\d+)$/m.exec(listed) ?? [];
    flipBit(file, Number(offset), 2);
    await expect(mergePacks(mirrorGit, mirror, packs, options)).rejects.toMatchObject({
      code: 'corrupt-mirror',
      message: expect.stringContaining('inconsistent object length') as unknown,
    });
    expect(await listPacks(mirror)).toEqual(packs);
  });

  test('an object that is in no pack stops a repack of all', async () => {
    const mirror = await createMirror();
    const objects = await objectsOf(mirror);
    const blob = await git(mirror, ['rev-parse', 'main~2:folder-0/file-0']);
    const left = objects.filter((oid) => oid !== blob);
    const old = await listPacks(mirror);
    const target = join(packDirectory(mirror), 'pack');
    await git(mirror, ['pack-objects', '--quiet', target], { input: `${left.join('\n')}\n` });
    for (const name of old) {
      await removeDirectory(join(packDirectory(mirror), name.replace(/pack$/, 'idx')));
    }
    await tidyPacks(mirror);
    expect(await listPacks(mirror)).toHaveLength(1);
    const repack = repackEverything(mirrorGit, mirror, await refsOf(mirror), options);
    await expect(repack).rejects.toMatchObject({ code: 'corrupt-mirror' });
    expect(await listPacks(mirror)).toHaveLength(1);
  });

  test('an index that was cut is not taken for one', async () => {
    const mirror = await createMirror();
    const [name = ''] = await listPacks(mirror);
    const file = join(packDirectory(mirror), name.replace(/pack$/, 'idx'));
    truncate(file, 1_100);
    const read = PackIndex.read(file, 'sha1');
    await expect(read).rejects.toMatchObject({ code: 'corrupt-mirror' });
  });
});

test('a repack that is ended leaves nothing behind', async () => {
  const mirror = await createMirror();
  const before = (await readdir(packDirectory(mirror))).sort();
  const repack = mergePacks(mirrorGit, mirror, await listPacks(mirror), {
    ...options,
    timeoutMs: 1,
  });
  await expect(repack).rejects.toMatchObject({ code: 'timeout' });
  expect((await readdir(packDirectory(mirror))).sort()).toEqual(before);
});

onPosix.each([
  { ended: 'a cancel leaves nothing', reason: undefined, code: 'cancelled', isLeft: false },
  {
    ended: 'the loss of the lock leaves all as it is',
    ...{ reason: new MirrorError('lost-lock', 'it was removed'), code: 'lost-lock', isLeft: true },
  },
])('a repack ended when its pack is complete, by $ended', async ({ reason, code, isLeft }) => {
  const mirror = await createMirror();
  const before = (await readdir(packDirectory(mirror))).sort();
  const bin = await directories.create('bin');
  const done = join(bin, 'done');
  const real = join(await git(mirror, ['--exec-path']), 'git');
  const pack = `'${real}' "$@"; touch '${done}'; exec sleep 3600`;
  const script = `#!/bin/sh\ncase "$*" in *pack-objects*) ${pack};; esac\nexec '${real}' "$@"\n`;
  await writeFile(join(bin, 'git'), script, { mode: 0o755 });
  const environment = gitEnvironment();
  const controller = new AbortController();
  const neverEnding = await openGit({
    environment: { ...environment, PATH: `${bin}:${environment['PATH']}` },
    workingDirectory: root,
    signal: controller.signal,
    log: silentLog,
  });
  const packs = await listPacks(mirror);
  const bound = { ...options, signal: controller.signal };
  const repack = mergePacks(neverEnding, mirror, packs, bound);
  while (!existsSync(done)) await setTimeout(10);
  expect(await listPacks(mirror)).toHaveLength(packs.length + 1);
  // As of a fetch that another job has begun.
  await writeFile(join(packDirectory(mirror), 'tmp_pack_1'), '');
  const then = (await readdir(packDirectory(mirror))).sort();
  controller.abort(reason);
  await expect(repack).rejects.toMatchObject({ code });
  expect((await readdir(packDirectory(mirror))).sort()).toEqual(isLeft ? then : before);
});

test('what killed repacks of any kind leave is swept as the mirror is opened', async () => {
  const mirror = await createMirror();
  const packs = packDirectory(mirror);
  const before = (await readdir(packs)).sort();
  const [name = ''] = await listPacks(mirror);
  const debris = ['tmp_pack_AbCdEf', 'tmp_idx_AbCdEf', 'multi-pack-index', 'multi-pack-index.lock'];
  for (const file of [...debris, name.replace(/pack$/, 'keep'), `pack-${'0'.repeat(40)}.pack`]) {
    await writeFile(join(packs, file), 'x');
  }
  await cp(join(packs, name), join(packs, `pack-${'1'.repeat(40)}.pack`));
  await writeFile(join(packs, `pack-${'2'.repeat(40)}.idx`), 'x');
  await git(mirror, ['commit-graph', 'write', '--reachable']);
  await layOut(mirror, 'sha1');
  expect((await readdir(packs)).sort()).toEqual(before);
  expect(await readdir(join(mirror, 'objects', 'info'))).toEqual([]);
  expect(await isWhole(mirror)).toBe(true);
});
