/**
 * `node scripts/reliability.ts <folder of jest's JSON reports>`: checks that each fault of the matrix has
 * tests that ran and passed. With `--write`, it also lists them in docs/reliability.md.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { replaceSection } from './docs/sections.ts';
import { FAULT_MATRIX, type FaultRow } from './fault-matrix.ts';

const PAGE = 'docs/reliability.md';

interface Report {
  testResults: {
    name: string;
    assertionResults: { fullName: string; status: string }[];
  }[];
}

interface Ran {
  file: string;
  name: string;
  isPassed: boolean;
}

const [folder, option] = process.argv.slice(2);
if (folder === undefined) throw new Error('usage: reliability.ts <folder of reports> [--write]');

const ran: Ran[] = readdirSync(folder).flatMap((report) => {
  const { testResults } = JSON.parse(readFileSync(join(folder, report), 'utf8')) as Report;
  return testResults.flatMap(({ name, assertionResults }) => {
    const file = /test\/(.*?)(?:\.server|\.s3|\.slow)?\.test\.ts$/.exec(
      name.replaceAll('\\', '/'),
    )?.[1];
    return assertionResults
      .filter(({ status }) => status === 'passed' || status === 'failed')
      .map(({ fullName, status }) => ({
        file: file ?? name,
        name: fullName,
        isPassed: status === 'passed',
      }));
  });
});

const problems: string[] = [];
const proofs = FAULT_MATRIX.map((row, index) => describeTests(row, index + 1));
if (option === '--write') {
  const page = readFileSync(PAGE, 'utf8');
  writeFileSync(PAGE, replaceSection(page, 'tests', proofs.join('\n')));
}
for (const problem of problems) console.error(problem);
console.log(`${String(proofs.length)} faults checked, ${String(problems.length)} problems`);
process.exitCode = problems.length === 0 ? 0 : 1;

function describeTests({ tests }: FaultRow, number: number): string {
  const described = tests.map(([file, name]) => {
    const found = ran.filter((test) => test.file === file && test.name.includes(name));
    const passed = found.filter(({ isPassed }) => isPassed).length;
    const what = `${file}${name === '' ? '' : `: ${name}`}`;
    if (passed === 0 || passed < found.length) {
      problems.push(
        `fault ${String(number)}, ${what}: ${String(passed)} of ${String(found.length)} passed`,
      );
    }
    return `${what} (${String(passed)}/${String(found.length)})`;
  });
  return `${String(number)}. ${described.join('; ')}`;
}
