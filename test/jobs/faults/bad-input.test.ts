/**
 * Input and surroundings that cannot work: a message that names what is wrong, before git starts
 * where that can be known, and nothing that was there is changed.
 */
import { beforeAll, describe, expect, test } from '@jest/globals';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, delimiter, dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Job, JobOptions } from '../../support/action-runner.ts';
import { git } from '../../support/git.ts';
import { createRandom, testSeed } from '../../support/random.ts';
import { addCommits, repositorySizes } from '../../support/repository-fixture.ts';
import { chooseCases, IS_SAMPLE } from '../scenarios/rounds.ts';
import {
  outputsOfMirror,
  expectMirrorOf,
  failureOf,
  readTree,
  succeed,
  useScenarios,
  verdict,
  type Scenario,
} from '../scenarios/scenario.ts';

const scenarios = useScenarios();
const isPosix = process.platform !== 'win32';
const onPosix = isPosix ? describe : describe.skip;
const isRoot = process.getuid?.() === 0;
/** Any user but root. */
const STRANGER = 65_534;

let scenario: Scenario;
/** A mirror that lacks upstream's new commits. */
let base: string;
/** A folder with a git that writes down that it was started. */
let watchedGit: string;

beforeAll(async () => {
  scenario = await scenarios.create(repositorySizes.tiny);
  base = (await scenario.run()).mirror;
  await addCommits(scenario.upstream);
  watchedGit = isPosix ? createWatchedGit() : '';
});

function createWatchedGit(): string {
  const folder = join(scenario.root, 'watched');
  mkdirSync(folder);
  const script = `#!/bin/sh\necho "$@" >>'${join(folder, 'calls')}'\nexec '${findGit()}' "$@"\n`;
  writeFileSync(join(folder, 'git'), script, { mode: 0o755 });
  return folder;
}

function findGit(): string {
  return execFileSync('/bin/sh', ['-c', 'command -v git'], { encoding: 'utf8' }).trim();
}

function watching(): Record<string, string> {
  scenario.server.resetCounters();
  if (!isPosix) return {};
  rmSync(join(watchedGit, 'calls'), { force: true });
  return { PATH: `${watchedGit}${delimiter}${process.env['PATH'] ?? ''}` };
}

function expectGitNotStarted(): void {
  expect(existsSync(join(watchedGit, 'calls'))).toBe(false);
  expect(scenario.server.requests).toEqual([]);
}

/** All that a failed step must leave as it is; the runner's own folder is the job's to use. */
async function everything(job: Job): Promise<Record<string, string>[]> {
  return Promise.all([scenario.store, job.runnerWorkspace, job.home, base].map(readTree));
}

type Inputs = Record<string, string>;

/** Main ends with an error, which is given, and has changed and told nothing. */
async function fail(inputs: Inputs, options: Partial<JobOptions> = {}): Promise<string> {
  const job = scenario.job({ ...options, inputs });
  const before = await everything(job);
  const step = await job.main();
  expect(await everything(job)).toEqual(before);
  expect(outputsOfMirror(step)).toEqual({});
  expect(step.state).toEqual({});
  return failureOf(step);
}

const hostileTexts = ['--upload-pack=touch /tmp/x', 'ext::sh -c touch% /tmp/x', 'a\u0007b', 'a\nb'];

