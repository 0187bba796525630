/** How long upstream is waited for: while it shows signs of life, and never past the deadline. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { openGit, type Git } from '../../src/git/git.ts';
import { createDeadline } from '../../src/lib/deadline.ts';
import { silentLog } from '../../src/lib/log.ts';
import { fetchObjects, probeUpstream, type Asking } from '../../src/mirror/upstream.ts';
import { git as fixtureGit, gitEnvironment } from '../support/git.ts';
import {
  createComputing,
  type Computing,
  type SignOfLife,
} from '../support/git-server/computing.ts';
import { startGitServer, type GitServer } from '../support/git-server/server.ts';
import { waitUntil } from '../support/processes.ts';
import { createRepository, repositorySizes } from '../support/repository-fixture.ts';
import { temporaryDirectories } from '../support/temporary-directory.ts';

const onPosix = process.platform === 'win32' ? describe.skip : describe;
const onLinux = process.platform === 'linux' ? test : test.skip;
const directories = temporaryDirectories();
const { signal } = new AbortController();
let root: string;
let head: string;
let server: GitServer;
let git: Git;
let logged: string[];
let asking: Asking;

beforeAll(async () => {
  root = await directories.create('waiting');
  const upstream = join(root, 'upstream.git');
  ({ head } = await createRepository(upstream, repositorySizes.small));
  server = await startGitServer({ repositories: { 'owner/name': upstream } });
  const environment = gitEnvironment();
  git = await openGit({ environment, workingDirectory: root, signal, log: silentLog });
});

beforeEach(() => {
  server.clearFaults();
  server.resetCounters();
  logged = [];
  const log = { ...silentLog, info: (message: string) => void logged.push(message) };
  const access = { url: server.repositoryUrl('owner/name'), token: '' };
  asking = { git, log, signal, upstream: { access, refspecs: ['+refs/*:refs/*'], depth: 'full' } };
});

afterAll(async () => {
  await server.stop();
  await directories.removeAll();
});

const MINUTE_MS = 60_000;

function probe(timeoutMs: number, stallMs: number) {
  return probeUpstream(asking, root, createDeadline(timeoutMs, stallMs));
}

async function fetchFresh(timeoutMs: number, stallMs: number): Promise<string[]> {
  const directory = join(await directories.create('mirror'), 'mirror.git');
  await fixtureGit(root, ['init', '--quiet', '--bare', '--template=', directory]);
  await fetchObjects(asking, directory, [head], createDeadline(timeoutMs, stallMs));
  return readdirSync(join(directory, 'objects', 'pack')).filter((name) => name.endsWith('.pack'));
}

describe('a probe', () => {
  test('that is never answered ends at the deadline, whatever a stall is', async () => {
    server.fault({ on: 'probe', behave: { kind: 'stall', afterBytes: 0 } });
    const failure = probe(1_000, Infinity);
    await expect(failure).rejects.toMatchObject({ code: 'timeout', concern: 'fetch-timeout' });
    expect(logged).toEqual([]);
  });

  test('that is never answered is tried twice, and named as a stall', async () => {
    server.fault({ on: 'probe', behave: { kind: 'stall', afterBytes: 0 } });
    const failure = probe(MINUTE_MS, 800);
    await expect(failure).rejects.toMatchObject({ code: 'network', concern: 'stall-timeout' });
    await expect(failure).rejects.toThrow(/: upstream showed no sign of life for 800 ms$/);
    expect(logged).toEqual([expect.stringMatching(/no sign of life.*; trying again in 1\.\d s$/)]);
  });

  test('whose answer takes longer than a stall is answered by the second try', async () => {
    server.fault({ on: 'probe', times: 1, behave: { kind: 'stall', afterBytes: 0 } });
    expect((await probe(MINUTE_MS, 3_000)).refs.length).toBeGreaterThan(0);
    expect(logged).toHaveLength(1);
  });
});

describe('a fetch', () => {
  test('that stalls half-way is begun again, more often than what fails otherwise', async () => {
    const times = 4;
    server.fault({ on: 'fetch', times, behave: { kind: 'stall', afterBytes: 20_000 } });
    expect(await fetchFresh(2 * MINUTE_MS, 1_500)).toHaveLength(1);
    const stalls = logged.filter((line) => /no sign of life.*trying again/.test(line));
    expect(stalls.length).toBeGreaterThanOrEqual(times);
  });

  // Elsewhere git shows whole packets of up to 64 KB only.
  onLinux('that gets a few bytes now and then is no stall: only the deadline ends it', async () => {
    server.fault({ on: 'fetch', behave: { kind: 'slow', bytesPerSecond: 200 } });
    await expect(fetchFresh(8_000, 2_000)).rejects.toMatchObject({ code: 'timeout' });
    expect(logged).toEqual([]);
  });

  test('that stalls ends at the deadline', async () => {
    server.fault({ on: 'fetch', behave: { kind: 'stall', afterBytes: 20_000 } });
    await expect(fetchFresh(2_500, 700)).rejects.toMatchObject({ code: expect.any(String) });
    expect(logged.length).toBeLessThan(3);
  });

  test('that upstream limits is tried again after a longer pause, which the log shows', async () => {
    const behave = { kind: 'status', status: 429, retryAfterSeconds: 3 } as const;
    server.fault({ on: 'fetch', times: 1, behave });
    expect(await fetchFresh(MINUTE_MS, Infinity)).toHaveLength(1);
    expect(logged).toEqual([
      expect.stringMatching(/limits the number of requests.*429.*; trying again in [567]\.\d s$/),
    ]);
  });

  test('that upstream limits fails at once where the deadline leaves no time for the pause', async () => {
    server.fault({ on: 'fetch', behave: { kind: 'status', status: 429 } });
    const failure = { code: 'network', concern: 'request-rate' };
    await expect(fetchFresh(4_000, Infinity)).rejects.toMatchObject(failure);
    expect(logged).toEqual([]);
  });
});

onPosix('a server that computes a pack for long', () => {
  const STALL_MS = 3_000;
  function compute(sign: SignOfLife): Computing {
    const computing = createComputing(join(root, `computing-${sign}`), sign);
    Object.assign(server.configuration, computing.configuration);
    return computing;
  }
  afterEach(() => {
    delete server.configuration['uploadpack.packObjectsHook'];
  });

  async function expectPatience(sign: SignOfLife): Promise<void> {
    const computing = compute(sign);
    const running = fetchFresh(2 * MINUTE_MS, STALL_MS);
    await computing.started();
    await sleep(2.5 * STALL_MS);
    computing.finish();
    expect(await running).toHaveLength(1);
    expect(logged).toEqual([]);
  }

  test('and reports its progress is waited for', () => expectPatience('progress'));

  // Elsewhere git does not show these.
  onLinux('and sends the empty packets of git servers is waited for', () =>
    expectPatience('keep-alive'),
  );

  test('and sends nothing meanwhile is asked again', async () => {
    const computing = compute('nothing');
    const running = fetchFresh(2 * MINUTE_MS, 1_000);
    await waitUntil(() => logged.length > 0, { timeoutMs: MINUTE_MS, what: 'a second try' });
    computing.finish();
    expect(await running).toHaveLength(1);
    expect(logged[0]).toMatch(/no sign of life for 1\.0 s.*; trying again/);
  });
});

describe('an answer of status 200 that is not of git', () => {
  test.each([
    ['a page', undefined],
    ['a short page', '<!DOCTYPE html>'],
    ['a page of one line', '<html><head><title>Sign in</title></head><body>x</body></html>'],
    ['no page at all', ''],
  ])('is named, with its address: %s', async (_, page) => {
    server.fault({
      on: 'probe',
      behave: { kind: 'html', ...(page === undefined ? {} : { page }) },
    });
    const failure = probe(30_000, Infinity);
    await expect(failure).rejects.toMatchObject({ code: 'network', concern: 'server' });
    await expect(failure).rejects.toThrow(
      /^asking http:.*owner\/name for its refs: the answer is not git's protocol/,
    );
  });

  test('is not reported where upstream then says what is wrong', async () => {
    server.fault({ on: 'probe', behave: { kind: 'html', page: '' }, times: 1 });
    server.fault({ on: 'probe', behave: { kind: 'status', status: 404 } });
    await expect(probe(30_000, Infinity)).rejects.toMatchObject({ code: 'not-found' });
  });

  test('is not confused with an empty repository', async () => {
    const empty = join(root, 'empty.git');
    await fixtureGit(root, ['init', '--quiet', '--bare', '--template=', empty]);
    server.repositories['owner/empty'] = empty;
    const access = { url: server.repositoryUrl('owner/empty'), token: '' };
    asking = { ...asking, upstream: { ...asking.upstream, access } };
    await expect(probe(30_000, Infinity)).rejects.toMatchObject({ code: 'empty-upstream' });
  });
});
