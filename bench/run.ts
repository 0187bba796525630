/**
 * `npm run bench -- [--quick] [--rounds N] [section…]`: compares the methods to get a checked-out tree, on
 * generated repositories of 30 MB, 300 MB and 2 GB, and measures growth. A section is one of these sizes,
 * `growth`, `churn`, `verify`, or a repository by its path or URL. By default all but the last run. The
 * results are kept in bench/results/bench.json, where sections that did not run keep theirs, and shown in
 * bench.md and bench.svg. The section `page` only writes these two again. `--quick` measures 30 MB in one
 * round and only prints.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { countFolderBytes } from '../src/lib/files.ts';
import { git } from '../test/support/git.ts';
import { startS3Server, type StartedS3Server } from '../test/support/s3/servers.ts';
import { describeCheckout } from './checkout.ts';
import { churn, type Churn } from './churn.ts';
import { Contest, REPOSITORY } from './contest.ts';
import { generate, generateTree, SHAPES, TREES } from './generated.ts';
import { GrowthBench, type Growth } from './growth.ts';
import { listDays, PastUpstream } from './history.ts';
import { describeMachine, inFolder } from './measure.ts';
import {
  aimTable,
  churnTable,
  costTable,
  draw,
  growthTable,
  growthVerdict,
  limitTable,
  phaseTable,
  sizeTable,
  tipTables,
  verifyTable,
  type Measured,
} from './report.ts';
import { Servers } from './servers.ts';
import { measureStart, type Start } from './start.ts';
import { verifyCosts, type VerifyCosts } from './verify.ts';
import { ActionsCache, DiskStore, S3Store, type BenchStore } from './stores.ts';

const RESULTS = 'bench/results/bench';
const SMALL = '30 MB';
/** A clone may take a while. */
const SLOW = { timeoutMs: 3_600_000 };
/** Measured with all three stores; the others only with a disk, to save time. */
const WITH_ALL_STORES = new Set([SMALL, '300 MB', ...Object.keys(TREES)]);

const NOTES: Readonly<Record<string, readonly string[]>> = {
  refs: [
    '[The cost of refs](refs.md) shows where the time goes, without the server’s time to advertise them.',
  ],
  'jobs at once': [
    'These jobs share the processors of one machine. On machines of their own they would not slow each other down.',
  ],
};

interface Results {
  /** Of the last run. */
  machine: string;
  /** Of sections that were measured by another machine, or with another checkout: these two. */
  machines?: Record<string, string>;
  checkout?: string;
  start?: Start;
  contests: Record<string, Measured>;
  /** Without history, by name. */
  trees?: Record<string, Measured>;
  growths: Growth[];
  churn?: Churn;
  verify?: VerifyCosts;
}

const { values, positionals } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    rounds: { type: 'string', default: '5' },
  },
  allowPositionals: true,
});
const rounds = values.quick ? 1 : Number(values.rounds);
const results = readResults();
const isMeasured = positionals.join() !== 'page';
if (isMeasured) {
  rememberSurroundings(describeMachine(), describeCheckout());
  results.start = await measureStart(values.quick ? 3 : 15);
}
const sections = positionals.length > 0 ? positionals : allSections();
for (const section of sections) {
  await measure(section);
  delete results.machines?.[section];
  keep();
}
console.log(page());

/** Sections that are not measured again keep what they were measured with. */
function rememberSurroundings(machine: string, checkout: string): void {
  const before = `${results.machine}. ${results.checkout ?? ''}`.trimEnd();
  if (results.machine !== '' && before !== `${machine}. ${checkout}`) {
    const measured = [...Object.keys(results.contests), ...Object.keys(results.trees ?? {})];
    const old = [...measured, 'growth', 'churn', 'verify'].map((section) => [section, before]);
    results.machines = {
      ...(Object.fromEntries(old) as Record<string, string>),
      ...results.machines,
    };
  }
  results.machine = machine;
  results.checkout = checkout;
}

