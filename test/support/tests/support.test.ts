import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { createJob, type JobOptions } from '../action-runner.ts';
import { empty, flipBit, lengthen, randomOffset, remove, truncate } from '../corruption.ts';
import { git, gitConfiguration, tryGit } from '../git.ts';
import { startGitServer, type GitServer } from '../git-server/server.ts';
import type { FaultBehaviour } from '../git-server/fault.ts';
import {
  canListProcesses,
  endProcess,
  isRunning,
  pauseProcess,
  processesWith,
  resumeProcess,
  runProcess,
  waitUntil,
  type ProcessResult,
} from '../processes.ts';
import { createRandom, testSeed } from '../random.ts';
import {
  deleteBranch,
  moveTag,
  readRefs,
  renameBranch,
  renameDefaultBranch,
} from '../repository-change.ts';
import { addCommits, createRepository, repositorySizes } from '../repository-fixture.ts';
import { parseFileCommand, readLog } from '../runner-commands.ts';
import { temporaryDirectories } from '../temporary-directory.ts';

const directories = temporaryDirectories();
const isPosix = process.platform !== 'win32';
const allRefs = ['+refs/heads/*:refs/heads/*', '+refs/tags/*:refs/tags/*'];

let root: string;
let upstream: string;
let server: GitServer;
let url: string;
let count = 0;

beforeAll(async () => {
  root = await directories.create('support');
  upstream = join(root, 'upstream', 'owner', 'name.git');
  await createRepository(upstream, { ...repositorySizes.small, pullRefs: 40 });
  server = await startGitServer({ root: join(root, 'upstream') });
  url = server.repositoryUrl('owner/name');
});

beforeEach(() => {
  server.clearFaults();
  server.resetCounters();
  server.token = undefined;
});

afterAll(async () => {
  await server.stop();
  await directories.removeAll();
});

async function emptyMirror(objectFormat = 'sha1'): Promise<string> {
  const name = `mirror-${++count}`;
  const format = `--object-format=${objectFormat}`;
  await git(root, ['init', '--quiet', '--bare', '--template=', format, name]);
  return join(root, name);
}

async function fullMirror(): Promise<string> {
  const mirror = await emptyMirror();
  await git(mirror, ['fetch', '--quiet', upstream, ...allRefs]);
  return mirror;
}

async function listRemote(configuration: Record<string, string> = {}): Promise<ProcessResult> {
  const environment = gitConfiguration(configuration);
  return tryGit(root, ['ls-remote', '--symref', url], { environment, timeoutMs: 20_000 });
}

async function fetch(
  mirror: string,
  configuration: Record<string, string> = {},
  timeoutMs = 20_000,
): Promise<ProcessResult> {
  const environment = gitConfiguration(configuration);
  const options = ['--prune', '--no-tags', '--no-write-fetch-head'];
  return tryGit(mirror, ['fetch', ...options, url, ...allRefs], { environment, timeoutMs });
}

function kinds(): string[] {
  return server.requests.map((request) => request.kind);
}