const notAllowed: Record<string, string[]> = {
  repository: [
    ...hostileTexts,
    'owner',
    'owner/',
    '/owner/name',
    'owner/../name',
    '../name',
    'owner/-name',
    '--upload-pack=x/y',
    'owner/na me',
    'owner/name?x=1',
    'owner/name#x',
    'me:secret@host/name',
    'https://github.com/owner/name',
  ],
  'github-server-url': [
    ...hostileTexts,
    'github.com',
    'ssh://git@github.com',
    'git@github.com:owner',
    'file:///etc',
    'https://',
    'https://github.com/?x=1',
    'https://github.com/#x',
    'https://user@github.com',
  ],
  token: ['a\u0007b', 'a\nb', 'a\rb', 'a\u007fb'],
  'ssh-key': ['a\u0007b', 'ssh-ed25519 AAAAC3Nz me@host', 'hello'],
  'ssh-known-hosts': ['a\u0007b', 'hello'],
  'ssh-strict': ['yes', '1', 'a\u0007b'],
  'ssh-user': ['-oProxyCommand=x', 'a b', 'me@host', 'a\u0007b'],
  refs: [
    ...hostileTexts,
    'HEAD',
    'main',
    'refs/heads/*:refs/remotes/origin/*',
    'refs/heads/*/*',
    'refs/heads/a..b',
    '^refs/heads/*',
    '+refs/heads/*:refs/heads/*\n--upload-pack=touch /tmp/x',
    'all\nrefs/heads/*',
  ],
  'mirror-path': ['a\u0007b', 'a\nb', '.', '..', '../..', '/', '~other/x', '$HOME/x', 'nfs:/x'],
  prime: ['a\u0007b', 'yes', 'tRUE', 'Auto'],
  path: ['a\u0007b', 'a\nb', '..', '/', '.git', 'a/.GIT/b'],
  store: ['--upload-pack=x', 'a\u0007b', 's3', 'actions-cache', 'Disk'],
  's3-bucket': ['a\u0007b', '-b-b', 'a/b', 's3://bucket', '--upload-pack=x'],
  's3-prefix': ['a\u0007b', 'a//b', 'a/../b', 'a b'],
  's3-region': ['a\u0007b', 'eu central', '--region'],
  's3-endpoint': ['a\u0007b', 's3.example.org', 'ftp://s3.example.org', 'https://h/?a=b'],
  's3-force-path-style': ['a\u0007b', 'yes', '1'],
  'disk-path': [
    ...['a\u0007b', 'a\nb', '/no/such/folder', '--upload-pack=touch /tmp/x', 'store', '../store'],
    ...['~other/store', '$HOME/store', '/mnt/${USER}', 'nfs:/export', 'file:///mnt/store'],
  ],
  'cache-key': ['a\u0007b', 'a\nb', 'x'.repeat(513)],
  'lock-timeout': ['a\u0007b', 'soon', '-1', '1.5h', '1d', '99999999', '10m\n10m'],
  'fetch-timeout': ['--upload-pack=x', '0', '0s', '-1s'],
  'stall-timeout': ['--upload-pack=x', 'never', '-1s'],
  'fetch-depth': ['a\u0007b', '2', '-1', 'all', '--depth=1'],
  lfs: ['a\u0007b', 'yes', '1', '--all'],
  submodules: ['a\u0007b', 'yes', 'recursively', '--recursive'],
  'cache-private-submodules': ['a\u0007b', 'yes', '1'],
  verify: ['a\u0007b', 'none', 'Full'],
  publish: ['--upload-pack=x', 'main', 'Early', 'true'],
  save: ['--upload-pack=x', 'yes', 'true'],
  'job-total': ['a\u0007b', '0', 'two', '1001'],
  'max-snapshots': ['a\u0007b', '0', '-1', '1.5', 'three', '1001'],
};

const random = createRandom(testSeed());

/** The first and another one, since each takes a whole job; all of them in a soak. */
function chooseFrom([first = '', ...others]: readonly string[]): readonly string[] {
  return IS_SAMPLE ? [first, random.pick(others)] : [first, ...others];
}

test('every input has values that are not allowed', () => {
  expect(Object.keys(notAllowed).sort()).toEqual(
    [...scenario.job().definition.inputs.keys()].sort(),
  );
});

