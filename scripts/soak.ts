/**
 * `npm run soak [-- seed [suite…]]`: the suites that choose at random, with full counts instead of
 * samples; all of them, or those named.
 * Writes what they did to docs/reliability/soak.md.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';

const COUNTS = {
  KILLS: '40',
  REPACK_KILLS: '40',
  CORRUPTIONS: '20',
  MIRROR_LOCK_ROUNDS: '500',
  OUTAGES: '53',
};
const SUITES = [
  'test/action/kill',
  'test/action/corruption',
  'test/action/actions-cache-outages',
  'test/contract/machine-lock',
];

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
const report = join(folder, 'report.json');
const jest = ['--experimental-vm-modules', '--disable-warning=ExperimentalWarning'];
jest.push('node_modules/jest/bin/jest.js', '--runInBand', '--json', `--outputFile=${report}`);
const { status } = spawnSync(process.execPath, [...jest, ...suites], {
  env: { ...process.env, ...COUNTS, TEST_SEED: seed, MIRROR_LOCK_SEED: seed },
  stdio: ['ignore', 'ignore', 'inherit'],
});
const { testResults } = JSON.parse(readFileSync(report, 'utf8')) as Report;
rmSync(folder, { recursive: true });

const rows = testResults.map(({ name, startTime, endTime, assertionResults }) => {
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
process.exitCode = status ?? 1;
