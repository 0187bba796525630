/**
 * `lfs: true` while something goes wrong. The job always continues, what is missing is named once, and nothing
 * wrong is primed or saved.
 */
import { afterEach, describe, expect, test } from '@jest/globals';
import { randomBytes, createHash } from 'node:crypto';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { Job, StepResult } from '../../support/action-runner.ts';
import type { LfsFault } from '../../support/git-server/lfs-server.ts';
import { canMount, mounts } from '../../support/mounts.ts';
import { waitUntil } from '../../support/processes.ts';
import { checkOutAt, eventOf } from '../scenarios/checkout-scenario.ts';
import { Killer, chooseMoments } from '../scenarios/killed-step.ts';
import {
  lfsOf,
  objectBeside,
  objectIn,
  randomContents,
  runLfs,
  useLfs,
} from '../scenarios/lfs-scenario.ts';
import { endClaims, succeed, useScenarios, type Scenario } from '../scenarios/scenario.ts';

const scenarios = useScenarios();
const lfs = useLfs(scenarios);
const disks = mounts();
const CONTENTS = randomContents(4, 30_000, 5);
const OIDS = CONTENTS.map((content) => createHash('sha256').update(content).digest('hex'));
const FIRST = OIDS[0] ?? '';

afterEach(() => {
  disks.removeAll();
});

/** The objects that a workspace got; each must have the content that its name says. */
function primedOids({ workspace }: Job): string[] {
  const found = OIDS.filter((oid) => existsSync(objectIn(workspace, oid)));
  for (const oid of found) expect(digestOf(objectIn(workspace, oid))).toBe(oid);
  return found;
}

function digestOf(path: string): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex');
}

function warningsOf({ annotations }: StepResult): string[] {
  return annotations.filter(({ level }) => level === 'warning').map(({ message }) => message);
}

/** With the right answers again, the checkout has every content, and a new job is whole. */
async function expectHealed(scenario: Scenario, job: Job): Promise<void> {
  lfs.server.clearFaults();
  CONTENTS.forEach((content) => lfs.server.add(content));
  const options = { serverUrl: lfs.server.url, lfs: true, ...(await eventOf(scenario)) };
  const { folder } = await checkOutAt(scenario, job, options);
  CONTENTS.forEach((content, index) => {
    const found = readFileSync(join(folder, 'data', `${String(index)}.bin`));
    expect(found.equals(content)).toBe(true);
  });
  const next = lfs.job(scenario);
  const { main } = await runLfs(next);
  expect(lfsOf(main)).toMatchObject({ objects: 4, missingObjects: 0, primedObjects: 4 });
  expect(warningsOf(main)).toEqual([]);
  expect(primedOids(next)).toEqual(OIDS);
}

const one = { on: 'download', oid: FIRST } as const;
const QUOTA = 'This repository is over its data quota. Purchase more data packs to restore access.';
/** Of a test with several jobs. */
const TIMEOUT_MS = 600_000;
const LIMITS = { 'stall-timeout': '3s', 'fetch-timeout': '60s' };