describe.each(chooseCases(Object.entries(notAllowed)))('%s', (name, values) => {
  // They are asked for only where the store is a bucket; nobody is at home there.
  const isOfBucket = name.startsWith('s3-');
  const others: Record<string, string> = isOfBucket
    ? { 'disk-path': '', 's3-bucket': 'bucket', 's3-endpoint': 'http://127.0.0.1:9' }
    : {};
  const secrets = { AWS_ACCESS_KEY_ID: 'id', AWS_SECRET_ACCESS_KEY: 'secret' };

  test('what is not allowed fails before git starts, and is named', async () => {
    for (const value of chooseFrom(values)) {
      const message = await fail({ ...others, [name]: value }, { environment: watching() });
      expect(`${JSON.stringify(value)}: ${message}`).toContain(`\`${name}\``);
      // eslint-disable-next-line no-control-regex -- a terminal must not be played with
      expect(message).not.toMatch(/[\u0000-\u001f\u007f]/);
      expectGitNotStarted();
    }
  });

  test('not allowed any more when post runs: a warning that names it, nothing saved', async () => {
    const environment = { ...watching(), ...(isOfBucket ? secrets : {}) };
    const job = scenario.job({ environment, inputs: others });
    await succeed(job.main());
    watching();
    scenario.server.resetCounters();
    job.setInputs({ [name]: values[0] ?? '' });
    const before = await readTree(scenario.store);
    const post = await succeed(job.post());
    expect(verdict(post)).toContain(`\`${name}\``);
    expect(post.annotations).toMatchObject([{ level: 'warning' }]);
    expect(await readTree(scenario.store)).toEqual(before);
    expectGitNotStarted();
  });
});

describe("the runner's environment", () => {
  test.each([
    ['RUNNER_TEMP', ''],
    ['RUNNER_TEMP', 'relative/folder'],
    ['GITHUB_SERVER_URL', 'ext::sh -c touch% /tmp/x'],
  ])('%s=%s: fails before git starts, and is named', async (name, value) => {
    const message = await fail({}, { environment: { ...watching(), [name]: value } });
    expect(message).toContain(name === 'GITHUB_SERVER_URL' ? '`github-server-url`' : name);
    expectGitNotStarted();
  });

  test.each(['', 'relative/folder'])(
    'RUNNER_WORKSPACE=%s, as with act: the default mirror is next to the workspace',
    async (value) => {
      const { job, mirror } = await scenario.run({ environment: { RUNNER_WORKSPACE: value } });
      expect(dirname(mirror)).toBe(join(dirname(job.workspace), '_mirrors'));
      await expectMirrorOf(mirror, scenario.upstream);
      expect(existsSync(join(job.workspace, '.git'))).toBe(true);
    },
  );

  test('entries of PATH that nobody can search make no noise', async () => {
    const [file, loop] = [newPlace(), newPlace()];
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, 'no folder');
    symlinkSync(loop, loop);
    const path = [file, loop, join(scenario.root, 'not-there'), process.env['PATH']].join(
      delimiter,
    );
    const { main, post } = await scenario.run({ environment: { PATH: path } });
    for (const { log, annotations } of [main, post]) {
      expect(log).not.toMatch(/unexpected error|ENOTDIR|ELOOP|ENOENT/i);
      expect(annotations).toEqual([]);
    }
  });

  test('RUNNER_WORKSPACE is not needed where the mirror has a path', async () => {
    const path = newPlace();
    const options = { inputs: { 'mirror-path': path }, environment: { RUNNER_WORKSPACE: '' } };
    expect((await scenario.run(options)).mirror).toBe(path);
  });

  test('disk is asked for without a path: named, before git starts', async () => {
    const inputs = { store: 'disk', 'disk-path': '' };
    expect(await fail(inputs, { environment: watching() })).toContain('`disk-path`');
    expectGitNotStarted();
  });
});

