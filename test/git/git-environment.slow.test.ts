/**
 * git among what a machine may have: a user's configuration and variables that execute, redirect,
 * trace and leak. None of it runs, and the token is in no file and on no command line.
 */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  writeFileSync,
} from 'node:fs';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { ChildResult } from '../../src/lib/process.ts';
import { basicCredential } from '../../src/git/environment.ts';
import { GitFailure } from '../../src/git/failure.ts';
import { openGit, type Git, type GitCommand } from '../../src/git/git.ts';
import { silentLog, type Log } from '../../src/lib/log.ts';
import { git as fixtureGit } from '../support/git.ts';
import { startGitServer, type GitServer } from '../support/git-server/server.ts';
import { canListProcesses, processesWith } from '../support/processes.ts';
import { createRepository, repositorySizes } from '../support/repository-fixture.ts';
import { temporaryDirectories } from '../support/temporary-directory.ts';

const TOKEN = 'ghs_canaryTokenThatIsNowhere';
const CREDENTIAL = basicCredential(TOKEN);

// Hostile programs are shell scripts.
const describeOnPosix = process.platform === 'win32' ? describe.skip : describe;
const withProcessList = canListProcesses ? test : test.skip;

const directories = temporaryDirectories();
let server: GitServer;
let url: string;
let head: string;
/** An ancestor of it. */
let older: string;

/** Of one test: home, working directory, mirror and everything that git may write to. */
let root: string;
let home: string;
let mirror: string;
/** A program that notes that it ran. */
let canary: string;
let logged: string[];

beforeAll(async () => {
  const upstream = join(await directories.create('environment'), 'upstream.git');
  ({ head } = await createRepository(upstream, repositorySizes.tiny));
  older = await fixtureGit(upstream, ['rev-parse', `${head}~3`]);
  server = await startGitServer({ repositories: { 'owner/name': upstream } });
  url = server.repositoryUrl('owner/name');
});

beforeEach(async () => {
  server.clearFaults();
  server.resetCounters();
  server.token = TOKEN;
  root = await directories.create('machine');
  home = join(root, 'home');
  mkdirSync(home);
  mirror = join(root, 'mirror.git');
  await fixtureGit(root, ['init', '--quiet', '--bare', '--template=', mirror]);
  canary = join(root, 'canary');
  writeFileSync(canary, `#!/bin/sh\necho "$0 $*" >> '${root}/ran'\n`);
  chmodSync(canary, 0o755);
  logged = [];
});

afterEach(() => {
  expect(readRan()).toBe('');
  expect(filesWith(root, TOKEN)).toEqual([]);
  expect(filesWith(root, CREDENTIAL)).toEqual([]);
  expect(logged.join('\n')).not.toContain(TOKEN);
  expect(logged.join('\n')).not.toContain(CREDENTIAL);
});

afterAll(async () => {
  await server.stop();
  await directories.removeAll();
});

function readRan(): string {
  const file = join(root, 'ran');
  return existsSync(file) ? readFileSync(file, 'utf8') : '';
}

/** Every file below a folder that holds a text; git's packs hold nothing of ours but are read too. */
function filesWith(folder: string, text: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((file) => readFileSync(file).includes(text));
}

function configure(text: string): void {
  writeFileSync(join(home, '.gitconfig'), text);
}

async function openHere(environment: NodeJS.ProcessEnv = {}): Promise<Git> {
  const keep = (message: string) => void logged.push(message);
  const log: Log = { ...silentLog, debug: keep, info: keep, notice: keep, warning: keep };
  return openGit({
    environment: { PATH: process.env['PATH'], HOME: home, INPUT_TOKEN: TOKEN, ...environment },
    workingDirectory: root,
    signal: new AbortController().signal,
    log,
  });
}

let mirrors = 0;

/** Files of a folder with their sizes, and whole indexes: what another format would change. */
function describeFolder(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => !name.endsWith('.sample'))
    .map((name) => (name.endsWith('.idx') ? `${name} ${hashOf(join(folder, name))}` : name))
    .sort();
}

function hashOf(file: string): string {
  return createHash('sha256').update(readFileSync(file)).digest('hex');
}

