/**
 * A save that ends badly keeps no later job from saving: post is killed at each of its changes to a disk
 * store, and at each kind of request to the Actions cache; a store is full or read-only for a moment.
 */
import { afterEach, beforeAll, describe, expect, jest, test } from '@jest/globals';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { Job } from '../../support/action-runner.ts';
import type { CacheRequest } from '../../support/actions-cache/request.ts';
import { resumeProcess, waitUntil } from '../../support/processes.ts';
import { canMount, mounts } from '../../support/mounts.ts';
import { IS_KILL_SOAK, Killer, kindOf } from '../scenarios/killed-step.ts';
import { inCache, useCacheService } from '../scenarios/cache-scenario.ts';
import {
  endClaims,
  listManifests,
  succeed,
  useScenarios,
  verdict,
  type Scenario,
} from '../scenarios/scenario.ts';
import { countUntilSaved } from '../scenarios/until-saved.ts';
import { chooseCases } from '../scenarios/rounds.ts';

jest.setTimeout(300_000);

const scenarios = useScenarios();
const disks = mounts();
const onPosix = process.platform === 'win32' ? describe.skip : describe;
const onSmallDisks = canMount('tmpfs') ? describe : describe.skip;

let scenario: Scenario;
/** Of a job whose main has run: a mirror, and a store without snapshots. */
let job: Job;
let mirror: string;
let pristine: string;
let killer: Killer;

beforeAll(async () => {
  scenario = await scenarios.create();
  const root = scenario.newMachine();
  killer = new Killer(join(scenario.root, 'plan.json'), scenario.store);
  mirror = join(root, 'mirrors', 'name.git');
  pristine = join(scenario.root, 'pristine.git');
  job = scenario.job({
    root,
    inputs: { 'mirror-path': mirror },
    environment: killer.environment,
  });
  await succeed(job.main());
  cpSync(mirror, pristine, { recursive: true });
});

afterEach(() => {
  disks.removeAll();
});

function isStopped(pid: number): boolean {
  return readFileSync(`/proc/${pid}/stat`, 'latin1').replace(/^.*\)/s, '').startsWith(' T ');
}

/** Mirror and store as they were after main. */
function reset(): void {
  for (const folder of [mirror, scenario.store]) rmSync(folder, { recursive: true, force: true });
  cpSync(pristine, mirror, { recursive: true });
  mkdirSync(scenario.store);
}

const isSavedOnDisk = async (): Promise<boolean> =>
  existsSync(join(scenario.store, 'v1')) && (await listManifests(scenario.store)).length > 0;

onPosix('post is killed while it saves to a disk', () => {
  test('at any of its changes to the store: the next one saves, once the claim has passed its life', async () => {
    reset();
    killer.arrange();
    expect(verdict(await succeed(job.post()))).toMatch(/^Saved snapshot 1-/);
    const calls = killer.calls;
    // Otherwise the moments would not be those of a save.
    for (const part of ['claims/0', 'layers/', 'manifests/']) {
      expect(calls.filter((call) => call.includes(part)).length).toBeGreaterThan(0);
    }
    const outcomes: { before: string; jobs: number; verdicts: string[] }[] = [];
    const kinds = calls.map(kindOf);
    for (const [index, before] of kinds.entries()) {
      if (!IS_KILL_SOAK && kinds.indexOf(before) !== index) continue;
      reset();
      killer.arrange({ before: index + 1 });
      expect((await job.post()).signal).toBe('SIGKILL');
      await endClaims(scenario.store);
      killer.arrange();
      const post = async () => verdict(await succeed(job.post()));
      outcomes.push({ before, ...(await countUntilSaved(post, isSavedOnDisk)) });
    }
    expect(outcomes.filter(({ jobs }) => jobs > 1)).toEqual([]);
    expect(outcomes.filter(({ jobs }) => jobs === 1).length).toBeGreaterThan(5);
  });

  test.each(chooseCases(['ENOSPC', 'EIO']))(
    'a claim that cannot be written (%s) keeps not even its own job from saving',
    async (code) => {
      reset();
      killer.arrange({ failing: { folder: 'claims', code } });
      const post = await succeed(job.post());
      expect(post.log).toMatch(/Saving without a claim: /);
      expect(verdict(post)).toMatch(/^Saved snapshot 1-/);
    },
  );

  test('a job that could not save early claims again in post, since main has released its claim', async () => {
    reset();
    killer.arrange({ failing: { folder: 'layers', code: 'ENOSPC' } });
    const early = scenario.job({
      inputs: { publish: 'early' },
      environment: killer.environment,
    });
    expect((await succeed(early.main())).log).toContain('Not saved early');
    killer.arrange();
    expect(verdict(await succeed(early.post()))).toMatch(/^Saved snapshot 1-/);
    expect(killer.calls.filter((call) => /^link .*claims\/0000000001-/.test(call))).toHaveLength(1);
  });

  test('a store that is read-only for a moment takes the next save', async () => {
    reset();
    killer.arrange({ failing: { folder: 'claims', code: 'EROFS' } });
    expect(verdict(await succeed(job.post()))).toMatch(/can only be read by this job/);
    killer.arrange();
    expect(verdict(await succeed(job.post()))).toMatch(/^Saved snapshot 1-/);
  });
});

