/** `npm run docs`: writes what is generated in README.md, docs/inputs.md and docs/troubleshooting.md. */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import type { Measured } from '../bench/report.ts';
import { describeAsStep, describeInterface, parseInterface } from './docs/interface.ts';
import { measuredTable } from './docs/measured.ts';
import { replaceSection } from './docs/sections.ts';
import { describeFailures } from './docs/troubleshooting.ts';

const read = (path: string) => readFileSync(path, 'utf8');

const action = parseInterface(read('action.yml'));
const { contests } = JSON.parse(read('bench/results/bench.json')) as {
  contests: Record<string, Measured>;
};

const sections: [name: string, content: string][] = [
  ['inputs', describeAsStep(action.inputs, 'org/mirror-action@v1')],
  ['measured', measuredTable(contests, ['30 MB', '300 MB', '2 GB'], '300 MB')],
];
const pages: [path: string, text: string][] = [
  ['README.md', sections.reduce((page, each) => replaceSection(page, ...each), read('README.md'))],
  ['docs/inputs.md', describeInterface(action)],
  [
    'docs/troubleshooting.md',
    replaceSection(read('docs/troubleshooting.md'), 'failures', describeFailures()),
  ],
];
for (const [path, text] of pages) writeFileSync(path, text);
const paths = pages.map(([path]) => path);
const { status } = spawnSync('prettier', ['--log-level=warn', '--write', ...paths], {
  stdio: 'inherit',
  shell: process.platform === 'win32',
});
process.exitCode = status ?? 1;
