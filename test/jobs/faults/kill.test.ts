/**
 * Jobs that are killed or stopped at any moment. KILLS=40 makes a soak of it; TEST_SEED replays one.
 */
import { afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, utimesSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import { createDiskStore } from '../../../src/stores/disk/store.ts';
import type { Job, RunningStep } from '../../support/action-runner.ts';
import {
  canListProcesses,
  isRunning,
  pauseProcess,
  resumeProcess,
  waitUntil,
} from '../../support/processes.ts';
import { git } from '../../support/git.ts';
import { createRandom, testSeed } from '../../support/random.ts';
import { addCommits } from '../../support/repository-fixture.ts';
import {
  endClaims,
  expectMirrorOf,
  listManifests,
  newestSnapshot,
  readTree,
  succeed,
  useScenarios,
  verdict,
  type Scenario,
} from '../scenarios/scenario.ts';
import { chooseCases } from '../scenarios/rounds.ts';

const scenarios = useScenarios();
const onPosix = process.platform === 'win32' ? describe.skip : describe;

const KILLS = Number(process.env['KILLS'] ?? 3);
const random = createRandom(testSeed());

/** Its pack has 5 MB, and the new commits 1.5 MB. */
const repository = {
  ...{ commits: 50, files: 120, fileBytes: 25_000 },
  ...{ branches: 5, annotatedTags: 3, lightTags: 3 },
};
const newCommits = { commits: 30, files: 120, fileBytes: 25_000 };
const CLONE_BYTES_PER_SECOND = 8_000_000;
const FETCH_BYTES_PER_SECOND = 3_000_000;

/**
 * What the killed job finds: nothing at all; a snapshot; a mirror; a mirror that no fetch succeeds
 * into, so that a clone takes its place; the same with a snapshot instead of a mirror.
 */
const KINDS = ['cold', 'warm', 'existing', 'reclone', 'warm reclone'] as const;
type Kind = (typeof KINDS)[number];

/** The kinds in turn, from one at random on. */
const first = random.integer(KINDS.length);
const plan = Array.from({ length: KILLS }, (_, index) => ({
  number: index + 1,
  kind: KINDS[(first + index) % KINDS.length] ?? 'cold',
  /** Of the time that the step takes undisturbed. */
  moment: random.next(),
}));
/** Of those that have something to save. */
const postPlan = Array.from({ length: Math.ceil(KILLS / 3) }, (_, index) => ({
  number: index + 1,
  kind: KINDS[(first + index) % 3] ?? 'cold',
  moment: random.next(),
}));

let scenario: Scenario;
/** A mirror, and a store with its snapshot, that lack upstream's new commits. */
let base: string;
let baseStore: string;
/** What the output `refs-digest` is with upstream's new commits. */
let newsDigest: string | undefined;
/** How long the steps take when nobody kills them. */
const mainMs = new Map<Kind, number>();
const postMs = new Map<Kind, number>();
const running: RunningStep[] = [];

beforeAll(async () => {
  scenario = await scenarios.create(repository);
  base = (await scenario.run()).mirror;
  baseStore = join(scenario.root, 'base-store');
  cpSync(scenario.store, baseStore, { recursive: true });
  await addCommits(scenario.upstream, newCommits);
  for (const kind of new Set([...plan, ...postPlan].map(({ kind }) => kind))) {
    const { job } = prepare(kind);
    const main = await succeed(job.main());
    newsDigest = main.outputs['refs-digest'];
    mainMs.set(kind, main.durationMs);
    postMs.set(kind, (await succeed(job.post())).durationMs);
  }
  process.stderr.write(`undisturbed: ${JSON.stringify([[...mainMs], [...postMs]])}\n`);
});

afterEach(async () => {
  for (const step of running.splice(0)) {
    resumeProcess(step.pid);
    step.kill();
    await step.finished;
  }
});

interface Target {
  job: Job;
  path: string;
  store: string;
}

/** A machine, a store and a server for a job of that kind. */
function prepare(kind: Kind): Target {
  const root = scenario.newMachine();
  const [path, store] = [join(root, 'mirrors', 'name.git'), join(root, 'store')];
  for (const folder of [dirname(path), store]) mkdirSync(folder, { recursive: true });
  if (kind !== 'cold') cpSync(baseStore, store, { recursive: true });
  if (kind === 'existing' || kind === 'reclone') cpSync(base, path, { recursive: true });
  const { server } = scenario;
  server.clearFaults();
  if (kind.endsWith('reclone')) server.fault({ on: 'delta-fetch', behave: { kind: 'empty' } });
  slowDown('clone', CLONE_BYTES_PER_SECOND);
  slowDown('delta-fetch', FETCH_BYTES_PER_SECOND);
  const inputs = {
    'mirror-path': path,
    'disk-path': store,
    verify: random.pick(['standard', 'tip', 'full']),
  };
  return { job: scenario.job({ root, home: join(root, 'killed'), inputs }), path, store };
}

function slowDown(on: 'clone' | 'delta-fetch', bytesPerSecond: number): void {
  scenario.server.fault({ on, behave: { kind: 'slow', bytesPerSecond } });
}

/** Command lines of what a job has started: all of it inherits its HOME. */
function processesOf({ home }: Job): string[] {
  if (!canListProcesses) return [];
  const read = (pid: string, file: string): string[] => {
    try {
      return readFileSync(`/proc/${pid}/${file}`, 'latin1').split('\0');
    } catch {
      return []; // it has ended meanwhile
    }
  };
  return readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid) && read(pid, 'environ').includes(`HOME=${home}`))
    .map((pid) => read(pid, 'cmdline').join(' '));
}