/** As old tools made them; git's own check calls it an error (missingSpaceBeforeDate). */
async function commitWithoutSpaceBeforeDate(): Promise<string> {
  const upstream = server.repositories['owner/name'] ?? '';
  const tree = await fixtureGit(upstream, ['rev-parse', `${head}^{tree}`]);
  const person = 'A <a@b>1700000000 +0000';
  const file = join(root, 'odd-commit');
  writeFileSync(file, `tree ${tree}\nauthor ${person}\ncommitter ${person}\n\nold\n`);
  const args = ['hash-object', '-t', 'commit', '-w', '--literally', file];
  const oid = await fixtureGit(upstream, args);
  await fixtureGit(upstream, ['update-ref', 'refs/heads/odd', oid]);
  return oid;
}

const probeCommand = (token = TOKEN): GitCommand => ({
  gitDirectory: join(root, 'none'),
  args: ['ls-remote', '--symref', '--', url],
  access: { url, token },
  timeoutMs: 20_000,
});

const fetchCommand = (token = TOKEN): GitCommand => ({
  gitDirectory: mirror,
  args: ['fetch', '--no-tags', '--no-write-fetch-head', '--progress', '--stdin', '--', url],
  stdin: `${head}\n`,
  access: { url, token },
  showProgress: true,
  timeoutMs: 20_000,
});

/** All that is asked of git in a run: with the token, and without. */
async function doEverything(git: Git): Promise<void> {
  const local = (...args: string[]): GitCommand => ({ gitDirectory: mirror, args });
  expectSuccess(await git.run(probeCommand()));
  expectSuccess(await git.run(fetchCommand()));
  writeFileSync(join(mirror, 'packed-refs'), `${head} refs/heads/main\n`);
  expectSuccess(await git.run(local('rev-list', '--objects', '--quiet', '--all')));
  expectSuccess(await git.run(local('rev-list', '--objects', '--no-walk', head)));
  const stdin = `${head}^{}\n`;
  const check = local('cat-file', '--batch-check=%(objectname)');
  expect((await git.read({ ...check, stdin }, 'x')).toString()).toBe(`${head}\n`);
}

function expectSuccess({ ended, exitCode, stderr }: ChildResult): void {
  expect({ ended, exitCode, stderr: exitCode === 0 ? '' : stderr }).toEqual({
    ended: 'exited',
    exitCode: 0,
    stderr: '',
  });
}

test('without anything hostile, all works and the token is used', async () => {
  await doEverything(await openHere());
  expect(server.requests.length).toBeGreaterThan(2);
  expect(server.requests.every(({ hasAuthorization }) => hasAuthorization)).toBe(true);
});

