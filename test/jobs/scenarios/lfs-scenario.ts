/** What the tests of `lfs: true` share: an LFS server before the git server, and jobs that use it. */
import { afterAll, afterEach, beforeAll } from '@jest/globals';
import { join } from 'node:path';
import { objectPath } from '../../../src/lfs/objects.ts';
import type { Job, JobOptions, StepResult } from '../../support/action-runner.ts';
import { startGitLfsServer, type GitLfsServer } from '../../support/git-server/lfs-server.ts';
import { gitEnvironment } from '../../support/git.ts';
import { runProcess } from '../../support/processes.ts';
import { createRandom } from '../../support/random.ts';
import { addFiles, createUpstream, TOKEN, type FileToAdd } from './checkout-scenario.ts';
import { succeed, type Scenario, type Scenarios } from './scenario.ts';

export interface LfsScenarios {
  readonly server: GitLfsServer;
  /** An upstream with these objects as files `data/<index>.bin`. */
  create(contents: readonly Uint8Array[]): Promise<Scenario>;
  job(scenario: Scenario, options?: Partial<JobOptions>): Job;
  /** Forgets the requests so far. */
  reset(): void;
}

/** Call it once at the top of a test file. */
export function useLfs(scenarios: Scenarios): LfsScenarios {
  let server: GitLfsServer | undefined;
  const running = (): GitLfsServer => {
    if (server === undefined) throw new Error('the server runs only while tests do');
    return server;
  };

  beforeAll(async () => {
    const version = await runProcess('git', ['lfs', 'version'], { environment: gitEnvironment() });
    if (version.exitCode !== 0)
      throw new Error('tests of LFS need git-lfs: apt-get install git-lfs');
    server = await startGitLfsServer(scenarios.server);
  });

  afterEach(() => {
    running().clearFaults();
    running().requests.length = 0;
    running().objects.clear();
  });

  afterAll(async () => {
    await server?.stop();
  });

  return {
    get server() {
      return running();
    },
    async create(contents) {
      const scenario = await createUpstream(scenarios);
      await addFiles(scenario.upstream, [
        { path: '.gitattributes', content: '*.bin filter=lfs diff=lfs merge=lfs -text\n' },
        ...contents.map((content, index) =>
          lfsFile(running(), `data/${String(index)}.bin`, content),
        ),
      ]);
      return scenario;
    },
    job: (scenario, { inputs, ...options } = {}) =>
      scenario.job({
        ...{ token: TOKEN, serverUrl: running().url, ...options },
        inputs: { lfs: 'true', ...inputs },
      }),
    reset: () => {
      running().requests.length = 0;
    },
  };
}

export function lfsFile(server: GitLfsServer, path: string, content: Uint8Array): FileToAdd {
  return { path, content: server.add(content) };
}

export function randomContents(count: number, bytes: number, seed = 1): Uint8Array[] {
  const random = createRandom(seed);
  return Array.from({ length: count }, () => random.bytes(bytes));
}

/** The field `lfs` of the output `summary-json`. */
export function lfsOf({ outputs }: StepResult): Record<string, number | string> {
  const summary = JSON.parse(outputs['summary-json'] ?? '{}') as {
    lfs?: Record<string, number | string>;
  };
  return summary.lfs ?? {};
}

/** Main and post. */
export async function runLfs(job: Job): Promise<{ main: StepResult; post: StepResult }> {
  const main = await succeed(job.main());
  return { main, post: await succeed(job.post()) };
}

/** Where a workspace has an object for git-lfs. */
export function objectIn(workspace: string, oid: string): string {
  return objectPath(join(workspace, '.git', 'lfs'), oid);
}

/** Where a machine keeps an object. */
export function objectBeside(mirror: string, oid: string): string {
  return objectPath(`${mirror}.lfs`, oid);
}
