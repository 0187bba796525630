/**
 * `npm run test:support -- [--if-changed] [jest's options]`: runs the tests of the test servers and, once
 * all of them pass, writes the digest of what they tested. With `--if-changed`, it runs nothing
 * while that digest is still right. Commit the digest with the change.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const FOLDER = 'test/support';
const DIGEST = `${FOLDER}/tested.sha256`;

const options = process.argv.slice(2);
const jestOptions = options.filter((option) => option !== '--if-changed');
const digest = digestOfSupport();
const tested = existsSync(DIGEST) ? readFileSync(DIGEST, 'utf8').trim() : '';
if (options.includes('--if-changed') && digest === tested) {
  console.log(`${FOLDER} is what it was when its tests last passed: skipped.`);
} else {
  process.exitCode = run();
}

function run(): number {
  const jest = ['--experimental-vm-modules', '--disable-warning=ExperimentalWarning'];
  jest.push('node_modules/jest/bin/jest.js', '--config=jest.support.config.js', ...jestOptions);
  const { status } = spawnSync(process.execPath, jest, { stdio: 'inherit' });
  // A part of them proves a part.
  const isWhole = jestOptions.every((option) => /^--(?:json|outputFile|silent)/.test(option));
  if (status === 0 && isWhole) writeFileSync(DIGEST, `${digest}\n`);
  return status ?? 1;
}

/** Of the servers, their tests, and the packages they are made of. */
function digestOfSupport(): string {
  const names = readdirSync(FOLDER, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).replaceAll('\\', '/'))
    .filter((name) => name !== DIGEST);
  const hash = createHash('sha256');
  for (const name of ['package-lock.json', ...names.sort()]) {
    hash.update(`${name}\0`).update(readFileSync(name, 'utf8').replaceAll('\r\n', '\n'));
  }
  return hash.digest('hex');
}