describeOnPosix('the configuration of a user', () => {
  test('that runs programs runs none', async () => {
    const hooks = join(root, 'hooks');
    mkdirSync(hooks);
    for (const hook of ['reference-transaction', 'pre-auto-gc', 'post-checkout', 'post-merge']) {
      writeFileSync(join(hooks, hook), `#!/bin/sh\nexec '${canary}' ${hook}\n`);
      chmodSync(join(hooks, hook), 0o755);
    }
    configure(`
[core]
  hooksPath = ${hooks}
  fsmonitor = ${canary}
  askPass = ${canary}
  sshCommand = ${canary}
  gitProxy = ${canary}
  pager = ${canary}
  editor = ${canary}
  alternateRefsCommand = ${canary}
[alias]
  fetch = !${canary}
  ls-remote = !${canary}
  rev-list = !${canary}
[pager]
  fetch = ${canary}
  ls-remote = ${canary}
  rev-list = ${canary}
[credential]
  helper = ${canary}
  helper = !${canary}
[credential "${server.url}"]
  helper = !${canary}
[gc]
  auto = 1
  autoDetach = false
[maintenance]
  auto = true
[uploadpack]
  packObjectsHook = ${canary}
[gpg]
  program = ${canary}
[diff]
  external = ${canary}
`);
    const git = await openHere();
    await doEverything(git);
    await git.run({ gitDirectory: mirror, args: ['pack-refs', '--all'] });
  });

  test('with credential helpers and prompts asks none of them, whichever server refuses', async () => {
    configure(`
[core]
  askPass = ${canary}
[credential]
  helper = ${canary}
[credential "${server.url}"]
  helper = !${canary}
  username = x
[credential "${url}"]
  helper = !${canary}
`);
    const git = await openHere();
    for (const token of ['wrong', '']) {
      for (const command of [probeCommand(token), fetchCommand(token)]) {
        expect(new GitFailure(await git.run(command), 'x').code).toBe('authentication');
      }
    }
    // Nor is one told of a credential that worked.
    await doEverything(git);
  });

  test('that stores credentials gets none to store', async () => {
    configure(`[credential]\n  helper = store --file=${home}/stored\n`);
    await doEverything(await openHere());
    expect(existsSync(join(home, 'stored'))).toBe(false);
  });

  test('that is impatient does not end a server that thinks', async () => {
    configure(`
[http]
  lowSpeedLimit = 1000000
  lowSpeedTime = 1
[http "${server.url}"]
  lowSpeedLimit = 1000000
  lowSpeedTime = 1
[http "${url}"]
  lowSpeedLimit = 1000000
  lowSpeedTime = 1
`);
    const git = await openHere();
    server.fault({ on: 'fetch', behave: { kind: 'delay', forMs: 2_500 } });
    expectSuccess(await git.run(fetchCommand()));
  });

  test.each([
    ['a program', () => `ext::${canary} %S /`],
    ['a file', () => `file://${root}/`],
    ['another protocol', () => 'git://127.0.0.1:9/'],
  ])('that rewrites upstream to %s is ignored, and the log says so', async (_, target) => {
    configure(`
[protocol]
  allow = always
[protocol "ext"]
  allow = always
[protocol "file"]
  allow = always
[url "${target()}"]
  insteadOf = ${server.url}/
`);
    await doEverything(await openHere());
    const told = `configuration is not used to reach ${url}: url.`;
    expect(logged.filter((line) => line.includes(told))).toHaveLength(1);
  });

  test('that rewrites upstream to another server reaches upstream itself', async () => {
    const other = await startGitServer({ repositories: server.repositories });
    try {
      configure(`[url "${other.url}/"]\n  insteadOf = ${server.url}/\n`);
      expectSuccess(await (await openHere()).run(probeCommand()));
      expect(other.requests).toEqual([]);
      expect(server.requests.every(({ hasAuthorization }) => hasAuthorization)).toBe(true);
    } finally {
      await other.stop();
    }
  });

  test('that follows redirects follows none, and the token goes nowhere', async () => {
    const other = await startGitServer({ repositories: server.repositories });
    try {
      configure(`
[http]
  followRedirects = true
[http "${server.url}"]
  followRedirects = true
[http "${url}"]
  followRedirects = true
`);
      const git = await openHere();
      for (const on of ['fetch', 'probe'] as const) {
        server.clearFaults();
        const to = other.repositoryUrl('owner/name');
        server.fault({ on, behave: { kind: 'redirect', status: 307, to } });
        expect(new GitFailure(await git.run(fetchCommand()), 'x').code).toBe('moved');
      }
      expect(other.requests).toEqual([]);
    } finally {
      await other.stop();
    }
  });

  test('that adds headers to upstream does not spoil ours: one credential is sent', async () => {
    const header = 'AUTHORIZATION: basic c29tZWJvZHk6ZWxzZQ==';
    configure(`
[http]
  extraHeader = ${header}
[http "${server.url}"]
  extraHeader = ${header}
[http "${url}"]
  extraHeader = ${header}
[http "${server.url}/owner/"]
  extraHeader = X-Other: x
`);
    await doEverything(await openHere());
  });

  test('that traces writes no token', async () => {
    const trace = (name: string) => join(root, `trace-${name}`);
    configure(`
[trace2]
  eventTarget = ${trace('event')}
  normalTarget = ${trace('normal')}
  perfTarget = ${trace('perf')}
  configParams = *,http.*,http.*.extraheader,core.*
  envVars = GIT_CONFIG_VALUE_12,GIT_CONFIG_VALUE_13,GIT_CONFIG_VALUE_14,INPUT_TOKEN,PATH
`);
    await doEverything(await openHere());
    expect(readdirSync(root).filter((name) => name.startsWith('trace-'))).toEqual([]);
  });

  test('that changes what a fetch leaves changes nothing: a pack and its index each time', async () => {
    configure(`
[fetch]
  unpackLimit = 100000
  writeCommitGraph = true
  prune = true
  recurseSubmodules = true
  fsckObjects = true
[transfer]
  unpackLimit = 100000
[core]
  logAllRefUpdates = always
  multiPackIndex = true
  commitGraph = true
[gc]
  auto = 1
  autoPackLimit = 1
  autoDetach = false
  writeCommitGraph = true
[maintenance]
  auto = true
[pack]
  writeReverseIndex = true
[submodule]
  recurse = true
[remote]
  pushDefault = x
`);
    const git = await openHere();
    for (const oid of [older, head]) {
      expectSuccess(await git.run({ ...fetchCommand(), stdin: `${oid}\n` }));
      writeFileSync(join(mirror, 'packed-refs'), `${oid} refs/heads/main\n`);
    }
    const packs = readdirSync(join(mirror, 'objects', 'pack'));
    const kept = packs.filter((name) => !name.endsWith('.rev'));
    expect(kept.map((name) => name.replace(/[0-9a-f]{40}/, 'x')).sort()).toEqual([
      'pack-x.idx',
      'pack-x.idx',
      'pack-x.pack',
      'pack-x.pack',
    ]);
    expect(readdirSync(join(mirror, 'objects')).sort()).toEqual(['info', 'pack']);
    expect(existsSync(join(mirror, 'logs'))).toBe(false);
    expect(existsSync(join(mirror, 'FETCH_HEAD'))).toBe(false);
    expect(readdirSync(join(mirror, 'objects', 'info'))).toEqual([]);
  });

  test.each([
    [
      'prunes and follows tags',
      '[fetch]\n  pruneTags = true\n  prune = true\n[remote]\n  tagOpt = --tags',
    ],
    ['writes old indexes', '[pack]\n  indexVersion = 1'],
    [
      'writes packs of another kind',
      '[pack]\n  compression = 0\n  packSizeLimit = 1m\n  writeReverseIndex = true',
    ],
    [
      'is strict about old commits',
      '[transfer]\n  fsckObjects = true\n[fetch]\n  fsckObjects = true',
    ],
    ['clones by parts', '[core]\n  abbrev = 4\n[extensions]\n  partialClone = origin'],
    ['hides refs', '[transfer]\n  hideRefs = refs/heads\n[protocol]\n  version = 0'],
  ])('that %s changes nothing in a mirror', async (_, text) => {
    const odd = await commitWithoutSpaceBeforeDate();
    const fetched = async (git: Git) => {
      const into = join(root, `mirror-${++mirrors}.git`);
      await fixtureGit(root, ['init', '--quiet', '--bare', '--template=', into]);
      const stdin = `${head}\n${odd}\n`;
      expectSuccess(await git.run({ ...fetchCommand(), gitDirectory: into, stdin }));
      return describeFolder(into);
    };
    const before = await fetched(await openHere());
    configure(text);
    expect(await fetched(await openHere())).toEqual(before);
    expect(before.length).toBeGreaterThan(3);
  });

  test('in the folder of XDG_CONFIG_HOME is treated alike', async () => {
    const folder = join(root, 'xdg', 'git');
    mkdirSync(folder, { recursive: true });
    writeFileSync(
      join(folder, 'config'),
      `[credential]\n  helper = ${canary}\n[trace2]\n  eventTarget = ${root}/trace\n`,
    );
    const git = await openHere({ XDG_CONFIG_HOME: join(root, 'xdg') });
    expect(new GitFailure(await git.run(probeCommand('wrong')), 'x').code).toBe('authentication');
    await doEverything(git);
    expect(existsSync(join(root, 'trace'))).toBe(false);
  });

  test('that holds a secret of a proxy is read, too', async () => {
    configure('[http]\n  proxy = http://127.0.0.1:9\n');
    expect(new GitFailure(await (await openHere()).run(probeCommand()), 'x').code).toBe('network');
    expect(server.requests).toEqual([]);
  });
});

