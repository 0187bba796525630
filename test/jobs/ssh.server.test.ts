/**
 * The mirror over SSH, with a real sshd. It needs openssh-server and root (see
 * test/support/git-server/ssh-server.ts), so it is left out of `npm test`; where they are missing it fails.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  createJob,
  type Job,
  type JobOptions,
  type RunningStep,
  type StepResult,
} from '../support/action-runner.ts';
import { truncate } from '../support/corruption.ts';
import { git } from '../support/git.ts';
import { isRunning, runProcess, waitUntil } from '../support/processes.ts';
import { addCommits, createRepository, repositorySizes } from '../support/repository-fixture.ts';
import { createKey, startSshServer, type SshServer } from '../support/git-server/ssh-server.ts';
import { createTemporaryDirectory, removeDirectory } from '../support/temporary-directory.ts';
import {
  outputsOfMirror,
  expectMirrorOf,
  failureOf,
  succeed,
  verdict,
} from './scenarios/scenario.ts';
import { link, outcomesOf } from './scenarios/submodule-scenario.ts';

let root: string;
let server: SshServer;
let key: string;
/** Nobody lets it in. */
let wrongKey: string;
let upstream: string;
let machines = 0;
const running: RunningStep[] = [];

beforeAll(async () => {
  root = await createTemporaryDirectory('ssh');
  server = await startSshServer({ folder: join(root, 'server') });
  mkdirSync(join(root, 'keys'));
  key = await createKey(join(root, 'keys', 'right'));
  wrongKey = await createKey(join(root, 'keys', 'wrong'));
  server.authorize(join(root, 'keys', 'right.pub'));
  upstream = await createUpstream('owner/name');
});

afterEach(async () => {
  for (const step of running.splice(0)) {
    step.kill();
    await step.finished;
  }
  server.behave({ kind: 'serve' });
});

afterAll(async () => {
  // eslint-disable-next-line @typescript-eslint/no-unnecessary-condition -- it may not have started
  await server?.stop();
  await removeDirectory(root);
});

async function createUpstream(name: string): Promise<string> {
  const directory = join(server.repositories, `${name}.git`);
  await createRepository(directory, repositorySizes.small);
  return directory;
}

/** All that a job leaves is below this; the server and the keys are not. */
function newMachine(): string {
  machines += 1;
  return join(root, 'machines', `machine-${machines}`);
}

function startJob(options: Partial<JobOptions> & { at?: SshServer } = {}): Job {
  const { at = server, ...rest } = options;
  const machine = options.root ?? newMachine();
  const store = join(root, 'machines', 'store');
  mkdirSync(store, { recursive: true });
  return createJob({
    repository: 'owner/name',
    serverUrl: `https://${at.host}:8443/web`,
    token: 'ghs_unused',
    ...rest,
    root: machine,
    inputs: {
      'ssh-key': key,
      'ssh-known-hosts': at.knownHosts,
      'ssh-user': 'root',
      'disk-path': store,
      ...options.inputs,
    },
  });
}

/** A job that shares nothing with the others, with a store of its own. */
function lonelyJob(options: Parameters<typeof startJob>[0] = {}): Job {
  const machine = options.root ?? newMachine();
  const store = join(machine, 'store');
  mkdirSync(store, { recursive: true });
  return startJob({ ...options, root: machine, inputs: { 'disk-path': store, ...options.inputs } });
}

function start(step: RunningStep): RunningStep {
  running.push(step);
  return step;
}

const mirrorOf = (main: StepResult): string => main.outputs['mirror-path'] ?? '';

/** Private folders of the job that are there. */
function keyFolders({ temp }: Job): string[] {
  return readdirSync(temp)
    .filter((name) => name.startsWith('mirror-action-ssh-'))
    .map((name) => join(temp, name));
}

/** The key by what is secret in it: its lines after the first, which all keys begin with. */
function secretsOf(privateKey: string): string[] {
  const lines = privateKey.split('\n').filter((line) => !line.startsWith('-----') && line !== '');
  const body = Buffer.from(lines.join(''), 'base64');
  // Around the middle of an ed25519 key are its 32 secret bytes.
  return [...lines.slice(1), body.toString('hex').slice(200, 400), encodeURIComponent(lines[1]!)];
}

