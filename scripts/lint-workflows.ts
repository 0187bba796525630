/**
 * `npm run lint:workflows`: lints the workflows of this repository and every example in README.md and
 * docs/.
 */
import { globSync, readFileSync } from 'node:fs';
import { lintWorkflow } from './workflows/actionlint.ts';
import { lintPage } from './workflows/page.ts';
import { findUnpinned } from './workflows/pins.ts';
import type { Problem } from './workflows/problem.ts';

function report(path: string, problems: readonly Problem[]): void {
  for (const { line, message } of problems) console.error(`${path}:${line}: ${message}`);
  if (problems.length > 0) process.exitCode = 1;
}

const workflows = globSync('.github/workflows/*.{yml,yaml}').sort();
if (workflows.length === 0) throw new Error('no workflow file in .github/workflows');
for (const path of workflows) {
  const text = readFileSync(path, 'utf8');
  report(path, [...(await lintWorkflow(text, path)), ...findUnpinned(text)]);
}

const pages = ['README.md', ...globSync('docs/**/*.md').sort()];
let linted = 0;
let skipped = 0;
for (const path of pages) {
  const page = await lintPage(readFileSync(path, 'utf8'), path);
  report(path, page.problems);
  linted += page.linted;
  skipped += page.skipped;
}
// Without any example the search must be broken.
if (linted === 0) throw new Error('no example was found');
console.log(`${workflows.length} workflow file(s) and ${linted} example(s) linted`);
if (skipped > 0) console.log(`${skipped} block(s) of YAML are marked as not a workflow`);
