/**
 * One child process that ends when it must: at its deadline, on cancel, and when this process dies.
 *
 * git starts children of its own (remote-https, index-pack); ending only git leaves them writing (git fact 9).
 * So on POSIX everything runs in a process group that is ended as one, behind a small shell that
 * watches a pipe from this process: when this process is killed the kernel closes the pipe, and the
 * shell ends the group before the next holder of the mirror's lock starts its work. Windows has no
 * process groups: `taskkill /T` ends the tree at a deadline or on cancel, and children of a killed
 * process end at their next write to a closed pipe.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { constants } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { Readable } from 'node:stream';
import { getExecOutput } from '@actions/exec';
import { STDERR_BYTES, collectLines, collectOutput, type OutputOptions } from './output.ts';
import { LONGEST_TIMER_MS, watchForStall, type StallOptions } from './stall.ts';

export interface ChildOptions extends OutputOptions, StallOptions {
  environment: NodeJS.ProcessEnv;
  workingDirectory: string;
  /** Total time it may take, in milliseconds; Infinity for as long as it likes. */
  timeoutMs: number;
  signal: AbortSignal;
  /** A stream is passed on as it comes. */
  stdin?: string | Readable;
}

export interface ChildResult {
  /** Why it ended: by itself, or ended by us. */
  ended: 'exited' | 'timeout' | 'stalled' | 'cancelled' | 'overflow';
  /** The exit code; a death by signal has 128 and more, as a shell reports it. */
  exitCode: number;
  stdout: Buffer;
  /** The end of stderr, at most STDERR_BYTES. */
  stderr: string;
  durationMs: number;
  /** The limit that it ran with, which failure.ts reports. */
  stallMs?: number | undefined;
}

/** The runner gives 7.5 s from SIGINT to SIGTERM: git gets 2 s of it to remove its temporary files. */
const TERM_GRACE_MS = 2_000;
/** After SIGKILL only an uninterruptible disk keeps a process; waiting longer helps nobody. */
const KILL_GRACE_MS = 1_000;

/**
 * $1… is the command. Descriptor 3 is the pipe from this process: the reader gets its end of file
 * when this process is gone, and ends the group. A command that died by a signal may have met the
 * end of this process before the reader did (SIGPIPE), so then it is ended with all it left behind:
 * git that dies so does not wait for its ssh. The reader is waited for, since a container's first
 * process may not reap.
 */
const LIFELINE = `
(read -r _ <&3; kill -KILL 0) >/dev/null 2>&1 &
reader=$!
"$@" 3<&-
status=$?
if [ "$status" -gt 128 ]; then trap '' TERM; kill -TERM 0; else kill "$reader"; fi 2>/dev/null
wait "$reader" 2>/dev/null
exit "$status"`;

/** Runs a command to its end. Throws only if it cannot be started. */
export async function runChild(
  command: readonly [string, ...string[]],
  options: ChildOptions,
): Promise<ChildResult> {
  const startedAt = performance.now();
  const child = startChild(command, options);
  const givenUp = Promise.withResolvers<number>();
  const timers: NodeJS.Timeout[] = [];
  let ended: ChildResult['ended'] = 'exited';

  const end = (reason: ChildResult['ended']) => {
    if (ended !== 'exited') return;
    ended = reason;
    signalTree(child, 'SIGTERM', options.environment);
    const kill = () => {
      signalTree(child, 'SIGKILL', options.environment);
      timers.push(setTimeout(givenUp.resolve, KILL_GRACE_MS, 128 + constants.signals.SIGKILL));
    };
    timers.push(setTimeout(kill, TERM_GRACE_MS));
  };
  const cancel = () => {
    end('cancelled');
  };

  timers.push(setTimeout(end, Math.min(options.timeoutMs, LONGEST_TIMER_MS), 'timeout'));
  options.signal.addEventListener('abort', cancel, { once: true });
  if (options.signal.aborted) cancel();
  const stall = watchForStall(child.pid ?? 0, options, () => {
    end('stalled');
  });
  const stdout = collectOutput(child, options, () => {
    end('overflow');
  });
  const stderr = collectLines(child, options);
  child.stdout?.on('data', stall.note);
  child.stderr?.on('data', stall.note);
  try {
    const exitCode = await Promise.race([exitOf(child), givenUp.promise]);
    const durationMs = performance.now() - startedAt;
    return {
      ...{ ended, exitCode, durationMs, stdout: Buffer.concat(stdout), stderr: stderr() },
      stallMs: options.stallMs,
    };
  } finally {
    timers.forEach(clearTimeout);
    stall.end();
    options.signal.removeEventListener('abort', cancel);
    child.stdio.forEach((stream) => stream?.destroy());
  }
}