describe('git server', () => {
  test.each([
    { version: '2', expected: ['capabilities', 'ls-refs', 'fetch'] },
    { version: '0', expected: ['refs', 'fetch'] },
  ])('serves a clone and a delta fetch in protocol v$version', async ({ version, expected }) => {
    const configuration = { 'protocol.version': version };
    const mirror = await emptyMirror();
    expect((await fetch(mirror, configuration)).exitCode).toBe(0);
    expect(kinds()).toEqual(expected);
    const cloneBytes = server.bytesSent;
    expect(cloneBytes).toBeGreaterThan(900_000);
    expect(server.clones).toBe(1);
    expect(server.requests.at(-1)).toMatchObject({ hasHaves: false, isClone: true, wants: 12 });

    server.resetCounters();
    const { head } = await addCommits(upstream, { seed: ++count });
    expect((await fetch(mirror, configuration)).exitCode).toBe(0);
    expect(await git(mirror, ['rev-parse', 'refs/heads/main'])).toBe(head);
    expect(server.clones).toBe(0);
    expect(server.requests.at(-1)).toMatchObject({ kind: 'fetch', hasHaves: true, wants: 1 });
    expect(server.bytesSent).toBeLessThan(cloneBytes / 20);

    server.resetCounters();
    expect((await fetch(mirror, configuration)).exitCode).toBe(0);
    expect(kinds()).not.toContain('fetch');
  });

  test('reads gzipped and chunked bodies, and names with and without .git', async () => {
    const pulls = '+refs/pull/*:refs/pull/*';
    const mirror = await emptyMirror();
    await git(mirror, ['fetch', '--quiet', `${url}.git`, pulls]);
    expect(server.requests.at(-1)).toMatchObject({ repository: 'owner/name', wants: 40 });
    expect(server.requests.at(-1)?.bytesReceived).toBeLessThan(40 * 50);

    server.resetCounters();
    const busy = join(root, 'upstream', 'owner', 'busy');
    await createRepository(busy, { ...repositorySizes.tiny, pullRefs: 1_400 });
    // Any less is a bug to git: the buffer has to hold a pkt-line.
    const environment = gitConfiguration({ 'http.postBuffer': '66000' });
    const busyUrl = server.repositoryUrl('owner/busy');
    await git(await emptyMirror(), ['fetch', '--quiet', busyUrl, pulls], { environment });
    expect(kinds()).toEqual(['capabilities', 'ls-refs', 'post-probe', 'fetch']);
    expect(server.requests.at(-1)).toMatchObject({ wants: 1_400, isClone: true });
  });

  test('shows shallow and partial clones by their options', async () => {
    server.configuration['uploadpack.allowFilter'] = 'true';
    const options = ['--depth=1', '--filter=blob:none', '--no-checkout', '--quiet'];
    await git(root, ['clone', ...options, url, `clone-${++count}`]);
    expect(server.requests.at(-1)?.options).toEqual(
      expect.arrayContaining(['deepen 1', 'filter blob:none']),
    );
    expect(server.bytesSent).toBeLessThan(10_000);
  });

  test('serves SHA-256, non-bare repositories and an explicit map', async () => {
    const directory = join(root, 'elsewhere');
    const options = { ...repositorySizes.tiny, objectFormat: 'sha256', bare: false } as const;
    const { head } = await createRepository(directory, options);
    server.repositories['other/place'] = directory;
    const mirror = await emptyMirror('sha256');
    await git(mirror, ['fetch', '--quiet', server.repositoryUrl('other/place'), ...allRefs]);
    expect(await git(mirror, ['rev-parse', 'refs/heads/main'])).toBe(head);
    expect(head).toHaveLength(64);
    const unknown = await tryGit(root, ['ls-remote', server.repositoryUrl('no/where')]);
    expect(unknown).toMatchObject({ exitCode: 128, stderr: expect.stringMatching(/not found/) });
  });

  test('takes a push only where it is allowed to', async () => {
    const clone = join(root, `clone-${++count}`);
    await git(root, ['clone', '--quiet', url, clone]);
    await addCommits(clone, { branch: 'main' });
    const push = ['push', '--quiet', url, 'main:pushed'];
    expect((await tryGit(clone, push)).stderr).toMatch(/403/);
    server.configuration['http.receivepack'] = 'true';
    await git(clone, push);
    expect(kinds().slice(-2)).toEqual(['receive-refs', 'push']);
    expect((await readRefs(upstream)).has('refs/heads/pushed')).toBe(true);
    await deleteBranch(upstream, 'pushed');
  });

  test('asks for the token it was given, and for none after it was taken away', async () => {
    server.token = 'secret';
    const header = (token: string): Record<string, string> => ({
      [`http.${server.url}/.extraheader`]: `AUTHORIZATION: basic ${Buffer.from(
        `x-access-token:${token}`,
      ).toString('base64')}`,
    });
    expect((await listRemote()).exitCode).toBe(128);
    expect((await listRemote(header('wrong'))).stderr).toMatch(/could not read Username/);
    expect(server.requests.map(({ status }) => status)).toEqual([401, 401]);
    expect((await listRemote(header('secret'))).exitCode).toBe(0);
    expect(server.requests.map(({ hasAuthorization }) => hasAuthorization)).toEqual([
      ...[false, true],
      ...[true, true],
    ]);
    server.token = undefined;
    expect((await listRemote()).exitCode).toBe(0);
  });
});