onPosix('git', () => {
  test.each([
    ['is absent', undefined],
    ['is too old', 'git version 2.30.1'],
    ['is of another age', 'git version 1.8.3.1'],
    ['does not tell its version', 'Segmentation fault'],
  ])('%s: a clear error at once, in post a warning', async (what, announced) => {
    const folder = join(scenario.root, what);
    const file = join(folder, 'git');
    mkdirSync(folder);
    symlinkSync(findGit(), file);
    const job = scenario.job({ environment: { PATH: folder } });
    await succeed(job.main());

    rmSync(file);
    const script = `#!/bin/sh\necho '${announced ?? ''}'\n`;
    if (announced !== undefined) writeFileSync(file, script, { mode: 0o755 });
    scenario.server.resetCounters();
    const before = await readTree(scenario.store);
    expect(verdict(await succeed(job.post()))).toMatch(/^Nothing saved: git .*install git 2\.32/);
    expect(await readTree(scenario.store)).toEqual(before);
    const message = await fail({}, { environment: { PATH: folder } });
    expect(message).toMatch(/^git .*install git 2\.32 or newer/);
    expect(scenario.server.requests).toEqual([]);
  });
});

/** The folder that a step gets as its `mirror-path`, in a folder of its own. */
function newPlace(): string {
  const folder = join(scenario.newMachine(), 'mirrors');
  mkdirSync(folder, { recursive: true });
  return join(folder, 'name.git');
}

/** Main refuses the place, and what is around it stays as it was but for the lock's file. */
async function expectRefused(path: string, options: Partial<JobOptions> = {}): Promise<string> {
  const around = async (): Promise<Record<string, string>> => {
    const tree = await readTree(dirname(path));
    return Object.fromEntries(Object.entries(tree).filter(([name]) => !name.endsWith('.lock')));
  };
  const before = await around();
  const message = await fail({ 'mirror-path': path }, options);
  expect(message).toContain(path);
  expect(message).toContain('`mirror-path`');
  expect(await around()).toEqual(before);
  return message;
}

