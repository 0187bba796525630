/** `lfs: true`: jobs and their checkouts, with the real git-lfs. They fail where that is missing. */
import { describe, expect, test } from '@jest/globals';
import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { git, tryGit } from '../../support/git.ts';
import { expectSameWorkspace } from '../scenarios/checkout-comparison.ts';
import { addFiles, checkOutAt, eventOf, type Wish } from '../scenarios/checkout-scenario.ts';
import {
  lfsFile,
  lfsOf,
  objectBeside,
  objectIn,
  randomContents,
  runLfs,
  useLfs,
} from '../scenarios/lfs-scenario.ts';
import { createNeighbour, link, relativeUrl } from '../scenarios/submodule-scenario.ts';
import { succeed, useScenarios, type Scenario } from '../scenarios/scenario.ts';

const scenarios = useScenarios();
const lfs = useLfs(scenarios);
const CONTENTS = randomContents(12, 20_000);
const BYTES = 12 * 20_000;

const oidOf = (content: Uint8Array) => createHash('sha256').update(content).digest('hex');

/** Checks out in a workspace that was primed and in one that was not; the primed one needs no LFS server. */
async function expectNoDownload(
  scenario: Scenario,
  job: ReturnType<typeof lfs.job>,
  wish: Wish = {},
) {
  const options = { serverUrl: lfs.server.url, lfs: true, ...(await eventOf(scenario)), ...wish };
  lfs.reset();
  const primed = await checkOutAt(scenario, job, options);
  expect(lfs.server.requests).toEqual([]);
  const unprimed = await checkOutAt(scenario, scenario.job(), options);
  await expectSameWorkspace({ primed, unprimed });
  expect(await tryGit(primed.folder, ['lfs', 'fsck'])).toMatchObject({ exitCode: 0 });
  return primed;
}

describe('a cold job', () => {
  test('downloads each object once, and its checkout downloads none', async () => {
    const scenario = await lfs.create(CONTENTS);
    const job = lfs.job(scenario);
    const main = await succeed(job.main());
    expect(lfsOf(main)).toMatchObject({ objects: 12, bytes: BYTES, downloadedObjects: 12 });
    expect(Object.values(lfs.server.downloads)).toEqual(CONTENTS.map(() => 1));
    expect(lfs.server.requests.filter(({ status }) => status !== 200)).toEqual([]);
    await expectNoDownload(scenario, job);
  });
});

describe('a warm job', () => {
  test('downloads nothing, nor does its checkout', async () => {
    const scenario = await lfs.create(CONTENTS);
    const { post } = await runLfs(lfs.job(scenario));
    expect(post.log).toMatch(/LFS objects: Saved snapshot 1-/);
    lfs.reset();
    const job = lfs.job(scenario);
    const main = await succeed(job.main());
    expect(lfs.server.requests).toEqual([]);
    expect(lfsOf(main)).toMatchObject({
      restoredBytes: BYTES,
      primedObjects: 12,
      missingObjects: 0,
    });
    expect(main.log).toMatch(/12 primed, which saves 234 KiB of LFS bandwidth/);
    await expectNoDownload(scenario, job);
    expect((await succeed(job.post())).log).toMatch(/LFS objects: Nothing saved: nothing changed/);
  });

  test('downloads only what changed, and saves only that', async () => {
    const scenario = await lfs.create(CONTENTS);
    await runLfs(lfs.job(scenario));
    const [added] = randomContents(1, 5_000, 2) as [Uint8Array];
    await addFiles(scenario.upstream, [lfsFile(lfs.server, 'data/0.bin', added)]);
    lfs.reset();
    const job = lfs.job(scenario);
    const { main, post } = await runLfs(job);
    expect(lfs.server.downloads).toEqual({ [oidOf(added)]: 1 });
    expect(lfsOf(main)).toMatchObject({ objects: 12, downloadedBytes: 5_000 });
    expect(post.log).toMatch(/LFS objects: Saved snapshot 2-\S+ \(5\.\d KiB\)/);
    await expectNoDownload(scenario, job);
  });

  test('of another branch uses the objects of the default branch', async () => {
    const scenario = await lfs.create(CONTENTS);
    await runLfs(lfs.job(scenario));
    await git(scenario.upstream, ['update-ref', 'refs/heads/topic', 'refs/heads/main']);
    const files = [lfsFile(lfs.server, 'data/new.bin', new Uint8Array(9))];
    const sha = await addFiles(scenario.upstream, files, 'topic');
    lfs.reset();
    const job = lfs.job(scenario, { ref: 'refs/heads/topic', sha });
    expect(lfsOf(await succeed(job.main()))).toMatchObject({ objects: 13, downloadedObjects: 1 });
    await expectNoDownload(scenario, job, { ref: 'refs/heads/topic', sha });
  });
});

