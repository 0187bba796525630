/** What tests of jobs with the Actions cache share: the service, and what the platform tells a job. */
import { afterAll, afterEach, beforeAll, expect } from '@jest/globals';
import { readdir } from 'node:fs/promises';
import {
  startActionsCacheService,
  type ActionsCacheService,
} from '../../support/actions-cache/service.ts';
import type { BlobHost, CacheJob } from '../../support/actions-cache/token.ts';
import type { Job, JobOptions } from '../../support/action-runner.ts';
import { expectMirrorOf, type Run, type Scenario } from './scenario.ts';

export interface CacheJobOptions extends Partial<JobOptions> {
  /** What the platform's token says in addition to the ref. */
  grant?: Omit<CacheJob, 'ref' | 'defaultBranch'>;
  blobHost?: BlobHost;
}

export const DEFAULT_BRANCH = 'main';

let runs = 0;

/** Options of a job whose snapshots are in the Actions cache, as the platform gives it to one. */
export function inCache(
  service: ActionsCacheService,
  upstreamServer: string,
  { grant, blobHost, ...options }: CacheJobOptions = {},
): Partial<JobOptions> {
  const { ref = `refs/heads/${DEFAULT_BRANCH}`, event } = options;
  const job: CacheJob = { ref, defaultBranch: `refs/heads/${DEFAULT_BRANCH}`, ...grant };
  const base = grant?.baseBranch?.replace('refs/heads/', '');
  runs += 1;
  return {
    // Jobs of one run contend for its claims.
    runId: `${runs}`,
    ...options,
    ref,
    event: {
      name: event?.name ?? 'push',
      payload: { repository: { default_branch: DEFAULT_BRANCH }, ...event?.payload },
    },
    // The platform's own server is the only one with this cache.
    serverUrl: 'https://github.com',
    inputs: {
      'disk-path': '',
      'github-server-url': upstreamServer,
      prime: 'true',
      ...options.inputs,
    },
    environment: {
      ...service.environmentFor(job, blobHost === undefined ? {} : { blobHost }),
      ...(base !== undefined && { GITHUB_BASE_REF: base }),
      ...options.environment,
    },
  };
}

/** Such a job, which ends with a right mirror. */
export async function runInCache(
  service: ActionsCacheService,
  scenario: Scenario,
  options: CacheJobOptions = {},
): Promise<Run> {
  const done = await scenario.run(inCache(service, scenario.server.url, options));
  await expectMirrorOf(done.mirror, scenario.upstream);
  await expectNothingLeft(done.job);
  return done;
}

/** The workspace has its `.git`, and the temporary folder what the runner put there. */
export async function expectNothingLeft(job: Job): Promise<void> {
  expect(await readdir(job.workspace)).toEqual(['.git']);
  expect((await readdir(job.temp)).sort()).toEqual([
    '_github_workflow_event.json',
    '_runner_file_commands',
  ]);
}

/** Call it once at the top of a test file. */
export function useCacheService(): () => ActionsCacheService {
  let service: ActionsCacheService | undefined;
  const running = (): ActionsCacheService => {
    if (service === undefined) throw new Error('the service runs only while tests do');
    return service;
  };
  beforeAll(async () => {
    service = await startActionsCacheService();
  });
  afterEach(async () => {
    running().clearFaults();
    await running().evict();
    running().resetCounters();
  });
  afterAll(async () => {
    await service?.stop();
  });
  return running;
}

/** Keys of entries that can be found, without the part that is the same for all. */
export function keysOf(service: ActionsCacheService, part: 'manifests' | 'layers' | 'claims') {
  return service.entries
    .map(({ key }) => key)
    .filter((key) => key.includes(`/${part}/`))
    .map((key) => key.replace(/^mirror-action\/v1\/[^/]+\//, ''));
}