onPosix('mirror-path', () => {
  test('a file: refused', async () => {
    const path = newPlace();
    writeFileSync(path, 'a diary');
    expect(await expectRefused(path)).toMatch(/not a directory/);
  });

  test('below a file: the job continues with a mirror of its own, and says why', async () => {
    const file = newPlace();
    writeFileSync(file, 'a diary');
    await expectPrivate(join(file, 'name.git'), file);
    expect(readFileSync(file, 'utf8')).toBe('a diary');
  });

  const onLinux = process.platform === 'linux' ? test : test.skip;

  onLinux('where no folder can be made: a mirror of its own', async () => {
    await expectPrivate('/proc/x/name.git', '/proc/x');
  });

  test.each(['a mirror', 'an empty folder', 'nothing'])('a link to %s: refused', async (what) => {
    const path = newPlace();
    const target = join(dirname(path), 'target');
    if (what === 'a mirror') cpSync(base, target, { recursive: true });
    if (what === 'an empty folder') mkdirSync(target);
    symlinkSync(target, path);
    expect(await expectRefused(path)).toMatch(/not a directory/);
  });

  test("somebody's folder: refused", async () => {
    const path = newPlace();
    mkdirSync(path);
    writeFileSync(join(path, 'thesis.txt'), 'the only copy');
    expect(await expectRefused(path)).toMatch(/not a mirror of this action/);
  });

  test("somebody's repository: refused, and its configuration not read", async () => {
    const path = newPlace();
    await git(dirname(path), ['init', '--quiet', '--bare', path]);
    await git(path, ['config', 'http.proxy', 'http://127.0.0.1:1']);
    expect(await expectRefused(path)).toMatch(/not a mirror of this action/);
  });

  test('an empty folder: used', async () => {
    const path = newPlace();
    mkdirSync(path);
    const run = await scenario.run({ inputs: { 'mirror-path': path } });
    expect(run.mirror).toBe(path);
    await expectMirrorOf(path, scenario.upstream);
  });

  test("another upstream's mirror: refused", async () => {
    const path = newPlace();
    const other = await scenarios.create(repositorySizes.tiny);
    await other.run({ inputs: { 'mirror-path': path } });
    expect(await expectRefused(path)).toContain(`is a mirror of ${other.url}`);
  });

  /** Main continues without that place, and says so; both steps succeed. */
  async function expectPrivate(
    path: string,
    named: string,
    options: Partial<JobOptions> = {},
  ): Promise<void> {
    // The workspace of these tests is not the stranger's to write in.
    const inputs = { 'mirror-path': path, prime: 'false' };
    const job = scenario.job({ ...options, inputs });
    const main = await succeed(job.main());
    expect(main.annotations).toMatchObject([{ level: 'warning' }]);
    expect(main.annotations[0]?.message).toContain(named);
    const own = main.outputs['mirror-path'] ?? '';
    expect(own).toContain(job.temp);
    // git looks only into repositories of its own user.
    const { uid, gid } = statSync(own);
    if (isRoot) changeOwner(own, 0, 0);
    await expectMirrorOf(own, scenario.upstream);
    if (isRoot) changeOwner(own, uid, gid);
    await succeed(job.post());
    expect(existsSync(own)).toBe(false);
  }

  // Root may write everywhere; nobody is who it becomes.
  const asStranger = canBecomeStranger() ? test : test.skip;

  asStranger('in a folder that may not be written: a mirror of its own', async () => {
    const path = newPlace();
    openToAll();
    const before = await readTree(dirname(path));
    const options = { environment: becomingStranger() };
    await expectPrivate(path, dirname(path), options);
    expect(await readTree(dirname(path))).toEqual(before);
  });

  asStranger('in such a folder, but with a lock file that all may write: the same', async () => {
    const path = newPlace();
    writeFileSync(`${path}.lock`, '');
    openToAll();
    chmodSync(`${path}.lock`, 0o666);
    await expectPrivate(path, path, { environment: becomingStranger() });
  });

  asStranger('next to a leftover that may not be removed: used, and the log says so', async () => {
    const path = newPlace();
    const left = `${path}.staging-mirror-action-AbC123`;
    mkdirSync(left);
    openToAll();
    chmodSync(left, 0o700);
    chmodSync(dirname(path), 0o1777);
    const inputs = { 'mirror-path': path, prime: 'false' };
    const main = await succeed(scenario.job({ environment: becomingStranger(), inputs }).main());
    expect(main.outputs['mirror-path']).toBe(path);
    expect(main.log).toContain(`${left} is left from an earlier step and cannot be removed`);
    expect(existsSync(left)).toBe(true);
  });

  asStranger("another user's mirror that all may read: refused", async () => {
    const path = newPlace();
    cpSync(base, path, { recursive: true });
    openToAll();
    chmodSync(path, 0o755);
    chmodSync(dirname(path), 0o777);
    const message = await expectRefused(path, { environment: becomingStranger() });
    expect(message).toMatch(/belongs to user 0\b/);
  });

  (isRoot ? test : test.skip)("another user's mirror, as root: refused", async () => {
    const path = newPlace();
    cpSync(base, path, { recursive: true });
    await git(path, ['config', 'http.proxy', 'http://127.0.0.1:1']);
    chownSync(path, STRANGER, STRANGER);
    expect(await expectRefused(path)).toMatch(/belongs to user 65534/);
  });
});

