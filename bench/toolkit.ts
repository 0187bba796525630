/**
 * The toolkit of the Actions cache alone: `toolkit.ts save|restore <key>` saves or restores the folder `entry` of
 * its working directory, and prints the milliseconds that took, without those that the toolkit needs to load.
 */
import { link, mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { restoreCache, saveCache } from '@actions/cache';
import { inherited } from '../test/support/git.ts';
import { runProcess } from '../test/support/processes.ts';

const KEY = 'toolkit-alone';
const TIMEOUT_MS = 600_000;
const RESULT = /^took (.*)$/m;

/** Saves the files of a folder, through links to them in `work`. */
export async function saveAlone(
  environment: Record<string, string>,
  folder: string,
  work: string,
): Promise<void> {
  const entry = join(work, 'entry');
  await mkdir(entry, { recursive: true });
  for (const name of await readdir(folder)) await link(join(folder, name), join(entry, name));
  await run('save', environment, work);
}

/** Restores them below `work`; milliseconds. */
export async function restoreAlone(
  environment: Record<string, string>,
  work: string,
): Promise<number> {
  await mkdir(work, { recursive: true });
  return run('restore', environment, work);
}

async function run(
  what: 'save' | 'restore',
  environment: Record<string, string>,
  work: string,
): Promise<number> {
  const program = [fileURLToPath(import.meta.url), what, KEY];
  const { exitCode, stdout, stderr } = await runProcess(process.execPath, program, {
    cwd: work,
    environment: {
      ...inherited(['PATH', 'HOME']),
      ...environment,
      ...{ GITHUB_SERVER_URL: 'https://github.com', GITHUB_WORKSPACE: work, RUNNER_TEMP: work },
    },
    timeoutMs: TIMEOUT_MS,
  });
  const [, ms = ''] = RESULT.exec(stdout) ?? [];
  if (exitCode !== 0 || ms === '') throw new Error(`the toolkit alone failed: ${stdout}${stderr}`);
  return Number(ms);
}

if (import.meta.main) {
  const [what = '', key = ''] = process.argv.slice(2);
  const startedAt = performance.now();
  const found =
    what === 'save' ? await saveCache(['entry'], key) : await restoreCache(['entry'], key);
  if (found === undefined || found === -1) throw new Error(`nothing was ${what}d`);
  console.log(`\ntook ${String(performance.now() - startedAt)}`);
  process.exit();
}
