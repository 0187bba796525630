/**
 * The poison cycle: something damaged, empty or old is in the store, and upstream is slow, broken or
 * gone. A job must get a right mirror or fail, and what it saves must be good.
 */
import { beforeAll, describe, expect, test } from '@jest/globals';
import { existsSync } from 'node:fs';
import { cp, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { digestRefs, type Ref } from '../../../src/mirror/refs.ts';
import type { Snapshot } from '../../../src/snapshot/manifest.ts';
import type { JobOptions } from '../../support/action-runner.ts';
import { empty, flipBit, truncate } from '../../support/corruption.ts';
import { git, tryGit } from '../../support/git.ts';
import { startGitServer } from '../../support/git-server/server.ts';
import type { Fault, FaultBehaviour } from '../../support/git-server/fault.ts';
import { deleteRef, moveTag, readRefs } from '../../support/repository-change.ts';
import { addCommits, repositorySizes } from '../../support/repository-fixture.ts';
import { chooseCases, IS_SAMPLE } from '../scenarios/rounds.ts';
import {
  outputsOfMirror,
  Scenario,
  expectMirrorOf,
  failureOf,
  listManifests,
  listRefs,
  newestManifest,
  newestSnapshot,
  packsOf,
  readTree,
  storeLayer,
  storeManifest,
  succeed,
  useScenarios,
  verdict,
  type Run,
  type StoredFile,
} from '../scenarios/scenario.ts';

const scenarios = useScenarios();
type Stored = StoredFile & { snapshot: Snapshot };

/** Random files: packs of a few 10 KB without deltas, and old versions that no new commit needs. */
const repository = { ...repositorySizes.tiny, content: 'random', fileBytes: 2_000 } as const;

/** Upstream's answer to a fetch is not git's: no failure of the network, so it is not asked again. */
const noAnswer: FaultBehaviour = { kind: 'empty' };
/** It is silent for ever in the middle of its pack; and how long a fetch may take in such tests. */
const endless: FaultBehaviour = { kind: 'stall', afterBytes: 1_500 };
const soon = { 'fetch-timeout': '1s' };
const tooLate = /^fetching from http.* did not end within \d+ s/;

/** Runs work that mostly waits in parallel, and says which part failed. */
async function together<T extends { name: string } | string>(
  cases: readonly T[],
  work: (each: T) => Promise<void>,
): Promise<void> {
  const results = await Promise.allSettled(cases.map(work));
  const failures = results.flatMap((result, index) => {
    if (result.status === 'fulfilled') return [];
    const each = cases[index] ?? '';
    const name = typeof each === 'string' ? each : each.name;
    return [new Error(`with ${name}`, { cause: result.reason })];
  });
  if (failures[0] !== undefined) throw failures[0];
}

let copies = 0;

/** The same upstream and another store: a copy, to be spoiled. */
async function copyOf(scenario: Scenario): Promise<Scenario> {
  copies += 1;
  const root = `${scenario.root}-copy-${copies}`;
  await cp(scenario.store, join(root, 'store'), { recursive: true });
  return new Scenario(root, scenario.repository, scenario.upstream, scenario.server);
}

/** A job in the next run of a new machine: what post saved is good. */
async function expectGoodSnapshot(scenario: Scenario, post: Run['post']): Promise<void> {
  const id = /^Saved snapshot (\S+)/.exec(verdict(post))?.[1];
  expect(id).toBeDefined();
  const further = await scenario.run({ inputs: { verify: 'full' } });
  expect(further.main.outputs).toMatchObject({
    ...{ provenance: 'restored', recloned: 'false', snapshot: id },
  });
  expect(further.main.annotations).toEqual([]);
  await expectMirrorOf(further.mirror, scenario.upstream);
}

/** It failed, and left upstream's mirror, the store and its own folder as they were. */
async function expectFailure(
  scenario: Scenario,
  options: Partial<JobOptions>,
  message: RegExp,
): Promise<void> {
  const before = await readTree(scenario.store);
  const job = scenario.job(options);
  const workspace = await readTree(job.workspace);
  const main = await job.main();
  expect(failureOf(main)).toMatch(message);
  expect(outputsOfMirror(main)).toEqual({});
  expect(verdict(await succeed(job.post()))).toBe('Nothing saved: the fetch did not succeed');
  expect(await readTree(scenario.store)).toEqual(before);
  expect(await readTree(job.workspace)).toEqual(workspace);
}

/** Packs of exactly these objects, made by git. */
async function packObjects(repositoryPath: string, oids: readonly string[]): Promise<string> {
  copies += 1;
  const folder = join(dirname(repositoryPath), `packs-${copies}`);
  await mkdir(folder);
  const input = oids.map((oid) => `${oid}\n`).join('');
  await git(repositoryPath, ['pack-objects', '-q', join(folder, 'pack')], { input });
  return folder;
}

async function objectsOf(repositoryPath: string): Promise<string[]> {
  const args = ['rev-list', '--objects', '--no-object-names', '--all'];
  return (await git(repositoryPath, args)).split('\n');
}

function withRefs(snapshot: Snapshot, refs: readonly Ref[]): Snapshot {
  return { ...snapshot, refs, refsDigest: digestRefs(snapshot.head, refs) };
}

const damages: Record<string, (stored: Stored, upstream: string) => unknown> = {
  'no refs in the manifest': ({ folder, snapshot }) =>
    storeManifest(folder, withRefs(snapshot, [])),
  'a pack without objects': async ({ folder, snapshot }, upstream) => {
    const layer = await storeLayer(folder, await packObjects(upstream, []));
    await storeManifest(folder, { ...snapshot, layers: [layer] });
  },
  'a pack of no bytes': (stored) => {
    packsOf(stored).forEach(empty);
  },
  'a manifest of no bytes': ({ file }) => {
    empty(file);
  },
  'a truncated pack': (stored) => {
    packsOf(stored).forEach((pack) => {
      truncate(pack, -300);
    });
  },
  'a truncated index': (stored) => {
    packsOf(stored, 'idx').forEach((index) => {
      truncate(index, -20);
    });
  },
  'a truncated manifest': ({ file }) => {
    truncate(file, -30);
  },
  'a bit flipped in the data of a pack': (stored) => {
    packsOf(stored).forEach((pack) => {
      flipBit(pack, 3_000, 2);
    });
  },
  'a bit flipped in the trailer of a pack': (stored) => {
    packsOf(stored).forEach((pack) => {
      flipBit(pack, -3, 7);
    });
  },
  'a bit flipped in an index': (stored) => {
    packsOf(stored, 'idx').forEach((index) => {
      flipBit(index, 8 + 256 * 4 + 30, 5);
    });
  },
  'a bit flipped in the manifest': ({ file }) => {
    flipBit(file, 200, 1);
  },
};

describe('a snapshot that is damaged or stale', () => {
  /** Upstream has not changed since its snapshot, so that a fresh clone gives the same packs. */
  let unchanged: Scenario;
  let stale: Scenario;
  let cloned: Run;

  beforeAll(async () => {
    unchanged = await scenarios.create(repository);
    cloned = await unchanged.run();
    stale = await scenarios.create(repository);
    await stale.run();
    await addCommits(stale.upstream, { commits: 3, fileBytes: 2_000 });
  });

  /** A manifest, a pack and an index that are damaged; corruption.test.ts has every kind of damage. */
  const sample = ['no refs in the manifest', 'a truncated pack', 'a bit flipped in an index'];
  const poisons = [
    ...(IS_SAMPLE ? chooseCases(sample) : Object.keys(damages)),
    'nothing but its age',
  ];

  async function spoil(name: string): Promise<Scenario> {
    const damage = damages[name];
    if (damage === undefined) return copyOf(stale);
    const scenario = await copyOf(unchanged);
    await damage(await newestSnapshot(scenario.store), scenario.upstream);
    return scenario;
  }

  const isDamaged = (poison: string): boolean => poison in damages;

  test('and a server that is silent for long: the fetch is lenient', async () => {
    const { server } = unchanged;
    const silence = server.fault({ on: 'fetch', behave: { kind: 'delay', forMs: 3_500 } });
    const checks: (() => Promise<void>)[] = [];
    await together(poisons, async (poison) => {
      const scenario = await spoil(poison);
      const { main, post, mirror } = await scenario.run({
        home: await homeWithLowSpeedLimit(scenario),
      });
      expect(main.outputs).toMatchObject({
        provenance: isDamaged(poison) ? 'cloned' : 'restored',
        recloned: String(isDamaged(poison)),
      });
      await expectMirrorOf(mirror, scenario.upstream);
      checks.push(() => expectGoodSnapshot(scenario, post));
    });
    expect(silence.applied).toBe(poisons.length);
    server.clearFaults();
    await Promise.all(checks.map((check) => check()));
  }, 120_000);

  test.each(poisons)(
    '%s, and a fetch that fails: cloned again, a good one saved',
    async (poison) => {
      const scenario = await spoil(poison);
      const bad = (await listManifests(scenario.store)).at(-1)?.number ?? 0;
      // A damaged one is not fetched into: there the clone's first try fails.
      const fault: Fault = isDamaged(poison)
        ? { on: 'clone', times: 1, behave: { kind: 'cut', afterBytes: 50 } }
        : { on: 'delta-fetch', behave: noAnswer };
      const failing = scenario.server.fault(fault);
      const { main, post, mirror } = await scenario.run();
      expect(failing.applied).toBe(isDamaged(poison) ? 1 : 2);
      expect(main.outputs).toMatchObject({
        ...{ provenance: 'cloned', 'cache-hit': 'false', recloned: 'true', snapshot: '' },
      });
      expect(main.summary).toMatch(/went wrong and was worked around/);
      await expectMirrorOf(mirror, scenario.upstream);
      const saved = await newestSnapshot(scenario.store);
      expect(saved.number).toBe(bad + 1);
      if (isDamaged(poison)) await expectSamePacksElsewhere(saved);
      scenario.server.clearFaults();
      await expectGoodSnapshot(scenario, post);
    },
  );

  test('and a clone that fails too: the step fails, the store stays as it was', async () => {
    const failing = unchanged.server.fault({ on: 'fetch', behave: noAnswer });
    await together(poisons, async (poison) => {
      const scenario = await spoil(poison);
      const root = scenario.newMachine();
      await expectFailure(
        scenario,
        { root },
        /^fetching from http.*git says: .*expected 'packfile'/,
      );
      const { runnerWorkspace } = scenario.job({ root });
      const left = await readdir(join(runnerWorkspace, '_mirrors'));
      expect(left).toEqual([expect.stringMatching(/\.git\.lock$/)]);
    });
    // A clone is tried three times; the stale one is fetched into before, twice.
    expect(failing.applied).toBe(3 * poisons.length + 2);
  }, 120_000);

  /** The fresh clone has packs of the same names: they are stored again, in addition to the damaged ones. */
  async function expectSamePacksElsewhere(saved: Stored): Promise<void> {
    const first = await newestSnapshot(unchanged.store);
    expect(packsOf(saved).map((pack) => basename(pack))).toEqual(
      packsOf(first).map((pack) => basename(pack)),
    );
    const names = saved.snapshot.layers.map(({ name }) => name);
    expect(first.snapshot.layers.map(({ name }) => name)).not.toEqual(names);
    expect(cloned.main.outputs['refs-digest']).toBe(saved.snapshot.refsDigest);
  }
});

/** A user's configuration under which git gives up on a server that is silent for a second. */
async function homeWithLowSpeedLimit(scenario: Scenario): Promise<string> {
  const home = join(scenario.root, 'impatient');
  await mkdir(home, { recursive: true });
  const limits = '\tlowSpeedLimit = 1000\n\tlowSpeedTime = 1\n';
  const scoped = `[http "${scenario.server.url}/"]\n${limits}`;
  await writeFile(join(home, '.gitconfig'), `[http]\n${limits}${scoped}`);
  return home;
}

describe('a fetch into a good snapshot', () => {
  let stale: Scenario;

  beforeAll(async () => {
    stale = await scenarios.create(repository);
    await stale.run();
    await addCommits(stale.upstream, { commits: 3, fileBytes: 2_000 });
  });

  test("the user's low-speed limit would end it, were it not overridden", async () => {
    const scenario = await copyOf(stale);
    const HOME = await homeWithLowSpeedLimit(scenario);
    scenario.server.fault({ on: 'fetch', behave: { kind: 'delay', forMs: 20_000 } });
    const environment = { HOME, GIT_CONFIG_GLOBAL: join(HOME, '.gitconfig') };
    const plain = ['clone', '--bare', '--quiet', scenario.url, join(scenario.root, 'plain')];
    const { exitCode, stderr } = await tryGit(scenario.root, plain, { environment });
    expect(exitCode).toBe(128);
    expect(stderr).toMatch(/Operation too slow/);
  });

  test('that is silent in the middle of its pack survives', async () => {
    const scenario = await copyOf(stale);
    const home = await homeWithLowSpeedLimit(scenario);
    const behave: FaultBehaviour = { kind: 'stall', afterBytes: 900, forMs: 3_500 };
    scenario.server.fault({ on: 'fetch', behave });
    const { outputs } = await succeed(scenario.job({ home }).main());
    expect(outputs).toMatchObject({ provenance: 'restored', recloned: 'false' });
    await expectMirrorOf(outputs['mirror-path'] ?? '', scenario.upstream);
  });

  test('that fails once is tried again, and nothing is wiped', async () => {
    const scenario = await copyOf(stale);
    scenario.server.resetCounters();
    const failing = scenario.server.fault({ on: 'fetch', times: 1, behave: noAnswer });
    const { main, post, mirror } = await scenario.run();
    expect(failing.applied).toBe(1);
    expect(main.outputs).toMatchObject({ provenance: 'restored', recloned: 'false' });
    expect(main.summary).toMatch(/cleaning up and trying again/);
    expect(scenario.server.clones).toBe(0);
    await expectMirrorOf(mirror, scenario.upstream);
    await expectGoodSnapshot(scenario, post);
  });

  test('that fails by the network, for ever: no clone is tried, and an existing mirror stays', async () => {
    const restored = await copyOf(stale);
    const existing = await scenarios.create(repository);
    const root = existing.newMachine();
    const { mirror: kept } = await existing.run({ root });
    await addCommits(existing.upstream, { fileBytes: 2_000 });
    const before = await readTree(kept);
    const { server } = restored;
    server.fault({
      on: (request) => request.repository === restored.repository && request.hasHaves,
      behave: { kind: 'status', status: 503 },
    });
    // A pack that is damaged on its way, every time.
    server.fault({
      on: (request) => request.repository === existing.repository && request.kind === 'fetch',
      behave: { kind: 'garbage-pack', afterBytes: 400, bytes: 64 },
    });
    server.resetCounters();
    await Promise.all([
      expectFailure(restored, {}, /^fetching from http.*503/),
      expectFailure(existing, { root }, /^fetching from http.*index-pack/),
    ]);
    // The same line would cut a clone, which moves more.
    expect(server.clones).toBe(0);
    expect(await readTree(kept)).toEqual(before);
    server.clearFaults();
    const { main, post, mirror } = await restored.run();
    expect(main.outputs).toMatchObject({ provenance: 'restored', recloned: 'false' });
    await expectMirrorOf(mirror, restored.upstream);
    await expectGoodSnapshot(restored, post);
  });

  test('that ends at its deadline is not tried again: one clone is', async () => {
    const scenario = await copyOf(stale);
    scenario.server.resetCounters();
    scenario.server.fault({ on: 'delta-fetch', behave: { kind: 'stall', afterBytes: 100 } });
    const { main, mirror } = await scenario.run({ inputs: { 'fetch-timeout': '10s' } });
    expect(main.outputs).toMatchObject({ provenance: 'cloned', recloned: 'true' });
    expect(main.summary).toMatch(/did not end within 10 s; cloning from scratch/);
    expect(scenario.server.requests.filter(({ hasHaves }) => hasHaves)).toHaveLength(1);
    await expectMirrorOf(mirror, scenario.upstream);
  });
});

/**
 * Rows 19 to 23 of the fault matrix. Whatever upstream answers, it is said what it was; a mirror that
 * is there, one that could be restored, and the store stay as they are.
 */
describe('upstream at fault', () => {
  interface Case {
    name: string;
    on: 'all' | 'fetch';
    behave: FaultBehaviour;
    message: RegExp;
  }

  const cases: Case[] = [
    {
      name: '401',
      on: 'all',
      behave: { kind: 'status', status: 401 },
      message: /^asking http\S+ for its refs: upstream refused the credentials;.*; check `token`/,
    },
    {
      name: '403',
      on: 'all',
      behave: { kind: 'status', status: 403 },
      message: /upstream refused the credentials;.*error: 403; check `token`/,
    },
    {
      name: '404',
      on: 'all',
      behave: { kind: 'status', status: 404 },
      message:
        /upstream has no such repository, or the credentials may not see it.*; check `repository`/,
    },
    {
      name: '401 to the fetch alone',
      on: 'fetch',
      behave: { kind: 'status', status: 401 },
      message: /^fetching from http.*: upstream refused the credentials;.*; check `token`/,
    },
    {
      name: '403 to the fetch alone',
      on: 'fetch',
      behave: { kind: 'status', status: 403 },
      message: /^fetching from http.*: upstream refused the credentials;.*; check `token`/,
    },
    {
      name: '404 to the fetch alone',
      on: 'fetch',
      behave: { kind: 'status', status: 404 },
      message: /^fetching from http.*: upstream has no such repository/,
    },
    {
      name: '200 and nothing',
      on: 'all',
      behave: { kind: 'empty' },
      message: /the answer is not git's protocol: .*; check `github-server-url`$/,
    },
    {
      name: '200 and a web page of one line',
      on: 'all',
      behave: { kind: 'html', page: '<html/>' },
      message: /the answer is not git's protocol: .*; check `github-server-url`$/,
    },
    {
      name: 'a redirection',
      on: 'all',
      behave: { kind: 'redirect', status: 301, to: '' },
      message:
        /upstream answers from another address, which is not followed;.*; check `repository`/,
    },
  ];

  /** Those that are tried again, which takes its time. */
  const patient: Case[] = [
    {
      name: '500',
      on: 'all',
      behave: { kind: 'status', status: 500 },
      message: /for its refs: .*git says: .*The requested URL returned error: 500/,
    },
    {
      name: '200 and nothing to the fetch alone',
      on: 'fetch',
      behave: { kind: 'empty' },
      message: /^fetching from http.*git says: .*expected '/,
    },
    {
      name: '200 and a web page',
      on: 'all',
      behave: { kind: 'html' },
      message: /not valid: is this a git repository/,
    },
    {
      name: 'a closed connection',
      on: 'all',
      behave: { kind: 'close' },
      message: /for its refs: .*git says: .*Empty reply from server/,
    },
  ];

  async function expectUntouched({ behave, on, message }: Case): Promise<void> {
    const scenario = await scenarios.create(repository);
    const { server, upstream } = scenario;
    const root = scenario.newMachine();
    const { mirror } = await scenario.run({ root });
    await addCommits(upstream);
    const [refs, before] = [await listRefs(mirror), await readTree(mirror)];
    const moved = `${scenario.repository}-moved`;
    server.repositories[moved] = upstream;
    const to = server.repositoryUrl(moved);
    const failing = server.fault({
      on: ({ repository: name, kind }) =>
        name === scenario.repository && (on === 'all' || kind === 'fetch'),
      behave: behave.kind === 'redirect' ? { ...behave, to } : behave,
    });

    await Promise.all([
      expectFailure(scenario, { root }, message),
      expectFailure(scenario, {}, message),
    ]);
    expect(await readTree(mirror)).toEqual(before);
    expect(await listRefs(mirror)).toEqual(refs);
    expect(server.requests.map((request) => request.repository)).not.toContain(moved);

    failing.remove();
    const next = await scenario.run({ root });
    expect(next.main.outputs).toMatchObject({ provenance: 'existing', recloned: 'false' });
    await expectMirrorOf(next.mirror, upstream);
    await expectGoodSnapshot(scenario, next.post);
  }

  test.each(chooseCases(cases))('$name', expectUntouched);

  async function expectUntouchedWhereNobodyListens(): Promise<void> {
    const scenario = await scenarios.create(repository);
    const server = await startGitServer({ root: dirname(dirname(scenario.upstream)) });
    const serverUrl = server.url;
    const root = scenario.newMachine();
    const { mirror } = await scenario.run({ root, serverUrl });
    const before = await readTree(mirror);
    await server.stop();
    const message = /for its refs: .*git says: .*(?:Failed to connect|Connection refused)/;
    await Promise.all([
      expectFailure(scenario, { root, serverUrl }, message),
      expectFailure(scenario, { serverUrl }, message),
    ]);
    expect(await readTree(mirror)).toEqual(before);
  }

  test('tried again: errors of the server, and no server', async () => {
    await Promise.all([
      together(chooseCases(patient), expectUntouched),
      expectUntouchedWhereNobodyListens(),
    ]);
  }, 120_000);

  test('no refs are left, or none of those that are mirrored', async () => {
    const scenario = await scenarios.create(repository);
    const { upstream } = scenario;
    const root = scenario.newMachine();
    const { mirror } = await scenario.run({ root });
    const before = await readTree(mirror);
    await git(upstream, ['update-ref', 'refs/pull/1/head', 'main']);
    for (const ref of (await readRefs(upstream)).keys()) {
      if (!ref.startsWith('refs/pull/')) await deleteRef(upstream, ref);
    }
    const none =
      /has 1 refs, none of which is to be mirrored; nothing is deleted or saved; check `refs`$/;
    await expectFailure(scenario, { root }, none);
    await expectFailure(scenario, {}, none);
    await deleteRef(upstream, 'refs/pull/1/head');
    await expectFailure(scenario, { root }, /has no refs; nothing is deleted or saved$/);
    await expectFailure(scenario, {}, /has no refs; nothing is deleted or saved$/);
    expect(await readTree(mirror)).toEqual(before);
  });

  test('a fetch and a clone that fail for ever: the mirror on this machine keeps every ref', async () => {
    const scenario = await scenarios.create(repository);
    const root = scenario.newMachine();
    const { mirror } = await scenario.run({ root });
    await addCommits(scenario.upstream, { fileBytes: 2_000 });
    const before = await readTree(mirror);
    scenario.server.fault({ on: 'fetch', behave: endless });
    await expectFailure(scenario, { root, inputs: soon }, tooLate);
    expect(await readTree(mirror)).toEqual(before);
    expect(await readdir(dirname(mirror))).toEqual([basename(mirror), `${basename(mirror)}.lock`]);
  });
});

/** Snapshots whose digests are right and whose content is not, and the other way round. */
describe('a forged snapshot', () => {
  let upstream: string;
  let model: Scenario;

  beforeAll(async () => {
    model = await scenarios.create(repository);
    upstream = model.upstream;
    await moveTag(upstream, 'annotated-2', 'main~2', 'another');
    await model.run();
  });

  /** A store whose only snapshot is forged. */
  async function forge(
    change: (stored: Stored) => Snapshot | Promise<Snapshot>,
  ): Promise<Scenario & { forgedId?: string }> {
    const scenario = await copyOf(model);
    const stored = await newestSnapshot(scenario.store);
    await storeManifest(stored.folder, await change(stored));
    return scenario;
  }

  async function withPacks({ folder, snapshot }: Stored, packs: string): Promise<Snapshot> {
    return { ...snapshot, layers: [await storeLayer(folder, packs)] };
  }

  async function withoutObject(stored: Stored, name: string): Promise<Snapshot> {
    const missing = await git(upstream, ['rev-parse', name]);
    const objects = (await objectsOf(upstream)).filter((oid) => oid !== missing);
    return withPacks(stored, await packObjects(upstream, objects));
  }

  function addRef({ snapshot }: Stored, ref: Ref): Snapshot {
    const refs = [...snapshot.refs, ref].sort((one, other) => (one.name < other.name ? -1 : 1));
    return withRefs(snapshot, refs);
  }

  const oid = '1234567890'.repeat(4);
  const forgeries: Record<string, (stored: Stored) => Snapshot | Promise<Snapshot>> = {
    "packs without a file of the default branch's": (stored) =>
      withoutObject(stored, 'main:folder-1/file-1'),
    "packs without a folder of the default branch's": (stored) =>
      withoutObject(stored, 'main:folder-1'),
    "packs without a branch's tip": (stored) => withoutObject(stored, 'branch-1'),
    'packs without a tag': (stored) => withoutObject(stored, 'annotated-1'),
    "another repository's packs": async (stored) => {
      const other = await scenarios.create({ ...repository, seed: 77 });
      return withPacks(stored, await packObjects(other.upstream, await objectsOf(other.upstream)));
    },
    'a ref to an object that is missing': (stored) =>
      addRef(stored, { name: 'refs/heads/missing', oid }),
    'a tag that is peeled to something else': ({ snapshot }) => {
      const head = snapshot.head?.oid ?? '';
      const lie = (ref: Ref): Ref =>
        ref.name === 'refs/tags/annotated-1' ? { ...ref, peeled: head } : ref;
      return withRefs(snapshot, snapshot.refs.map(lie));
    },
    "another upstream's": ({ snapshot }) => ({ ...snapshot, upstream: 'https://x.test/o/n' }),
    'other refspecs': ({ snapshot }) => ({
      ...snapshot,
      refspecs: ['+refs/heads/*:refs/heads/*', '+refs/tags/*:refs/tags/*', '^refs/tags/x'],
    }),
    'a ref outside refs': (stored) => addRef(stored, { name: '../../config', oid }),
    'a ref in refs/replace': (stored) =>
      addRef(stored, { name: `refs/replace/${oid}`, oid: stored.snapshot.refs[0]?.oid ?? '' }),
    'a ref below another': (stored) => addRef(stored, { name: 'refs/heads/main/below', oid }),
    'a file whose name leads out': ({ snapshot }) => {
      const [layer] = snapshot.layers;
      if (layer === undefined) throw new Error('no layer');
      const files = layer.files.map((file) => ({ ...file, name: `../../${file.name}` }));
      return { ...snapshot, layers: [{ ...layer, files }] };
    },
    'a layer whose name leads out': ({ snapshot }) => ({
      ...snapshot,
      layers: snapshot.layers.map((layer) => ({ ...layer, name: `../layers/${layer.name}` })),
    }),
    'a layer that is not there': ({ snapshot }) => ({
      ...snapshot,
      layers: snapshot.layers.map((layer) => ({ ...layer, name: layer.name.replace(/.$/, 'x') })),
    }),
  };

  test.each(chooseCases(Object.entries(forgeries)))('%s: it is not used', async (_, forgery) => {
    const scenario = await forge(forgery);
    const { main, post, mirror } = await scenario.run();
    expect(main.outputs).toMatchObject({ provenance: 'cloned', recloned: 'true', snapshot: '' });
    expect(main.summary).toMatch(/Snapshot 1\S* is not used: /);
    await expectMirrorOf(mirror, upstream);
    expect(verdict(post)).toMatch(/^Saved snapshot 2-/);
    await expectGoodSnapshot(scenario, post);
  });

  test('a whole other repository under our name: what upstream has is what the job gets', async () => {
    const other = await scenarios.create({ ...repository, seed: 78 });
    await other.run();
    const foreign = await newestSnapshot(other.store);
    const packs = dirname(packsOf(foreign)[0] ?? '');
    const scenario = await forge(async (stored) => ({
      ...(await withPacks(stored, packs)),
      refs: foreign.snapshot.refs,
      head: foreign.snapshot.head,
      refsDigest: foreign.snapshot.refsDigest,
    }));
    const { main, post, mirror } = await scenario.run();
    expect(main.outputs['provenance']).toBe('restored');
    await expectMirrorOf(mirror, upstream);
    await expectGoodSnapshot(scenario, post);
  });

  test('two layers: both are restored', async () => {
    const scenario = await copyOf(model);
    const { snapshot, folder, ...stored } = await newestSnapshot(scenario.store);
    const all = await objectsOf(upstream);
    const packs = [
      await packObjects(upstream, all.slice(0, 20)),
      await packObjects(upstream, all.slice(20)),
    ];
    const layers = [
      await storeLayer(folder, packs[0] ?? ''),
      await storeLayer(folder, packs[1] ?? ''),
    ];
    await storeManifest(folder, { ...snapshot, layers });
    expect(stored.number).toBe(1);
    const { main, mirror } = await scenario.run({ inputs: { verify: 'full' } });
    expect(main.outputs).toMatchObject({ provenance: 'restored', recloned: 'false' });
    expect(await readdir(join(mirror, 'objects', 'pack'))).toHaveLength(4);
    await expectMirrorOf(mirror, upstream);
  });

  test('an older manifest under a newer number: the older one itself is used', async () => {
    const scenario = await copyOf(model);
    const { snapshot, folder } = await newestSnapshot(scenario.store);
    await storeManifest(folder, snapshot, 5);
    const { main, post, mirror } = await scenario.run({ inputs: { save: 'always' } });
    expect(main.outputs).toMatchObject({ provenance: 'restored', recloned: 'false' });
    expect(main.outputs['snapshot']).toMatch(/^1-/);
    expect(main.summary).toMatch(/Snapshot 5 is not used: .*it says it is number 1/);
    await expectMirrorOf(mirror, upstream);
    expect(verdict(post)).toMatch(/^Saved snapshot 6-/);
    await expectGoodSnapshot(scenario, post);
  });

  test('newer ones that are bad: an older good one is found, and superseded', async () => {
    const scenario = await copyOf(model);
    const { snapshot, folder } = await newestSnapshot(scenario.store);
    await storeManifest(folder, { ...withRefs(snapshot, []), number: 2 });
    await storeManifest(folder, { ...snapshot, number: 3, layers: [] });
    const { main, post, mirror } = await scenario.run({ inputs: { save: 'always' } });
    expect(main.outputs).toMatchObject({ provenance: 'restored', recloned: 'false' });
    expect(main.outputs['snapshot']).toMatch(/^1-/);
    await expectMirrorOf(mirror, upstream);
    expect(verdict(post)).toMatch(/^Saved snapshot 4-/);
    await expectGoodSnapshot(scenario, post);
  });

  test('a revocation: nothing below it is used, what is saved above it is', async () => {
    const scenario = await copyOf(model);
    const { snapshot, folder } = await newestSnapshot(scenario.store);
    const { version, createdAt, run, git: gitVersion, action } = snapshot;
    const reason = 'found out <b>';
    await storeManifest(folder, {
      ...{
        kind: 'revocation',
        number: 2,
        version,
        createdAt,
        run,
        git: gitVersion,
        action,
        reason,
      },
    });
    const { main, post, mirror } = await scenario.run();
    expect(main.outputs).toMatchObject({ provenance: 'cloned', recloned: 'true', snapshot: '' });
    expect(main.summary).toMatch(/Snapshots up to 2 were revoked: found out &lt;b&gt;/);
    await expectMirrorOf(mirror, upstream);
    expect(verdict(post)).toMatch(/^Saved snapshot 3-/);
    await expectGoodSnapshot(scenario, post);
  });

  describe('a hole in old history', () => {
    /** A file's version that only old commits need; all digests are right. */
    async function forgeHole(savesSinceFullWalk: number): Promise<Scenario> {
      const scenario = await scenarios.create({ ...repository, commits: 30 });
      await scenario.run();
      const { folder, snapshot } = await newestSnapshot(scenario.store);
      const inTips = new Set(await objectsOfTips(scenario.upstream));
      const first = await git(scenario.upstream, ['rev-list', '--max-parents=0', 'main']);
      const listing = await git(scenario.upstream, ['ls-tree', '-r', first]);
      const old = listing.split('\n').map((line) => line.split(/\s+/)[2] ?? '');
      const hole = old.find((each) => !inTips.has(each));
      expect(hole).toBeDefined();
      const objects = (await objectsOf(scenario.upstream)).filter((each) => each !== hole);
      const layers = [await storeLayer(folder, await packObjects(scenario.upstream, objects))];
      await storeManifest(folder, { ...snapshot, layers, savesSinceFullWalk });
      return scenario;
    }

    async function objectsOfTips(repositoryPath: string): Promise<string[]> {
      const args = ['rev-list', '--objects', '--no-object-names', '--no-walk', '--all'];
      return (await git(repositoryPath, args)).split('\n');
    }

    test('is found when a full walk is due: not saved but revoked, and the next run clones', async () => {
      const scenario = await forgeHole(20);
      await addCommits(scenario.upstream);
      const root = scenario.newMachine();
      const { main, post, mirror } = await scenario.run({ root });
      expect(main.outputs).toMatchObject({ provenance: 'restored', 'cache-hit': 'true' });
      expect(verdict(post)).toMatch(/^Nothing saved, and the mirror was deleted: /);
      expect(post.annotations).toMatchObject([{ level: 'warning' }]);
      expect(existsSync(mirror)).toBe(false);
      expect(await newestManifest(scenario.store)).toMatchObject({
        manifest: { kind: 'revocation', number: 2 },
      });
      const next = await scenario.run({ root });
      expect(next.main.outputs).toMatchObject({ provenance: 'cloned', recloned: 'true' });
      await expectMirrorOf(next.mirror, scenario.upstream);
      expect(verdict(next.post)).toMatch(/^Saved snapshot 3-/);
      await expectGoodSnapshot(scenario, next.post);
    });

    test('that cannot be revoked is named, and the mirror is deleted', async () => {
      const scenario = await forgeHole(20);
      await addCommits(scenario.upstream);
      const job = scenario.job();
      const main = await succeed(job.main());
      // Nothing can be written to the store any more.
      const { folder } = await newestSnapshot(scenario.store);
      await rm(join(folder, 'tmp'), { recursive: true });
      await writeFile(join(folder, 'tmp'), '');
      const post = await succeed(job.post());
      expect(verdict(post)).toMatch(/^Nothing saved, and the mirror was deleted: /);
      expect(post.annotations).toMatchObject([
        { message: expect.stringMatching(/^Snapshot 1 may be damaged, and was not revoked: /) },
        { message: expect.stringContaining(verdict(post)) },
      ]);
      expect(existsSync(main.outputs['mirror-path'] ?? '')).toBe(false);
    });

    test('is found at once by `verify: full`', async () => {
      const scenario = await forgeHole(0);
      const { main, post, mirror } = await scenario.run({ inputs: { verify: 'full' } });
      expect(main.outputs).toMatchObject({ provenance: 'cloned', recloned: 'true' });
      expect(main.summary).toMatch(/Snapshot 1-\w+ is not used: .*checking that all objects/);
      await expectMirrorOf(mirror, scenario.upstream);
      expect(verdict(post)).toMatch(/^Saved snapshot 2-/);
      await expectGoodSnapshot(scenario, post);
    });
  });
});
