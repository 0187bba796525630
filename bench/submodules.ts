/**
 * `npm run bench:submodules -- [rounds]`: a checkout with submodules, unprimed and primed, cold and warm, for
 * several numbers and sizes of submodules, on the bare loopback interface and over a link. Snapshots are on a disk.
 * The times of primed checkouts include the action's main step. Prints a table in Markdown.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { createJob } from '../test/support/action-runner.ts';
import { git } from '../test/support/git.ts';
import { startGitServer, type GitServer } from '../test/support/git-server/server.ts';
import { createRepository } from '../test/support/repository-fixture.ts';
import { removeDirectory } from '../test/support/temporary-directory.ts';
import { checkOut, describeCheckout } from './checkout.ts';
import { describeMachine, inFolder, median, time } from './measure.ts';
import { HOSTED_LINK, startLink } from './slow-link.ts';

const KINDS = [
  { count: 1, fileBytes: 1_000 },
  { count: 1, fileBytes: 100_000 },
  { count: 1, fileBytes: 1_000_000 },
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
interface Measured {
  seconds: number;
  mib: number;
}

async function measure(
  { root, repository, sha, server }: Family,
  wish: { isPrimed: boolean; fetchDepth: number; machine: string; serverUrl: string },
): Promise<Measured> {
  const { isPrimed, fetchDepth, machine, serverUrl } = wish;
  const store = join(root, 'store');
  await mkdir(store, { recursive: true });
  const inputs = { submodules: 'true', 'disk-path': store, 'fetch-depth': String(fetchDepth) };
  const job = createJob({ root: join(root, machine), repository, serverUrl, sha, inputs });
  server.resetCounters();
  const ms = await time(async () => {
    if (isPrimed) {
      const main = await job.main();
      if (main.exitCode !== 0) throw new Error(`the action failed: ${main.log}`);
    }
    const event = { ref: 'refs/heads/main', sha };
    const source = { repository, serverUrl, ...event };
    await checkOut(join(root, machine), { ...source, submodules: true, fetchDepth });
  });
  const mib = server.bytesSent / 2 ** 20;
  if (isPrimed) await job.post();
  await removeDirectory(join(root, machine));
  return { seconds: ms / 1_000, mib };
}

const WAYS = ['unprimed', 'cold', 'warm'] as const;
type Row = Record<(typeof WAYS)[number], Measured[]>;

/** By network and `fetch-depth`. */
async function measureKind(
  root: string,
  kind: (typeof KINDS)[number],
  rounds: number,
): Promise<Map<string, Row>> {
  const family = await createFamily(root, kind);
  const link = await startLink(family.server.url, HOSTED_LINK);
  const networks = { loopback: family.server.url, '1 Gbit/s, 20 ms': link.url };
  const rows = new Map<string, Row>();
  try {
    for (let round = 0; round < rounds; round += 1) {
      for (const [network, serverUrl] of Object.entries(networks)) {
        for (const fetchDepth of [0, 1]) {
          await removeDirectory(join(root, 'store'));
          const name = `${network} | \`${String(fetchDepth)}\``;
          const row = rows.get(name) ?? { unprimed: [], cold: [], warm: [] };
          rows.set(name, row);
          for (const way of WAYS) {
            const isPrimed = way !== 'unprimed';
            row[way].push(
              await measure(family, { isPrimed, fetchDepth, machine: 'machine', serverUrl }),
            );
          }
        }
      }
    }
  } finally {
    await link.stop();
    await family.server.stop();
  }
  return rows;
}

function printRows({ count, fileBytes }: (typeof KINDS)[number], rows: Map<string, Row>): void {
  for (const [name, row] of rows) {
    const middle = (way: keyof Row, figure: keyof Measured) =>
      median(row[way].map((each) => each[figure]));
    const ratio = middle('warm', 'seconds') / middle('unprimed', 'seconds');
    const cells = [
      `${String(count)} of ${String((FILES * fileBytes) / 1e6)} MB`,
      name,
      ...WAYS.map((way) => middle(way, 'seconds').toFixed(1)),
      ratio.toFixed(2),
      ...(['unprimed', 'warm'] as const).map((way) => middle(way, 'mib').toFixed(1)),
    ];
    console.log(`| ${cells.join(' | ')} |`);
  }
}

const rounds = Number(process.argv[2] ?? 3);
console.log(`${describeMachine()}; median of ${String(rounds)} rounds. ${describeCheckout()}\n`);
const columns = [
  ...['submodules, with files', 'network', '`fetch-depth`', 'unprimed, s', 'cold, s', 'warm, s'],
  ...['warm / unprimed', 'MiB from the server, unprimed', 'warm'],
];
console.log(`| ${columns.join(' | ')} |\n|${columns.map(() => '---').join('|')}|`);
for (const kind of KINDS) {
  await inFolder(async (root) => {
    printRows(kind, await measureKind(root, kind, rounds));
  });
}
