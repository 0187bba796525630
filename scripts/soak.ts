/**
 * `npm run soak -- [--seed N] [--runs N] [suite…]`: runs the randomized suites and the races with full counts
 * instead of samples; all of them, or those named. `--runs` is the number of random fault runs. The S3
 * suites have a configuration of their own, so jest runs once for each suite. The results go into
 * docs/reliability/soak.md, where suites that did not run keep their lines.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

const { values, positionals } = parseArgs({
  options: { seed: { type: 'string' }, runs: { type: 'string', default: '1000' } },
  allowPositionals: true,
});
const seed = values.seed ?? String(Math.floor(Math.random() * 2 ** 31));

/** The variables that set the counts of each suite. */
const SUITES: Record<string, Record<string, string>> = {
  'test/jobs/faults/kill.test.ts': { KILLS: '40', CORRUPTIONS: '1' },
  'test/jobs/faults/kill-repack.test.ts': { REPACK_KILLS: '40' },
  'test/jobs/faults/lfs-faults.server.test.ts': { KILLS: '1' },
  'test/jobs/submodules/faults.test.ts': { KILLS: '1', CORRUPTIONS: '1' },
  'test/jobs/stores/killed-saves.test.ts': { KILLS: '1', CORRUPTIONS: '1' },
  'test/save/maintenance.slow.test.ts': { MAINTENANCE_ROUNDS: '100', CORRUPTIONS: '1' },
  'test/mirror/tip.slow.test.ts': { TIP_DAYS: '200', CORRUPTIONS: '1' },
  'test/mirror/whole-upstream.slow.test.ts': { CORRUPTIONS: '1' },
  'test/jobs/mirror/tip-jobs.test.ts': { KILLS: '40' },
  'test/jobs/checkout/checkout.test.ts': { CORRUPTIONS: '1' },
  'test/jobs/checkout/checkout-changes.test.ts': { CORRUPTIONS: '1' },
  'test/jobs/checkout/checkout-tip.test.ts': { CORRUPTIONS: '1' },
  'test/jobs/stores/tip-replays.server.test.ts': { CORRUPTIONS: '1' },
  'test/jobs/stores/tip-replays.s3.test.ts': { CORRUPTIONS: '1' },
  'test/jobs/faults/bad-input.test.ts': { CORRUPTIONS: '1' },
  'test/jobs/faults/hostile-mirror.test.ts': { CORRUPTIONS: '1' },
  'test/jobs/faults/cancel.test.ts': { CORRUPTIONS: '1' },
  'test/jobs/faults/full-disk.test.ts': { CORRUPTIONS: '1' },
  'test/jobs/mirror/main-job.test.ts': { CORRUPTIONS: '1' },
  'test/jobs/mirror/post.test.ts': { CORRUPTIONS: '1' },
  'test/jobs/secrets.test.ts': { CORRUPTIONS: '1' },
  'test/jobs/checkout/prime.test.ts': { CORRUPTIONS: '1' },
  'test/jobs/checkout/checkout-again.test.ts': { CORRUPTIONS: '1' },
  'test/jobs/checkout/checkout-moved.test.ts': { CORRUPTIONS: '1' },
  'test/jobs/checkout/checkout-submodules.test.ts': { CORRUPTIONS: '1' },
  'test/stores/disk/rights.test.ts': { CORRUPTIONS: '1' },
  'test/jobs/submodules/primed.test.ts': { CORRUPTIONS: '1' },
  'test/jobs/faults/poison.test.ts': { CORRUPTIONS: '20' },
  'test/jobs/faults/corruption.test.ts': { CORRUPTIONS: '20' },
  'test/jobs/stores/corruption-cache.server.test.ts': { CORRUPTIONS: '20' },
  'test/jobs/stores/corruption.s3.test.ts': { CORRUPTIONS: '20' },
  'test/jobs/stores/actions-cache-outages.server.test.ts': { OUTAGES: '53' },
  'test/locks/machine.slow.test.ts': { MIRROR_LOCK_ROUNDS: '500' },
  'test/locks/claims/claims.slow.test.ts': { CLAIM_RACE_ROUNDS: '500' },
  'test/locks/claims/simulation.slow.test.ts': { CLAIM_ROUNDS: '500' },
  'test/locks/claims/s3.s3.test.ts': { S3_RACE_ROUNDS: '50' },
  'test/jobs/stores/s3-jobs.s3.test.ts': { S3_COLD_JOBS: '20' },
  'test/jobs/stores/life.test.ts': { LIFE_STEPS: '200' },
  'test/jobs/stores/layers.test.ts': { SAVE_RACES: '25' },
  'test/faults/random-runs.test.ts': { FAULT_RUNS: values.runs, CORRUPTIONS: '1' },
  'test/faults/failpoints.test.ts': { FAILPOINT_ROUNDS: '30' },
};
const PAGE = 'docs/reliability/soak.md';

