/**
 * `npm run bench:refs -- [rounds]`: the cost of an unchanged run with 100 and with 100,000 refs in the same
 * repository. Runs main and post of dist/ against one local HTTP server, on a machine that keeps its mirror
 * and on new machines. CPU time needs Linux. Prints tables in Markdown.
 */
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { formatPackedRefs, parsePackedRefs, sortRefs, type Ref } from '../src/mirror/refs.ts';
import { createJob, type StepResult } from '../test/support/action-runner.ts';
import { git } from '../test/support/git.ts';
import { startGitServer, type GitServer } from '../test/support/git-server/server.ts';
import { createRepository } from '../test/support/repository-fixture.ts';
import { createTemporaryDirectory, removeDirectory } from '../test/support/temporary-directory.ts';
import { describeMachine, median } from './measure.ts';

const FEW = 'bench/few';
const MANY = 'bench/many';
type Repository = typeof FEW | typeof MANY;

/** A ref for each commit, branches and lightweight tags in turn, and as many annotated tags as git/git has. */
const COMMITS = 99_000;
const ANNOTATED_TAGS = 1_000;
/** The repository with few refs has every thousandth of these. */
const FEW_EACH = 1_000;

/** Milliseconds of main and post together. */
interface Cost {
  /** Without upstream's time to advertise its refs. */
  own: number;
  main: number;
  post: number;
  /** CPU time of both steps and of all their children. */
  cpu: number;
  advertising: number;
}

/** One history of small commits for the refs of both upstreams. */
async function makeUpstreams(folder: string): Promise<Record<Repository, string>> {
  const paths = { [FEW]: join(folder, 'few.git'), [MANY]: join(folder, 'many.git') };
  const content = { files: 400, fileBytes: 2_000, changedFiles: 1, content: 'text' } as const;
  const tags = { annotatedTags: ANNOTATED_TAGS };
  await createRepository(paths[MANY], { commits: COMMITS, ...content, ...tags });
  await git(paths[MANY], ['repack', '-a', '-d', '-q'], { timeoutMs: 600_000 });
  const made = parsePackedRefs(await readFile(join(paths[MANY], 'packed-refs'), 'latin1'));
  const main = made.find(({ name }) => name === 'refs/heads/main');
  if (main === undefined) throw new Error('there is no main');
  const commits = (await git(paths[MANY], ['rev-list', main.oid])).split('\n').slice(1);
  const others = commits.map((oid, index): Ref => {
    const kind = index % 2 === 0 ? 'heads/feature' : 'tags/build';
    return { name: `refs/${kind}/${String(index % 97)}/of-${String(index)}`, oid };
  });
  const tagged = made.filter(({ name }) => name.startsWith('refs/tags/'));
  await cp(paths[MANY], paths[FEW], { recursive: true });
  await writePackedRefs(paths[MANY], [main, ...tagged, ...others]);
  const few = [...tagged, ...others].filter((_, index) => index % FEW_EACH === 1);
  await writePackedRefs(paths[FEW], [main, ...few]);
  return paths;
}

async function writePackedRefs(repository: string, refs: Ref[]): Promise<void> {
  await writeFile(join(repository, 'packed-refs'), formatPackedRefs(sortRefs(refs)), 'latin1');
}

/** Makes Node report at its end the user and system time of itself and of its children. */
const SAY_TIMES = `
import { readFileSync, appendFileSync } from 'node:fs';
process.on('exit', () => {
  const fields = readFileSync('/proc/self/stat', 'latin1').replace(/^.*\\) /s, '').split(' ');
  appendFileSync(process.env.BENCH_TIMES, fields.slice(11, 15).join(' ') + ' ');
});`;
const TICK_MS = 10;

interface Situation {
  name: string;
  provenance: 'existing' | 'restored';
  prime: boolean;
}

const SITUATIONS: readonly Situation[] = [
  { name: "the machine's own mirror", provenance: 'existing', prime: false },
  { name: "the machine's own mirror, primed from", provenance: 'existing', prime: true },
  { name: 'restored from a disk store', provenance: 'restored', prime: false },
  { name: 'restored from a disk store, primed from', provenance: 'restored', prime: true },
];

class Bench {
  readonly #root: string;
  readonly #server: GitServer;
  #count = 0;

  constructor(root: string, server: GitServer) {
    this.#root = root;
    this.#server = server;
  }