function findIn(text: string | Buffer, privateKey = key): string[] {
  const bytes = typeof text === 'string' ? Buffer.from(text) : text;
  return secretsOf(privateKey).filter((secret) => bytes.includes(secret));
}

function filesThatTell(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((file) => findIn(readFileSync(file)).length > 0);
}

/** Names and environments of what a job has started: all of it inherits its HOME. */
function processesOf({ home }: Job): { name: string; commandLine: string; environment: string }[] {
  const read = (pid: string, file: string): string => {
    try {
      return readFileSync(`/proc/${pid}/${file}`, 'latin1');
    } catch {
      return ''; // it has ended meanwhile
    }
  };
  return readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid))
    .map((pid) => {
      const commandLine = read(pid, 'cmdline');
      const name = basename(commandLine.split('\0')[0] ?? '');
      return { name, commandLine, environment: read(pid, 'environ') };
    })
    .filter(({ environment }) => environment.split('\0').includes(`HOME=${home}`));
}

async function expectNothingRuns(job: Job): Promise<void> {
  const isOver = () => processesOf(job).length === 0;
  const what = 'the end of all processes of the job';
  await waitUntil(isOver, { timeoutMs: 10_000, what }).catch((error: unknown) => {
    const left = processesOf(job).map(({ commandLine }) => commandLine.replaceAll('\0', ' '));
    throw new Error(`there are still ${left.join('\n')}`, { cause: error });
  });
}