describe('the LFS server', () => {
  test.each<[string, LfsFault, string, RegExp, number]>([
    ['answers 401', batch(401), 'refused', /refused the credentials; check `token`/, 0],
    ['answers 403', batch(403), 'refused', /refused the credentials/, 0],
    ['answers 403 and says why', batch(403, 'No access here'), 'refused', /refused the request/, 0],
    ['answers 429', batch(429), 'network', /limits the number of requests/, 0],
    ['answers 500', batch(500), 'network', /answered with an error/, 0],
    ['is over its quota', batch(403, QUOTA), 'over-quota', /the quota .* is used up/, 0],
    ['lacks one object', download(404), 'missing-on-server', /missing on the LFS server/, 3],
    ['forbids one object', download(403), 'refused', /refused/, 3],
    [
      'cuts one download',
      { ...one, behave: { kind: 'cut', afterBytes: 9 } },
      'network',
      /broke/,
      3,
    ],
    ['sends other content', { ...one, behave: { kind: 'garbage' } }, 'network', /broke off/, 3],
    [
      'hangs up',
      { on: 'batch', behave: { kind: 'cut', afterBytes: 0 } },
      'network',
      /broke off/,
      0,
    ],
    [
      'never answers',
      { on: 'batch', behave: { kind: 'stall', afterBytes: 0 } },
      'timeout',
      /no sign of life for 3\.0 s/,
      0,
    ],
    [
      'falls silent',
      { ...one, behave: { kind: 'stall', afterBytes: 9 } },
      'timeout',
      /no sign of life for 3\.0 s; set `stall-timeout`/,
      3,
    ],
  ])(
    '%s: the job continues with what it has',
    async (_, fault, kind, words, primed) => {
      const scenario = await lfs.create(CONTENTS);
      lfs.server.fault(fault);
      const job = lfs.job(scenario, { inputs: LIMITS });
      const main = await succeed(job.main());
      expect(lfsOf(main)).toMatchObject({
        ...{ objects: 4, missingObjects: 4 - primed, primedObjects: primed, failure: kind },
      });
      const [warning = '', ...others] = warningsOf(main);
      expect(warning).toMatch(/^The checkout has to download \d of 4 LFS objects/);
      expect(warning).toMatch(words);
      expect(others).toEqual([]);
      // URLs of downloads are signed.
      expect(main.log).not.toContain('key=');
      expect(primedOids(job)).toHaveLength(primed);
      const post = await succeed(job.post());
      expect(post.log).toMatch(primed > 0 ? /LFS objects: Saved/ : /LFS objects: Nothing saved/);
      await expectHealed(scenario, job);
    },
    TIMEOUT_MS,
  );

  test('never gets the token of upstream where it redirects to another host', async () => {
    const seen: IncomingHttpHeaders[] = [];
    const other = createServer(({ headers }, response) => {
      seen.push(headers);
      response.writeHead(401, { 'WWW-Authenticate': 'Basic realm="other"' }).end();
    });
    await new Promise<void>((resolve) => other.listen(0, 'localhost', resolve));
    const { port } = other.address() as AddressInfo;
    const Location = `http://localhost:${String(port)}/elsewhere`;
    try {
      for (const on of ['batch', 'download'] as const) {
        const scenario = await lfs.create(CONTENTS);
        const behave = { kind: 'status', status: 307, headers: { Location } } as const;
        lfs.server.fault({ on, behave });
        const job = lfs.job(scenario, { inputs: LIMITS });
        expect(lfsOf(await succeed(job.main()))).toMatchObject({ primedObjects: 0 });
        lfs.server.clearFaults();
      }
      expect(seen.length).toBeGreaterThan(0);
      expect(seen.filter(({ authorization }) => authorization !== undefined)).toEqual([]);
    } finally {
      other.closeAllConnections();
      other.close();
    }
  });
});

function batch(status: number, message?: string): LfsFault {
  const text = message === undefined ? {} : { message };
  return { on: 'batch', behave: { kind: 'status', status, ...text } };
}

function download(status: number): LfsFault {
  return { ...one, behave: { kind: 'status', status } };
}

/** Paths of the bundles in a disk store. */
function bundlesOf({ store }: Scenario): string[] {
  const files = readdirSync(store, { recursive: true, encoding: 'utf8' });
  return files.filter((name) => name.endsWith('lfs-objects')).map((name) => join(store, name));
}

describe('an object with the right size and other content', () => {
  test('in the store is not used, and the next snapshot replaces it', async () => {
    const scenario = await lfs.create(CONTENTS);
    await runLfs(lfs.job(scenario));
    const [bundle = ''] = bundlesOf(scenario);
    chmodSync(bundle, 0o600);
    const content = readFileSync(bundle);
    // Of one object alone: the others are sound.
    content[35_000] = (content[35_000] ?? 0) ^ 1;
    writeFileSync(bundle, content);
    lfs.reset();
    const job = lfs.job(scenario);
    const { main, post } = await runLfs(job);
    expect(warningsOf(main)).toEqual([expect.stringMatching(/is damaged: 1 of its objects/)]);
    expect(lfsOf(main)).toMatchObject({ downloadedObjects: 1, restoredBytes: 90_000 });
    expect(primedOids(job)).toEqual(OIDS);
    expect(post.log).toMatch(/LFS objects: Saved snapshot 2-/);
    lfs.reset();
    await expectHealed(scenario, job);
    expect(lfs.server.downloads).toEqual({});
  });

  test('on the machine is not used, and is downloaded again', async () => {
    const scenario = await lfs.create(CONTENTS);
    const root = scenario.newMachine();
    const inputs = { 'disk-path': '' };
    const first = await succeed(lfs.job(scenario, { root, inputs }).main());
    const path = objectBeside(first.outputs['mirror-path'] ?? '', FIRST);
    chmodSync(path, 0o600);
    writeFileSync(path, Buffer.alloc(30_000, 'x'));
    lfs.reset();
    const job = lfs.job(scenario, { root, inputs, workspace: 'other' });
    const main = await succeed(job.main());
    expect(lfs.server.downloads).toEqual({ [FIRST]: 1 });
    expect(lfsOf(main)).toMatchObject({ existingBytes: 90_000, downloadedObjects: 1 });
    expect(primedOids(job)).toEqual(OIDS);
  });

  test('when it is saved is not saved', async () => {
    const scenario = await lfs.create(CONTENTS);
    const job = lfs.job(scenario);
    await succeed(job.main());
    // Through the hard link of the workspace, as a step of the job would.
    const path = objectIn(job.workspace, FIRST);
    chmodSync(path, 0o600);
    writeFileSync(path, Buffer.alloc(30_000, 'x'));
    const post = await succeed(job.post());
    expect(post.log).toMatch(/LFS objects: Nothing saved: .*\/[0-9a-f]{64} was removed or changed/);
    expect(bundlesOf(scenario)).toEqual([]);
  });
});

