/**
 * `node scripts/reliability.ts <folder of jest's JSON reports>`: holds the fault matrix against what
 * ran. Fails where a fault has no test that ran and passed. With `--write`, makes docs/reliability.md.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { FAULT_MATRIX, type FaultRow } from './fault-matrix.ts';

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
    const file = /test\/(.*?)(?:\.server|\.s3)?\.test\.ts$/.exec(name.replaceAll('\\', '/'))?.[1];
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
const rows = FAULT_MATRIX.map((row, index) => describe(row, index + 1));
if (option === '--write') writeFileSync('docs/reliability.md', page(rows));
for (const problem of problems) console.error(problem);
console.log(
  `${String(rows.length)} faults, each with tests that ran; ${String(problems.length)} are wrong`,
);
process.exitCode = problems.length === 0 ? 0 : 1;

function describe({ fault, expected, tests }: FaultRow, number: number): string {
  const cells = tests.map(([file, name]) => {
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
  return `| ${String(number)} | ${fault} | ${expected} | ${cells.join('<br>')} |`;
}

function page(lines: readonly string[]): string {
  return `# Reliability

What the action must survive, and the tests that provoke it for real: git, servers, processes and disks.
Behind each test: how many passed of how many ran when this page was made, by \`.ci/run\` and
\`node scripts/reliability.ts <its reports> --write\`. \`.ci/run\` fails where a fault has no test that ran and passed.

Whatever goes wrong, in any order:

1. The mirror is what upstream has, or the step fails.
2. What is published is whole, and what was published under a number never changes.
3. The token is nowhere.
4. Nothing takes longer than its deadline.
5. Nothing outside the action's folders changes.

\`test/faults/\` holds these five against jobs to which things happen by chance, and shows that it sees a violation
where a check is taken out. [Soak](reliability/soak.md) has the full counts.

| | fault | expected | tests |
| --- | --- | --- | --- |
${lines.join('\n')}
`;
}
