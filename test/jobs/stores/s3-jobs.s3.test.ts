/**
 * Jobs of several machines that share a bucket: many at once, one that comes late, some with another
 * time. A soak has more of them at once: S3_COLD_JOBS=20.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { releasedName } from '../../../src/locks/claims/records.ts';
import { applyRetention } from '../../../src/save/retention.ts';
import { parseManifest } from '../../../src/snapshot/manifest.ts';
import type { Job, JobOptions, RunningStep, StepResult } from '../../support/action-runner.ts';
import { pauseProcess, resumeProcess, waitUntil } from '../../support/processes.ts';
import { addCommits, repositorySizes } from '../../support/repository-fixture.ts';
import { startS3Proxy, type S3Proxy } from '../../support/s3/proxy.ts';
import type { S3Request } from '../../support/s3/request.ts';
import { s3Servers } from '../../support/s3/servers.ts';
import { S3Stores } from '../../support/s3/stores.ts';
import { withClockShiftedBy } from '../../support/locks/shift-clock.ts';
import { inBucket } from '../scenarios/s3-scenario.ts';
import { expectMirrorOf, succeed, tally, useScenarios, verdict } from '../scenarios/scenario.ts';

const JOBS = Number(process.env['S3_COLD_JOBS'] ?? 6);
const TIMEOUT_MS = 60_000 + JOBS * 10_000;
const HOUR_MS = 60 * 60_000;
const servers = s3Servers();
const scenarios = useScenarios();
const started: RunningStep[] = [];
const { signal } = new AbortController();

afterEach(async () => {
  for (const step of started) step.kill();
  await Promise.all(started.splice(0).map(({ finished }) => finished));
});

function start(jobs: readonly Job[]): RunningStep[] {
  const steps = jobs.map((job) => job.startMain());
  started.push(...steps);
  return steps;
}

function allOf(steps: readonly RunningStep[]): Promise<StepResult[]> {
  return Promise.all(steps.map(({ finished }) => succeed(finished)));
}

const ceph = servers.find(({ name }) => name === 'ceph');
const describeIf = ceph === undefined ? describe.skip : describe;

describeIf('by two ways to one bucket, with a proxy on each', () => {
  const folder = `action-test/${randomUUID()}`;
  let stores: S3Stores;
  let proxies: S3Proxy[] = [];

  beforeAll(async () => {
    stores = new S3Stores(ceph!, folder);
    const { endpoint, otherEndpoint = endpoint } = ceph!;
    proxies = [await startS3Proxy(ceph!, endpoint), await startS3Proxy(ceph!, otherEndpoint)];
  });
  afterEach(async () => {
    for (const proxy of proxies) {
      proxy.clearFaults();
      proxy.resetCounters();
    }
    await stores.removeAll();
  });
  afterAll(async () => {
    stores.close();
    for (const proxy of proxies) await proxy.stop();
  });

  /** Of a job on the machine of that number, which takes one of the ways. */
  function on(machine: number): ReturnType<typeof inBucket> {
    return inBucket(proxies[machine % proxies.length]!.server, `${folder}/store`);
  }

  /** Everybody who creates such an object waits for the end of that. */
  function hold(folderName: 'layers' | 'manifests'): { letGo: () => void } {
    const { promise: until, resolve: letGo } = Promise.withResolvers<undefined>();
    const faults = proxies.map((proxy) =>
      proxy.fault({ on: isPut(folderName), behave: { kind: 'hold', until } }),
    );
    return {
      letGo: () => {
        letGo(undefined);
        for (const fault of faults) fault.remove();
      },
    };
  }

  const isPut =
    (folderName: 'layers' | 'manifests') =>
    ({ method, key }: S3Request): boolean =>
      method === 'PUT' && key.includes(`/${folderName}/`);

  function requests(isWanted: (request: S3Request) => boolean): S3Request[] {
    return proxies.flatMap((proxy) => proxy.requests.filter(isWanted));
  }

  async function keyOfStore(): Promise<string> {
    const [name = ''] = await stores.list('store/v1');
    return name.split('/')[0] ?? '';
  }

  async function numbers(): Promise<number[]> {
    const { manifests } = await stores.open('store').store.list(await keyOfStore(), signal);
    return manifests.map(({ number }) => number);
  }

  test(
    `of ${String(JOBS)} cold jobs at once one clones, and uploads each layer once`,
    async () => {
      const scenario = await scenarios.create(repositorySizes.small);
      const jobs = Array.from({ length: JOBS }, (_, index) => {
        const { inputs, environment } = on(index);
        return scenario.job({ inputs: { ...inputs, publish: 'early' }, environment });
      });
      // So that all of them find nothing.
      const held = hold('layers');
      const steps = start(jobs);
      const isWaiting = ({ lines }: RunningStep) =>
        lines.some((line) => line.startsWith('Waiting for '));
      await waitUntil(() => steps.filter(isWaiting).length === JOBS - 1, {
        timeoutMs: TIMEOUT_MS,
        what: 'all but one to wait',
      });
      held.letGo();
      const mains = await allOf(steps);
      expect(tally(mains, 'lock')).toEqual({ acquired: 1, waited: JOBS - 1 });
      expect(tally(mains, 'provenance')).toEqual({ cloned: 1, restored: JOBS - 1 });
      expect(scenario.server.clones).toBe(1);
      for (const { outputs } of mains) {
        await expectMirrorOf(outputs['mirror-path'] ?? '', scenario.upstream);
      }

      const posts = await Promise.all(jobs.map((job) => succeed(job.post())));
      for (const post of posts) expect(verdict(post)).toMatch(/nothing changed since snapshot 1-/);
      const isDone = ({ serverStatus }: S3Request) => serverStatus === 200;
      expect(requests(isPut('layers')).filter(isDone)).toHaveLength(1);
      expect(requests(isPut('manifests')).filter(isDone)).toHaveLength(1);
      expect(await numbers()).toEqual([1]);
      const layers = (await stores.list('store')).filter((name) => name.includes('/layers/'));
      expect(layers).toHaveLength(1);
    },
    2 * TIMEOUT_MS,
  );

  test('a save that was stopped before it had its number, and continues when that is free again, withdraws', async () => {
    const scenario = await scenarios.create();
    await scenario.run(on(0));
    await addCommits(scenario.upstream);
    const late = scenario.job(on(0));
    await succeed(late.main());
    const held = hold('manifests');
    const post = late.startPost();
    started.push(post);
    await waitUntil(() => requests(isPut('manifests')).length > 1, {
      timeoutMs: 60_000,
      what: 'a manifest on its way',
    });
    pauseProcess(post.pid);
    // The one that is held stays so; those of others pass.
    for (const proxy of proxies) proxy.clearFaults();
    // As if its claim's life was over; it believes otherwise.
    const { bucket } = stores.open('store');
    const claims = (await stores.list('store')).filter((name) => /\/claims\/[-\d]+$/.test(name));
    expect(claims.length).toBeGreaterThan(0);
    for (const name of claims) await bucket.put(releasedName(name), Buffer.of(), signal);
    for (const number of [2, 3]) {
      await addCommits(scenario.upstream);
      const { post: next } = await scenario.run(on(1));
      expect(verdict(next)).toMatch(new RegExp(`^Saved snapshot ${String(number)}-`));
    }
    const { store } = stores.open('store');
    const key = await keyOfStore();
    const options = { maxSnapshots: 1, graceMs: 0, signal };
    expect(await applyRetention(store, key, options)).toEqual([1, 2]);
    held.letGo();
    resumeProcess(post.pid);
    expect(verdict(await succeed(post.finished))).toMatch(/^Nothing saved: .*3/);
    // It had its number for a moment.
    const isDone = ({ serverStatus }: S3Request) => serverStatus === 200;
    expect(requests(isPut('manifests')).filter(isDone)).toHaveLength(4);
    expect(await numbers()).toEqual([3]);
    const { main, mirror } = await scenario.run(on(0));
    expect(main.outputs['provenance']).toBe('restored');
    await expectMirrorOf(mirror, scenario.upstream);
  }, 120_000);

  test('jobs whose clocks are two hours off restore and save, and remove nothing too early', async () => {
    const scenario = await scenarios.create();
    const shifted = (shiftMs: number): Partial<JobOptions> => {
      const { inputs, environment } = on(0);
      return {
        inputs: { ...inputs, 'max-snapshots': '1' },
        environment: { ...environment, ...withClockShiftedBy(shiftMs) },
      };
    };
    const slow = await scenario.run(shifted(-2 * HOUR_MS));
    expect(verdict(slow.post)).toMatch(/^Saved snapshot 1-/);
    await addCommits(scenario.upstream);
    const fast = await scenario.run(shifted(2 * HOUR_MS));
    expect(fast.main.outputs['provenance']).toBe('restored');
    expect(verdict(fast.post)).toMatch(/^Saved snapshot 2-/);
    await expectMirrorOf(fast.mirror, scenario.upstream);
    expect(await numbers()).toEqual([1, 2]);
    // Their clocks were off indeed, and the server did mind.
    const { store } = stores.open('store');
    const newest = await store.findManifest(await keyOfStore(), { signal });
    const { createdAt } = await parseManifest(newest!.content, 2);
    expect(Date.parse(createdAt) - Date.now()).toBeGreaterThan(HOUR_MS);
    expect(requests(({ serverStatus }) => serverStatus === 403).length).toBeGreaterThan(0);
  });
});

// `each` rejects an empty list.
for (const server of servers.filter(({ hasConditionalWrites }) => !hasConditionalWrites)) {
  describe(`${server.name}, which has no claims`, () => {
    const folder = `action-test/${randomUUID()}`;
    const stores = new S3Stores(server, folder);
    afterAll(async () => {
      await stores.removeAll();
      stores.close();
    });

    test('cold jobs each clone for themselves, and say why', async () => {
      const scenario = await scenarios.create();
      const { inputs, environment } = inBucket(server, `${folder}/early`);
      const jobs = [1, 2, 3].map(() =>
        scenario.job({ inputs: { ...inputs, publish: 'early' }, environment }),
      );
      const mains = await allOf(start(jobs));
      expect(mains.map(({ outputs }) => outputs['lock'])).not.toContain('acquired');
      expect(mains.map(({ log }) => log).join('\n')).toContain('has no conditional writes');
    });
  });
}
