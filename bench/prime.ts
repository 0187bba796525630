/**
 * `npm run bench:prime -- [path of a repository] [rounds]`: priming a workspace against what moving
 * the mirror's packs costs at least, and the disk space it takes. Prints a table in Markdown.
 */
import { execFileSync } from 'node:child_process';
import { cp, mkdtemp, mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { openGit } from '../src/git/git.ts';
import { Account } from '../src/job/account.ts';
import type { Job } from '../src/job/job.ts';
import { silentLog } from '../src/lib/log.ts';
import { readRefs } from '../src/mirror/directory.ts';
import { identify } from '../src/snapshot/identity.ts';
import { findRecord } from '../src/mirror/record.ts';
import { primeWorkspace, type PrimeSource } from '../src/prime/prime-workspace.ts';
import { createJob } from '../test/support/action-runner.ts';
import { startGitServer } from '../test/support/git-server/server.ts';
import { createRepository, repositorySizes } from '../test/support/repository-fixture.ts';
import { createTemporaryDirectory, removeDirectory } from '../test/support/temporary-directory.ts';
import { TABLE_HEADER, describeMachine, inFolder, median, row, time } from './measure.ts';
import { packDirectory } from '../src/mirror/packs.ts';

const REPOSITORY = 'bench/repository';

/** A mirror as the action leaves it, without its account of how it came there. */
async function makeMirror(folder: string, serverUrl: string): Promise<PrimeSource> {
  const inputs = { prime: 'false' };
  const main = await createJob({ root: folder, repository: REPOSITORY, serverUrl, inputs }).main();
  if (main.exitCode !== 0) throw new Error(`the action failed: ${main.log}`);
  const path = main.outputs['mirror-path'] ?? '';
  const record = await findRecord(path);
  if (typeof record !== 'object') throw new Error(`${path} has no record`);
  const refs = await readRefs(path, 'sha1');
  const spec = { url: record.upstream, refspecs: [], depth: 'full' as const, cacheKey: '' };
  const identity = identify(spec, 'sha1');
  return { path, refs, head: record.head ?? undefined, identity };
}

async function prime(mirror: PrimeSource, folder: string): Promise<void> {
  const { signal } = new AbortController();
  const account = new Account(silentLog);
  const git = await openGit({
    environment: process.env,
    workingDirectory: folder,
    signal,
    log: silentLog,
  });
  const job = { git, account, log: silentLog, signal } as Partial<Job> as Job;
  const target = {
    folder: join(folder, 'workspace'),
    remoteUrl: mirror.identity.spec.url,
    commit: undefined,
  };
  const primed = await primeWorkspace(job, mirror, target);
  if (primed.result !== 'primed') throw new Error(`not primed: ${primed.reason}`);
}

/** Bytes on the disk of everything in these folders; a file with several names counts once. */
function diskBytes(...folders: string[]): number {
  const lines = execFileSync('du', ['-sc', '--block-size=1', ...folders], { encoding: 'utf8' });
  return Number(/(\d+)\ttotal/.exec(lines)?.[1]);
}

const root = await createTemporaryDirectory('bench-prime');
const given = process.argv[2];
const rounds = Number(process.argv[3] ?? 9);
const path = given === undefined ? join(root, 'large.git') : resolve(given);
if (given === undefined) await createRepository(path, repositorySizes.large);
const server = await startGitServer({ repositories: { [REPOSITORY]: path } });
try {
  const mirror = await makeMirror(join(root, 'machine'), server.url);
  const copies: number[] = [];
  const links: number[] = [];
  const added: number[] = [];
  const elsewhere: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    await inFolder(async (folder) => {
      copies.push(
        await time(() =>
          cp(packDirectory(mirror.path), join(folder, 'packs'), { recursive: true }),
        ),
      );
    });
    const folder = await mkdtemp(join(root, 'round-'));
    links.push(await time(() => prime(mirror, folder)));
    added.push(diskBytes(mirror.path, folder) - diskBytes(mirror.path));
    await removeDirectory(folder);
    const other = join('/dev/shm', `mirror-action-bench-${String(process.pid)}`);
    await mkdir(other);
    try {
      elsewhere.push(await time(() => prime(mirror, other)));
    } finally {
      await removeDirectory(other);
    }
  }
  const bytes = diskBytes(packDirectory(mirror.path));
  const mib = (bytes / 2 ** 20).toFixed(0);
  console.log(
    `${mib} MiB of packs, ${String(mirror.refs.length)} refs, ${String(rounds)} rounds, interleaved;`,
  );
  console.log(`${describeMachine()}.\n`);
  console.log(TABLE_HEADER);
  console.log(row('copying the packs', copies, median(copies)));
  console.log(row('priming on the same file system', links, median(copies)));
  console.log(row('priming onto another file system (in memory)', elsewhere, median(copies)));
  console.log(
    `\nPriming on the same file system took ${(median(added) / 1024).toFixed(0)} KiB of disk.`,
  );
} finally {
  await server.stop();
  await removeDirectory(root);
}