test.each(['0', '1'])(
  'a pull request’s merge commit, which no mirrored ref reaches, is fetched for its pointers: fetch-depth %s',
  async (depth) => {
    const inputs = { 'fetch-depth': depth };
    const scenario = await lfs.create(CONTENTS);
    await runLfs(lfs.job(scenario, { inputs }));
    await git(scenario.upstream, ['update-ref', 'refs/heads/pull', 'refs/heads/main']);
    const added = new Uint8Array(77).fill(7);
    const sha = await addFiles(scenario.upstream, [lfsFile(lfs.server, 'p.bin', added)], 'pull');
    await git(scenario.upstream, ['update-ref', 'refs/pull/1/merge', sha]);
    await git(scenario.upstream, ['update-ref', '-d', 'refs/heads/pull']);
    lfs.reset();
    const event = { ref: 'refs/pull/1/merge', sha };
    const job = lfs.job(scenario, { ...event, event: { name: 'pull_request' }, inputs });
    const main = await succeed(job.main());
    expect(lfs.server.downloads).toEqual({ [oidOf(added)]: 1 });
    expect(lfsOf(main)).toMatchObject({ objects: 13, missingObjects: 0 });
    await expectNoDownload(scenario, job, event);
  },
);

test('a sparse checkout of a primed workspace downloads nothing', async () => {
  const scenario = await lfs.create(CONTENTS);
  const job = lfs.job(scenario);
  await succeed(job.main());
  await expectNoDownload(scenario, job, { sparseCheckout: ['data', 'folder-1'] });
});

test('without LFS objects in the commit nothing is asked, stored or left', async () => {
  const scenario = await lfs.create([]);
  const { main, post } = await runLfs(lfs.job(scenario));
  expect(lfs.server.requests).toEqual([]);
  expect(main.log).toContain('LFS: the commit has no LFS objects');
  expect(post.log).toContain('LFS objects: Nothing saved: neither commit has LFS objects');
});

test('a workspace shares its objects with the mirror by hard links, and cannot be told from another', async () => {
  const scenario = await lfs.create(CONTENTS);
  const job = lfs.job(scenario);
  const { outputs } = await succeed(job.main());
  const [first] = CONTENTS.map(oidOf) as [string];
  const [here, there] = [
    objectIn(job.workspace, first),
    objectBeside(outputs['mirror-path'] ?? '', first),
  ];
  expect((await stat(here)).ino).toBe((await stat(there)).ino);
});

describe('the jobs of a matrix with `publish: early`', () => {
  test('download each object once, whatever machines they run on', async () => {
    const scenario = await lfs.create(CONTENTS);
    const inputs = { publish: 'early' };
    const jobs = [1, 2, 3].map(() => lfs.job(scenario, { inputs }));
    const mains = await Promise.all(jobs.map((job) => succeed(job.main())));
    expect(Object.values(lfs.server.downloads)).toEqual(CONTENTS.map(() => 1));
    const downloaded = mains.map((main) => lfsOf(main)['downloadedObjects']);
    expect(downloaded.sort()).toEqual([0, 0, 12]);
    for (const main of mains) expect(lfsOf(main)).toMatchObject({ primedObjects: 12 });
    const posts = await Promise.all(jobs.map((job) => succeed(job.post())));
    for (const { log } of posts) expect(log).toMatch(/LFS objects: Nothing saved: nothing changed/);
    for (const job of jobs.slice(0, 2)) await expectNoDownload(scenario, job);
  });
});

