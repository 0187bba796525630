/**
 * Jobs that are killed while they make one pack of many, at any moment. REPACK_KILLS=100 makes a soak
 * of it; TEST_SEED replays one.
 */
import { afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { cpSync, mkdirSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Job, RunningStep } from '../../support/action-runner.ts';
import { waitUntil } from '../../support/processes.ts';
import { createRandom, testSeed } from '../../support/random.ts';
import { addCommits } from '../../support/repository-fixture.ts';
import {
  endClaims,
  expectMirrorOf,
  succeed,
  useScenarios,
  type Scenario,
} from '../scenarios/scenario.ts';

const scenarios = useScenarios();
const onPosix = process.platform === 'win32' ? describe.skip : describe;

const KILLS = Number(process.env['REPACK_KILLS'] ?? 3);
const random = createRandom(testSeed());
const BEGINS = /git .* pack-objects /;

/**
 * `merge`: four packs that no snapshot has, and one that a snapshot has. `everything`: of the first save, and
 * where nothing is saved.
 */
const KINDS = ['merge', 'everything', 'not saved'] as const;
type Kind = (typeof KINDS)[number];

const content = {
  commits: 20,
  files: 40,
  changedFiles: 15,
  fileBytes: 8_000,
  content: 'text',
} as const;

let scenario: Scenario;
const templates = new Map<Kind, string>();
/** From the line that says that git begins to what comes after its end, undisturbed. */
const repackMs = new Map<Kind, number>();
const running: RunningStep[] = [];

beforeAll(async () => {
  scenario = await scenarios.create({ ...content, commits: 40, branches: 2 });
  for (const kind of KINDS) templates.set(kind, join(scenario.root, `template-${kind}`));
  const [merge, everything, unsaved] = KINDS.map((kind) => templates.get(kind)!);
  const first = jobOn(merge!);
  await succeed(first.main());
  cpSync(merge!, everything!, { recursive: true });
  await succeed(first.post());
  for (let round = 0; round < 4; round++) {
    await addCommits(scenario.upstream, { ...content, seed: round });
    for (const folder of [merge!, everything!]) await succeed(jobOn(folder).main());
  }
  cpSync(everything!, unsaved!, { recursive: true });
  for (const kind of KINDS) {
    const { job } = await prepare(kind);
    const post = start(job.startPost());
    await post.waitForLine(BEGINS);
    const startedAt = performance.now();
    const begun = post.lines.length;
    let isOver = false;
    const finished = succeed(post.finished).finally(() => (isOver = true));
    await waitUntil(() => isOver || post.lines.length > begun, { timeoutMs: 20_000, pollMs: 1 });
    repackMs.set(kind, performance.now() - startedAt);
    await finished;
  }
  process.stderr.write(`undisturbed: ${JSON.stringify([...repackMs])}\n`);
}, 120_000);

afterEach(async () => {
  for (const step of running.splice(0)) {
    step.kill();
    await step.finished;
  }
});

/** A job of a machine whose mirror and store are in that folder. */
function jobOn(folder: string, kind?: Kind): Job {
  const [path, store] = [join(folder, 'mirrors', 'name.git'), join(folder, 'store')];
  for (const each of [dirname(path), store]) mkdirSync(each, { recursive: true });
  const inputs = { 'mirror-path': path, 'disk-path': store };
  return scenario.job({
    root: scenario.newMachine(),
    inputs: kind === 'not saved' ? { ...inputs, save: 'never' } : inputs,
  });
}

/** A copy of the template, and a job there that has done its main. */
async function prepare(kind: Kind): Promise<{ job: Job; folder: string; path: string }> {
  const folder = join(scenario.newMachine(), 'shared');
  cpSync(templates.get(kind)!, folder, { recursive: true });
  const job = jobOn(folder, kind);
  await succeed(job.main());
  return { job, folder, path: join(folder, 'mirrors', 'name.git') };
}

function start(step: RunningStep): RunningStep {
  running.push(step);
  return step;
}

const plan = Array.from({ length: KILLS }, (_, index) => ({
  number: index + 1,
  kind: KINDS[index % KINDS.length] ?? 'merge',
  /** Of the time that it takes undisturbed. */
  moment: random.next(),
}));

onPosix('post is killed in a repack', () => {
  test.each(plan)('$number, $kind: the next job is whole', async ({ kind, moment }) => {
    const { job, folder, path } = await prepare(kind);
    const post = start(job.startPost());
    await post.waitForLine(BEGINS);
    // Packs are removed just after.
    const afterMs = 1.2 * moment * (repackMs.get(kind) ?? 0);
    await Promise.race([sleep(afterMs), post.finished]);
    post.kill();
    await post.finished;
    const left = readdirSync(join(path, 'objects', 'pack'));
    try {
      await endClaims(join(folder, 'store'));
      const next = jobOn(folder);
      const main = await succeed(next.main());
      expect(main.outputs).toMatchObject({ provenance: 'existing', recloned: 'false' });
      expectNothingButPacks(path);
      await succeed(next.post());
      expectNothingButPacks(path);
      await expectMirrorOf(path, scenario.upstream);
      const inputs = { 'disk-path': join(folder, 'store'), verify: 'full' };
      const other = await succeed(scenario.job({ inputs }).main());
      expect(other.outputs).toMatchObject({ provenance: 'restored', recloned: 'false' });
    } catch (error) {
      const what = `killed after ${afterMs} ms, left ${left.join(' ')}`;
      throw new Error(`TEST_SEED=${random.seed}, ${what}`, { cause: error });
    }
  });
});

function expectNothingButPacks(path: string): void {
  const names = readdirSync(join(path, 'objects', 'pack')).sort();
  const packs = names.filter((name) => /^pack-[0-9a-f]{40}\.pack$/.test(name));
  expect(names).toEqual(packs.flatMap((name) => [name.replace(/pack$/, 'idx'), name]).sort());
}