describeOnPosix('what concerns the connection alone', () => {
  const deadProxy = 'http://127.0.0.1:9';

  test.each<[string, () => NodeJS.ProcessEnv]>([
    [
      'the configuration of the user',
      () => {
        configure(`[http "${server.url}"]\n  proxy = ${deadProxy}\n`);
        return {};
      },
    ],
    [
      'a file that the configuration includes',
      () => {
        writeFileSync(join(root, 'included'), `[http]\n  proxy = ${deadProxy}\n`);
        configure(`[include]\n  path = ${root}/included\n`);
        return {};
      },
    ],
    [
      'GIT_CONFIG_GLOBAL',
      () => {
        writeFileSync(join(root, 'global'), `[http]\n  proxy = ${deadProxy}\n`);
        return { GIT_CONFIG_GLOBAL: join(root, 'global') };
      },
    ],
    [
      'GIT_CONFIG_COUNT',
      () => ({
        GIT_CONFIG_COUNT: '1',
        GIT_CONFIG_KEY_0: 'http.proxy',
        GIT_CONFIG_VALUE_0: deadProxy,
      }),
    ],
    ['GIT_CONFIG_PARAMETERS', () => ({ GIT_CONFIG_PARAMETERS: `'http.proxy'='${deadProxy}'` })],
    ['http_proxy', () => ({ http_proxy: deadProxy })],
  ])('is taken from %s', async (_, prepare) => {
    const git = await openHere(prepare());
    expect(new GitFailure(await git.run(probeCommand()), 'x').code).toBe('network');
    expect(server.requests).toEqual([]);
  });

  test('is read once, and git reads nothing of the machine for what it does locally', async () => {
    const git = await openHere();
    expectSuccess(await git.run(probeCommand()));
    configure(`[http]\n  proxy = ${deadProxy}\n`);
    expectSuccess(await git.run(probeCommand()));
    const args = ['config', '--list', '--show-scope'];
    const shown = (await git.read({ gitDirectory: mirror, args }, 'x')).toString();
    expect(shown).not.toMatch(/^(?:global|system)/m);
  });

  test('that git cannot read is reported, and the job continues without it', async () => {
    configure('no configuration\n');
    await doEverything(await openHere());
    expect(logged.join('\n')).toMatch(
      /cannot read this machine's configuration.*bad config line 1/,
    );
  });

  test('is not read by a brief command, unless it asks for it', async () => {
    configure('[checkout]\n  workers = 7\n');
    const git = await openHere();
    const command = { gitDirectory: mirror, args: ['config', '--get', 'checkout.workers'] };
    expect((await git.runBrief(command)).exitCode).toBe(1);
    const asked = await git.readBrief({ ...command, configuration: 'machine' }, 'x');
    expect(asked.toString()).toBe('7\n');
  });
});