onPosix('disk-path', () => {
  const asStranger = canBecomeStranger() ? test : test.skip;

  test.each(['a file', 'a folder below a file', 'a dangling link', 'not there'])(
    '%s: named, before git starts',
    async (what) => {
      const path = join(scenario.newMachine(), 'store');
      mkdirSync(dirname(path));
      if (what === 'a file') writeFileSync(path, '');
      if (what === 'a folder below a file') writeFileSync(path, '');
      if (what === 'a dangling link') symlinkSync(join(dirname(path), 'nowhere'), path);
      const given = what === 'a folder below a file' ? join(path, 'below') : path;
      const message = await fail({ 'disk-path': given }, { environment: watching() });
      expect(message).toContain(given);
      expect(message).toContain('`disk-path`');
      expectGitNotStarted();
    },
  );

  test('gone when post runs: a warning that names it, and it is not made', async () => {
    const path = join(scenario.root, 'volume');
    mkdirSync(path);
    const job = scenario.job({ inputs: { 'disk-path': path } });
    await succeed(job.main());
    rmSync(path, { recursive: true });
    const post = await succeed(job.post());
    expect(verdict(post)).toContain(path);
    expect(existsSync(path)).toBe(false);
  });

  asStranger('not to be read: named, before git starts', async () => {
    openToAll();
    const path = join(scenario.root, 'secret-store');
    cpSync(scenario.store, path, { recursive: true });
    chmodSync(path, 0o700);
    const environment = { ...watching(), ...becomingStranger() };
    expect(await fail({ 'disk-path': path }, { environment })).toContain(path);
    expectGitNotStarted();
  });

  asStranger('not to be written: restored from, and post says why it does not save', async () => {
    openToAll();
    const path = join(scenario.root, 'read-only-store');
    cpSync(scenario.store, path, { recursive: true });
    await addCommits(scenario.upstream);
    const before = await readTree(path);
    const environment = becomingStranger();
    const job = scenario.job({ environment, inputs: { 'disk-path': path } });
    const main = await succeed(job.main());
    expect(main.outputs['provenance']).toBe('restored');
    const post = await succeed(job.post());
    expect(verdict(post)).toMatch(/^Nothing saved: .*(?:EACCES|permission)/);
    expect(verdict(post)).toContain(path);
    expect(await readTree(path)).toEqual(before);
  });
});

function changeOwner(path: string, uid: number, gid: number): void {
  execFileSync('chown', ['-R', `${uid}:${gid}`, path]);
}

/** Temporary folders are their maker's alone. */
function openToAll(): void {
  for (const folder of [dirname(scenario.root), scenario.root]) chmodSync(folder, 0o755);
}

/**
 * Node gives up root before the action's first line. What the runner has made for the step is given
 * to the new user, as it would have made it.
 */
function becomingStranger(): Record<string, string> {
  const file = join(scenario.root, 'become-stranger.mjs');
  const given = ['OUTPUT', 'STATE', 'ENV', 'PATH', 'STEP_SUMMARY'].map((name) => `GITHUB_${name}`);
  writeFileSync(
    file,
    `import { chownSync } from 'node:fs';
     const made = ${JSON.stringify([...given, 'RUNNER_TEMP', 'RUNNER_WORKSPACE', 'HOME'])};
     for (const name of made) chownSync(process.env[name], ${STRANGER}, ${STRANGER});
     process.setgroups([]);
     process.setgid(${STRANGER});
     process.setuid(${STRANGER});\n`,
  );
  return { NODE_OPTIONS: `--import=${pathToFileURL(file).href}` };
}

/** Whether another user could run what is under test. */
function canBecomeStranger(): boolean {
  if (!isRoot) return false;
  const script = join(import.meta.dirname, '..', '..', '..', 'dist', 'main.js');
  const look = `require('node:fs').accessSync(${JSON.stringify(script)})`;
  const identity = { uid: STRANGER, gid: STRANGER };
  return spawnSync(process.execPath, ['--eval', look], identity).status === 0;
}

onPosix('a mirror inside a work tree', () => {
  test.each(['HEAD', 'config', 'objects', 'packed-refs'])(
    'whose %s is missing: the repository around it is untouched',
    async (missing) => {
      const outer = scenario.newMachine();
      mkdirSync(outer);
      await git(outer, ['clone', '--quiet', scenario.upstream, '.']);
      const around = async (): Promise<string[]> => [
        JSON.stringify(await readTree(join(outer, '.git'))),
        JSON.stringify(await readTree(join(outer, 'folder-0'))),
      ];
      const path = join(outer, basename(base));
      cpSync(base, path, { recursive: true });
      rmSync(join(path, missing), { recursive: true });
      const before = await around();
      await scenario.run({ inputs: { 'mirror-path': path } });
      expect(await around()).toEqual(before);
      await expectMirrorOf(path, scenario.upstream);
    },
  );
});