test('objects that the commit no longer needs go from the store when most of their layer is unneeded', async () => {
  const scenario = await lfs.create(CONTENTS);
  await runLfs(lfs.job(scenario));
  const [added] = randomContents(1, 5_000, 2) as [Uint8Array];
  const pointers = CONTENTS.slice(1).map((_, index) => ({
    path: `data/${String(index + 1)}.bin`,
    content: 'no pointer any more\n',
  }));
  await addFiles(scenario.upstream, [...pointers, lfsFile(lfs.server, 'new.bin', added)]);
  const { post } = await runLfs(lfs.job(scenario));
  expect(post.log).toMatch(/LFS objects: Saved snapshot 2-\S+ \(24\.\d KiB\)/);
  lfs.reset();
  const job = lfs.job(scenario);
  expect(lfsOf(await succeed(job.main()))).toMatchObject({ objects: 2, restoredBytes: 25_000 });
  expect(lfs.server.requests).toEqual([]);
});

test('a job without `lfs` reads and stores nothing of LFS', async () => {
  const scenario = await lfs.create(CONTENTS);
  await runLfs(lfs.job(scenario));
  lfs.reset();
  const { main, post } = await runLfs(lfs.job(scenario, { inputs: { lfs: 'false' } }));
  expect(main.log + post.log).not.toContain('LFS');
  expect(lfsOf(main)).toEqual({});
  expect(lfs.server.requests).toEqual([]);
});

test('an event that anybody can cause restores LFS objects and saves none', async () => {
  const scenario = await lfs.create(CONTENTS);
  const job = lfs.job(scenario, { event: { name: 'issue_comment' } });
  const { main, post } = await runLfs(job);
  expect(lfsOf(main)).toMatchObject({ primedObjects: 12 });
  expect(post.log).toContain('LFS objects: Nothing saved: anybody can cause the event');
});

/** LFS_OBJECTS=10000 and LFS_LARGE_BYTES=1000000000 are what a large repository has. */
const MANY = Number(process.env['LFS_OBJECTS'] ?? 400);
const LARGE_BYTES = Number(process.env['LFS_LARGE_BYTES'] ?? 50_000_000);

test.each<[string, () => Uint8Array[]]>([
  ['many small objects', () => randomContents(MANY, 10_000, 11)],
  ['a large object', () => [Buffer.alloc(LARGE_BYTES, 'large')]],
])(
  '%s are downloaded once, stored and restored whole',
  async (_, make) => {
    const contents = make();
    const scenario = await lfs.create(contents);
    const { main, post } = await runLfs(lfs.job(scenario));
    expect(lfsOf(main)).toMatchObject({ downloadedObjects: contents.length, missingObjects: 0 });
    expect(post.log).toMatch(/LFS objects: Saved snapshot 1-/);
    lfs.reset();
    const job = lfs.job(scenario);
    const warm = await succeed(job.main());
    expect(lfsOf(warm)).toMatchObject({ primedObjects: contents.length, downloadedObjects: 0 });
    process.stderr.write(
      `${String(contents.length)} objects: main ${main.durationMs.toFixed()} ms, post ${post.durationMs.toFixed()} ms, warm main ${warm.durationMs.toFixed()} ms\n`,
    );
    await expectNoDownload(scenario, job);
  },
  1_800_000,
);

test('LFS objects of submodules are left alone, as actions/checkout leaves them', async () => {
  const scenario = await lfs.create(CONTENTS.slice(0, 2));
  const neighbour = await createNeighbour(scenario, 'media');
  const content = new Uint8Array(99).fill(9);
  const commit = await addFiles(neighbour, [
    { path: '.gitattributes', content: '*.bin filter=lfs diff=lfs merge=lfs -text\n' },
    lfsFile(lfs.server, 'media.bin', content),
  ]);
  await link(scenario.upstream, [{ path: 'media', url: relativeUrl(scenario, 'media'), commit }]);
  lfs.reset();
  const job = lfs.job(scenario, { inputs: { submodules: 'true' } });
  const main = await succeed(job.main());
  expect(lfsOf(main)).toMatchObject({ objects: 2, downloadedObjects: 2, missingObjects: 0 });
  expect(lfs.server.downloads[oidOf(content)]).toBeUndefined();
  const { folder } = await expectNoDownload(scenario, job, { submodules: true });
  expect(await readFile(join(folder, 'media', 'media.bin'), 'utf8')).toContain(oidOf(content));
});