describeOnPosix('variables of the job', () => {
  test('that trace write nothing at all', async () => {
    const names = [
      ...['GIT_TRACE', 'GIT_TRACE_CURL', 'GIT_CURL_VERBOSE', 'GIT_TRACE_PACKET', 'GIT_TRACE_SETUP'],
      ...['GIT_TRACE_PACKFILE', 'GIT_TRACE_PERFORMANCE', 'GIT_TRACE_REFS', 'GIT_TRACE_SHALLOW'],
      ...['GIT_TRACE2', 'GIT_TRACE2_EVENT', 'GIT_TRACE2_PERF', 'GIT_TRACE_PACK_ACCESS'],
    ];
    const traces = join(root, 'traces');
    mkdirSync(traces);
    await doEverything(
      await openHere({
        ...Object.fromEntries(names.map((name) => [name, join(traces, name)])),
        GIT_TRACE_REDACT: '0',
        GIT_TRACE2_CONFIG_PARAMS: 'http.*,*.extraheader',
        GIT_TRACE2_ENV_VARS: 'INPUT_TOKEN,GIT_CONFIG_VALUE_13',
      }),
    );
    expect(readdirSync(traces)).toEqual([]);
  });

  test('that run programs run none, whether upstream refuses or not', async () => {
    const execPath = join(root, 'exec-path');
    mkdirSync(execPath);
    for (const name of ['git-remote-http', 'git-fetch', 'git-index-pack', 'git']) {
      writeFileSync(join(execPath, name), `#!/bin/sh\nexec '${canary}' ${name}\n`);
      chmodSync(join(execPath, name), 0o755);
    }
    const script = join(root, 'script');
    writeFileSync(script, `'${canary}' sourced\n`);
    const git = await openHere({
      GIT_EXEC_PATH: execPath,
      GIT_ASKPASS: canary,
      SSH_ASKPASS: canary,
      GIT_SSH: canary,
      GIT_SSH_COMMAND: canary,
      GIT_PROXY_COMMAND: canary,
      GIT_PAGER: canary,
      PAGER: canary,
      GIT_EDITOR: canary,
      GIT_EXTERNAL_DIFF: canary,
      GIT_ALTERNATE_OBJECT_DIRECTORIES: root,
      GIT_CONFIG_COUNT: '2',
      GIT_CONFIG_KEY_0: 'credential.helper',
      GIT_CONFIG_VALUE_0: canary,
      GIT_CONFIG_KEY_1: 'alias.x',
      GIT_CONFIG_VALUE_1: `!${canary}`,
      GIT_CONFIG_PARAMETERS: `'credential.helper'='${canary}'`,
      GIT_CONFIG_GLOBAL: script,
      BASH_ENV: script,
      ENV: script,
      LD_PRELOAD: join(root, 'hostile.so'),
      NODE_OPTIONS: `--require=${script}`,
      DISPLAY: ':0',
    });
    expect(new GitFailure(await git.run(probeCommand('wrong')), 'x').code).toBe('authentication');
    await doEverything(git);
  });

  test('that lead git elsewhere lead it nowhere', async () => {
    const other = join(root, 'other.git');
    await fixtureGit(root, ['init', '--quiet', '--bare', '--template=', other]);
    const git = await openHere({
      GIT_DIR: other,
      GIT_COMMON_DIR: other,
      GIT_WORK_TREE: root,
      GIT_OBJECT_DIRECTORY: join(other, 'objects'),
      GIT_NAMESPACE: 'x',
      GIT_INDEX_FILE: join(root, 'index'),
      GIT_QUARANTINE_PATH: other,
      GIT_SHALLOW_FILE: join(other, 'shallow'),
      GIT_GRAFT_FILE: join(other, 'grafts'),
      GIT_REPLACE_REF_BASE: 'refs/heads/',
      GIT_ALLOW_PROTOCOL: 'ext',
      GIT_HTTP_LOW_SPEED_LIMIT: '1000000',
      GIT_HTTP_LOW_SPEED_TIME: '1',
      GIT_DEFAULT_HASH: 'sha256',
      GIT_PROTOCOL: 'version=0',
      LC_ALL: 'de_DE.UTF-8',
    });
    await doEverything(git);
    expect(readdirSync(join(other, 'objects', 'pack'))).toEqual([]);
    expect(readdirSync(join(mirror, 'objects', 'pack'))).not.toEqual([]);
  });
});

