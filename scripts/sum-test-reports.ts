// Adds up the reports that jest wrote (--json --outputFile) and prints one closing line.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

interface Report {
  numPassedTests: number;
  numFailedTests: number;
  /** Suites that failed before their tests. */
  numRuntimeErrorTestSuites: number;
}

const folder = process.argv[2];
if (folder === undefined) {
  throw new Error('usage: sum-test-reports.ts <folder of reports>');
}

let passed = 0;
let failed = 0;
for (const name of readdirSync(folder)) {
  const report = JSON.parse(readFileSync(join(folder, name), 'utf8')) as Report;
  passed += report.numPassedTests;
  failed += report.numFailedTests + report.numRuntimeErrorTestSuites;
}
if (passed + failed === 0) {
  console.error('No test ran.');
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = passed > 0 && failed === 0 ? 0 : 1;