describe('faults', () => {
  let mirror: string;

  beforeAll(async () => {
    mirror = await fullMirror();
    await addCommits(upstream, { fileBytes: 8_000, seed: ++count });
  });

  afterEach(() => {
    server.clearFaults();
  });

  interface Case {
    behave: FaultBehaviour;
    probe: RegExp | 'works';
    fetch: RegExp;
  }

  const status = (code: 403 | 429 | 500 | 502 | 503): Case => ({
    behave: { kind: 'status', status: code },
    probe: new RegExp(`unable to access .*: The requested URL returned error: ${code}`),
    fetch: new RegExp(`RPC failed; HTTP ${code}`),
  });

  test.each<Case>([
    {
      behave: { kind: 'status', status: 401 },
      probe: /could not read Username/,
      fetch: /could not read Username/,
    },
    { behave: { kind: 'status', status: 404 }, probe: /not found/, fetch: /RPC failed; HTTP 404/ },
    ...[status(403), status(429), status(500), status(502), status(503)],
    { behave: { kind: 'empty' }, probe: 'works', fetch: /expected 'acknowledgments'/ },
    { behave: { kind: 'html' }, probe: /not valid: is this a git/, fetch: /bad line length/ },
    { behave: { kind: 'html', page: '<html/>' }, probe: 'works', fetch: /bad line length/ },
    { behave: { kind: 'close' }, probe: /Empty reply/, fetch: /curl 52 Empty reply/ },
    {
      behave: { kind: 'cut', afterBytes: 0 },
      probe: /outstanding read data|unexpected eof/i,
      fetch: /curl (18|56)/,
    },
    {
      behave: { kind: 'cut', afterBytes: 5_000 },
      probe: /outstanding read data|unexpected eof/i,
      fetch: /bad pack header|index-pack|unpack-objects/,
    },
    {
      behave: { kind: 'cut', afterBytes: 100, reset: true },
      probe: /reset/i,
      fetch: /curl 56/,
    },
    {
      behave: { kind: 'shorten', afterBytes: 70 },
      probe: /expected flush after/,
      fetch: /bytes of (body are still expected|length header)/,
    },
    {
      behave: { kind: 'garbage-pack', afterBytes: 3_000 },
      probe: 'works',
      fetch: /unpack-objects failed|index-pack/,
    },
    {
      behave: { kind: 'garbage-stream', afterBytes: 5 },
      probe: /invalid server response/,
      fetch: /bad line length|expected 'acknowledgments'/,
    },
  ])('$behave', async (given) => {
    const before = await readRefs(mirror);
    const probe = server.fault({ on: 'probe', behave: given.behave });
    const probed = await listRemote();
    expect(probed.exitCode).toBe(given.probe === 'works' ? 0 : 128);
    if (given.probe !== 'works') expect(probed.stderr).toMatch(given.probe);
    expect(probe.applied).toBeGreaterThan(0);
    probe.remove();

    server.fault({ on: 'delta-fetch', behave: given.behave });
    expect((await listRemote()).exitCode).toBe(0);
    const fetched = await fetch(mirror);
    expect(fetched.exitCode).toBe(128);
    expect(fetched.stderr).toMatch(given.fetch);
    expect(await readRefs(mirror)).toEqual(before);
  });

  test('an empty answer makes a pruning fetch delete every ref, and exit 0', async () => {
    const doomed = await fullMirror();
    server.fault({ on: 'probe', behave: { kind: 'empty' } });
    expect((await fetch(doomed)).exitCode).toBe(0);
    expect((await readRefs(doomed)).size).toBe(0);
  });

  test('a redirection goes to the other repository, unless git is told to stay', async () => {
    server.repositories['owner/moved'] = upstream;
    const to = server.repositoryUrl('owner/moved');
    server.fault({ on: 'probe', behave: { kind: 'redirect', status: 301, to } });
    expect((await listRemote()).stderr).toMatch(/redirecting to .*owner\/moved/);
    expect(server.requests.map((request) => request.repository)).toContain('owner/moved');
    const stayed = await listRemote({ 'http.followRedirects': 'false' });
    expect(stayed).toMatchObject({ exitCode: 128, stderr: expect.stringMatching(/error: 301/) });
  });

  test('clones and delta fetches fail apart, and only as often as asked', async () => {
    server.fault({ on: 'clone', times: 1, behave: { kind: 'status', status: 503 } });
    const second = await fullMirror();
    expect((await fetch(second)).exitCode).toBe(0);
    const fresh = await emptyMirror();
    expect((await fetch(fresh)).stderr).toMatch(/503/);
    expect((await fetch(fresh)).exitCode).toBe(0);
    server.fault({ on: (request) => request.wants > 0, behave: { kind: 'status', status: 500 } });
    expect((await fetch(await emptyMirror())).stderr).toMatch(/500/);
  });

  const lowSpeed = { 'http.lowSpeedLimit': '1000', 'http.lowSpeedTime': '1' };

  test.each<FaultBehaviour>([
    { kind: 'delay', forMs: 60_000 },
    { kind: 'stall', afterBytes: 0 },
    { kind: 'stall', afterBytes: 5_000 },
    { kind: 'slow', bytesPerSecond: 100 },
  ])('$kind: only a low-speed limit makes git give up', async (behave) => {
    server.fault({ on: 'fetch', behave });
    const [patient, impatient] = await Promise.all([
      fetch(mirror, {}, 1_200),
      emptyMirror().then((directory) => fetch(directory, lowSpeed)),
    ]);
    expect(patient.timedOut).toBe(true);
    expect(impatient.exitCode).toBe(128);
    expect(impatient.stderr).toMatch(/curl 28 Operation too slow/);
    await waitUntil(() => server.backendPids.length === 0, { timeoutMs: 20_000 });
    expect(server.requests.filter(({ ending }) => ending === 'open')).toEqual([]);
  });

  test.each<FaultBehaviour>([
    { kind: 'delay', forMs: 600 },
    { kind: 'stall', afterBytes: 5_000, forMs: 600 },
    { kind: 'slow', bytesPerSecond: 20_000 },
  ])('$kind: in the end the fetch succeeds', async (behave) => {
    const second = await fullMirror();
    const { head } = await addCommits(upstream, { fileBytes: 8_000, seed: ++count });
    server.fault({ on: 'fetch', behave });
    const fetched = await fetch(second);
    expect(fetched.exitCode).toBe(0);
    expect(fetched.durationMs).toBeGreaterThan(500);
    expect(await git(second, ['rev-parse', 'main'])).toBe(head);
  });

  test('stop ends stalled connections and what serves them', async () => {
    const other = await startGitServer({ root: join(root, 'upstream') });
    other.fault({ on: 'fetch', behave: { kind: 'stall', afterBytes: 1_000 } });
    const stalled = tryGit(await emptyMirror(), ['fetch', other.repositoryUrl('owner/name')]);
    const request = await other.waitForRequest(({ bytesSent }) => bytesSent === 1_000);
    const pids = other.backendPids;
    expect(pids).toHaveLength(1);
    await other.stop();
    expect(pids.filter(isRunning)).toEqual([]);
    expect((await stalled).exitCode).toBe(128);
    expect(request.ending).toBe('broken');
  });
});

