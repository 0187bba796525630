/**
 * `npm run bench:clone -- [path of a repository] [rounds]`: compares two methods to clone a mirror, in one
 * run against one local HTTP server: `git clone --mirror`, and the action's (an empty repository, then a
 * fetch of all ids that the probe returned). Prints a table in Markdown.
 */
import { join, resolve } from 'node:path';
import { performance } from 'node:perf_hooks';
import { createJob } from '../test/support/action-runner.ts';
import { git, tryGit } from '../test/support/git.ts';
import { startGitServer, type GitServer } from '../test/support/git-server/server.ts';
import { createRepository, repositorySizes } from '../test/support/repository-fixture.ts';
import { createTemporaryDirectory, removeDirectory } from '../test/support/temporary-directory.ts';
import { TABLE_HEADER, describeMachine, inFolder, median, row } from './measure.ts';

const REPOSITORY = 'bench/repository';
const TIMEOUT_MS = 30 * 60_000;

async function timeGitClone(server: GitServer, folder: string): Promise<number> {
  const startedAt = performance.now();
  const args = [
    'clone',
    '--quiet',
    '--mirror',
    server.repositoryUrl(REPOSITORY),
    join(folder, 'c'),
  ];
  const { exitCode, stderr } = await tryGit(folder, args, { timeoutMs: TIMEOUT_MS });
  if (exitCode !== 0) throw new Error(`git clone failed: ${stderr}`);
  return performance.now() - startedAt;
}

async function timeAction(server: GitServer, folder: string): Promise<number> {
  const inputs = { refs: 'all', save: 'never' };
  const job = createJob({ root: folder, repository: REPOSITORY, serverUrl: server.url, inputs });
  const { exitCode, durationMs, stderr } = await job.main();
  if (exitCode !== 0) throw new Error(`the action failed: ${stderr}`);
  return durationMs;
}

const fixture = await createTemporaryDirectory('bench-upstream');
const given = process.argv[2];
const rounds = Number(process.argv[3] ?? 5);
const path = given === undefined ? join(fixture, 'large.git') : resolve(given);
let server: GitServer | undefined;
try {
  if (given === undefined) await createRepository(path, repositorySizes.large);
  server = await startGitServer({ repositories: { [REPOSITORY]: path } });
  const { url } = server;
  const upstream = server;
  const clone: number[] = [];
  const action: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    clone.push(await inFolder((folder) => timeGitClone(upstream, folder)));
    action.push(await inFolder((folder) => timeAction(upstream, folder)));
    console.error(`round ${String(round + 1)} of ${String(rounds)} against ${url}`);
  }
  const size = await git(path, ['count-objects', '-v']);
  const packs = /size-pack: (\d+)/.exec(size)?.[1] ?? '0';
  console.log(
    `${(Number(packs) / 1024).toFixed(0)} MiB of packs, ${String(rounds)} rounds, interleaved;`,
  );
  console.log(`${describeMachine()}.\n`);
  console.log(TABLE_HEADER);
  console.log(row('git clone --mirror', clone, median(clone)));
  console.log(row('the action: empty repository, fetch by ids', action, median(clone)));
} finally {
  await server?.stop();
  await removeDirectory(fixture);
}