describe('the token', () => {
  withProcessList('is on no command line while git works', async () => {
    server.fault({ on: 'fetch', behave: { kind: 'slow', bytesPerSecond: 15_000 } });
    const running = openHere().then((git) => git.run(fetchCommand()));
    let isOver = false;
    void running.finally(() => (isOver = true)).catch(() => {});
    const seen = new Set<string>();
    const exposed = new Set<string>();
    // eslint-disable-next-line @typescript-eslint/no-unnecessary-condition -- set by the promise
    while (!isOver) {
      for (const { commandLine } of processesWith(url)) seen.add(commandLine);
      for (const secret of [TOKEN, CREDENTIAL]) {
        for (const { commandLine } of processesWith(secret)) exposed.add(commandLine);
      }
      await sleep(5);
    }
    expectSuccess(await running);
    expect([...exposed]).toEqual([]);
    // The sampling saw git and its children at work.
    expect([...seen].some((line) => /\bgit\b.* fetch /.test(line))).toBe(true);
    expect([...seen].some((line) => line.includes('remote-http'))).toBe(true);
  });

  test('is not in what git writes into the mirror, and not in its configuration', async () => {
    await doEverything(await openHere());
    expect(readFileSync(join(mirror, 'config'), 'utf8')).not.toMatch(/http|remote|credential/);
  });

  test('is not in the messages of a failure', async () => {
    const git = await openHere();
    server.token = 'another';
    const failing = git.read(fetchCommand(), `fetching from ${url}`);
    await expect(failing).rejects.toMatchObject({ code: 'authentication' });
    const message = await failing.then(String, String);
    expect(message).not.toContain(TOKEN);
    expect(message).not.toContain(CREDENTIAL);
  });

  test('is not in the environment of commands that do not reach upstream', async () => {
    const git = await openHere();
    const args = ['-c', 'alias.show-environment=!env', 'show-environment'];
    const shown = await git.read({ gitDirectory: mirror, args }, 'showing its environment');
    expect(shown.toString()).toContain('GIT_TERMINAL_PROMPT=0');
    expect(shown.toString()).not.toContain(TOKEN);
    expect(shown.toString()).not.toContain(CREDENTIAL);
  });
});