onSmallDisks('a disk store', () => {
  const MIB = 1024 * 1024;

  function useDisk(): string {
    const store = disks.memory(8 * MIB);
    job.setInputs({ 'disk-path': store });
    return store;
  }
  afterEach(() => {
    job.setInputs({ 'disk-path': scenario.store });
  });

  test('that is mounted read-only for a moment takes the next save, without waiting for anybody', async () => {
    reset();
    killer.arrange();
    const store = useDisk();
    disks.makeReadOnly(store);
    expect(verdict(await succeed(job.post()))).toMatch(/can only be read by this job \(EROFS/);
    disks.makeWritable(store);
    expect(verdict(await succeed(job.post()))).toMatch(/^Saved snapshot 1-/);
  });

  test('that is mounted read-only in the middle of a save, so that the claim stays, takes a save after its life', async () => {
    reset();
    const store = useDisk();
    killer.arrange({ root: store });
    expect(verdict(await succeed(job.post()))).toMatch(/^Saved snapshot 1-/);
    const before =
      killer.calls.findIndex((call) => /^(?:link|rename) .*manifests\//.test(call)) + 1;
    expect(before).toBeGreaterThan(0);
    for (const name of readdirSync(store)) rmSync(join(store, name), { recursive: true });
    reset();
    killer.arrange({ root: store, before, stops: true });
    const post = job.startPost();
    await waitUntil(() => isStopped(post.pid), { timeoutMs: 30_000, what: 'post to be stopped' });
    disks.makeReadOnly(store);
    resumeProcess(post.pid);
    expect(verdict(await succeed(post.finished))).toMatch(/^Nothing saved/);
    disks.makeWritable(store);
    await endClaims(store);
    killer.arrange({ root: store });
    expect(verdict(await succeed(job.post()))).toMatch(/^Saved snapshot 1-/);
  });

  test.each(
    chooseCases([
      ['nothing at all', 0],
      ['a claim', 8 * 1024],
    ]),
  )('with room for %s: the next job saves, without waiting for anybody', async (_, room) => {
    reset();
    killer.arrange();
    const store = useDisk();
    const ballast = join(store, 'ballast');
    const { bavail, bsize } = statfsSync(store);
    writeFileSync(ballast, Buffer.alloc(bavail * bsize - room));
    expect(verdict(await succeed(job.post()))).toMatch(/^Nothing saved: .*no space/);
    rmSync(ballast);
    expect(verdict(await succeed(job.post()))).toMatch(/^Saved snapshot 1-/);
  });
});

const service = useCacheService();

onPosix('post is killed while it saves to the Actions cache', () => {
  const moments: [string, (request: CacheRequest) => boolean][] = [
    ['before the claim is looked for', ({ kind }) => kind === 'lookup'],
    ...(['create', 'upload', 'finalize'] as const).flatMap((kind) =>
      (['claims', 'layers', 'manifests'] as const).map(
        (part): [string, (request: CacheRequest) => boolean] => [
          `at the ${kind} of ${part}`,
          (request) => request.kind === kind && request.key?.includes(`/${part}/`) === true,
        ],
      ),
    ),
  ];

  const all = moments.flatMap(([name, is]) =>
    [true, false].map((isDone) => ({ name, is, isDone })),
  );
  const SAMPLE = /(?:finalize of claims|upload of layers|create of manifests)$/;

  test.each(IS_KILL_SOAK ? all : all.filter(({ name, isDone }) => isDone && SAMPLE.test(name)))(
    '$name (done: $isDone): the next run saves',
    async ({ is, isDone }) => {
      const run = () => scenario.job(inCache(service(), scenario.server.url));
      const killed = run();
      await succeed(killed.main());
      service().resetCounters();
      const fault = service().fault({
        ...{ on: is, afterwards: isDone, behave: { kind: 'delay', forMs: 60_000 } },
      });
      const post = killed.startPost();
      await Promise.race([service().waitForRequest(is, 60_000), post.finished]);
      post.kill();
      const { signal, log } = await post.finished;
      // A post that ended by itself before tells why.
      expect(signal ?? log).toBe('SIGKILL');
      fault.remove();
      service().clearFaults();
      const isSaved = async (): Promise<boolean> =>
        service().entries.some(
          ({ key, state }) => state === 'ready' && key.includes('/manifests/'),
        );
      const { jobs, verdicts } = await countUntilSaved(async () => {
        const next = run();
        await succeed(next.main());
        return verdict(await succeed(next.post()));
      }, isSaved);
      expect({ jobs: jobs <= 1, verdicts }).toEqual({ jobs: true, verdicts });
    },
  );
});
