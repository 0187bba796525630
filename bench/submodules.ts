/**
 * `npm run bench:submodules -- [rounds]`: a checkout with submodules, unprimed and primed, cold and warm, for
 * several numbers and sizes of submodules. The times of primed checkouts include the action's main step. Prints a
 * table in Markdown.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { createJob } from '../test/support/action-runner.ts';
import { checkout } from '../test/support/checkout/checkout.ts';
import { git } from '../test/support/git.ts';
import { startGitServer, type GitServer } from '../test/support/git-server/server.ts';
import { createRepository } from '../test/support/repository-fixture.ts';
import { createTemporaryDirectory, removeDirectory } from '../test/support/temporary-directory.ts';
import { describeMachine, median, time } from './measure.ts';

const KINDS = [
  { count: 1, fileBytes: 100_000 },
  { count: 5, fileBytes: 1_000 },
  { count: 5, fileBytes: 100_000 },
  { count: 60, fileBytes: 1_000 },
  { count: 60, fileBytes: 100_000 },
];
const FILES = 20;
/** Commits that each change a few files: the history that a shallow clone leaves out. */
const COMMITS = 20;

interface Family {
  root: string;
  repository: string;
  sha: string;
  server: GitServer;
}

/** A repository with that many submodules, all of them the same content under other names. */
async function createFamily(
  root: string,
  { count, fileBytes }: (typeof KINDS)[number],
): Promise<Family> {
  const repository = 'bench/repository';
  const [main, submodule] = [join(root, 'main.git'), join(root, 'submodule.git')];
  const options = { content: 'random', branches: 1, annotatedTags: 0, lightTags: 0 } as const;
  await createRepository(main, { ...options, commits: 1, files: 1, fileBytes: 100 });
  await createRepository(submodule, { ...options, commits: COMMITS, files: FILES, fileBytes });
  const commit = await git(submodule, ['rev-parse', 'main']);
  const names = Array.from({ length: count }, (_, index) => `submodule-${String(index)}`);
  const sections = names.map(
    (name) => `[submodule "${name}"]\n\tpath = ${name}\n\turl = ../${name}\n`,
  );
  const modules = sections.join('');
  const stream = [
    'commit refs/heads/main\ncommitter A <a@example.test> 1700000000 +0000\ndata 1\nx\n',
    `from refs/heads/main^0\nM 100644 inline .gitmodules\ndata ${String(modules.length)}\n${modules}\n`,
    ...names.map((name) => `M 160000 ${commit} ${name}\n`),
    'done\n',
  ];
  await git(main, ['fast-import', '--quiet', '--done'], { input: stream.join('') });
  const sha = await git(main, ['rev-parse', 'main']);
  const others = names.map((name) => [`bench/${name}`, submodule] as const);
  const repositories = { [repository]: main, ...Object.fromEntries(others) };
  return { root, repository, sha, server: await startGitServer({ repositories }) };
}

/** Seconds until the files are there, and MiB that the server sent. */
async function measure(
  { root, repository, sha, server }: Family,
  { isPrimed, fetchDepth, machine }: { isPrimed: boolean; fetchDepth: number; machine: string },
): Promise<{ seconds: number; mib: number }> {
  const store = join(root, 'store');
  await mkdir(store, { recursive: true });
  const inputs = { submodules: 'true', 'disk-path': store };
  const serverUrl = server.url;
  const job = createJob({ root: join(root, machine), repository, serverUrl, sha, inputs });
  server.resetCounters();
  const ms = await time(async () => {
    if (isPrimed) {
      const main = await job.main();
      if (main.exitCode !== 0) throw new Error(`the action failed: ${main.log}`);
    }
    const event = { ref: 'refs/heads/main', sha };
    await checkout(job, { repository, serverUrl, submodules: true, fetchDepth, ...event });
  });
  const mib = server.bytesSent / 2 ** 20;
  if (isPrimed) await job.post();
  await removeDirectory(join(root, machine));
  return { seconds: ms / 1_000, mib };
}

const rounds = Number(process.argv[2] ?? 3);
console.log(`${describeMachine()}; median of ${String(rounds)} rounds.\n`);
console.log('| submodules | files of each | checkout | s | MiB from the server |');
console.log('| --: | :-- | :-- | --: | --: |');
for (const kind of KINDS) {
  const root = await createTemporaryDirectory('bench-submodules');
  const family = await createFamily(root, kind);
  const measured = new Map<string, { seconds: number; mib: number }[]>();
  try {
    for (let round = 0; round < rounds; round += 1) {
      for (const fetchDepth of [0, 1]) {
        await removeDirectory(join(root, 'store'));
        for (const way of ['unprimed', 'primed, cold', 'primed, warm']) {
          const name = `\`fetch-depth: ${String(fetchDepth)}\`, ${way}`;
          const machine = `machine-${String(round)}`;
          const found = await measure(family, {
            isPrimed: way !== 'unprimed',
            fetchDepth,
            machine,
          });
          measured.set(name, [...(measured.get(name) ?? []), found]);
        }
      }
    }
  } finally {
    await family.server.stop();
    await removeDirectory(root);
  }
  const size = `${String(FILES)} of ${String(kind.fileBytes / 1_000)} kB`;
  for (const [name, found] of measured) {
    const seconds = median(found.map((each) => each.seconds)).toFixed(1);
    const mib = median(found.map((each) => each.mib)).toFixed(1);
    console.log(`| ${String(kind.count)} | ${size} | ${name} | ${seconds} | ${mib} |`);
  }
}