test('a layer that is gone is replaced', async () => {
  const scenario = await lfs.create(CONTENTS);
  await runLfs(lfs.job(scenario));
  const [bundle = ''] = bundlesOf(scenario);
  writeFileSync(bundle, 'short');
  const job = lfs.job(scenario);
  const { main } = await runLfs(job);
  expect(lfsOf(main)).toMatchObject({ downloadedObjects: 4, missingObjects: 0 });
  await expectHealed(scenario, job);
});

test('a job that is killed while it downloads leaves nothing that harms the next', async () => {
  const scenario = await lfs.create(CONTENTS);
  const root = scenario.newMachine();
  lfs.server.fault({ ...one, behave: { kind: 'stall', afterBytes: 100 } });
  const step = lfs.job(scenario, { root }).startMain();
  await waitUntil(
    () => lfs.server.requests.some(({ oid, status }) => oid === FIRST && status === 0),
    {
      ...{ timeoutMs: 60_000, what: 'a download' },
    },
  );
  step.kill();
  await step.finished;
  lfs.server.clearFaults();
  const job = lfs.job(scenario, { root, workspace: 'next' });
  const { main } = await runLfs(job);
  expect(lfsOf(main)).toMatchObject({ missingObjects: 0, primedObjects: 4 });
  expect(existsSync(join(`${main.outputs['mirror-path'] ?? ''}.lfs`, 'work'))).toBe(false);
  expect(primedOids(job)).toEqual(OIDS);
});

describe('a job that is killed', () => {
  /** Jobs whose steps may be killed, all on machines of their own. */
  function useKiller(scenario: Scenario, folder: string) {
    const killer = new Killer(join(scenario.root, 'plan.json'), folder);
    const job = (root: string) => lfs.job(scenario, { root, environment: killer.environment });
    return { killer, job };
  }

  test.each([
    ['downloads', 'cold', ['mkdir ', 'lfs/objects/', '.lfs/objects/']],
    ['restores', 'warm', ['lfs/objects/', '.lfs/objects/']],
  ] as const)(
    'while it %s objects harms neither its own checkout nor the next job',
    async (_, kind, expected) => {
      const scenario = await lfs.create(CONTENTS);
      if (kind === 'warm') await runLfs(lfs.job(scenario));
      const machine = scenario.newMachine();
      const { killer, job } = useKiller(scenario, machine);
      await succeed(job(machine).main());
      const moments = chooseMoments(killer.calls, /lfs/);
      for (const part of expected) expect(killer.calls.join('\n')).toContain(part);
      for (const { before, call } of moments) {
        const root = scenario.newMachine();
        killer.arrange({ root, before });
        const killed = job(root);
        expect({ call, signal: (await killed.main()).signal }).toEqual({ call, signal: 'SIGKILL' });
        primedOids(killed);
        killer.arrange({ root });
        const next = lfs.job(scenario, { root, workspace: 'next' });
        const { main } = await runLfs(next);
        expect(lfsOf(main)).toMatchObject({ missingObjects: 0, primedObjects: 4 });
        expect(primedOids(next)).toEqual(OIDS);
        await expectHealed(scenario, killed);
      }
    },
    TIMEOUT_MS,
  );

  test(
    'while it saves objects leaves a store that later jobs save to and restore from',
    async () => {
      const scenario = await lfs.create(CONTENTS);
      const { killer, job } = useKiller(scenario, scenario.store);
      const first = job(scenario.newMachine());
      await succeed(first.main());
      const empty = join(scenario.root, 'empty-store');
      cpSync(scenario.store, empty, { recursive: true });
      killer.arrange();
      await succeed(first.post());
      const isOfObjects = (call: string) => call.includes('lfs');
      const moments = chooseMoments(killer.calls, /lfs/);
      for (const part of ['claims/', 'layers/', 'manifests/']) {
        const calls = killer.calls.filter(isOfObjects);
        expect(calls.filter((call) => call.includes(part))).not.toEqual([]);
      }
      for (const { before, call } of moments) {
        rmSync(scenario.store, { recursive: true });
        cpSync(empty, scenario.store, { recursive: true });
        killer.arrange();
        const killed = job(scenario.newMachine());
        await succeed(killed.main());
        killer.arrange({ before });
        expect({ call, signal: (await killed.post()).signal }).toEqual({ call, signal: 'SIGKILL' });
        killer.arrange();
        await endClaims(scenario.store);
        await runLfs(lfs.job(scenario));
        lfs.reset();
        const next = lfs.job(scenario);
        expect(lfsOf(await succeed(next.main()))).toMatchObject({ restoredBytes: 120_000 });
        expect({ call, requests: lfs.server.requests }).toEqual({ call, requests: [] });
        expect(primedOids(next)).toEqual(OIDS);
      }
    },
    TIMEOUT_MS,
  );
});

