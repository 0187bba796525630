/**
 * The only place that starts git.
 *
 * A command that fails is a value: `run` returns its result, and `failure.ts` names it. A git that
 * cannot be started is an exception (`git-unusable`). A command has a deadline and ends on cancel with
 * its whole process group, unless it is brief. Its environment is built for it (environment.ts).
 */
import { join } from 'node:path';
import { MirrorError, throwIfCancelled } from '../lib/errors.ts';
import { findExecutable } from '../lib/executable.ts';
import type { Log } from '../lib/log.ts';
import { PROGRESS_INTERVAL_MS } from '../lib/progress.ts';
import { runBrief, runChild, type ChildOptions, type ChildResult } from '../lib/process.ts';
import { findRewrites, pickConnection } from './connection.ts';
import {
  buildGitEnvironment,
  buildLfsEnvironment,
  buildMachineEnvironment,
  buildUpstreamEnvironment,
  type UpstreamAccess,
} from './environment.ts';
import { GitFailure } from './failure.ts';

/** Older ones silently ignore GIT_CONFIG_COUNT (2.31) and GIT_CONFIG_GLOBAL (2.32). */
const OLDEST_GIT = '2.32';

/** For commands that only read local files: minutes mean a broken disk. */
const LOCAL_TIMEOUT_MS = 10 * 60_000;
/** `git version` reads nothing. */
const VERSION_TIMEOUT_MS = 30_000;

export interface GitCommand extends Pick<ChildOptions, 'onOutput' | 'stallMs' | 'signsOfLife'> {
  /** Absolute. Never found by looking upwards, which can end in an enclosing repository. */
  gitDirectory: string;
  /** Options and positionals; positionals that come from outside follow `--`. */
  args: readonly string[];
  stdin?: string;
  /** Lets git reach upstream; without it no credential is in its environment. */
  access?: UpstreamAccess;
  /** With `access`, for git-lfs: the folder that it downloads to. */
  lfsStorage?: string;
  timeoutMs?: number;
  /** Shows git's progress in the log. */
  showProgress?: boolean;
  /** Writes the lines that git and a server exchange to stderr. They hold no credential. */
  tracesPackets?: boolean;
}

/** A short local command, which needs neither a deadline nor an end on cancel. */
export interface BriefCommand extends Pick<GitCommand, 'gitDirectory' | 'args'> {
  /** With the configuration of the machine, as a checkout has it. By default with none but ours. */
  configuration?: 'machine';
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
  /** The same git, whose commands and progress are shown in that log. */
  withLog(log: Log): Git;
  /** The command's result, whatever its exit code. */
  run(command: GitCommand): Promise<ChildResult>;
  /** The command's stdout; throws the named failure if it did not succeed. */
  read(command: GitCommand, what: string): Promise<Buffer>;
  runBrief(command: BriefCommand): Promise<ChildResult>;
  readBrief(command: BriefCommand, what: string): Promise<Buffer>;
}

/** Finds git on PATH and checks its version; throws `git-unusable`. */
export async function openGit(options: GitOptions): Promise<Git> {
  const executable = await findExecutable('git', options.environment);
  if (executable === undefined) {
    throw new MirrorError('git-unusable', `git is not on PATH: ${NEEDED}`);
  }
  const { workingDirectory, signal } = options;
  // Not as a brief command: a git that hangs, on a network disk say, has to end with the job.
  const announced = await runChild([executable, 'version'], {
    environment: buildGitEnvironment(options.environment),
    ...{ workingDirectory, signal, timeoutMs: VERSION_TIMEOUT_MS },
  });
  if (announced.ended === 'cancelled') throw new GitFailure(announced, 'git version');
  const version = checkVersion(announced.stdout.toString('utf8'));
  let listing: Promise<string> | undefined;
  const listMachine = () => (listing ??= listConfiguration(executable, options));
  return bindGit({ executable, version, listMachine, bypassed: new Set() }, options);
}

interface Program {
  executable: string;
  version: string;
  /** The machine's configuration; read once. */
  listMachine: () => Promise<string>;
  /** Upstreams of which the log says that the machine's configuration isn't used. */
  bypassed: Set<string>;
}