onPosix('hostile variables of the job', () => {
  test('change nothing: not what runs, not where, not what is fetched', async () => {
    const marker = join(scenario.root, 'hostile-variable-ran');
    const script = join(scenario.root, 'hostile.sh');
    writeFileSync(script, `#!/bin/sh\ntouch '${marker}'\n`, { mode: 0o755 });
    const template = join(scenario.root, 'template');
    mkdirSync(join(template, 'hooks'), { recursive: true });
    cpSync(script, join(template, 'hooks', 'reference-transaction'));
    const configuration = join(scenario.root, 'hostile-config');
    const values = { hooksPath: join(template, 'hooks'), fsmonitor: script, sshCommand: script };
    for (const [name, value] of Object.entries(values)) {
      await git(scenario.root, ['config', '--file', configuration, `core.${name}`, value]);
    }
    const redirect = `url.ext::${script} %S.insteadOf`;
    await git(scenario.root, ['config', '--file', configuration, redirect, 'http://']);
    const precious = join(scenario.root, 'precious.git');
    await git(scenario.root, ['init', '--quiet', '--bare', precious]);
    const before = await readTree(precious);
    const environment = {
      GIT_DIR: precious,
      GIT_WORK_TREE: join(scenario.root, 'elsewhere'),
      GIT_COMMON_DIR: precious,
      GIT_OBJECT_DIRECTORY: join(precious, 'objects'),
      GIT_ALTERNATE_OBJECT_DIRECTORIES: join(scenario.upstream, 'objects'),
      GIT_INDEX_FILE: join(precious, 'index'),
      GIT_NAMESPACE: 'hostile',
      GIT_SHALLOW_FILE: join(precious, 'shallow'),
      GIT_GRAFT_FILE: join(precious, 'grafts'),
      GIT_REPLACE_REF_BASE: 'refs/heads/',
      GIT_CEILING_DIRECTORIES: '/',
      GIT_TEMPLATE_DIR: template,
      GIT_EXEC_PATH: template,
      GIT_CONFIG: configuration,
      GIT_CONFIG_GLOBAL: configuration,
      GIT_CONFIG_SYSTEM: configuration,
      GIT_CONFIG_COUNT: '1',
      GIT_CONFIG_KEY_0: 'include.path',
      GIT_CONFIG_VALUE_0: configuration,
      GIT_CONFIG_PARAMETERS: `'include.path=${configuration}'`,
      GIT_ALLOW_PROTOCOL: 'ext:file:http',
      GIT_PROTOCOL_FROM_USER: '0',
      GIT_SSH: script,
      GIT_SSH_COMMAND: script,
      GIT_PROXY_COMMAND: script,
      GIT_ASKPASS: script,
      SSH_ASKPASS: script,
      GIT_PAGER: script,
      GIT_EDITOR: script,
      GIT_EXTERNAL_DIFF: script,
      GIT_HTTP_LOW_SPEED_LIMIT: '1000000000',
      GIT_HTTP_LOW_SPEED_TIME: '1',
      GIT_SSL_NO_VERIFY: '1',
      GIT_DEFAULT_HASH: 'sha256',
      GIT_DEFAULT_REF_FORMAT: 'reftable',
      GIT_LITERAL_PATHSPECS: '1',
      GIT_TRACE: join(scenario.root, 'trace'),
      ENV: script,
      BASH_ENV: script,
      CDPATH: '/',
      IFS: 'git',
    };
    const { mirror, main } = await scenario.run({ environment });
    expect(main.outputs['provenance']).toBe('restored');
    expect(existsSync(marker)).toBe(false);
    expect(existsSync(environment.GIT_TRACE)).toBe(false);
    expect(await readTree(precious)).toEqual(before);
    await expectMirrorOf(mirror, scenario.upstream);

    const cold = await scenario.run({ environment, inputs: { 'cache-key': 'hostile' } });
    expect(cold.main.outputs['provenance']).toBe('cloned');
    expect(existsSync(marker)).toBe(false);
    expect(await readTree(precious)).toEqual(before);
    await expectMirrorOf(cold.mirror, scenario.upstream);
  });
});
