/** Submodules that fail, hang, are refused, damaged or hostile: they cost the others and the step nothing. */
import { describe, expect, test } from '@jest/globals';
import { existsSync, writeFileSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { JobOptions } from '../../support/action-runner.ts';
import type { FaultBehaviour } from '../../support/git-server/fault.ts';
import { git } from '../../support/git.ts';
import { expectSameWorkspace } from '../scenarios/checkout-comparison.ts';
import {
  addFiles,
  checkOutAt,
  createUpstream,
  eventOf,
  TOKEN,
  type FileToAdd,
} from '../scenarios/checkout-scenario.ts';
import {
  commitOf,
  createNeighbour,
  expectSameSubmodules,
  isPrimed,
  link,
  outcomesOf,
  relativeUrl,
  type Link,
} from '../scenarios/submodule-scenario.ts';
import { Killer, chooseMoments } from '../scenarios/killed-step.ts';
import { chooseCases } from '../scenarios/rounds.ts';
import { succeed, useScenarios, type Scenario } from '../scenarios/scenario.ts';

const scenarios = useScenarios();

const NAMES = ['one', 'bad', 'other'];

async function createThree(): Promise<{ scenario: Scenario; links: Link[] }> {
  const scenario = await createUpstream(scenarios);
  const links: Link[] = [];
  for (const name of NAMES) {
    const directory = await createNeighbour(scenario, name);
    // An older commit, whose files HEAD's do not tell of.
    const commit = await commitOf(directory, 'main~1');
    links.push({ path: name, url: relativeUrl(scenario, name), commit });
  }
  await link(scenario.upstream, links);
  return { scenario, links };
}

async function jobOf(
  scenario: Scenario,
  inputs: Record<string, string> = {},
  options: Partial<JobOptions> = {},
) {
  const { sha = '' } = await eventOf(scenario);
  const whole = { sha, token: TOKEN, inputs: { submodules: 'recursive', ...inputs } };
  return scenario.job({ ...whole, ...options });
}

/** The checkout that follows is as one that was not primed. */
async function expectSameCheckout(
  scenario: Scenario,
  job: Awaited<ReturnType<typeof jobOf>>,
  paths: readonly string[] = NAMES,
): Promise<void> {
  const wish = { submodules: 'recursive', fetchDepth: 0, ...(await eventOf(scenario)) } as const;
  const unprimed = await checkOutAt(scenario, scenario.job(), wish);
  const primed = await checkOutAt(scenario, job, wish);
  await expectSameWorkspace({ primed, unprimed });
  await expectSameSubmodules({ primed, unprimed }, paths);
}

/** Makes all packs of a mirror one that lacks an object. */
async function removeObject(mirror: string, oid: string): Promise<void> {
  const listed = await git(mirror, ['rev-list', '--objects', '--no-object-names', '--all']);
  const kept = listed.split('\n').filter((each) => each !== oid);
  expect(kept.length).toBe(listed.split('\n').length - 1);
  const packs = join(mirror, 'objects', 'pack');
  const before = await readdir(packs);
  await git(mirror, ['pack-objects', '-q', join(packs, 'pack')], { input: `${kept.join('\n')}\n` });
  for (const name of before) await rm(join(packs, name));
}

describe('one of three submodules', () => {
  const failures: [string, FaultBehaviour, RegExp][] = [
    ['fails', { kind: 'status', status: 500 }, /500/],
    ['has vanished', { kind: 'status', status: 404 }, /not found|does not exist/i],
    ['is refused', { kind: 'status', status: 403 }, /403|refused|credentials/],
    ['hangs', { kind: 'stall', afterBytes: 0 }, /sign of life/],
    ['is cut off', { kind: 'cut', afterBytes: 100 }, /./],
    ['has moved', { kind: 'redirect', status: 301, to: 'http://127.0.0.1:9/x' }, /another address/],
  ];

  test.each(chooseCases(failures))('%s', async (_, behave, message) => {
    const { scenario } = await createThree();
    scenario.server.fault({ on: ({ repository }) => repository.endsWith('-bad'), behave });
    const job = await jobOf(scenario, { 'stall-timeout': '3s', 'fetch-timeout': '60s' });
    const main = await succeed(job.main());
    const failed = expect.stringMatching(/^left: failed: /);
    expect(outcomesOf(main)).toEqual({ one: 'cloned', other: 'cloned', bad: failed });
    expect(main.annotations).toEqual([
      { level: 'warning', message: expect.stringMatching(/^bad: left to the checkout: /) },
    ]);
    expect(main.annotations[0]?.message).toMatch(message);
    expect(NAMES.map((name) => isPrimed(job.workspace, name))).toEqual([true, false, true]);
    const post = await succeed(job.post());
    expect(outcomesOf(post)).toEqual({ one: 'published', other: 'published' });
  });

  test('has a mirror that lacks a file of its commit: it is not primed from that', async () => {
    const { scenario, links } = await createThree();
    const root = scenario.newMachine();
    const first = await jobOf(scenario, {}, { root });
    const { outputs } = await succeed(first.main());
    await rm(join(first.workspace, '.git'), { recursive: true });
    const mirrors = join(outputs['mirror-path'] ?? '', '..');
    const mirror = (await readdir(mirrors)).find((name) => /-bad-[0-9a-f]+\.git$/.test(name)) ?? '';
    const { commit = '' } = links.find(({ path }) => path === 'bad') ?? {};
    const blobs = (directory: string, of: string) => git(directory, ['ls-tree', '-r', of]);
    const ofHead = await blobs(join(scenario.root, 'bad.git'), 'main');
    const lines = (await blobs(join(scenario.root, 'bad.git'), commit)).split('\n');
    const changed = lines.find((line) => !ofHead.includes(line))?.split(/\s/)[2] ?? '';
    await removeObject(join(mirrors, mirror), changed);

    const job = await jobOf(scenario, {}, { root });
    const main = await succeed(job.main());
    const why = expect.stringMatching(/^left: could not be primed: .*missing/);
    expect(outcomesOf(main)).toEqual({ one: 'existing', other: 'existing', bad: why });
    expect(NAMES.map((name) => isPrimed(job.workspace, name))).toEqual([true, false, true]);
    await expectSameCheckout(scenario, job);
  });

  test('a cancelled job ends, and leaves nothing half primed', async () => {
    const { scenario } = await createThree();
    scenario.server.fault({
      on: ({ repository }) => repository.endsWith('-bad'),
      behave: { kind: 'stall', afterBytes: 0 },
    });
    const job = await jobOf(scenario);
    const running = job.startMain();
    await scenario.server.waitForRequest(({ repository }) => repository.endsWith('-bad'), 30_000);
    const main = await job.cancel();
    expect(main.exitCode).toBe(1);
    await running.finished;
    expect(await readdir(job.workspace)).toEqual(['.git']);
    scenario.server.clearFaults();
    await expectSameCheckout(scenario, job);
  });
});

describe('a job that is killed', () => {
  test('while it opens or primes submodules harms neither its own checkout nor the next job', async () => {
    const { scenario } = await createThree();
    const machine = scenario.newMachine();
    const killer = new Killer(join(scenario.root, 'plan.json'), machine);
    const killable = (root: string) =>
      jobOf(scenario, {}, { root, environment: killer.environment });
    await succeed((await killable(machine)).main());
    expect(killer.calls.filter((call) => call.startsWith('rename '))).toEqual(
      expect.arrayContaining(NAMES.map((name) => expect.stringContaining(`modules/${name}`))),
    );
    // All that comes after the workspace was primed.
    const start = killer.calls.findIndex((call) => /^rename .*\/\.git$/.test(call)) + 1;
    expect(start).toBeGreaterThan(0);
    for (const { before, call } of chooseMoments(killer.calls, /./, start)) {
      const root = scenario.newMachine();
      killer.arrange({ root, before });
      const killed = await killable(root);
      expect({ call, signal: (await killed.main()).signal }).toEqual({ call, signal: 'SIGKILL' });
      killer.arrange({ root });
      await expectSameCheckout(scenario, killed);
      const next = await jobOf(scenario, {}, { root, workspace: 'next' });
      const main = await succeed(next.main());
      expect({ call, annotations: main.annotations }).toEqual({ call, annotations: [] });
      expect(NAMES.map((name) => isPrimed(next.workspace, name))).toEqual([true, true, true]);
      const saved = outcomesOf(await succeed(next.post()));
      const isFine = expect.stringMatching(/^(?:published|unchanged)/);
      expect(saved).toEqual({ one: isFine, bad: isFine, other: isFine });
    }
  }, 900_000);
});

test('jobs whose repositories have each other never wait for each other in a circle', async () => {
  const { scenario } = await createThree();
  const { upstream, repository } = scenario;
  const url = `../${repository.split('/')[1] ?? ''}`;
  await link(join(scenario.root, 'one.git'), [
    { path: 'back', url, commit: await commitOf(upstream, 'main~2') },
  ]);
  const root = scenario.newMachine();
  const inputs = { submodules: 'true', 'lock-timeout': '20s' };
  const jobs = [
    await jobOf(scenario, inputs, { root }),
    scenario.job({
      ...{ root, runner: 'second', token: TOKEN, repository: `${repository}-one`, inputs },
      sha: await commitOf(join(scenario.root, 'one.git')),
    }),
  ];
  const steps = await Promise.all(jobs.map((job) => job.main()));
  expect(steps.map(({ exitCode }) => exitCode)).toEqual([0, 0]);
  expect(steps.flatMap(({ annotations }) => annotations)).toEqual([]);
});

test('repositories that have each other are primed as deep as their commits go', async () => {
  const { scenario, links } = await createThree();
  const { upstream, repository } = scenario;
  const own = `../${repository.split('/')[1] ?? ''}`;
  const one = join(scenario.root, 'one.git');
  let commit = await commitOf(one);
  for (let level = 0; level < 3; level++) {
    const next = [{ path: 'one', url: relativeUrl(scenario, 'one'), commit }];
    const sha = await link(upstream, next, level === 0 ? links : next);
    commit = await link(one, [{ path: 'back', url: own, commit: sha }]);
  }
  const job = await jobOf(scenario);
  const main = await succeed(job.main());
  expect(Object.keys(outcomesOf(main))).toEqual([
    ...['one', 'one/back', 'one/back/one', 'one/back/one/back', 'one/back/one/back/one'],
  ]);
  expect(new Set(Object.values(outcomesOf(main)))).toEqual(new Set(['cloned', 'existing']));
  await expectSameCheckout(scenario, job, Object.keys(outcomesOf(main)));
});

describe('a hostile .gitmodules', () => {
  const section = (name: string, path: string, url: string, more = '') =>
    `[submodule "${name}"]\n\tpath = ${path}\n\turl = ${url}\n${more}`;

  async function runWith(files: (scenario: Scenario, good: string) => FileToAdd[]) {
    const { scenario, links } = await createThree();
    const { url = '', commit = '' } = links[0] ?? {};
    const ran = join(scenario.root, 'ran');
    const good = section('good', 'one', url);
    const paths = ['one', 'bad'].map((path) => ({ path, content: commit, mode: '160000' }));
    await addFiles(scenario.upstream, [...files(scenario, good), ...paths]);
    const job = await jobOf(scenario);
    const before = await readdir(join(job.workspace, '..'));
    const main = await succeed(job.main());
    expect(existsSync(ran)).toBe(false);
    expect(await readdir(join(job.workspace, '..'))).toEqual(expect.arrayContaining(before));
    expect(await readdir(job.workspace)).toEqual(['.git']);
    return { scenario, job, main };
  }

  const sections: [string, (scenario: Scenario) => string][] = [
    ['a name that leads out', () => section('../../../../out', 'bad', '../x')],
    ['an absolute name', () => section('/tmp/out', 'bad', '../x')],
    ['a name in the git directory of another', () => section('good/hooks', 'bad', '../x')],
    ['a program as URL', ({ root }) => section('b', 'bad', `ext::touch ${root}/ran`)],
    ['a file as URL', ({ root }) => section('b', 'bad', `file://${root}/bad.git`)],
    ['an option as URL', ({ root }) => section('b', 'bad', `--upload-pack=touch ${root}/ran`)],
    [
      'a program to update',
      ({ root }) => section('b', 'bad', '../x', `\tupdate = !touch ${root}/ran\n`),
    ],
    ['a path that leads out', () => section('b', '../../etc', '../x')],
    ['a path of magic', () => section('b', ':(glob)**', '../x')],
  ];

  test.each(chooseCases(sections))('with %s', async (_, bad) => {
    const { main, job } = await runWith((scenario, good) => [
      { path: '.gitmodules', content: good + bad(scenario) },
    ]);
    const { one, ...others } = outcomesOf(main);
    const clashes = expect.stringMatching(/^left: has a name that clashes/);
    expect([one]).toEqual([_.includes('of another') ? clashes : 'cloned']);
    expect(Object.values(others).every((outcome) => outcome.startsWith('left: '))).toBe(true);
    const modules = join(job.workspace, '.git', 'modules');
    expect(existsSync(modules) ? await readdir(modules) : []).toEqual(
      one === 'cloned' ? ['good'] : [],
    );
  });

  test('that includes a file of the machine, which is not read', async () => {
    const { main } = await runWith(({ root }, good) => {
      writeFileSync(join(root, 'included'), section('included', 'bad', '../name-secret'));
      return [{ path: '.gitmodules', content: `${good}[include]\n\tpath = ${root}/included\n` }];
    });
    expect(outcomesOf(main)).toEqual({ one: 'cloned' });
  });

  test.each(
    chooseCases<[string, FileToAdd, RegExp]>([
      ['that is a link', { path: '.gitmodules', content: 'run.sh', mode: '120000' }, /plain file/],
      ['of 10 MB', { path: '.gitmodules', content: '#'.repeat(10_000_000) }, /10000000 bytes/],
      ['that is none', { path: '.gitmodules', content: '[submodule\0' }, /reading .gitmodules/],
      ['that is a folder', { path: '.gitmodules/x', content: '' }, /plain file/],
    ]),
  )('%s', async (_, file, message) => {
    const { main } = await runWith(() => [file]);
    expect(outcomesOf(main)).toEqual({});
    expect(main.annotations).toEqual([
      { level: 'warning', message: expect.stringMatching(message) },
    ]);
  });

  test('with a thousand and one submodules', async () => {
    const many = Array.from({ length: 1_001 }, (_, at) => section(`s${at}`, `p/${at}`, '../x'));
    const { main } = await runWith(() => [{ path: '.gitmodules', content: many.join('') }]);
    expect(main.annotations[0]?.message).toMatch(/has 1001 submodules/);
  });
});