interface Report {
  testResults: {
    startTime: number;
    endTime: number;
    assertionResults: { status: 'passed' | 'failed' | 'pending' }[];
  }[];
}

const chosen = Object.keys(SUITES).filter(
  (suite) => positionals.length === 0 || positionals.some((name) => suite.includes(name)),
);
if (chosen.length === 0)
  throw new Error(`no such suite; there are ${Object.keys(SUITES).join(', ')}`);

const rows = new Map(readRows());
for (const suite of chosen) {
  const { row, isPassed } = run(suite);
  rows.set(suite, row);
  if (!isPassed) process.exitCode = 1;
  // After each suite: a soak takes hours and may be interrupted.
  write();
}
console.log(readFileSync(PAGE, 'utf8'));

function run(suite: string): { row: string; isPassed: boolean } {
  const folder = mkdtempSync(join(tmpdir(), 'mirror-action-soak-'));
  const report = join(folder, 'report.json');
  const configuration = suite.endsWith('.s3.test.ts') ? 'jest.s3.config.js' : 'jest.config.js';
  const jest = ['--experimental-vm-modules', '--disable-warning=ExperimentalWarning'];
  jest.push('node_modules/jest/bin/jest.js', `--config=${configuration}`, '--runInBand');
  if (suite.endsWith('.server.test.ts')) jest.push('--testMatch=**/*.server.test.ts');
  const counts = SUITES[suite] ?? {};
  const { status } = spawnSync(
    process.execPath,
    [...jest, '--json', `--outputFile=${report}`, '--runTestsByPath', suite],
    {
      env: { ...process.env, ...counts, TEST_SEED: seed, MIRROR_LOCK_SEED: seed },
      stdio: ['ignore', 'ignore', 'inherit'],
    },
  );
  // Missing if jest could not start, for example without the S3 servers.
  if (!existsSync(report)) throw new Error(`${suite} did not run`);
  const { testResults } = JSON.parse(readFileSync(report, 'utf8')) as Report;
  rmSync(folder, { recursive: true });
  const results = testResults.flatMap(({ assertionResults }) => assertionResults);
  const count = (wanted: string) =>
    String(results.filter((result) => result.status === wanted).length);
  const ms = testResults.reduce((sum, { startTime, endTime }) => sum + endTime - startTime, 0);
  const setting = Object.entries(counts).map(([name, value]) => `\`${name}=${value}\``);
  const cells = [
    suite,
    setting.join(', '),
    seed,
    count('passed'),
    count('failed'),
    count('pending'),
  ];
  const isPassed = status === 0 && count('passed') !== '0';
  return { row: `| ${[...cells, (ms / 1_000).toFixed(0), date()].join(' | ')} |`, isPassed };
}

function date(): string {
  return new Date().toISOString().slice(0, 10);
}

function readRows(): [string, string][] {
  const text = existsSync(PAGE) ? readFileSync(PAGE, 'utf8') : '';
  const lines = text.split('\n').filter((line) => line.startsWith('| test/'));
  return lines.map((line) => [/^\| (\S+)/.exec(line)?.[1] ?? '', line]);
}

function write(): void {
  const page = [
    '# Soak',
    '',
    'Made by `npm run soak`. To repeat a line: `npm run soak -- --seed <seed> <suite>`.',
    `The newest lines are from ${String(cpus().length)} cores (${cpus()[0]?.model ?? ''}), ${process.platform}, Node ${process.version}.`,
    '',
    '| suite | count | seed | passed | failed | skipped | s | on |',
    '| --- | --- | --- | --- | --- | --- | --- | --- |',
    ...Object.keys(SUITES).flatMap((suite) => rows.get(suite) ?? []),
    '',
  ].join('\n');
  mkdirSync('docs/reliability', { recursive: true });
  writeFileSync(PAGE, page);
  spawnSync('npx', ['prettier', '--write', PAGE], { stdio: 'ignore', shell: true });
}