describe('repository fixture', () => {
  test('the same seed gives the same objects, another seed others', async () => {
    const heads: string[] = [];
    for (const seed of [7, 7, 8]) {
      const directory = join(root, `fixture-${++count}`);
      await createRepository(directory, { ...repositorySizes.tiny, seed, pullRefs: 3 });
      await addCommits(directory, { commits: 3, seed });
      heads.push(await git(directory, ['show-ref', '--head', '--dereference']));
      await git(directory, ['fsck', '--strict']);
    }
    expect(heads[0]).toBe(heads[1]);
    expect(heads[0]).not.toBe(heads[2]);
    expect(heads[0]).toMatch(/refs\/pull\/3\/head/);
    expect(heads[0]).toMatch(/refs\/tags\/annotated-1\^\{\}/);
  });

  test('content of random bytes keeps its size in the pack', async () => {
    const listing = await git(upstream, ['count-objects', '-v']);
    const kilobytes = Number(/size-pack: (\d+)/.exec(listing)?.[1]);
    expect(kilobytes).toBeGreaterThan(900);
    expect(kilobytes).toBeLessThan(2_000);
  });

  test('upstream changes: force push, renames, deletion, moved tags', async () => {
    const directory = join(root, `fixture-${++count}`);
    const { head } = await createRepository(directory, repositorySizes.tiny);
    const forced = await addCommits(directory, { from: 'main~3', commits: 2, seed: 5 });
    expect(await git(directory, ['rev-list', '--count', `${forced.head}..${head}`])).toBe('3');
    await renameDefaultBranch(directory, 'trunk');
    await renameBranch(directory, 'branch-1', 'branch-1/deeper');
    await deleteBranch(directory, 'branch-2');
    await moveTag(directory, 'light-1', 'trunk');
    await moveTag(directory, 'annotated-1', 'trunk~1', 'moved');
    const refs = await readRefs(directory);
    expect([...refs.keys()]).toEqual([
      'refs/heads/branch-1/deeper',
      'refs/heads/trunk',
      'refs/tags/annotated-1',
      'refs/tags/light-1',
    ]);
    expect(refs.get('refs/tags/light-1')).toBe(forced.head);
    expect(await git(directory, ['symbolic-ref', 'HEAD'])).toBe('refs/heads/trunk');
  });
});

