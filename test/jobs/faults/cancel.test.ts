/**
 * A cancelled job, as the runner cancels it: SIGINT, SIGTERM 7.5 s later, SIGKILL after another
 * 2.5 s. In every phase the step ends long before the second of them, and leaves nothing.
 */
import { afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, delimiter, dirname, join } from 'node:path';
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import type { Job, JobOptions, RunningStep, StepResult } from '../../support/action-runner.ts';
import { git } from '../../support/git.ts';
import {
  canListProcesses,
  isRunning,
  pauseProcess,
  resumeProcess,
  waitUntil,
} from '../../support/processes.ts';
import { addCommits, repositorySizes } from '../../support/repository-fixture.ts';
import {
  outputsOfMirror,
  expectMirrorOf,
  failureOf,
  listRefs,
  readStore,
  readTree,
  succeed,
  useScenarios,
  verdict,
  type Scenario,
} from '../scenarios/scenario.ts';
import { chooseCases } from '../scenarios/rounds.ts';

const scenarios = useScenarios();
/** Windows has none of the runner's signals. */
const onPosix = process.platform === 'win32' ? describe.skip : describe;

/** The runner's second signal comes after 7.5 s. */
const LIMIT_MS = 5_000;

/** What a file needs to be found half copied. */
const bulky = { commits: 1, files: 40, fileBytes: 500_000 };

let scenario: Scenario;
/** A mirror and a store that lack upstream's new commits. */
let base: string;
let baseStore: string;
let bulkyScenario: Scenario;
/** A folder with a git that stalls when told to. */
let stubborn: string;
const running: RunningStep[] = [];

beforeAll(async () => {
  scenario = await scenarios.create(repositorySizes.small);
  base = (await scenario.run()).mirror;
  baseStore = join(scenario.root, 'base-store');
  cpSync(scenario.store, baseStore, { recursive: true });
  await addCommits(scenario.upstream, { commits: 10, files: 20, fileBytes: 40_000 });
  bulkyScenario = await scenarios.create(bulky);
  stubborn = createStubbornGit();
});

afterEach(async () => {
  for (const step of running.splice(0)) {
    resumeProcess(step.pid);
    step.kill();
    await step.finished;
  }
});

/**
 * A git that hangs in a command that a file next to it names, and that obeys SIGTERM or ignores it. The
 * commands of a real git are too fast to be met at work.
 */
function createStubbornGit(): string {
  const folder = join(scenario.root, 'stubborn');
  const real = execFileSync('/bin/sh', ['-c', 'command -v git'], { encoding: 'utf8' }).trim();
  mkdirSync(folder);
  const script = `#!/bin/sh
if [ -e '${folder}/hang' ] && read -r command manner <'${folder}/hang'; then
  case " $* " in *" $command "*)
    touch '${folder}/hangs'
    [ "$manner" = deaf ] && trap '' INT TERM
    while :; do sleep 1; done
  esac
fi
exec '${real}' "$@"
`;
  writeFileSync(join(folder, 'git'), script, { mode: 0o755 });
  return folder;
}

async function letGitHang(
  step: () => RunningStep,
  command: string,
  manner = '',
): Promise<RunningStep> {
  for (const name of ['hang', 'hangs']) rmSync(join(stubborn, name), { force: true });
  writeFileSync(join(stubborn, 'hang'), `${command} ${manner}\n`);
  const started = step();
  running.push(started);
  await waitUntil(() => existsSync(join(stubborn, 'hangs')), { timeoutMs: 20_000, what: 'git' });
  rmSync(join(stubborn, 'hang'));
  return started;
}

const withStubbornGit = (): Record<string, string> => ({
  PATH: `${stubborn}${delimiter}${process.env['PATH'] ?? ''}`,
});

/** A job whose processes can be told from all others. */
interface Target {
  job: Job;
  path: string;
  store: string;
}