describe('a mirror over SSH', () => {
  test('is cloned, saved, restored with new commits, and used again', async () => {
    const cold = startJob();
    const first = await succeed(cold.main());
    expect(first.outputs).toMatchObject({ provenance: 'cloned', recloned: 'false' });
    await expectMirrorOf(mirrorOf(first), upstream);
    expect(verdict(await succeed(cold.post()))).toMatch(/^Saved snapshot 1-/);

    await addCommits(upstream);
    const machine = newMachine();
    const warm = startJob({ root: machine });
    const second = await succeed(warm.main());
    expect(second.outputs).toMatchObject({ provenance: 'restored', 'cache-hit': 'true' });
    await expectMirrorOf(mirrorOf(second), upstream);
    expect(verdict(await succeed(warm.post()))).toMatch(/^Saved snapshot 2-/);

    await addCommits(upstream);
    const third = await succeed(startJob({ root: machine }).main());
    expect(third.outputs).toMatchObject({ provenance: 'existing' });
    expect(mirrorOf(third)).toBe(mirrorOf(second));
    await expectMirrorOf(mirrorOf(third), upstream);
    for (const step of [first, second, third]) expect(step.annotations).toEqual([]);
    // The URL that actions/checkout would have, without the port and path of the web server.
    expect(first.log).toContain(`root@${server.host}:owner/name.git`);
    expect(new Set(server.sessions.map(({ command }) => command))).toEqual(
      new Set(["git-upload-pack 'owner/name.git'"]),
    );
    expect(new Set(server.sessions.map(({ protocol }) => protocol))).toEqual(
      new Set(['version=2']),
    );
  });

  test('primes a workspace whose remote is what actions/checkout writes', async () => {
    const job = lonelyJob();
    await succeed(job.main());
    const url = await git(job.workspace, ['remote', 'get-url', 'origin']);
    expect(url).toBe(`root@${server.host}:owner/name.git`);
    expect(filesThatTell(job.workspace)).toEqual([]);
  });

  test('primes submodules with the same key, by the URLs that git resolves', async () => {
    const directory = await createUpstream('owner/with-submodules');
    const submodule = await createUpstream('owner/submodule');
    const commit = await git(submodule, ['rev-parse', 'main']);
    const sha = await link(directory, [
      { path: 'relative', url: '../submodule.git', commit },
      { path: 'absolute', url: `root@${server.host}:owner/submodule`, commit },
      { path: 'https', url: `https://${server.host}/owner/submodule`, commit },
    ]);
    const job = lonelyJob({
      repository: 'owner/with-submodules',
      sha,
      inputs: { submodules: 'true' },
    });
    const main = await succeed(job.main());
    const elsewhere = expect.stringMatching(/^left: is not on root@/);
    expect(outcomesOf(main)).toEqual({ relative: 'cloned', absolute: 'cloned', https: elsewhere });
    const urls = {
      relative: `root@${server.host}:owner/submodule.git`,
      absolute: `root@${server.host}:owner/submodule`,
    };
    for (const [name, url] of Object.entries(urls)) {
      const module = join(job.workspace, '.git', 'modules', name);
      expect(await git(module, ['config', 'remote.origin.url'])).toBe(url);
      expect(await git(module, ['rev-parse', 'HEAD'])).toBe(commit);
    }
    expect(filesThatTell(job.workspace)).toEqual([]);
    expect(outcomesOf(await succeed(job.post()))).toEqual({ relative: 'published' });
  });

  test('from a server that knows only the first protocol', async () => {
    const old = await startSshServer({ folder: join(root, 'old-server'), acceptsProtocol: false });
    try {
      old.authorize(join(root, 'keys', 'right.pub'));
      const directory = join(old.repositories, 'owner/name.git');
      await createRepository(directory, repositorySizes.small);
      const machine = newMachine();
      const first = await succeed(lonelyJob({ at: old, root: machine }).main());
      await expectMirrorOf(mirrorOf(first), directory);
      await addCommits(directory);
      const second = await succeed(lonelyJob({ at: old, root: machine }).main());
      expect(second.outputs).toMatchObject({ provenance: 'existing' });
      await expectMirrorOf(mirrorOf(second), directory);
      expect(old.sessions.every(({ protocol }) => protocol === '')).toBe(true);
    } finally {
      await old.stop();
    }
  });

  test('in folders of any name', async () => {
    const store = join(newMachine(), 'store');
    mkdirSync(store, { recursive: true });
    const inputs = { 'disk-path': store };
    const job = lonelyJob({
      inputs,
      root: join(newMachine(), `it's "odd" %h $HOME \${HOME} \`id\` \\`),
    });
    const main = await succeed(job.main());
    await expectMirrorOf(mirrorOf(main), upstream);
    expect(verdict(await succeed(job.post()))).toMatch(/^Saved snapshot/);
  });

  test.each([
    ['rsa, PEM', ['-t', 'rsa', '-b', '2048', '-m', 'PEM', '-N', '']],
    ['rsa', ['-t', 'rsa', '-b', '2048', '-N', '']],
    ['ecdsa, PKCS8', ['-t', 'ecdsa', '-m', 'PKCS8', '-N', '']],
  ])('with a key of another kind: %s, with the line ends of Windows', async (kind, options) => {
    const file = join(root, 'keys', kind.replaceAll(/\W/g, '-'));
    const other = await createKey(file, ...options);
    server.authorize(`${file}.pub`);
    const inputs = { 'ssh-key': `\r\n${other.replaceAll('\n', '\r\n')}\r\n` };
    await succeed(lonelyJob({ inputs }).main());
  });

  test("is not in the way of a user's configuration of git", async () => {
    const job = lonelyJob();
    const ran = join(job.home, 'ran');
    const settings = [
      `[core]\n\tsshCommand = touch ${ran}; false`,
      '[ssh]\n\tvariant = plink',
      '[protocol "ssh"]\n\tallow = never',
    ];
    writeFileSync(join(job.home, '.gitconfig'), settings.join('\n'));
    await succeed(job.main());
    expect(existsSync(ran)).toBe(false);
  });
});

