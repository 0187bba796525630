/**
 * `npm start [URL or path]`: whether a repository should adopt the action. Runs the action's two steps and
 * actions/checkout as a runner does, cold and then warm on another machine (two folders) with a disk store in
 * between, and actions/checkout alone.
 */
import { mkdir, readdir, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { summarizeMain } from '../src/action/report/summary-json.ts';
import { describeError } from '../src/lib/errors.ts';
import { createJob, type StepResult } from '../test/support/action-runner.ts';
import { checkout } from '../test/support/checkout/checkout.ts';
import { git } from '../test/support/git.ts';
import { startGitServer, type GitServer } from '../test/support/git-server/server.ts';
import { createTemporaryDirectory, removeDirectory } from '../test/support/temporary-directory.ts';
import { drawComparison, judge, type Comparison, type Run } from './start/verdict.ts';

const TIMEOUT_MS = 3_600_000;
const token = process.env['GITHUB_TOKEN'] ?? '';
const folder = await createTemporaryDirectory('mirror-action');
const project = fileURLToPath(new URL('..', import.meta.url));

interface Upstream {
  serverUrl: string;
  repository: string;
  /** Set if this machine serves it. */
  server?: GitServer;
}

/** A server that a workflow could name, or a local server for a repository that isn't on one. */
async function openUpstream(argument: string | undefined, folder: string): Promise<Upstream> {
  const url = argument !== undefined && URL.canParse(argument) ? new URL(argument) : undefined;
  // A Windows path parses as a URL whose scheme is the drive's letter.
  if (url === undefined || url.protocol.length <= 2) return serve(resolve(argument ?? project));
  if (url.protocol === 'file:') return serve(fileURLToPath(url));
  const segments = url.pathname.split('/').filter((segment) => segment !== '');
  if (/^https?:$/.test(url.protocol) && segments.length >= 2 && url.username === '') {
    return { serverUrl: url.origin, repository: segments.join('/') };
  }
  console.log(`${url.href} can't be named by \`repository\`: cloning it, then serving the clone.`);
  const copy = join(folder, `${basename(url.pathname, '.git') || 'repository'}.git`);
  const command = ['clone', '--quiet', '--mirror', '--', url.href, copy];
  await git(folder, command, { timeoutMs: TIMEOUT_MS });
  return serve(copy);
}

async function serve(path: string): Promise<Upstream> {
  const directory = await git(path, ['rev-parse', '--absolute-git-dir']);
  const name = basename(path, '.git').replace(/[^A-Za-z0-9._-]/g, '_') || 'repository';
  const repository = `local/${name}`;
  const server = await startGitServer({ repositories: { [repository]: directory.trim() } });
  return { serverUrl: server.url, repository, server };
}

/** mirror-action, actions/checkout and the post step, on a machine of its own. */
async function runJob(title: string, machine: string, store: string, upstream: Upstream) {
  console.log(`\n=== ${title}`);
  const job = createJob({
    root: join(folder, machine),
    repository: upstream.repository,
    serverUrl: upstream.serverUrl,
    token,
    inputs: { store: 'disk', 'disk-path': store },
    onLine: (line) => {
      if (!line.startsWith('::')) console.log(line);
    },
  });
  const main = succeeded(await job.main());
  const { bytes } = JSON.parse(main.outputs['summary-json'] ?? '') as ReturnType<
    typeof summarizeMain
  >;
  const sha = main.outputs['head'] ?? '';
  const checkedOut = await checkOut(job.workspace, upstream, 0, sha);
  const post = succeeded(await job.post());
  const run: Run = {
    ms: main.durationMs + checkedOut.ms,
    postMs: post.durationMs,
    bytes: bytes.fromUpstream + checkedOut.bytes,
  };
  return { run, sha };
}

function succeeded(result: StepResult): StepResult {
  if (result.exitCode !== 0) throw new Error('a step failed: see its log above');
  return result;
}

/** actions/checkout alone, or in a workspace that was primed. */
async function checkOut(
  workspace: string,
  { repository, serverUrl }: Upstream,
  fetchDepth: number,
  sha: string,
): Promise<Run> {
  const temp = `${workspace}-temp`;
  await mkdir(temp, { recursive: true });
  const objects = join(workspace, '.git', 'objects');
  const bytesBefore = await countTreeBytes(objects);
  const startedAt = performance.now();
  const runner = { workspace, temp, home: temp, timeoutMs: TIMEOUT_MS };
  await checkout(runner, { repository, serverUrl, token, sha, fetchDepth });
  const ms = performance.now() - startedAt;
  return { ms, bytes: (await countTreeBytes(objects)) - bytesBefore };
}

async function countTreeBytes(path: string): Promise<number> {
  const entries = await readdir(path, { recursive: true, withFileTypes: true }).catch(() => []);
  const files = entries.filter((entry) => entry.isFile());
  const sizes = await Promise.all(
    files.map(async ({ parentPath, name }) => (await stat(join(parentPath, name))).size),
  );
  return sizes.reduce((sum, bytes) => sum + bytes, 0);
}

async function compare(upstream: Upstream): Promise<Comparison> {
  const store = join(folder, 'store');
  await mkdir(store);
  const checkOutAlone = (name: string, fetchDepth: number, sha: string) => {
    console.log(`\n=== actions/checkout alone, fetch-depth: ${String(fetchDepth)}`);
    return checkOut(join(folder, name), upstream, fetchDepth, sha);
  };
  // Cold first: what the server has to read for the first time is then no advantage of ours.
  const cold = await runJob('cold: no snapshot yet', 'one', store, upstream);
  const shallow = await checkOutAlone('shallow', 1, cold.sha);
  const deep = await checkOutAlone('deep', 0, cold.sha);
  const warm = await runJob('warm: another machine', 'two', store, upstream);
  return { deep, shallow, cold: cold.run, warm: warm.run };
}

let upstream: Upstream | undefined;
try {
  upstream = await openUpstream(process.argv[2], folder);
  const comparison = await compare(upstream);
  console.log(`\n${upstream.serverUrl}/${upstream.repository}, snapshot on a disk\n`);
  console.log(drawComparison(comparison));
  console.log(`\n${judge(comparison).join('\n')}`);
  console.log('\nMeasured once; nothing was pushed between the cold and the warm job.');
} catch (error) {
  console.error(`\nNo verdict: ${describeError(error)}`);
  process.exitCode = 1;
} finally {
  await upstream?.server?.stop();
  await removeDirectory(folder);
}
