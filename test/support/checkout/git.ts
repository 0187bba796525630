import { cp, mkdir, rm, writeFile } from 'node:fs/promises';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { inherited } from '../git.ts';
import { runProcess, type ProcessResult } from '../processes.ts';

/** What a checkout needs to know of the job that it is a step of. */
export interface CheckoutJob {
  workspace: string;
  /** RUNNER_TEMP. */
  temp: string;
  /** HOME, whose `.gitconfig` counts; that of the machine does not. */
  home: string;
  /** For each git; a minute by default. */
  timeoutMs?: number;
}

/** Runs git in the folder of one checkout, and keeps account of it. */
export class CheckoutGit {
  /** Arguments of each git that ran. */
  readonly commands: string[][] = [];
  readonly folder: string;
  readonly #job: CheckoutJob;
  readonly #environment: Record<string, string>;

  constructor(job: CheckoutJob, folder: string, lfs: boolean) {
    this.folder = folder;
    this.#job = job;
    this.#environment = {
      ...inherited(['PATH', 'TMPDIR', 'SystemRoot', 'ComSpec', 'TEMP', 'TMP', 'PATHEXT']),
      HOME: job.home,
      GIT_CONFIG_NOSYSTEM: '1',
      LC_ALL: 'C',
      GITHUB_WORKSPACE: job.workspace,
      RUNNER_TEMP: job.temp,
      GIT_TERMINAL_PROMPT: '0',
      GCM_INTERACTIVE: 'Never',
      GIT_HTTP_USER_AGENT: 'git (github-actions-checkout)',
      // Filters may be set up for the whole machine.
      ...(lfs ? {} : { GIT_LFS_SKIP_SMUDGE: '1' }),
    };
  }

  /** What it printed, trimmed; throws where it failed. */
  async run(...gitArguments: string[]): Promise<string> {
    const result = await this.#start(gitArguments);
    if (result.exitCode === 0) return result.stdout.trim();
    throw new Error(`git ${gitArguments.join(' ')}: ${result.exitCode}\n${result.stderr}`);
  }

  /** Its lines, or undefined where it failed. */
  async ask(...gitArguments: string[]): Promise<string[] | undefined> {
    const result = await this.#start(gitArguments);
    return result.exitCode === 0 ? linesOf(result.stdout) : undefined;
  }

  async succeeds(...gitArguments: string[]): Promise<boolean> {
    return (await this.ask(...gitArguments)) !== undefined;
  }

  async lines(...gitArguments: string[]): Promise<string[]> {
    return linesOf(await this.run(...gitArguments));
  }

  /** Runs `action` in a HOME that only it sees: a copy, where the folder is declared safe. */
  async withTemporaryHome<T>(action: () => Promise<T>): Promise<T> {
    const home = join(this.#job.temp, randomUUID());
    await mkdir(home);
    const configuration = join(home, '.gitconfig');
    await writeFile(configuration, '');
    await cp(join(this.#job.home, '.gitconfig'), configuration).catch(() => undefined);
    this.#environment['HOME'] = home;
    try {
      await this.run('config', '--global', '--add', 'safe.directory', this.folder);
      return await action();
    } finally {
      this.#environment['HOME'] = this.#job.home;
      await rm(home, { recursive: true });
    }
  }

  #start(gitArguments: string[]): Promise<ProcessResult> {
    this.commands.push(gitArguments);
    const { timeoutMs = 60_000 } = this.#job;
    const environment = this.#environment;
    return runProcess('git', gitArguments, { cwd: this.folder, environment, timeoutMs });
  }
}

function linesOf(text: string): string[] {
  return text.split('\n').flatMap((line) => (line.trim() === '' ? [] : [line.trim()]));
}

/** For git's regular expressions. */
export function escapePattern(text: string): string {
  return text.replaceAll(/[^a-zA-Z0-9_]/g, String.raw`\$&`);
}
