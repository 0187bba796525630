/**
 * `npm start [URL or path]`: runs the action's two steps on a repository as a runner does, cold and then warm
 * on another machine (two folders), with a disk store in between.
 */
import { mkdir } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createJob, type StepResult } from '../test/support/action-runner.ts';
import { git } from '../test/support/git.ts';
import { startGitServer, type GitServer } from '../test/support/git-server/server.ts';
import { createTemporaryDirectory, removeDirectory } from '../test/support/temporary-directory.ts';

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
  await git(folder, ['clone', '--quiet', '--mirror', '--', url.href, copy]);
  return serve(copy);
}

async function serve(path: string): Promise<Upstream> {
  const directory = await git(path, ['rev-parse', '--absolute-git-dir']);
  const name = basename(path, '.git').replace(/[^A-Za-z0-9._-]/g, '_') || 'repository';
  const repository = `local/${name}`;
  const server = await startGitServer({ repositories: { [repository]: directory.trim() } });
  return { serverUrl: server.url, repository, server };
}

async function runJob(title: string, root: string, store: string, upstream: Upstream) {
  console.log(`\n=== ${title}`);
  const job = createJob({
    root,
    repository: upstream.repository,
    serverUrl: upstream.serverUrl,
    token: process.env['GITHUB_TOKEN'] ?? '',
    inputs: { store: 'disk', 'disk-path': store },
    onLine: (line) => {
      if (!line.startsWith('::')) console.log(line);
    },
  });
  upstream.server?.resetCounters();
  const main = await job.main();
  const bytes = upstream.server?.bytesSent;
  const post = await job.post();
  return { title, main, post, bytes };
}

function describe({ title, main, post, bytes }: Awaited<ReturnType<typeof runJob>>) {
  return {
    job: title,
    provenance: main.outputs['provenance'] ?? 'failed',
    'cache-hit': main.outputs['cache-hit'] ?? '',
    'main, s': seconds(main),
    'post, s': seconds(post),
    'MiB from upstream': bytes === undefined ? 'not counted' : (bytes / 1024 ** 2).toFixed(2),
  };
}

function seconds({ durationMs }: StepResult): string {
  return (durationMs / 1_000).toFixed(1);
}

const folder = await createTemporaryDirectory('mirror-action');
let upstream: Upstream | undefined;
try {
  upstream = await openUpstream(process.argv[2], folder);
  const store = join(folder, 'store');
  await mkdir(store);
  const cold = await runJob('cold: no snapshot yet', join(folder, 'one'), store, upstream);
  const warm = await runJob('warm: another machine', join(folder, 'two'), store, upstream);
  console.log(`\n${upstream.serverUrl}/${upstream.repository}`);
  console.table([cold, warm].map(describe));
  const steps = [cold.main, cold.post, warm.main, warm.post];
  process.exitCode = steps.every(({ exitCode }) => exitCode === 0) ? 0 : 1;
} finally {
  await upstream?.server?.stop();
  await removeDirectory(folder);
}