function allSections(): string[] {
  const all = [...Object.keys(SHAPES), ...Object.keys(TREES), 'growth', 'churn', 'verify'];
  return values.quick ? [SMALL] : all;
}

async function measure(section: string): Promise<void> {
  console.error(`${section}…`);
  if (section === 'page') return;
  if (section === 'growth') results.growths = await measureGrowth();
  else if (section === 'churn') results.churn = await measureChurn();
  else if (section === 'verify') results.verify = await measureVerify();
  else {
    const path = isUrl(section) ? section : resolve(section);
    const isOurs = section in SHAPES || section in TREES;
    const name = isOurs ? section : basename(path, '.git');
    await measureContest(name, section);
  }
}

async function measureContest(name: string, section: string): Promise<void> {
  return inFolder(async (root) => {
    const source = await findSource(root, section);
    const upstream = await PastUpstream.create(source, join(root, 'upstream.git'));
    const [yesterday, today] = await listDays(source, 2);
    if (yesterday === undefined || today === undefined) throw new Error('it has no two days');
    const servers = await Servers.start({ [REPOSITORY]: upstream.directory });
    const s3 = await startS3(name);
    try {
      const stores: BenchStore[] = [new DiskStore(join(root, 'store'))];
      if (WITH_ALL_STORES.has(name) && !values.quick) stores.push(new ActionsCache(servers));
      if (s3 !== undefined) stores.push(new S3Store(s3.server, 'bench'));
      const isWithoutHistory = name in TREES;
      const days = { yesterday, today };
      const contest = new Contest({
        ...{ root, upstream, ...days, servers, stores, isWithoutHistory },
      });
      await contest.prepare();
      const count = await git(upstream.directory, ['rev-list', '--objects', '--count', '--all']);
      const packBytes = await countFolderBytes(join(upstream.directory, 'objects', 'pack'));
      for (let round = 1; round <= rounds; round++) {
        console.error(`round ${String(round)} of ${String(rounds)}`);
        await contest.round();
        const kept = isWithoutHistory ? (results.trees ??= {}) : results.contests;
        kept[name] = {
          ...{
            name,
            rounds: round,
            objects: Number(count),
            newBytes: contest.newBytes,
            packBytes,
          },
          stores: stores.map((store) => store.name),
          costs: [...contest.costs],
        };
        // After each: a round of 2 GB takes minutes, and a run may be ended before its time.
        keep();
      }
    } finally {
      await s3?.stop();
      await servers.stop();
    }
  });
}

/** Where its packages are not installed, S3 does not contend, and the table shows that it did not. */
async function startS3(name: string): Promise<StartedS3Server | undefined> {
  if (values.quick || !WITH_ALL_STORES.has(name)) return undefined;
  try {
    return await startS3Server('ceph');
  } catch (error) {
    console.error(`without S3: ${String(error)}`);
    return undefined;
  }
}

function isUrl(section: string): boolean {
  return /^[a-z+]+:\/\//.test(section);
}

async function findSource(root: string, section: string): Promise<string> {
  const shape = SHAPES[section];
  const source = join(root, 'source.git');
  const tree = TREES[section];
  if (shape !== undefined) await generate(source, shape);
  else if (tree !== undefined) await generateTree(source, tree);
  else if (isUrl(section)) await git(root, ['clone', '--quiet', '--mirror', section, source], SLOW);
  else return resolve(section);
  return source;
}

async function measureGrowth(): Promise<Growth[]> {
  return inFolder(async (root) => {
    const repository = await findSource(root, SMALL);
    const bench = new GrowthBench(root, repository, rounds);
    return [
      await bench.byRefs([100, 1_000, 10_000, 100_000]),
      await bench.byLayers([1, 5, 10, 20]),
      await bench.byJobs([1, 2, 5, 10, 20, 50]),
    ];
  });
}