  /** Clones and saves, so that later runs are unchanged. */
  async begin(repository: Repository): Promise<void> {
    await mkdir(this.#storeOf(repository), { recursive: true });
    const job = this.#job(repository, this.#machineOf(repository), false, {});
    check(await job.main(), 'cloned');
    check(await job.post());
  }

  async run(repository: Repository, { provenance, prime }: Situation): Promise<Cost> {
    const isFresh = provenance === 'restored';
    const machine = isFresh
      ? join(this.#root, `fresh-${String(++this.#count)}`)
      : this.#machineOf(repository);
    const times = join(this.#root, 'times');
    const job = this.#job(repository, machine, prime, {
      NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(SAY_TIMES)}`,
      BENCH_TIMES: times,
    });
    this.#server.resetCounters();
    const main = check(await job.main(), provenance);
    const post = check(await job.post());
    if (!post.log.includes('Nothing saved'))
      throw new Error(`the run was not unchanged: ${post.log}`);
    if (this.#server.requests.some(({ kind }) => kind === 'fetch')) throw new Error('it fetched');
    const ticks = (await readFile(times, 'utf8')).trim().split(' ');
    await rm(times);
    await rm(isFresh ? machine : job.workspace, { recursive: true });
    const sum = (values: number[]) => values.reduce((total, value) => total + value, 0);
    const advertising = sum(this.#server.requests.map(({ durationMs }) => durationMs));
    return {
      own: main.durationMs + post.durationMs - advertising,
      main: main.durationMs - advertising,
      post: post.durationMs,
      cpu: sum(ticks.map(Number)) * TICK_MS,
      advertising,
    };
  }

  #job(repository: Repository, root: string, prime: boolean, environment: Record<string, string>) {
    const inputs = { 'disk-path': this.#storeOf(repository), prime: String(prime) };
    const serverUrl = this.#server.url;
    return createJob({ root, repository, serverUrl, inputs, environment });
  }

  #machineOf(repository: Repository): string {
    return join(this.#root, `machine-of-${repository}`);
  }

  #storeOf(repository: Repository): string {
    return join(this.#root, `store-of-${repository}`);
  }
}

function check(step: StepResult, provenance?: string): StepResult {
  const isIt = provenance === undefined || step.outputs['provenance'] === provenance;
  if (step.exitCode === 0 && isIt) return step;
  throw new Error(`the step failed, or did not what it should: ${step.log}`);
}

function seconds(ms: number): string {
  return (ms / 1_000).toFixed(2);
}

function describe(name: string, few: readonly Cost[], many: readonly Cost[]): string {
  const cells = [name];
  for (const what of ['own', 'cpu'] as const) {
    const small = few.map((cost) => cost[what]);
    const large = many.map((cost) => cost[what]);
    const ratio = median(large.map((value, round) => value / (small[round] ?? NaN)));
    cells.push(seconds(median(small)), seconds(median(large)), ratio.toFixed(2));
  }
  return `| ${cells.join(' | ')} |`;
}

function describeParts(name: string, costs: readonly Cost[]): string {
  const parts = (['main', 'post', 'advertising'] as const).map((what) => {
    const values = costs.map((cost) => cost[what]);
    const range = `${seconds(Math.min(...values))} to ${seconds(Math.max(...values))}`;
    return `${seconds(median(values))} (${range})`;
  });
  return `| ${[name, ...parts].join(' | ')} |`;
}

const rounds = Number(process.argv[2] ?? 9);
const root = await createTemporaryDirectory('bench-refs');
let server: GitServer | undefined;
try {
  const repositories = await makeUpstreams(root);
  server = await startGitServer({ repositories });
  const bench = new Bench(root, server);
  await bench.begin(FEW);
  await bench.begin(MANY);
  const size = /size-pack: (\d+)/.exec(await git(repositories[MANY], ['count-objects', '-v']))?.[1];
  const costs = new Map(
    SITUATIONS.map((each) => [each, { [FEW]: [] as Cost[], [MANY]: [] as Cost[] }]),
  );
  for (let round = 0; round < rounds; round += 1) {
    for (const [situation, of] of costs) {
      for (const repository of [FEW, MANY] as const) {
        of[repository].push(await bench.run(repository, situation));
      }
    }
    console.error(`round ${String(round + 1)} of ${String(rounds)}`);
  }
  const mib = (Number(size) / 1_024).toFixed(0);
  console.log(
    `${mib} MiB of packs, ${String(rounds)} rounds, interleaved; ${describeMachine()}.\n`,
  );
  console.log(
    '| an unchanged run, main and post | 100 refs, s | 100,000 refs, s | ratio | CPU, s | CPU, s | ratio |',
  );
  console.log('|---|---|---|---|---|---|---|');
  for (const [{ name }, of] of costs) console.log(describe(name, of[FEW], of[MANY]));
  console.log('\n| part of it | main, s | post, s | advertising, s |\n|---|---|---|---|');
  for (const [{ name }, of] of costs) {
    console.log(describeParts(`${name}, 100 refs`, of[FEW]));
    console.log(describeParts(`${name}, 100,000 refs`, of[MANY]));
  }
} finally {
  await server?.stop();
  await removeDirectory(root);
}
