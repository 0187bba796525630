/**
 * `npm run bench -- [--quick] [path of a repository] [rounds]`: what a job pays for a checked-out tree,
 * by all the ways there are, on the same work in the same run, interleaved. The snapshot, and what
 * others have cached, is a day old: upstream has moved on since. Prints tables in Markdown.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { cp, mkdir, readdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createJob, type Job, type StepResult } from '../test/support/action-runner.ts';
import { checkout as checkOut } from '../test/support/checkout.ts';
import { git } from '../test/support/git.ts';
import { startGitServer, type GitServer } from '../test/support/git-server.ts';
import { runProcess } from '../test/support/processes.ts';
import { addCommits, createRepository } from '../test/support/repository-fixture.ts';
import { createTemporaryDirectory, removeDirectory } from '../test/support/temporary-directory.ts';
import { describeMachine, inFolder, median, time } from './measure.ts';

const REPOSITORY = 'bench/repository';
/** Some 300 MB: files of 20 to 40 KB that do not compress, in a history of 4,000 commits. */
const SHAPE = {
  ...{ commits: 4_000, files: 2_000, fileBytes: 30_000, changedFiles: 2 },
  ...{ branches: 50, annotatedTags: 30, lightTags: 30 },
};
const QUICK_SHAPE = { ...SHAPE, commits: 400, files: 500 };
/** A day of news. */
const NEWS = { commits: 30, files: 2_000, fileBytes: 30_000, changedFiles: 2 };

/** What one way took in one round. */
interface Cost {
  ms: number;
  upstreamBytes: number;
}

class Contest {
  readonly #root: string;
  readonly #server: GitServer;
  readonly #upstream: string;
  readonly costs = new Map<string, Cost[]>();

  constructor(root: string, server: GitServer, upstream: string) {
    this.#root = root;
    this.#server = server;
    this.#upstream = upstream;
  }