describe('what the step says of', () => {
  /** Main fails by that, post has nothing to do, and no key is left by main. */
  async function expectFailure(job: Job, message: RegExp): Promise<StepResult> {
    const main = await job.main();
    expect(failureOf(main)).toMatch(message);
    expect(outputsOfMirror(main)).toEqual({});
    expect(keyFolders(job)).toEqual([]);
    expect(findIn(main.log + main.summary)).toEqual([]);
    expect(verdict(await succeed(job.post()))).toMatch(/the fetch did not succeed/);
    return main;
  }

  test('a key that the server does not know', async () => {
    const job = lonelyJob({ inputs: { 'ssh-key': wrongKey } });
    const main = await expectFailure(job, /refused the key.*Permission denied.*`ssh-key`/);
    expect(findIn(main.log, wrongKey)).toEqual([]);
    expect(main.log).not.toContain('trying again');
  });

  test('a user that the server does not know', async () => {
    const job = lonelyJob({ inputs: { 'ssh-user': '' } });
    await expectFailure(job, /refused the key.*git@127.*Permission denied.*`ssh-user`/);
  });

  test('a text that only looks like a key', async () => {
    const lines = key.trim().split('\n');
    const inputs = { 'ssh-key': [lines[0], lines[2], lines.at(-1)].join('\n') };
    await expectFailure(lonelyJob({ inputs }), /cannot use the key.*Load key "key".*`ssh-key`/);
  });

  test('a key that is half, and one with a passphrase, before it is written', async () => {
    const half = lonelyJob({ inputs: { 'ssh-key': key.slice(0, 200) } });
    await expectFailure(half, /`ssh-key` is not a whole private key/);
    const locked = join(root, 'keys', 'locked');
    const options = ['-t', 'ed25519', '-N', 'secret'];
    const inputs = { 'ssh-key': await createKey(locked, ...options) };
    await expectFailure(lonelyJob({ inputs }), /`ssh-key` is protected by a passphrase/);
  });

  test('a host that nobody knows', async () => {
    const job = lonelyJob({ inputs: { 'ssh-known-hosts': '' } });
    await expectFailure(job, /host key is unknown.*verification failed.*`ssh-known-hosts`/);
  });

  test('a host that has another key, whether it is to be strict or not', async () => {
    const other = await createKey(join(root, 'keys', `host-${machines}`)).then(() =>
      readFileSync(join(root, 'keys', `host-${machines}.pub`), 'utf8'),
    );
    for (const strict of ['true', 'false']) {
      const inputs = { 'ssh-known-hosts': `${server.host} ${other}`, 'ssh-strict': strict };
      await expectFailure(
        lonelyJob({ inputs }),
        /host key is unknown, or is not the known one.*`ssh-known-hosts`/,
      );
    }
  });

  test('a repository that is not there, in the words of GitHub and of git', async () => {
    const repository = 'owner/other';
    await expectFailure(lonelyJob({ repository }), /no such repository.*Repository not found/);
    mkdirSync(join(server.repositories, `${repository}.git`), { recursive: true });
    await expectFailure(lonelyJob({ repository }), /no such repository.*appear to be a git repo/);
  });

  test('an upstream that is damaged, whose words come without a mark', async () => {
    const directory = await createUpstream('owner/damaged');
    const packs = join(directory, 'objects', 'pack');
    const pack = readdirSync(packs).find((name) => name.endsWith('.pack')) ?? '';
    truncate(join(packs, pack), 40_000);
    await expectFailure(lonelyJob({ repository: 'owner/damaged' }), /upstream itself is damaged/);
  });

  test('a server that says something else', async () => {
    server.behave({ kind: 'refuse', stderr: 'FATAL: R any name root DENIED by fallthru\n' });
    await expectFailure(lonelyJob(), /git says: FATAL: R any name root DENIED by fallthru/);
  });

  test('a server that is not there, or has no such name', async () => {
    const serverUrl = 'https://127.23.1.1';
    await expectFailure(lonelyJob({ serverUrl }), /could not be reached.*Connection refused/);
    const nowhere = lonelyJob({ serverUrl: 'https://nowhere.invalid' });
    await expectFailure(nowhere, /could not be reached.*Could not resolve hostname/);
  });

  test('a machine without ssh', async () => {
    const bin = join(newMachine(), 'bin');
    mkdirSync(bin, { recursive: true });
    const { stdout } = await runProcess('/bin/sh', ['-c', 'command -v git']);
    symlinkSync(stdout.trim(), join(bin, 'git'));
    const job = lonelyJob({ environment: { PATH: bin } });
    await expectFailure(job, /ssh is not on PATH, and a private key needs it/);
  });

  test("a user's insteadOf does not lead away from SSH", async () => {
    const job = lonelyJob();
    const redirect = `[url "https://127.23.1.1/"]\n\tinsteadOf = root@${server.host}:\n`;
    writeFileSync(join(job.home, '.gitconfig'), redirect);
    await expectMirrorOf(mirrorOf(await succeed(job.main())), upstream);
  });
});

