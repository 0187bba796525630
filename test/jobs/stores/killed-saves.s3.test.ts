/**
 * A save to a bucket that ends badly keeps no later job from saving: post is killed at each of its changes
 * to the bucket, or its server is full or refuses writes for a moment.
 */
import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { DEFAULT_TIMES } from '../../../src/locks/claims/times.ts';
import type { Job } from '../../support/action-runner.ts';
import { waitUntil } from '../../support/processes.ts';
import type { S3FaultBehaviour } from '../../support/s3/fault.ts';
import { startS3Proxy, type S3Proxy } from '../../support/s3/proxy.ts';
import type { S3Request } from '../../support/s3/request.ts';
import { s3Servers } from '../../support/s3/servers.ts';
import { S3Stores } from '../../support/s3/stores.ts';
import { inBucket } from '../scenarios/s3-scenario.ts';
import { expectMirrorOf, succeed, useScenarios, verdict } from '../scenarios/scenario.ts';
import { countUntilSaved } from '../scenarios/until-saved.ts';

jest.setTimeout(300_000);

const scenarios = useScenarios();
const server = s3Servers().find(({ name }) => name === 'ceph');
const describeIf = server === undefined ? describe.skip : describe;

describeIf('a save to a bucket', () => {
  const folder = `killed-saves/${randomUUID()}`;
  let stores: S3Stores;
  let proxy: S3Proxy;
  /** Of a job whose main has run: a mirror, and a bucket without snapshots. */
  let job: Job;
  let mirror: string;
  let pristine: string;
  /** Runs a whole job on a new machine. */
  let runNext: () => ReturnType<Awaited<ReturnType<typeof scenarios.create>>['run']>;
  let upstream: string;

  beforeAll(async () => {
    stores = new S3Stores(server!, folder);
    proxy = await startS3Proxy(server!);
    const scenario = await scenarios.create();
    ({ upstream } = scenario);
    const options = inBucket(proxy.server, `${folder}/store`);
    const root = scenario.newMachine();
    mirror = join(root, 'mirrors', 'name.git');
    pristine = join(scenario.root, 'pristine.git');
    job = scenario.job({ ...options, root, inputs: { ...options.inputs, 'mirror-path': mirror } });
    await succeed(job.main());
    cpSync(mirror, pristine, { recursive: true });
    runNext = () => scenario.run(options);
  });
  afterEach(() => {
    proxy.clearFaults();
    proxy.clockShiftMs = 0;
  });
  afterAll(async () => {
    await stores.removeAll();
    stores.close();
    await proxy.stop();
  });

  /** Mirror and bucket as they were after main. */
  async function reset(): Promise<void> {
    proxy.clearFaults();
    proxy.resetCounters();
    proxy.clockShiftMs = 0;
    rmSync(mirror, { recursive: true, force: true });
    cpSync(pristine, mirror, { recursive: true });
    await stores.removeAll();
  }

  const isChange = ({ method }: S3Request): boolean => ['PUT', 'POST', 'DELETE'].includes(method);
  const isWriteTo =
    (part: string) =>
    (request: S3Request): boolean =>
      isChange(request) && request.key.includes(`/${part}/`);
  const changes = (): S3Request[] => proxy.requests.filter(isChange);
  const isSaved = async (): Promise<boolean> =>
    (await stores.list('store')).some((name) => name.includes('/manifests/'));
  const post = async (): Promise<string> => verdict(await succeed(job.post()));

  /** Kills post before its first change (0), or when the server has made that many. */
  async function killAfter(count: number): Promise<void> {
    const moment = Math.max(count, 1);
    let seen = 0;
    proxy.fault({
      on: (request) => isChange(request) && ++seen === moment,
      afterwards: count > 0,
      behave: { kind: 'delay', forMs: 60_000 },
    });
    const step = job.startPost();
    const isThere = () => {
      const request = changes()[moment - 1];
      return request !== undefined && (count === 0 || request.serverStatus !== undefined);
    };
    await waitUntil(isThere, { timeoutMs: 60_000, what: `change ${String(count)}` });
    step.kill();
    expect((await step.finished).signal).toBe('SIGKILL');
    proxy.clearFaults();
  }

  /** What was written or removed, without what differs from run to run. */
  const describeChange = ({ method, key }: S3Request): string =>
    `${method} ${key.replace(/^.*\/v1\/[^/]+\//, '').replace(/[0-9a-f]{16,}/g, '*')}`;

  test('that is killed before or after any of its changes: the next job saves, once the claim has passed its life', async () => {
    await reset();
    expect(await post()).toMatch(/^Saved snapshot 1-/);
    const names = changes().map(describeChange);
    // Otherwise the moments would not be those of a save.
    for (const part of ['claims/', 'layers/', 'manifests/']) {
      expect(names.filter((name) => name.startsWith(`PUT ${part}`)).length).toBeGreaterThan(0);
    }
    const outcomes: { after: string; jobs: number; verdicts: string[] }[] = [];
    for (const [index, after] of ['nothing', ...names].entries()) {
      await reset();
      await killAfter(index);
      // As if that time had passed: a claim's age is the server's clock against its own record.
      proxy.clockShiftMs = DEFAULT_TIMES.lifeMs + 1_000;
      outcomes.push({ after, ...(await countUntilSaved(post, isSaved)) });
    }
    expect(outcomes.filter(({ jobs }) => jobs > 1)).toEqual([]);
    expect(outcomes.filter(({ jobs }) => jobs === 1).length).toBeGreaterThan(2);
    const { main, mirror: restored } = await runNext();
    expect(main.outputs['provenance']).toBe('restored');
    await expectMirrorOf(restored, upstream);
  });

  test('that is killed keeps jobs from saving for no longer than the life of its claim', async () => {
    await reset();
    expect(await post()).toMatch(/^Saved snapshot 1-/);
    const claimed = changes().findIndex(isWriteTo('claims')) + 1;
    await reset();
    await killAfter(claimed);
    expect(await post()).toMatch(/^Nothing saved: another job is saving it/);
    proxy.clockShiftMs = DEFAULT_TIMES.lifeMs + 1_000;
    expect(await post()).toMatch(/^Saved snapshot 1-/);
  });

  const REFUSALS: [string, string, S3FaultBehaviour, RegExp][] = [
    ['is full', 'layers', { kind: 'status', status: 400, code: 'QuotaExceeded' }, /^Nothing saved/],
    ['may only be read', 'layers', { kind: 'status', status: 403 }, /^Nothing saved/],
    ['refuses manifests', 'manifests', { kind: 'status', status: 403 }, /^Nothing saved/],
    ['fails where claims are written', 'claims', { kind: 'status', status: 503 }, /^Saved/],
  ];

  test.each(REFUSALS)(
    'to a server that %s for a moment is made by the next job, without waiting for anybody',
    async (_, part, behave, first) => {
      await reset();
      proxy.fault({ on: isWriteTo(part), behave });
      const said = await post();
      expect(said).toMatch(first);
      expect(said).not.toContain('another job');
      proxy.clearFaults();
      const { jobs, verdicts } = await countUntilSaved(post, isSaved);
      expect({ jobs, verdicts }).toEqual({ jobs: first.test('Saved') ? 0 : 1, verdicts });
    },
  );
});
