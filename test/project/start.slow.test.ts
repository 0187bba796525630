/** `npm start`, with the bundle as it is. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from '@jest/globals';
import { git } from '../support/git.ts';
import { createRepository, repositorySizes } from '../support/repository-fixture.ts';
import { runProcess } from '../support/processes.ts';
import { temporaryDirectories } from '../support/temporary-directory.ts';

const directories = temporaryDirectories();
const script = fileURLToPath(new URL('../../scripts/start.ts', import.meta.url));

afterAll(() => directories.removeAll());

test('npm start compares the methods on any repository and ends with a verdict', async () => {
  const folder = join(await directories.create('start'), 'name.git');
  await createRepository(folder, repositorySizes.tiny);
  const { exitCode, stdout } = await runProcess(process.execPath, [script, folder]);
  const rows = [...stdout.matchAll(/^\| (actions\/checkout|mirror-action), (.*?) +\|(.*)\|$/gm)];
  const bytes = rows.map(([row]) => row.split('|').at(-2)?.trim());
  expect(rows.map(([, , name]) => name)).toEqual([
    ...['fetch-depth: 0', 'fetch-depth: 1 (no history)'],
    ...['cold: the first job clones and saves', 'warm: every later job'],
  ]);
  expect(bytes.slice(0, 3)).not.toContain('0 B');
  expect(bytes[3]).toBe('0 B');
  expect(stdout).toMatch(/\n(?:Worth it|Not worth it) .*\n/);
  expect(exitCode).toBe(0);
});

test('npm start gives no verdict where a step fails', async () => {
  const folder = await directories.create('empty');
  await git(folder, ['init', '--quiet', '--bare']);
  const { exitCode, stdout, stderr } = await runProcess(process.execPath, [script, folder]);
  expect(stderr).toContain('No verdict: ');
  expect(stdout).not.toMatch(/worth it/i);
  expect(exitCode).toBe(1);
});
