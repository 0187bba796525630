/**
 * `npm run soak [-- seed [suite…]]`: the suites that choose at random or race, with full counts instead
 * of samples; all of them, or those named. Those of S3 have a configuration of their own, so jest runs
 * once for each. Writes what they did to docs/reliability/soak.md.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';

const COUNTS = {
  KILLS: '40',
  REPACK_KILLS: '40',
  CORRUPTIONS: '20',
  MIRROR_LOCK_ROUNDS: '500',
  OUTAGES: '53',
  S3_RACE_ROUNDS: '50',
  S3_COLD_JOBS: '20',
};
const SUITES = [
  'test/action/kill',
  'test/action/corruption',
  'test/action/actions-cache-outages',
  'test/contract/machine-lock',
  'test/contract/s3-claims',
  'test/action/s3-jobs',
];
/** Each runs those of the suites that it knows. */
const CONFIGURATIONS = ['jest.config.js', 'jest.s3.config.js'];

interface Report {
  testResults: {
    name: string;
    startTime: number;
    endTime: number;
    assertionResults: { status: 'passed' | 'failed' | 'pending' }[];
  }[];
}

const [seed = String(Math.floor(Math.random() * 2 ** 31)), ...named] = process.argv.slice(2);
const suites = named.length > 0 ? named : SUITES;
const folder = mkdtempSync(join(tmpdir(), 'mirror-action-soak-'));
const runs = CONFIGURATIONS.map((configuration) => {
  const report = join(folder, `${configuration}.json`);
  const jest = ['--experimental-vm-modules', '--disable-warning=ExperimentalWarning'];
  jest.push('node_modules/jest/bin/jest.js', `--config=${configuration}`, '--passWithNoTests');
  jest.push('--runInBand', '--json', `--outputFile=${report}`);
  const { status } = spawnSync(process.execPath, [...jest, ...suites], {
    env: { ...process.env, ...COUNTS, TEST_SEED: seed, MIRROR_LOCK_SEED: seed },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  // There is none where jest could not begin: where the S3 servers are not installed, say.
  const text = existsSync(report) ? readFileSync(report, 'utf8') : '{"testResults":[]}';
  return { status: status ?? 1, ...(JSON.parse(text) as Report) };
});
rmSync(folder, { recursive: true });

const rows = runs
  .flatMap(({ testResults }) => testResults)
  .map(({ name, startTime, endTime, assertionResults }) => {
    const count = (wanted: string) =>
      String(assertionResults.filter((result) => result.status === wanted).length);
    const seconds = ((endTime - startTime) / 1_000).toFixed(0);
    const suite = name.replaceAll('\\', '/').replace(/^.*\/test\//, 'test/');
    return `| ${suite} | ${count('passed')} | ${count('failed')} | ${count('pending')} | ${seconds} |`;
  });
const settings = Object.entries(COUNTS).map(([name, value]) => `\`${name}=${value}\``);
const page = [
  '# Soak',
  '',
  `Made by \`npm run soak -- ${[seed, ...named].join(' ')}\`: ${settings.join(', ')}.`,
  `${String(cpus().length)} cores (${cpus()[0]?.model ?? ''}), ${process.platform}, Node ${process.version}.`,
  '',
  '| suite | passed | failed | skipped | s |',
  '| --- | --- | --- | --- | --- |',
  ...rows.sort(),
  '',
].join('\n');
mkdirSync('docs/reliability', { recursive: true });
writeFileSync('docs/reliability/soak.md', page);
console.log(page);
process.exitCode = rows.length === 0 ? 1 : Math.max(...runs.map(({ status }) => status));