function start(step: RunningStep): RunningStep {
  running.push(step);
  return step;
}

/** Kills the step after that time; false if it was over by then. */
async function killAfter(step: RunningStep, afterMs: number): Promise<boolean> {
  await Promise.race([sleep(afterMs), step.finished]);
  step.kill();
  return (await step.finished).signal === 'SIGKILL';
}

const LEFTOVERS = /\.staging-|\.trash-|tmp_|\.lock$|\.keep$|\.new$|incoming-/;

/** A normal job after the killed one, on the same machine: a valid mirror and nothing next to it. */
async function expectNextJobHeals({ job, path, store }: Target): Promise<void> {
  scenario.server.clearFaults();
  const inputs = { 'mirror-path': path, 'disk-path': store };
  const next = await scenario.run({ inputs });
  await waitUntil(() => processesOf(job).length === 0, {
    timeoutMs: 20_000,
    what: 'its git to end',
  });
  expect(next.mirror).toBe(path);
  expect(next.main.log).not.toMatch(/waiting for it/);
  await expectMirrorOf(path, scenario.upstream);
  const entries = readdirSync(dirname(path)).sort();
  expect(entries).toEqual([basename(path), `${basename(path)}.lock`]);
  const within = Object.keys(await readTree(path));
  expect(within.filter((name) => LEFTOVERS.test(name))).toEqual([]);
  // The killed job's workspace is primed or it is not.
  if (existsSync(join(job.workspace, '.git'))) {
    await git(job.workspace, ['fsck', '--full', '--strict', '--no-progress']);
  }
}

/** What the store has restores on a new machine with every check there is. */
async function expectSoundStore(store: string): Promise<void> {
  const inputs = { 'disk-path': store, verify: 'full' };
  const main = await succeed(scenario.job({ inputs }).main());
  expect(main.outputs).toMatchObject({ provenance: 'restored', recloned: 'false' });
  expect(main.outputs['refs-digest']).toBe(newsDigest);
}

/** Says when it was killed where a check fails. */
async function explaining(what: string, checks: () => Promise<void>): Promise<void> {
  try {
    await checks();
  } catch (error) {
    throw new Error(`TEST_SEED=${random.seed}, ${what}`, { cause: error });
  }
}

onPosix('main is killed', () => {
  test.each(plan)('$number, $kind: the next job heals it', async ({ kind, moment }) => {
    const target = prepare(kind);
    const before = await readTree(target.store);
    const afterMs = moment * (mainMs.get(kind) ?? 0);
    const step = start(target.job.startMain());
    const isKilled = await killAfter(step, afterMs);
    const left = existsSync(dirname(target.path)) ? readdirSync(dirname(target.path)) : [];
    const last = step.lines.at(-1) ?? 'nothing';
    const what = `${kind}, killed: ${isKilled} after ${afterMs} ms, left ${left.join(' ')}, said ${last}`;
    await explaining(what, async () => {
      expect(await readTree(target.store)).toEqual(before);
      await expectNextJobHeals(target);
      await expectSoundStore(target.store);
    });
  });
});

/** Moments that are too short to hit at random, by what is on the disk then. */
const moments: { when: string; kind: Kind; sign: RegExp }[] = [
  { when: 'it has taken the lock', kind: 'cold', sign: /^name\.git\.lock$/ },
  { when: 'it copies a snapshot', kind: 'warm', sign: /incoming-0\/pack-.*\.pack$/ },
  { when: 'it receives a pack', kind: 'existing', sign: /^name\.git\/objects\/pack\/tmp_pack_/ },
  { when: 'its clone is complete', kind: 'cold', sign: /staging-[^/]*\/packed-refs$/ },
  { when: 'the old mirror makes way', kind: 'reclone', sign: /\.trash-/ },
  { when: 'the mirror is in its place', kind: 'warm', sign: /^name\.git\/HEAD$/ },
  { when: 'it primes the workspace', kind: 'existing', sign: /\.mirror-action-priming-/ },
];