async function measureChurn(): Promise<Churn> {
  return inFolder(async (root) => {
    const source = await findSource(root, SMALL);
    const upstream = await PastUpstream.create(source, join(root, 'upstream.git'));
    const servers = await Servers.start({ [REPOSITORY]: upstream.directory });
    try {
      return await churn(root, upstream, await listDays(source, 51), servers);
    } finally {
      await servers.stop();
    }
  });
}

async function measureVerify(): Promise<VerifyCosts> {
  return inFolder(async (root) => verifyCosts(root, await findSource(root, '300 MB'), rounds));
}

function readResults(): Results {
  const file = `${RESULTS}.json`;
  if (values.quick || !existsSync(file)) return { machine: '', contests: {}, growths: [] };
  return JSON.parse(readFileSync(file, 'utf8')) as Results;
}

function keep(): void {
  if (values.quick) return;
  const round = (_: string, value: unknown) =>
    typeof value === 'number' ? Math.round(value * 10) / 10 : value;
  writeFileSync(`${RESULTS}.json`, `${JSON.stringify(results, round, 1)}\n`);
  writeFileSync(`${RESULTS}.md`, page());
  writeFileSync(`${RESULTS}.svg`, draw(Object.values(results.contests), results.growths));
  execFileSync('npx', ['prettier', '--write', `${RESULTS}.json`, `${RESULTS}.md`]);
}

function page(): string {
  const { start, contests, trees = {}, growths, churn: churned, verify } = results;
  const { machine, checkout = '' } = results;
  const all = Object.values(contests);
  const chapter = (title: string, ...parts: string[]) => [`## ${title}`, ...parts];
  const machineOf = (section: string) => {
    const other = results.machines?.[section];
    return other === undefined ? [] : [`Measured on ${other}`];
  };
  return [
    '# Benchmark',
    `Made by \`npm run bench\` on ${machine}. Servers, stores and jobs share this machine and talk over its loopback interface, so the network costs nothing. ${checkout}`,
    ...(start === undefined
      ? []
      : [
          `Node starts in ${String(Math.round(start.nodeMs))} ms; the main step, up to its first input, takes ${String(Math.round(start.mainMs - start.nodeMs))} ms more.`,
        ]),
    ...(values.quick
      ? []
      : ['![Seconds to a checked-out tree for each method, and growth](bench.svg)']),
    ...all.flatMap((measured) =>
      chapter(
        measured.name,
        ...machineOf(measured.name),
        `${String(Math.round(measured.packBytes / 1e6))} MB of packs, ${measured.objects.toLocaleString('en')} objects, one day of new commits (${String(Math.round(measured.newBytes / 1024))} KiB as a pack); ${String(measured.rounds)} rounds, all methods in each.`,
        aimTable(measured, start ?? { nodeMs: NaN, mainMs: NaN }),
        ...(start === undefined ? [] : [limitTable(measured, start)]),
        costTable(measured),
        phaseTable(measured),
      ),
    ),
    ...Object.values(trees).flatMap((measured) =>
      chapter(
        measured.name,
        `${String(Math.round(measured.packBytes / 1e6))} MB of packs; ${String(measured.rounds)} rounds, all methods in each.`,
        costTable(measured),
      ),
    ),
    ...chapter('Without history', ...tipTables([...all, ...Object.values(trees)])),
    ...(all.length > 1 ? chapter('By size', sizeTable(all)) : []),
    ...growths.flatMap((growth) =>
      chapter(
        `By ${growth.what}`,
        ...machineOf('growth'),
        growthTable(growth),
        ...(growth.what === 'jobs at once' ? [] : [growthVerdict(growth)]),
        ...(NOTES[growth.what] ?? []),
      ),
    ),
    ...(churned === undefined
      ? []
      : chapter('Size of stores', ...machineOf('churn'), churnTable(churned))),
    ...(verify === undefined
      ? []
      : chapter(
          'Cost of `verify`',
          ...machineOf('verify'),
          `A snapshot of ${String(Math.round(verify.packBytes / 1e6))} MB of packs, from a disk store.`,
          verifyTable(verify),
        )),
    '',
  ].join('\n\n');
}