test('a cancelled job ends while it downloads', async () => {
  const scenario = await lfs.create(CONTENTS);
  lfs.server.fault({ ...one, behave: { kind: 'stall', afterBytes: 100 } });
  const step = lfs.job(scenario).startMain();
  await waitUntil(
    () => lfs.server.requests.some(({ oid, status }) => oid === FIRST && status === 0),
    {
      ...{ timeoutMs: 60_000, what: 'a download' },
    },
  );
  const { exitCode, log } = await step.cancel();
  expect({ exitCode, log }).toMatchObject({ exitCode: 1 });
  expect(log).toContain('cancelled');
});

const onSmallDisks = canMount('tmpfs') ? test : test.skip;

onSmallDisks('a full disk leaves the LFS objects to the checkout', async () => {
  const scenario = await lfs.create(randomContents(3, 4_000_000, 6));
  const root = scenario.newMachine();
  mkdirSync(root, { recursive: true });
  const disk = disks.memory(8 * 1024 * 1024);
  const inputs = { 'mirror-path': join(disk, 'mirror.git'), 'disk-path': '' };
  const job = lfs.job(scenario, { root, inputs });
  const main = await succeed(job.main());
  expect(main.outputs['provenance']).toBe('cloned');
  expect(warningsOf(main).join('\n')).toMatch(/LFS objects.*no space (?:is )?left/i);
  await succeed(job.post());
});

onSmallDisks('a RUNNER_TEMP that cannot be written costs no job its LFS objects', async () => {
  const scenario = await lfs.create(CONTENTS);
  const temporary = disks.memory(1024 * 1024);
  disks.makeReadOnly(temporary);
  const job = lfs.job(scenario, { environment: { RUNNER_TEMP: temporary } });
  const { main } = await runLfs(job);
  expect(warningsOf(main)).toEqual([
    expect.stringMatching(/^LFS objects will not be saved: .*EROFS/),
  ]);
  expect(primedOids(job)).toEqual(OIDS);
});

test('the token is nowhere, with every variable for debugging and a server that fails', async () => {
  const canary = `ghs_${randomBytes(18).toString('hex')}`;
  const scenario = await lfs.create(CONTENTS);
  scenarios.server.token = canary;
  lfs.server.fault({ on: 'batch', behave: { kind: 'status', status: 500 } });
  const trace = join(scenario.root, 'trace');
  const environment = {
    ...{ GIT_TRACE: `${trace}.1`, GIT_TRACE_CURL: `${trace}.2`, GIT_CURL_VERBOSE: '1' },
    ...{ GIT_TRACE2: `${trace}.3`, GIT_TRACE2_EVENT: `${trace}.4`, GIT_TRACE_REDACT: '0' },
    ...{ GIT_TRANSFER_TRACE: '1', GIT_LOG_STATS: '1', GIT_LFS_PROGRESS: `${trace}.5` },
  };
  const job = lfs.job(scenario, { token: canary, environment });
  const main = await succeed(job.main());
  expect(lfsOf(main)).toMatchObject({ missingObjects: 4 });
  lfs.server.clearFaults();
  const again = lfs.job(scenario, { token: canary, environment });
  const steps = [main, await succeed(job.post()), await succeed(again.main())];
  expect(lfs.server.requests.some(({ hasAuthorization }) => hasAuthorization)).toBe(true);
  const spellings = [canary, Buffer.from(`x-access-token:${canary}`).toString('base64')];
  const isTold = (text: string | Buffer) => spellings.some((spelling) => text.includes(spelling));
  for (const { log, summary, outputs, state } of steps) {
    expect(isTold(log + summary + JSON.stringify([outputs, state]))).toBe(false);
  }
  const entries = readdirSync(scenario.root, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  expect(files.length).toBeGreaterThan(10);
  const telling = files.filter(({ parentPath, name }) =>
    isTold(readFileSync(join(parentPath, name))),
  );
  expect(telling.map(({ parentPath, name }) => join(parentPath, name))).toEqual([]);
});