function startChild(command: readonly [string, ...string[]], options: ChildOptions): ChildProcess {
  const isWindows = process.platform === 'win32';
  const [file, ...args] = isWindows ? command : ['/bin/sh', '-c', LIFELINE, 'sh', ...command];
  const child = spawn(file, args, {
    cwd: options.workingDirectory,
    env: options.environment,
    detached: !isWindows,
    windowsHide: true,
    stdio: [
      options.stdin === undefined ? 'ignore' : 'pipe',
      'pipe',
      'pipe',
      ...(isWindows ? [] : ['pipe' as const]),
    ],
  });
  // A child that ends without reading its input is judged by its exit code, not by this.
  child.stdin?.on('error', () => undefined);
  if (child.stdin !== null && options.stdin instanceof Readable) options.stdin.pipe(child.stdin);
  else child.stdin?.end(options.stdin);
  child.stdio[3]?.on('error', () => undefined);
  return child;
}

function exitOf(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    // 'close' and not 'exit': the whole group has closed its pipes, so nothing is written any more.
    child.once('close', (code, signal) => {
      resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal]));
    });
  });
}

/** Ends the whole process group (POSIX) or tree (Windows); one that is gone already is no error. */
function signalTree(
  child: ChildProcess,
  signal: 'SIGTERM' | 'SIGKILL',
  environment: NodeJS.ProcessEnv,
): void {
  if (child.pid === undefined) return;
  if (process.platform === 'win32') {
    // By its whole path, in its own folder: Windows looks into the working directory first, and
    // that is the workspace, which holds what a pull request brought.
    const folder = join(environment['SystemRoot'] ?? 'C:\\Windows', 'System32');
    spawn(join(folder, 'taskkill.exe'), ['/PID', String(child.pid), '/T', '/F'], {
      cwd: folder,
      env: {},
      windowsHide: true,
      stdio: 'ignore',
    }).on('error', () => child.kill());
    return;
  }
  try {
    process.kill(-child.pid, signal);
  } catch {
    // ESRCH: the group has ended.
  }
}

/**
 * Runs a short local command to its end, such as `git config --get`, by the toolkit's own `exec`. That can
 * neither be cancelled nor end its stdin: whatever may wait, or reads stdin, goes by `runChild`. Throws only
 * if the command cannot be started.
 */
export async function runBrief(
  [file, ...args]: readonly [string, ...string[]],
  { environment, workingDirectory }: Pick<ChildOptions, 'environment' | 'workingDirectory'>,
): Promise<ChildResult> {
  const startedAt = performance.now();
  // `exec` splits this text at spaces outside quotes.
  const command = `"${file.replaceAll('"', String.raw`\"`)}"`;
  const { exitCode, stdout, stderr } = await getExecOutput(command, args, {
    cwd: workingDirectory,
    // `spawn`, which gets it, leaves out what is undefined.
    env: environment as Record<string, string>,
    ignoreReturnCode: true,
    // The command, and what it prints, would go into the log.
    silent: true,
  });
  return {
    ended: 'exited',
    exitCode,
    stdout: Buffer.from(stdout),
    stderr: stderr.slice(-STDERR_BYTES),
    durationMs: performance.now() - startedAt,
  };
}