describe('a host that the input does not name', () => {
  test('is accepted where it need not be strict', async () => {
    const inputs = { 'ssh-known-hosts': '', 'ssh-strict': 'false' };
    const main = await succeed(lonelyJob({ inputs }).main());
    expect(main.annotations).toEqual([]);
    await expectMirrorOf(mirrorOf(main), upstream);
  });

  test('is known where the user of the machine knows it', async () => {
    const job = lonelyJob({ inputs: { 'ssh-known-hosts': '' } });
    mkdirSync(join(job.home, '.ssh'));
    writeFileSync(join(job.home, '.ssh', 'known_hosts'), server.knownHosts.trimEnd());
    await succeed(job.main());
    expect(readdirSync(join(job.home, '.ssh'))).toEqual(['known_hosts']);
  });
});

describe('the key', () => {
  /** Main, at work on a fetch that stalls. */
  async function startStalled(job: Job): Promise<RunningStep> {
    server.behave({ kind: 'stall', afterBytes: 300_000 });
    const step = start(job.startMain());
    await Promise.race([server.waitForStall(), step.finished]);
    return step;
  }

  /** Where it is while ssh runs: in two files that nobody else can read. */
  function expectKeyIsPrivate(job: Job): void {
    const [folder = '', ...others] = keyFolders(job);
    expect(others).toEqual([]);
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    expect(readdirSync(folder).sort()).toEqual(['key', 'known_hosts']);
    for (const name of readdirSync(folder)) {
      expect(statSync(join(folder, name)).mode & 0o777).toBe(0o600);
    }
    expect(readFileSync(join(folder, 'key'), 'utf8')).toBe(key);
    expect(filesThatTell(job.temp)).toEqual([join(folder, 'key')]);
    expect(processesOf(job).map(({ name }) => name)).toContain('ssh');
  }

  test('is gone after a cancel, and so is ssh', async () => {
    const job = lonelyJob();
    const step = await startStalled(job);
    expectKeyIsPrivate(job);
    const result = await step.cancel();
    expect(failureOf(result)).toMatch(/cancelled/);
    expect(keyFolders(job)).toEqual([]);
    expect(processesOf(job)).toEqual([]);
    expect(filesThatTell(job.temp)).toEqual([]);

    server.behave({ kind: 'serve' });
    await succeed(job.post());
    await succeed(lonelyJob().main());
  });

  test('is gone after post, where main was killed; and so is ssh, at once', async () => {
    const job = lonelyJob();
    const step = await startStalled(job);
    step.kill();
    expect((await step.finished).signal).toBe('SIGKILL');
    await expectNothingRuns(job);
    // Nobody was left to remove it.
    expect(keyFolders(job)).toHaveLength(1);
    // Even where post can do nothing else.
    job.setInputs({ verify: 'nonsense' });
    const post = await succeed(job.post());
    expect(post.log).toContain('Removed the SSH key that a killed step left behind');
    expect(verdict(post)).toMatch(/the fetch did not succeed/);
    expect(keyFolders(job)).toEqual([]);
    expect(filesThatTell(job.temp)).toEqual([]);
  });

  test('is gone after success, before post', async () => {
    const job = lonelyJob();
    await succeed(job.main());
    expect(keyFolders(job)).toEqual([]);
    const post = await succeed(job.post());
    expect(post.log).not.toContain('SSH key');
  });

  test('is gone where main fails after it was written', async () => {
    const inputs = { 'disk-path': join(root, 'no-such-folder') };
    const job = lonelyJob({ inputs });
    expect(failureOf(await job.main())).toMatch(/no-such-folder/);
    expect(keyFolders(job)).toEqual([]);
  });

  test('is nowhere: not in logs, files, command lines or environments', async () => {
    const machine = newMachine();
    const told = new Set<string>();
    const seen = new Set<string>();
    const watch = async (step: RunningStep, job: Job): Promise<StepResult> => {
      start(step);
      while (isRunning(step.pid)) {
        for (const { name, commandLine, environment } of processesOf(job)) {
          seen.add(name);
          if (findIn(commandLine).length > 0) told.add(commandLine);
          // The step itself gets its inputs so.
          const isStep = name === basename(process.execPath);
          if (!isStep && findIn(environment).length > 0) told.add(`${name}'s environment`);
        }
        await sleep(2);
      }
      return succeed(step.finished);
    };
    const environment = { RUNNER_DEBUG: '1', GIT_TRACE: '1', GIT_SSH_COMMAND: 'false' };
    for (const hasChanged of [false, true]) {
      if (hasChanged) await addCommits(upstream);
      server.behave({ kind: 'slow', bytesPerSecond: 1_000_000 });
      const job = lonelyJob({ root: machine, environment });
      const steps = [await watch(job.startMain(), job), await watch(job.startPost(), job)];
      for (const { log, summary, outputs, state, annotations, masks } of steps) {
        expect(findIn(log + summary + JSON.stringify([outputs, state, annotations]))).toEqual([]);
        // Line by line, as the runner masks; what is not masked is in every key.
        const lines = key.trim().split('\n').slice(1, -1);
        expect(masks).toEqual(lines);
      }
    }
    expect([...told]).toEqual([]);
    for (const name of ['git', 'ssh']) expect([...seen]).toContain(name);
    expect(filesThatTell(machine)).toEqual([]);
  });
});