describe('action runner', () => {
  const actionYml = [
    'name: fake',
    'inputs:',
    '  repository: # a comment',
    "    description: 'It''s: quoted'",
    '    default: ${{ github.repository }}',
    '  token:',
    '    default: ${{ github.token }}',
    '  ssh-key:',
    '    description: >-',
    '      folded',
    '      text',
    '  refs:',
    '    default: |',
    '      +refs/heads/*:refs/heads/*',
    '      +refs/tags/*:refs/tags/*',
    'outputs:',
    '  result:',
    '    description: "x"',
    'runs:',
    '  using: node24',
    '  main: dist/main.js',
    '  post: dist/post.js',
    "  post-if: 'always()'",
  ].join('\n');

  const mainScript = `
    import { appendFileSync } from 'node:fs';
    const { env } = process;
    const keep = Object.entries(env).filter(([name]) => /^(INPUT|GITHUB_RE|RUNNER_W)/.test(name));
    appendFileSync(env.GITHUB_OUTPUT, 'result<<ghadelimiter_1\\n' +
      JSON.stringify({ ...Object.fromEntries(keep), cwd: process.cwd(), secret: env.SECRET }) +
      '\\nghadelimiter_1\\nplain=a=b<<c\\n');
    appendFileSync(env.GITHUB_STATE, 'kept<<X\\ntwo\\nlines\\nX\\n');
    appendFileSync(env.GITHUB_ENV, 'EXPORTED=yes\\n');
    appendFileSync(env.GITHUB_PATH, '/some/folder\\n');
    appendFileSync(env.GITHUB_STEP_SUMMARY, '# done\\n');
    console.log('::add-mask::s3cret');
    console.log('::warning title=a%2Cb::one%0Atwo');
    console.log('::stop-commands::tok\\n::error::not one\\n::tok::\\n::error::a real one');
    console.error('::notice::by stderr');
    if (env['INPUT_SSH-KEY'] === 'wait') {
      const stays = env['INPUT_REFS'] === 'stays';
      process.on('SIGINT', () => { console.log('interrupted'); if (!stays) process.exit(130); });
      process.on('SIGTERM', () => { console.log('terminated'); });
      setInterval(() => {}, 1000);
      console.log('waiting');
    } else process.exitCode = 3;
  `;
  const postScript =
    "console.log(JSON.stringify([process.env.STATE_kept, process.env.EXPORTED, process.env['INPUT_SSH-KEY'], process.env.PATH]));";

  async function fakeJob(options: Partial<JobOptions> = {}) {
    const machine = await directories.create('machine');
    const actionPath = join(machine, 'action');
    mkdirSync(join(actionPath, 'dist'), { recursive: true });
    writeFileSync(join(actionPath, 'package.json'), '{ "type": "module" }');
    writeFileSync(join(actionPath, 'action.yml'), actionYml);
    writeFileSync(join(actionPath, 'dist', 'main.js'), mainScript);
    writeFileSync(join(actionPath, 'dist', 'post.js'), postScript);
    return createJob({ root: machine, actionPath, token: 't0ken', ...options });
  }

  test('runs main and post as the runner does', async () => {
    process.env['SECRET'] = 'of the machine';
    const lines: string[] = [];
    const onLine = (line: string): void => void lines.push(line);
    const job = await fakeJob({ repository: 'ada/engine', onLine });
    const main = await job.main();
    delete process.env['SECRET'];
    expect(main.exitCode).toBe(3);
    expect(main.outputs['plain']).toBe('a=b<<c');
    expect(JSON.parse(main.outputs['result'] ?? '')).toEqual({
      INPUT_REPOSITORY: 'ada/engine',
      INPUT_TOKEN: 't0ken',
      'INPUT_SSH-KEY': '',
      INPUT_REFS: '+refs/heads/*:refs/heads/*\n+refs/tags/*:refs/tags/*\n',
      GITHUB_REF: 'refs/heads/main',
      GITHUB_REF_NAME: 'main',
      GITHUB_REF_TYPE: 'branch',
      GITHUB_REPOSITORY: 'ada/engine',
      GITHUB_REPOSITORY_OWNER: 'ada',
      RUNNER_WORKSPACE: job.runnerWorkspace,
      cwd: job.workspace,
    });
    expect(main.summary).toBe('# done\n');
    expect(main.masks).toEqual(['s3cret']);
    expect(main.log).not.toContain('s3cret');
    expect(main.annotations).toEqual(
      expect.arrayContaining([
        { level: 'warning', message: 'one\ntwo', title: 'a,b' },
        { level: 'error', message: 'a real one', title: undefined },
        { level: 'notice', message: 'by stderr', title: undefined },
      ]),
    );
    expect(main.annotations).toHaveLength(3);
    expect(lines).toContain('::add-mask::s3cret');

    const between = await job.between(process.execPath, ['-p', 'process.env.EXPORTED']);
    expect(between.stdout.trim()).toBe('yes');
    job.setInputs({ 'ssh-key': 'changed' });
    const [state, exported, input, path] = JSON.parse((await job.post()).stdout) as string[];
    expect([state, exported, input]).toEqual(['two\nlines', 'yes', 'changed']);
    expect(path).toMatch(/^\/some\/folder/);
    expect(() => {
      job.setInputs({ 'no-such': 'x' });
    }).toThrow(/no input no-such/);
  });

  const whenPosix = isPosix ? test : test.skip;

  whenPosix('cancels by SIGINT, SIGTERM and SIGKILL, or kills at once', async () => {
    const polite = await fakeJob({ inputs: { 'ssh-key': 'wait' } });
    const first = polite.startMain();
    await first.waitForLine(/^waiting/);
    expect(await polite.cancel()).toMatchObject({ exitCode: 130, outputs: { plain: 'a=b<<c' } });

    const stubborn = await fakeJob({ inputs: { 'ssh-key': 'wait', refs: 'stays' } });
    const second = stubborn.startMain();
    await second.waitForLine(/^waiting/);
    const cancelled = await second.cancel({ interruptMs: 300, terminateMs: 300 });
    expect(cancelled).toMatchObject({ exitCode: null, signal: 'SIGKILL' });
    expect(cancelled.stdout).toMatch(/interrupted\nterminated/);
    expect(cancelled.durationMs).toBeGreaterThan(600);

    const third = stubborn.startMain();
    await third.waitForLine(/^waiting/);
    third.kill();
    expect(await third.finished).toMatchObject({ exitCode: null, signal: 'SIGKILL' });
    expect(isRunning(third.pid)).toBe(false);
    await expect(third.waitForLine(/never/)).rejects.toThrow(/ended without/);
  });

  test('rejects what the runner rejects', () => {
    expect(parseFileCommand('a<<E\r\n1\r\n2\r\nE\r\nb=\r\n')).toEqual({ a: '1\n2', b: '' });
    expect(() => parseFileCommand('a<<E\n1\n')).toThrow(/rejects/);
    expect(() => parseFileCommand('nonsense')).toThrow(/rejects/);
    expect(readLog(['  ::error file=a.ts,line=1::x%25', 'say ::error::no']).annotations).toEqual([
      { level: 'error', message: 'x%', title: undefined },
    ]);
  });
});