  /** What is there from the day before: a snapshot, and the archive that others would have cached. */
  async prepare(): Promise<void> {
    await mkdir(this.#store);
    await this.#run(this.#job(join(this.#root, 'yesterday'), this.#store), 'main', 'post');
    const workspace = join(this.#root, 'cached');
    await this.#checkOut(workspace, 0);
    await archive(workspace, this.#archive);
    await addCommits(this.#upstream, { ...NEWS, seed: 7 });
  }

  /** Each way once. */
  async round(): Promise<void> {
    await this.#measure('`git clone --mirror`', (folder) =>
      git(folder, ['clone', '--quiet', '--mirror', this.#url, 'mirror'], { timeoutMs: 1_800_000 }),
    );
    await this.#measure('checkout, `fetch-depth: 0`', (folder) =>
      this.#checkOut(join(folder, 'workspace'), 0),
    );
    await this.#measure('checkout, `fetch-depth: 1`', (folder) =>
      this.#checkOut(join(folder, 'workspace'), 1),
    );
    await this.#home();
    await this.#action();
    await this.#limits();
  }

  /** A cache as workflows make it at home: all of `.git` in one archive. */
  async #home(): Promise<void> {
    await inFolder(async (folder) => {
      const workspace = join(folder, 'workspace');
      await this.#note(
        'home-made cache: unpack `.git`, then checkout, `fetch-depth: 0`',
        async () => {
          await mkdir(workspace);
          await runOrThrow('tar', ['--zstd', '-xf', this.#archive, '-C', workspace]);
          await this.#checkOut(workspace, 0);
        },
      );
      await this.#note('home-made cache: pack it again', () =>
        archive(workspace, join(folder, 'again.tar.zst')),
      );
    });
  }

  async #action(): Promise<void> {
    await inFolder(async (folder) => {
      const cold = this.#job(join(folder, 'machine'), await empty(join(folder, 'store')));
      await this.#note('mirror-action, cold', () => this.#run(cold, 'main'));
      await this.#note('mirror-action, cold: the checkout after it, `fetch-depth: 0`', () =>
        this.#checkOut(cold.workspace, 0, cold),
      );
      await this.#note('mirror-action, cold: post, which saves all', () => this.#run(cold, 'post'));
    });
    await inFolder(async (folder) => {
      const store = join(folder, 'store');
      await cp(this.#store, store, { recursive: true });
      const warm = this.#job(join(folder, 'machine'), store);
      await this.#note('mirror-action, warm: main', () => this.#run(warm, 'main'));
      await this.#note('mirror-action, warm: the checkout after it, `fetch-depth: 0`', () =>
        this.#checkOut(warm.workspace, 0, warm),
      );
      await this.#note('mirror-action, warm: post, which saves the news', () =>
        this.#run(warm, 'post'),
      );
      const unchanged = this.#job(join(folder, 'machine'), store);
      await this.#note('mirror-action on a machine that has the mirror, unchanged: main', () =>
        this.#run(unchanged, 'main'),
      );
      await this.#note('mirror-action, unchanged: post', () => this.#run(unchanged, 'post'));
    });
  }

  /** What no way can be faster than. */
  async #limits(): Promise<void> {
    const packs = await this.#packs();
    await this.#measure('copying the packs', (folder) =>
      Promise.all(packs.map((pack, index) => cp(pack, join(folder, String(index))))),
    );
    await this.#measure('SHA-256 of the packs, on one thread', async () => {
      for (const pack of packs) await pipeline(createReadStream(pack), createHash('sha256'));
    });
    await inFolder(async (folder) => {
      const local = ['clone', '--quiet', '--no-checkout', this.#upstream, 'workspace'];
      await git(folder, local, { timeoutMs: 1_800_000 });
      await this.#note('writing the files alone', () =>
        git(join(folder, 'workspace'), ['checkout', '--quiet', 'HEAD'], { timeoutMs: 600_000 }),
      );
    });
  }

  async #measure(name: string, work: (folder: string) => Promise<unknown>): Promise<void> {
    await inFolder((folder) => this.#note(name, () => work(folder)));
  }

  async #note(name: string, work: () => Promise<unknown>): Promise<void> {
    const before = this.#server.bytesSent;
    const ms = await time(work);
    const costs = this.costs.get(name) ?? [];
    costs.push({ ms, upstreamBytes: this.#server.bytesSent - before });
    this.costs.set(name, costs);
  }

  async #checkOut(workspace: string, fetchDepth: number, job?: Job): Promise<void> {
    const temp = await empty(`${workspace}-temp`);
    const runner = { workspace, temp, home: job?.home ?? temp, timeoutMs: 1_800_000 };
    const head = await git(this.#upstream, ['symbolic-ref', 'HEAD']);
    const sha = await git(this.#upstream, ['rev-parse', 'HEAD']);
    const options = { repository: REPOSITORY, serverUrl: this.#server.url, ref: head, sha };
    await checkOut(runner, { ...options, fetchDepth });
  }

  #job(root: string, store: string): Job {
    return createJob({
      root,
      repository: REPOSITORY,
      serverUrl: this.#server.url,
      inputs: { 'disk-path': store },
    });
  }

  async #run(job: Job, ...steps: ('main' | 'post')[]): Promise<void> {
    for (const step of steps) {
      const result: StepResult = await job[step]();
      if (result.exitCode !== 0) throw new Error(`${step} failed:\n${result.log}`);
    }
  }

  async #packs(): Promise<string[]> {
    const names = await readdir(this.#store, { recursive: true });
    return names.filter((name) => name.endsWith('.pack')).map((name) => join(this.#store, name));
  }

  get #store(): string {
    return join(this.#root, 'store');
  }

  get #archive(): string {
    return join(this.#root, 'cached.tar.zst');
  }

  get #url(): string {
    return this.#server.repositoryUrl(REPOSITORY);
  }
}

async function empty(folder: string): Promise<string> {
  await mkdir(folder, { recursive: true });
  return folder;
}

async function archive(workspace: string, file: string): Promise<void> {
  // As actions/cache does it, with all threads.
  await runOrThrow('tar', [
    '--use-compress-program',
    'zstd -T0',
    '-cf',
    file,
    '-C',
    workspace,
    '.git',
  ]);
}

async function runOrThrow(command: string, commandArguments: string[]): Promise<void> {
  const { exitCode, stderr } = await runProcess(command, commandArguments, { timeoutMs: 600_000 });
  if (exitCode !== 0) throw new Error(`${command} failed: ${stderr}`);
}

/** Rows that together make what a job waits for, as ratios to the plain checkout with all history. */
const BASE = 'checkout, `fetch-depth: 0`';

function table(costs: ReadonlyMap<string, readonly Cost[]>): string {
  const base = medianMs(costs, BASE);
  const rows = [...costs].map(([name, each]) => {
    const times = each.map(({ ms }) => ms);
    const bytes = median(each.map(({ upstreamBytes }) => upstreamBytes));
    return `| ${name} | ${seconds(median(times))} | ${seconds(Math.min(...times))} to ${seconds(Math.max(...times))} | ${(median(times) / base).toFixed(3)} | ${(bytes / 2 ** 20).toFixed(1)} |`;
  });
  return [
    '| way | median, s | range, s | ratio | MiB from upstream |',
    '|---|---|---|---|---|',
    ...rows,
  ].join('\n');
}

function medianMs(costs: ReadonlyMap<string, readonly Cost[]>, name: string): number {
  return median((costs.get(name) ?? []).map(({ ms }) => ms));
}

function seconds(ms: number): string {
  return (ms / 1_000).toFixed(ms < 10_000 ? 2 : 1);
}

/** What the project promises, each against what was measured. */
function judge(costs: ReadonlyMap<string, readonly Cost[]>): string {
  const ms = (name: string) => medianMs(costs, name);
  const main = ms('mirror-action, warm: main');
  const whole = main + ms('mirror-action, warm: the checkout after it, `fetch-depth: 0`');
  const limit = Math.max(ms('copying the packs'), ms('SHA-256 of the packs, on one thread'));
  const promises: [string, number, string][] = [
    ['checkout with all history / warm main and checkout', ms(BASE) / whole, 'at least 12'],
    [
      'warm main and checkout / checkout, `fetch-depth: 1`',
      whole / ms('checkout, `fetch-depth: 1`'),
      'at most 1',
    ],
    [
      'warm main / the slower of copying and SHA-256',
      main / limit,
      'at most 1.3, plus Node’s start and a fetch',
    ],
    ['post with news, s', ms('mirror-action, warm: post, which saves the news') / 1_000, 'under 1'],
    ['post unchanged, s', ms('mirror-action, unchanged: post') / 1_000, 'under 0.5'],
  ];
  const rows = promises.map(
    ([what, value, wanted]) => `| ${what} | ${value.toFixed(2)} | ${wanted} |`,
  );
  return ['| | measured | wanted |', '|---|---|---|', ...rows].join('\n');
}

const isQuick = process.argv.includes('--quick');
const [given, wanted] = process.argv.slice(2).filter((each) => each !== '--quick');
const rounds = Number(wanted ?? (isQuick ? 1 : 5));
const root = await createTemporaryDirectory('bench');
const path = join(root, 'upstream.git');
if (given === undefined) await createRepository(path, isQuick ? QUICK_SHAPE : SHAPE);
else
  await git(root, ['clone', '--quiet', '--mirror', resolve(given), path], { timeoutMs: 1_800_000 });
const server = await startGitServer({ repositories: { [REPOSITORY]: path } });
try {
  const contest = new Contest(root, server, path);
  await contest.prepare();
  for (let round = 1; round <= rounds; round++) {
    await contest.round();
    console.error(`round ${String(round)} of ${String(rounds)}`);
  }
  const bytes = execFileSync('du', ['-sm', join(path, 'objects')], { encoding: 'utf8' });
  console.log(
    `${bytes.split('\t')[0] ?? ''} MiB of objects upstream, ${String(rounds)} rounds, interleaved;`,
  );
  console.log(`${describeMachine()}.\n\n${table(contest.costs)}\n\n${judge(contest.costs)}`);
} finally {
  await server.stop();
  await removeDirectory(root);
}