describe('sshd is killed in the middle of a fetch', () => {
  test('the connection alone: the try after it succeeds', async () => {
    server.behave({ kind: 'stall', afterBytes: 300_000 });
    const job = lonelyJob();
    const step = start(job.startMain());
    await server.waitForStall();
    server.behave({ kind: 'serve' });
    server.endSessions();
    const main = await succeed(step.finished);
    expect(main.log).toMatch(/could not be reached, or the connection broke.*trying again/);
    expect(main.outputs).toMatchObject({ provenance: 'cloned', recloned: 'false' });
    await expectMirrorOf(mirrorOf(main), upstream);
  });

  test('and does not come back: main fails, the mirror on the machine stays', async () => {
    const machine = newMachine();
    const before = await succeed(lonelyJob({ root: machine }).main());
    await addCommits(upstream, { commits: 5, files: 20, fileBytes: 40_000 });
    server.behave({ kind: 'stall', afterBytes: 300_000 });
    const job = lonelyJob({ root: machine });
    const step = start(job.startMain());
    await server.waitForStall();
    await server.stop();
    try {
      const main = await step.finished;
      expect(failureOf(main)).toMatch(
        /could not be reached, or the connection broke.*Connection refused/,
      );
      expect(keyFolders(job)).toEqual([]);
      expect(processesOf(job)).toEqual([]);
    } finally {
      await server.start();
    }
    server.behave({ kind: 'serve' });
    const after = await succeed(lonelyJob({ root: machine }).main());
    expect(after.outputs).toMatchObject({
      provenance: 'existing',
      'mirror-path': mirrorOf(before),
    });
    await expectMirrorOf(mirrorOf(after), upstream);
  });
});

describe('a shallow upstream', () => {
  const cases = (['sha1', 'sha256'] as const).flatMap((format) =>
    (['cloned', 'existing', 'restored'] as const).map(
      (provenance) => [provenance, format] as const,
    ),
  );

  test.each(cases)('fails a %s mirror, %s, and is named', async (provenance, objectFormat) => {
    const repository = `owner/shallow-${provenance}-${objectFormat}`;
    const directory = join(server.repositories, `${repository}.git`);
    await createRepository(directory, { ...repositorySizes.tiny, objectFormat });
    const first = lonelyJob({ repository });
    if (provenance !== 'cloned') {
      await succeed(first.main());
      expect(verdict(await succeed(first.post()))).toMatch(/^Saved snapshot 1-/);
    }
    await addCommits(directory, { commits: 3 });
    renameSync(directory, `${directory}.full`);
    await git(root, ['clone', '-q', '--bare', '--depth=1', `file://${directory}.full`, directory]);
    const job = startJob({
      ...{ repository, workspace: 'unprimed' },
      root: provenance === 'restored' ? newMachine() : join(first.temp, '../../../..'),
      inputs: { 'disk-path': join(first.temp, '../../../..', 'store') },
    });
    const main = await job.main();
    expect(failureOf(main)).toContain('is a shallow repository');
    expect(existsSync(join(job.workspace, '.git'))).toBe(false);
    expect(verdict(await succeed(job.post()))).toMatch(/^Nothing saved/);
  });
});