function target(of: Scenario, options: Partial<JobOptions> & { path?: string } = {}): Target {
  const root = of.newMachine();
  const path = options.path ?? join(root, 'mirrors', 'name.git');
  const store = options.inputs?.['disk-path'] ?? join(root, 'store');
  for (const folder of [dirname(path), store]) mkdirSync(folder, { recursive: true });
  const inputs = { ...options.inputs, 'mirror-path': path, 'disk-path': store };
  return { job: of.job({ ...options, root, home: join(root, 'home'), inputs }), path, store };
}

/** Command lines of what a job has started: all of it inherits its HOME. */
function processesOf({ home }: Job): string[] {
  if (!canListProcesses) return [];
  const read = (pid: string, file: string): string[] => {
    try {
      return readFileSync(`/proc/${pid}/${file}`, 'latin1').split('\0');
    } catch {
      return [];
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

/** Cancels the step, which ends in time by itself and with all that it has started. */
async function cancel(step: RunningStep, { job }: Target): Promise<StepResult> {
  const startedAt = performance.now();
  const ending = step.cancel();
  // Where it was stopped to be met at work, the signal is waiting for it.
  resumeProcess(step.pid);
  const result = await ending;
  expect(performance.now() - startedAt).toBeLessThan(LIMIT_MS);
  expect(result.signal).toBeNull();
  expect(processesOf(job)).toEqual([]);
  return result;
}

/** What main says and leaves where it was cancelled. */
async function expectMainCancelled(step: RunningStep, at: Target): Promise<void> {
  const hadMirror = existsSync(at.path);
  const before = await readStore(at.store);
  const result = await cancel(step, at);
  expect(failureOf(result)).toMatch(/cancelled/);
  expect(outputsOfMirror(result)).toEqual({});
  expect(result.state).toEqual({});
  expect(readdirSync(dirname(at.path)).sort()).toEqual([
    ...(hadMirror ? [basename(at.path)] : []),
    `${basename(at.path)}.lock`,
  ]);
  expect(readdirSync(at.job.temp).filter((name) => !name.startsWith('_'))).toEqual([]);
  expect(await readStore(at.store)).toEqual(before);

  const post = await succeed(at.job.post());
  expect(verdict(post)).toMatch(/the fetch did not succeed/);
  expect(await readStore(at.store)).toEqual(before);
}

/** The next job finds the lock free, and makes the mirror what it should be. */
async function expectNextJobSucceeds(of: Scenario, { path, store }: Target): Promise<void> {
  of.server.clearFaults();
  const inputs = { 'mirror-path': path, 'disk-path': store, 'lock-timeout': '0' };
  const { mirror, post } = await of.run({ inputs });
  expect(mirror).toBe(path);
  expect(verdict(post)).toMatch(/^Saved snapshot|nothing changed/);
  await expectMirrorOf(path, of.upstream);
  expect(readdirSync(dirname(path)).sort()).toEqual([basename(path), `${basename(path)}.lock`]);
}

/** Stops the step as soon as a file of a folder is begun; false if it was complete by then. */
async function stopWhileCopying(step: RunningStep, folder: () => string): Promise<boolean> {
  while (isRunning(step.pid)) {
    const pack = packIn(folder());
    if (pack !== undefined) {
      pauseProcess(step.pid);
      // It may take a moment to stop, and be done with this file by then.
      const bytes = statSync(pack, { throwIfNoEntry: false })?.size ?? Infinity;
      return bytes < bulky.files * bulky.fileBytes;
    }
    await turn();
  }
  return false;
}

/** A pack somewhere below the folder's unfinished work. */
function packIn(folder: string): string | undefined {
  try {
    const names = readdirSync(folder, { recursive: true }) as string[];
    const name = names.find((each) =>
      /(?:incoming-0|tmp\/[0-9a-f]+)\/pack-[^/]*\.pack$/.test(each),
    );
    return name === undefined ? undefined : join(folder, name);
  } catch {
    return undefined; // it changes while it is read
  }
}

onPosix('main', () => {
  test('before it can do anything: ended by the signal, and nothing is there', async () => {
    const at = target(scenario);
    const step = start(at.job.startMain());
    const result = await step.cancel();
    expect(result.exitCode).not.toBe(0);
    expect(existsSync(at.path)).toBe(false);
    await expectNextJobSucceeds(scenario, at);
  });

  test('while it waits for the lock: the job that has it continues', async () => {
    const fault = scenario.server.fault({
      on: 'clone',
      times: 1,
      behave: { kind: 'stall', afterBytes: 10_000, forMs: 2_500 },
    });
    const holder = target(scenario);
    const holding = start(holder.job.startMain());
    await waitUntil(() => fault.applied > 0, { timeoutMs: 20_000 });

    const at = target(scenario, { path: holder.path });
    const step = start(at.job.startMain());
    await step.waitForLine(/waiting for it/);
    const result = await cancel(step, at);
    expect(failureOf(result)).toMatch(/cancelled/);
    await succeed(holding.finished);
    await expectMirrorOf(holder.path, scenario.upstream);
    await expectNextJobSucceeds(scenario, at);
  });

  test.each(
    chooseCases([
      ['before its first byte', { kind: 'delay', forMs: 600_000 }],
      ['within it', { kind: 'stall', afterBytes: 20 }],
    ] as const),
  )('while the probe stalls, %s', async (_, behave) => {
    const fault = scenario.server.fault({ on: 'probe', behave });
    const at = target(scenario);
    const step = start(at.job.startMain());
    await waitUntil(() => fault.applied > 0, { timeoutMs: 20_000 });
    await expectMainCancelled(step, at);
    await expectNextJobSucceeds(scenario, at);
  });

  test('while it waits to ask again', async () => {
    scenario.server.fault({ on: 'probe', behave: { kind: 'status', status: 503 } });
    const at = target(scenario);
    const step = start(at.job.startMain());
    await step.waitForLine(/trying again in/);
    await expectMainCancelled(step, at);
    await expectNextJobSucceeds(scenario, at);
  });

  test('while the clone stalls', async () => {
    scenario.server.fault({ on: 'clone', behave: { kind: 'stall', afterBytes: 500_000 } });
    const at = target(scenario);
    const step = start(at.job.startMain());
    await scenario.server.waitForRequest(({ bytesSent }) => bytesSent >= 500_000, 20_000);
    expect(readdirSync(dirname(at.path)).some((name) => name.includes('.staging-'))).toBe(true);
    await expectMainCancelled(step, at);
    expect(existsSync(at.path)).toBe(false);
    await expectNextJobSucceeds(scenario, at);
  });

  test('while the fetch into an existing mirror stalls: that mirror stays valid', async () => {
    scenario.server.fault({ on: 'fetch', behave: { kind: 'stall', afterBytes: 100_000 } });
    const at = target(scenario);
    cpSync(base, at.path, { recursive: true });
    const refs = await listRefs(at.path);
    const step = start(at.job.startMain());
    const packs = join(at.path, 'objects', 'pack');
    const isReceiving = (): boolean => readdirSync(packs).some((name) => name.startsWith('tmp_'));
    await waitUntil(isReceiving, { timeoutMs: 20_000, what: 'a pack that is received' });
    await expectMainCancelled(step, at);
    expect(await listRefs(at.path)).toEqual(refs);
    await git(at.path, [`--git-dir=${at.path}`, 'fsck', '--full', '--strict']);
    expect(Object.keys(await readTree(at.path))).toEqual(Object.keys(await readTree(base)));
    await expectNextJobSucceeds(scenario, at);
  });

  test('while the fetch after a restore stalls', async () => {
    scenario.server.fault({ on: 'fetch', behave: { kind: 'stall', afterBytes: 100_000 } });
    const at = target(scenario);
    cpSync(baseStore, at.store, { recursive: true });
    const step = start(at.job.startMain());
    await scenario.server.waitForRequest(({ bytesSent }) => bytesSent >= 100_000, 20_000);
    await expectMainCancelled(step, at);
    expect(existsSync(at.path)).toBe(false);
    await expectNextJobSucceeds(scenario, at);
  });

  test.each(chooseCases(['version', 'ls-remote', 'cat-file', 'rev-list']))(
    'while git %s hangs',
    async (command) => {
      const at = target(scenario, { environment: withStubbornGit() });
      cpSync(baseStore, at.store, { recursive: true });
      const step = await letGitHang(() => at.job.startMain(), command);
      const result = await cancel(step, at);
      expect(failureOf(result)).toMatch(/cancelled/);
      await expectNextJobSucceeds(scenario, at);
    },
  );

  test('while git hangs and ignores SIGTERM: it is killed in time', async () => {
    const at = target(scenario, { environment: withStubbornGit() });
    cpSync(baseStore, at.store, { recursive: true });
    const step = await letGitHang(() => at.job.startMain(), 'fetch', 'deaf');
    await expectMainCancelled(step, at);
    await expectNextJobSucceeds(scenario, at);
  });

  test('while a snapshot is copied', async () => {
    await bulkyScenario.run();
    for (let attempt = 1; ; attempt++) {
      const at = target(bulkyScenario);
      cpSync(bulkyScenario.store, at.store, { recursive: true });
      const step = start(at.job.startMain());
      const isHalf = await stopWhileCopying(step, () => dirname(at.path));
      if (!isHalf && attempt < 10) {
        resumeProcess(step.pid);
        await step.finished;
        continue;
      }
      expect(isHalf).toBe(true);
      await expectMainCancelled(step, at);
      expect(existsSync(at.path)).toBe(false);
      await expectNextJobSucceeds(bulkyScenario, at);
      return;
    }
  });
});

onPosix('post', () => {
  /** Post tells that it was cancelled, and what it was about to save is nowhere. */
  async function expectPostCancelled(step: RunningStep, at: Target): Promise<void> {
    const result = await cancel(step, at);
    expect(result.exitCode).toBe(0);
    expect(verdict(result)).toMatch(/^Nothing saved: .*cancelled/);
    expect(result.annotations.map(({ level }) => level)).not.toContain('error');
    const files = Object.keys(await readStore(at.store));
    expect(files.filter((name) => /\/tmp\/./.test(name))).toEqual([]);
  }

  async function mainOf(at: Target): Promise<Record<string, string>> {
    cpSync(baseStore, at.store, { recursive: true });
    await succeed(at.job.main());
    return readStore(at.store);
  }

  test('while it waits for the lock', async () => {
    const at = target(scenario);
    const before = await mainOf(at);
    await addCommits(scenario.upstream, { commits: 5, files: 20, fileBytes: 40_000 });
    scenario.server.resetCounters();
    scenario.server.fault({ on: 'fetch', behave: { kind: 'stall', afterBytes: 10_000 } });
    const holder = target(scenario, { path: at.path, inputs: { 'disk-path': at.store } });
    const holding = start(holder.job.startMain());
    await scenario.server.waitForRequest(({ bytesSent }) => bytesSent >= 10_000, 20_000);

    const step = start(at.job.startPost());
    await sleep(1_000);
    await expectPostCancelled(step, at);
    expect(await readStore(at.store)).toEqual(before);
    await cancel(holding, holder);
    await expectNextJobSucceeds(scenario, at);
  });

  test.each(
    chooseCases([
      ['version', ''],
      ['rev-list', ''],
      ['rev-list', 'deaf'],
    ]),
  )('while git %s hangs %s', async (command, manner) => {
    const at = target(scenario, { environment: withStubbornGit() });
    const before = await mainOf(at);
    const step = await letGitHang(() => at.job.startPost(), command, manner);
    await expectPostCancelled(step, at);
    expect(await readStore(at.store)).toEqual(before);
    await expectNextJobSucceeds(scenario, at);
  });

  test('while a layer is copied to the store: nothing of it is seen', async () => {
    for (let attempt = 1; ; attempt++) {
      const at = target(bulkyScenario);
      await succeed(at.job.main());
      const step = start(at.job.startPost());
      const isHalf = await stopWhileCopying(step, () => at.store);
      if (!isHalf && attempt < 10) {
        resumeProcess(step.pid);
        await step.finished;
        continue;
      }
      expect(isHalf).toBe(true);
      await expectPostCancelled(step, at);
      const files = Object.entries(await readStore(at.store));
      expect(files.filter(([, what]) => what !== 'folder')).toEqual([]);
      await expectNextJobSucceeds(bulkyScenario, at);
      return;
    }
  });
});