function bindGit(program: Program, options: GitOptions): Git {
  const run = async (command: GitCommand) => {
    options.log.debug(`git ${command.args.join(' ')}`);
    const result = await start(program, options, command);
    // A lost lock is told as what it is, not as a cancelled job.
    if (result.ended === 'cancelled' && options.signal.reason instanceof MirrorError) {
      throw options.signal.reason;
    }
    return result;
  };
  const brief = (command: BriefCommand) => {
    options.log.debug(`git ${command.args.join(' ')}`);
    return startBrief(program.executable, options, command);
  };
  return {
    version: program.version,
    withSignal: (signal) => bindGit(program, { ...options, signal }),
    withLog: (log) => bindGit(program, { ...options, log }),
    run,
    read: async (command, what) => outputOf(await run(command), what),
    runBrief: brief,
    readBrief: async (command, what) => outputOf(await brief(command), what),
  };
}

function outputOf(result: ChildResult, what: string): Buffer {
  if (!isSuccess(result)) throw new GitFailure(result, what);
  return result.stdout;
}

async function start(
  program: Program,
  options: GitOptions,
  command: GitCommand,
): Promise<ChildResult> {
  const { gitDirectory, args, access, lfsStorage, showProgress, tracesPackets, ...limits } =
    command;
  const { workingDirectory, signal, log } = options;
  const variables = await variablesFor(program, options, access, lfsStorage);
  return runChild([program.executable, `--git-dir=${gitDirectory}`, ...args], {
    timeoutMs: LOCAL_TIMEOUT_MS,
    ...limits,
    environment: tracesPackets === true ? { ...variables, GIT_TRACE_PACKET: '1' } : variables,
    workingDirectory,
    signal,
    ...(showProgress === true ? { onErrorLine: progressPrinter(log) } : {}),
  });
}

async function variablesFor(
  { listMachine, bypassed }: Program,
  { environment, log }: GitOptions,
  access: UpstreamAccess | undefined,
  lfsStorage: string | undefined,
): Promise<NodeJS.ProcessEnv> {
  if (access === undefined) return buildGitEnvironment(environment);
  const listing = await listMachine();
  const rewrites = findRewrites(listing, access.url).join(', ');
  if (rewrites !== '' && !bypassed.has(access.url)) {
    bypassed.add(access.url);
    log.info(`The machine's git configuration is not used to reach ${access.url}: ${rewrites}`);
  }
  const connection = pickConnection(listing);
  return lfsStorage === undefined
    ? buildUpstreamEnvironment(environment, access, connection)
    : buildLfsEnvironment(environment, access, connection, lfsStorage);
}

function startBrief(
  executable: string,
  { environment, workingDirectory, signal }: GitOptions,
  { gitDirectory, args, configuration }: BriefCommand,
): Promise<ChildResult> {
  throwIfCancelled(signal);
  const build = configuration === 'machine' ? buildMachineEnvironment : buildGitEnvironment;
  return runBrief([executable, `--git-dir=${gitDirectory}`, ...args], {
    environment: build(environment),
    workingDirectory,
  });
}

/** Empty if git can't read it; the checkout will say why. */
async function listConfiguration(executable: string, options: GitOptions): Promise<string> {
  const { exitCode, stdout, stderr } = await startBrief(executable, options, {
    // No repository, so none whose configuration counts.
    gitDirectory: join(options.workingDirectory, 'no-repository'),
    args: ['config', '--list', '-z', '--includes'],
    configuration: 'machine',
  });
  if (exitCode === 0) return stdout.toString('utf8');
  options.log.warning(
    `git cannot read this machine's configuration, so its proxy and certificates are not used: ${stderr.trim()}`,
  );
  return '';
}

const NEEDED = `install git ${OLDEST_GIT} or newer in the runner or the job's container`;

/** Parses `git version`'s output; throws `git-unusable` for a version that is too old or not told. */
function checkVersion(output: string): string {
  const version = /^git version (\d+\.\d+\S*)/.exec(output)?.[1];
  if (version === undefined) {
    throw new MirrorError('git-unusable', `git on PATH does not tell its version: ${NEEDED}`);
  }
  if (version.localeCompare(OLDEST_GIT, 'en', { numeric: true }) < 0) {
    throw new MirrorError('git-unusable', `git ${version} is too old: ${NEEDED}`);
  }
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
