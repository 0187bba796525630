/**
 * The only place that starts git.
 *
 * A command that fails is a value: `run` returns its result, and `failure.ts` names it. A git that
 * cannot be started is an exception (`git-unusable`). Every command has a deadline, ends on cancel
 * with its whole process group, and runs in an environment built for it (environment.ts).
 */
import { which } from '@actions/io';
import { MirrorError } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import { PROGRESS_INTERVAL_MS } from '../lib/progress.ts';
import { runChild, type ChildResult } from '../lib/process.ts';
import { buildGitEnvironment, type UpstreamAccess } from './environment.ts';
import { gitFailure } from './failure.ts';

/** GIT_CONFIG_COUNT is silently ignored before 2.31, and 2.32 is what the commands here were held against. */
const OLDEST_GIT = [2, 32] as const;

/** For commands that only read local files: minutes mean a broken disk. */
const LOCAL_TIMEOUT_MS = 10 * 60_000;
/** `git version` reads nothing. */
const VERSION_TIMEOUT_MS = 30_000;

export interface GitCommand {
  /** Absolute. Never found by looking upwards, which can end in an enclosing repository. */
  gitDirectory: string;
  /** Options and positionals; positionals that come from outside follow `--`. */
  args: readonly string[];
  stdin?: string;
  /** Gets stdout as it comes, instead of the result. */
  onOutput?: (chunk: Buffer) => void;
  /** Lets git reach upstream; without it no credential is in its environment. */
  access?: UpstreamAccess;
  timeoutMs?: number;
  /** Shows git's progress in the log. */
  showProgress?: boolean;
}

export function isSuccess({ ended, exitCode }: ChildResult): boolean {
  return ended === 'exited' && exitCode === 0;
}

export interface GitOptions {
  environment: NodeJS.ProcessEnv;
  /** An existing folder that git runs in; nothing is read from it. */
  workingDirectory: string;
  signal: AbortSignal;
  log: Log;
}

export interface Git {
  readonly version: string;
  /** The same git, whose commands end when that signal fires. */
  withSignal(signal: AbortSignal): Git;
  /** The command's result, whatever its exit code. */
  run(command: GitCommand): Promise<ChildResult>;
  /** The command's stdout; throws the named failure if it did not succeed. */
  read(command: GitCommand, what: string): Promise<Buffer>;
}

/** Finds git on PATH and checks its version; throws `git-unusable`. */
export async function openGit(options: GitOptions): Promise<Git> {
  const executable = await findExecutable();
  const announced = await start(executable, options, [], {
    args: ['version'],
    timeoutMs: VERSION_TIMEOUT_MS,
  });
  if (announced.ended === 'cancelled') throw gitFailure(announced, 'git version');
  return bindGit(executable, checkVersion(announced.stdout.toString('utf8')), options);
}

function bindGit(executable: string, version: string, options: GitOptions): Git {
  const run = async (command: GitCommand) => {
    options.log.debug(`git ${command.args.join(' ')}`);
    const result = await start(executable, options, [`--git-dir=${command.gitDirectory}`], command);
    // A lost lock is told as what it is, not as a cancelled job.
    if (result.ended === 'cancelled' && options.signal.reason instanceof MirrorError) {
      throw options.signal.reason;
    }
    return result;
  };
  return {
    version,
    withSignal: (signal) => bindGit(executable, version, { ...options, signal }),
    run,
    read: async (command, what) => {
      const result = await run(command);
      if (!isSuccess(result)) throw gitFailure(result, what);
      return result.stdout;
    },
  };
}

function start(
  executable: string,
  { environment, workingDirectory, signal, log }: GitOptions,
  prefix: readonly string[],
  command: Omit<GitCommand, 'gitDirectory'>,
): Promise<ChildResult> {
  const { args, stdin, onOutput, access, timeoutMs, showProgress } = command;
  return runChild([executable, ...prefix, ...args], {
    environment: buildGitEnvironment(environment, access),
    workingDirectory,
    timeoutMs: timeoutMs ?? LOCAL_TIMEOUT_MS,
    signal,
    ...(stdin === undefined ? {} : { stdin }),
    ...(onOutput === undefined ? {} : { onOutput }),
    ...(showProgress === true ? { onErrorLine: progressPrinter(log) } : {}),
  });
}

async function findExecutable(): Promise<string> {
  try {
    // An absolute path: Windows would otherwise look into the working directory first.
    return await which('git', true);
  } catch (error) {
    throw new MirrorError('git-unusable', `git is not on PATH: ${NEEDED}`, { cause: error });
  }
}

const NEEDED = `install git ${OLDEST_GIT.join('.')} or newer in the runner or the job's container`;

/** Parses `git version`'s output; throws `git-unusable` for a version that is too old or not told. */
export function checkVersion(output: string): string {
  const match = /^git version (\d+)\.(\d+)(\S*)/.exec(output);
  if (match === null) {
    throw new MirrorError('git-unusable', `git on PATH does not tell its version: ${NEEDED}`);
  }
  const [, major = '', minor = '', rest = ''] = match;
  const version = `${major}.${minor}${rest}`;
  const [oldestMajor, oldestMinor] = OLDEST_GIT;
  const isOld =
    Number(major) < oldestMajor || (Number(major) === oldestMajor && Number(minor) < oldestMinor);
  if (isOld) throw new MirrorError('git-unusable', `git ${version} is too old: ${NEEDED}`);
  return version;
}

/** What git is at now and then, and always what it ends with. */
function progressPrinter(log: Log): (line: string, isProgress: boolean) => void {
  let shownAt = performance.now();
  return (line, isProgress) => {
    const now = performance.now();
    if (isProgress && now - shownAt < PROGRESS_INTERVAL_MS) return;
    shownAt = now;
    log.info(`  git: ${line}`);
  };
}
