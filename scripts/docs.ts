/** `npm run docs`: writes docs/inputs.md and the generated sections of README.md and other pages in docs/. */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import type { Measured } from '../bench/report.ts';
import { describeAsStep, describeInterface, parseInterface } from './docs/interface.ts';
import { measuredTable, tipTable } from './docs/measured.ts';
import { replaceSection } from './docs/sections.ts';
import { describeFailures } from './docs/troubleshooting.ts';
import { FAULT_MATRIX } from './fault-matrix.ts';

const read = (path: string) => readFileSync(path, 'utf8');

const action = parseInterface(read('action.yml'));
const { contests, trees } = JSON.parse(read('bench/results/bench.json')) as Record<
  'contests' | 'trees',
  Record<string, Measured>
>;
/** The files of that repository's last commit have 5 MB. */
const sizes = [
  { size: '5 MB', measured: contests['30 MB'] },
  ...['40 MB', '200 MB', '1 GB'].map((size) => ({ size, measured: trees[`a tree of ${size}`] })),
];

const faults = FAULT_MATRIX.map(
  ({ fault, expected }, index) => `| ${String(index + 1)} | ${fault} | ${expected} |`,
);
const sections: [path: string, name: string, content: string][] = [
  ['README.md', 'inputs', describeAsStep(action.inputs, 'org/mirror-action@v1')],
  ['README.md', 'measured', measuredTable(contests, ['30 MB', '300 MB', '2 GB'], '300 MB')],
  ['docs/how-it-works.md', 'tips', tipTable(sizes)],
  ['docs/troubleshooting.md', 'failures', describeFailures()],
  [
    'docs/reliability.md',
    'faults',
    ['| | fault | expected |', '| --- | --- | --- |', ...faults].join('\n'),
  ],
];
const pages = new Map([['docs/inputs.md', describeInterface(action)]]);
for (const [path, name, content] of sections) {
  pages.set(path, replaceSection(pages.get(path) ?? read(path), name, content));
}
for (const [path, text] of pages) writeFileSync(path, text);
const paths = [...pages.keys()];
const { status } = spawnSync('prettier', ['--log-level=warn', '--write', ...paths], {
  stdio: 'inherit',
  shell: process.platform === 'win32',
});
process.exitCode = status ?? 1;