onPosix('main is killed when', () => {
  test.each(chooseCases(moments))('$when: the next job heals it', async ({ kind, sign }) => {
    const target = await killAt(kind, sign);
    await explaining(`left ${namesBelow(dirname(target.path)).join(' ')}`, async () => {
      await expectNextJobHeals(target);
      await expectSoundStore(target.store);
    });
  });

  /** Tries until it was fast enough. */
  async function killAt(kind: Kind, sign: RegExp, attempts = 10): Promise<Target> {
    const target = prepare(kind);
    const step = start(target.job.startMain());
    const folders = [dirname(target.path), dirname(target.job.workspace)];
    const isSeen = (): boolean => folders.flatMap(namesBelow).some((name) => sign.test(name));
    while (isRunning(step.pid) && !isSeen()) await turn();
    step.kill();
    if ((await step.finished).signal === 'SIGKILL') return target;
    if (attempts === 0) throw new Error(`never met ${sign.source}`);
    return killAt(kind, sign, attempts - 1);
  }

  function namesBelow(folder: string): string[] {
    try {
      return readdirSync(folder, { recursive: true }) as string[];
    } catch {
      return []; // it changes while it is read
    }
  }
});

onPosix('post is killed', () => {
  test.each(postPlan)('$number, $kind: the store stays sound', async ({ kind, moment }) => {
    const target = prepare(kind);
    await succeed(target.job.main());
    const before = await listManifests(target.store);
    const afterMs = moment * (postMs.get(kind) ?? 0);
    const isKilled = await killAfter(start(target.job.startPost()), afterMs);
    await explaining(`${kind}, killed: ${isKilled} after ${afterMs} ms`, async () => {
      const after = await listManifests(target.store);
      expect(after.length - before.length).toBeLessThanOrEqual(1);
      if (after.length > 0) await expectSoundStore(target.store);
      await expectDebrisIsListed(target.store);
      await endClaims(target.store);
      await expectNextJobHeals(target);
      await expectSoundStore(target.store);
    });
  });

  /** One unfinished folder at most, and layers that no manifest names, known to the store. */
  async function expectDebrisIsListed(store: string): Promise<void> {
    for (const { key, tmp } of foldersOf(store)) {
      expect(tmp.length).toBeLessThanOrEqual(1);
      const inventory = await createDiskStore({ path: store }).list(key, neverAborted);
      expect(inventory.debris.map(({ name }) => name).sort()).toEqual(tmp);
    }
  }

  test('what killed posts leave goes with a later save, when it is old', async () => {
    const target = prepare('warm');
    await succeed(target.job.main());
    const post = start(target.job.startPost());
    await waitUntil(() => foldersOf(target.store).some(({ tmp }) => tmp.length > 0), {
      timeoutMs: 20_000,
      pollMs: 1,
    });
    post.kill();
    await post.finished;
    const [folders] = foldersOf(target.store);
    expect(folders?.tmp.length).toBe(1);

    const anHourAgo = new Date(Date.now() - 2 * 3_600_000);
    for (const name of folders?.tmp ?? [])
      utimesSync(join(folders?.path ?? '', name), anHourAgo, anHourAgo);
    await endClaims(target.store);
    await expectNextJobHeals(target);
    expect(foldersOf(target.store).flatMap(({ tmp }) => tmp)).toEqual([]);
    expect((await newestSnapshot(target.store)).number).toBe(2);
    await expectSoundStore(target.store);
  });

  const neverAborted = new AbortController().signal;

  function foldersOf(store: string): { key: string; path: string; tmp: string[] }[] {
    const keys = existsSync(join(store, 'v1')) ? readdirSync(join(store, 'v1')) : [];
    return keys.map((key) => {
      const path = join(store, 'v1', key, 'tmp');
      return { key, path, tmp: existsSync(path) ? readdirSync(path).sort() : [] };
    });
  }
});

onPosix('main is stopped', () => {
  test.each(chooseCases(['cold', 'existing'] as const))(
    '%s: the next job waits, then continues without the lock; both succeed',
    async (kind) => {
      const target = prepare(kind);
      const stopped = start(target.job.startMain());
      await scenario.server.waitForRequest((request) => request.bytesSent > 500_000, 20_000);
      pauseProcess(stopped.pid);
      scenario.server.clearFaults();

      const inputs = { 'mirror-path': target.path, 'disk-path': target.store };
      const next = scenario.job({ inputs: { ...inputs, 'lock-timeout': '2s' } });
      const main = await succeed(next.main());
      expect(main.durationMs).toBeGreaterThan(2_000);
      expect(main.log).toMatch(/waiting for it/);
      expect(main.annotations).toMatchObject([
        { level: 'warning', message: expect.stringMatching(/mirror of its own.*`lock-timeout`/) },
      ]);
      const own = main.outputs['mirror-path'] ?? '';
      expect(own.startsWith(next.temp)).toBe(true);
      await expectMirrorOf(own, scenario.upstream);
      expect(verdict(await succeed(next.post()))).toMatch(/^Saved snapshot/);
      expect(existsSync(own)).toBe(false);

      resumeProcess(stopped.pid);
      await succeed(stopped.finished);
      await expectMirrorOf(target.path, scenario.upstream);
      expect(verdict(await succeed(target.job.post()))).toMatch(/^Nothing saved/);
      await expectNextJobHeals(target);
      await expectSoundStore(target.store);
    },
  );
});