describe('corruption, processes, folders', () => {
  test('a damaged pack is seen by git, and keeps its mode', async () => {
    const mirror = await fullMirror();
    const packs = join(mirror, 'objects', 'pack');
    const name = readdirSync(packs).find((entry) => entry.endsWith('.pack')) ?? '';
    const pack = join(packs, name);
    const { mode, size } = statSync(pack);
    const offset = randomOffset(createRandom(testSeed()), pack, 12, 20);
    const check = async (): Promise<number | null> =>
      (await tryGit(mirror, ['verify-pack', pack.replace(/pack$/, 'idx')])).exitCode;
    expect(await check()).toBe(0);
    flipBit(pack, offset, 3);
    expect(await check()).toBe(1);
    flipBit(pack, offset, 3);
    flipBit(pack, -1);
    expect(await check()).toBe(1);
    flipBit(pack, -1);
    expect(await check()).toBe(0);
    lengthen(pack, Buffer.from('x'));
    truncate(pack, -2);
    expect(statSync(pack)).toMatchObject({ mode, size: size - 1 });
    expect(await check()).toBe(1);
    empty(pack);
    expect(statSync(pack).size).toBe(0);
    remove(pack);
    expect(existsSync(pack)).toBe(false);
    expect(() => {
      truncate(pack.replace(/pack$/, 'idx'), 1e9);
    }).toThrow(RangeError);
  });

  test('random numbers repeat with their seed', () => {
    const [first, second] = [createRandom(5), createRandom(5)];
    expect(first.bytes(1_001)).toEqual(second.bytes(1_001));
    expect(first.integer(1e6)).toBe(second.integer(1e6));
    expect(first.next()).not.toBe(createRandom(6).next());
  });

  (canListProcesses ? test : test.skip)('finds, stops and ends processes', async () => {
    const marker = `marker-${process.pid}-${++count}`;
    const script = `setInterval(() => require('fs').writeFileSync('tick', String(Date.now())), 20)`;
    const ended = runProcess(process.execPath, ['-e', script, marker], { cwd: root });
    const tick = join(root, 'tick');
    await waitUntil(() => existsSync(tick), { timeoutMs: 20_000 });
    const [found] = processesWith(marker);
    const pid = found?.pid ?? 0;
    pauseProcess(pid);
    const last = readFileSync(tick, 'utf8');
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect(readFileSync(tick, 'utf8')).toBe(last);
    resumeProcess(pid);
    await waitUntil(() => readFileSync(tick, 'utf8') !== last, { timeoutMs: 20_000 });
    endProcess(pid);
    expect(await ended).toMatchObject({ signal: 'SIGKILL', timedOut: false });
    expect(isRunning(pid)).toBe(false);
    expect(processesWith(marker)).toEqual([]);
    endProcess(pid);
  });

  test('waiting ends with a message', async () => {
    const waiting = waitUntil(() => false, { timeoutMs: 30, what: 'nothing' });
    await expect(waiting).rejects.toThrow('gave up after 30 ms: nothing');
  });

  test('folders go even if they are read-only', async () => {
    const own = temporaryDirectories();
    const directory = await own.create();
    mkdirSync(join(directory, 'inner'));
    writeFileSync(join(directory, 'inner', 'file'), '', { mode: 0o444 });
    chmodSync(join(directory, 'inner'), 0o555);
    await own.removeAll();
    expect(existsSync(directory)).toBe(false);
  });
});
