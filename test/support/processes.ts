import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';

export interface ProcessOptions {
  cwd?: string;
  /** The whole environment, not an addition to ours. */
  environment?: Record<string, string>;
  input?: string | Uint8Array | Iterable<string | Uint8Array>;
  /** After this the process and its children are ended. */
  timeoutMs?: number;
}

export interface ProcessResult {
  exitCode: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
  timedOut: boolean;
  durationMs: number;
}

/** Runs a command to its end; never throws for its exit code. */
export async function runProcess(
  command: string,
  commandArguments: readonly string[],
  options: ProcessOptions = {},
): Promise<ProcessResult> {
  const startedAt = performance.now();
  const child = spawn(command, commandArguments, {
    cwd: options.cwd,
    env: options.environment ?? process.env,
    // A group of its own, so that children of children end with it at the deadline.
    detached: process.platform !== 'win32',
    windowsHide: true,
  });
  const output: Buffer[] = [];
  const errors: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => output.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => errors.push(chunk));
  let timedOut = false;
  const deadline = setTimeout(() => {
    timedOut = true;
    if (child.pid !== undefined) endProcessTree(child.pid);
  }, options.timeoutMs ?? 60_000);
  const closed = new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      resolve([code, signal]);
    });
  });
  try {
    // A command that ends before it has read its input is judged by its exit code.
    const fed = pipeline(inputStream(options.input), child.stdin).catch(() => undefined);
    const [[exitCode, signal]] = await Promise.all([closed, fed]);
    return {
      exitCode,
      signal,
      stdout: Buffer.concat(output).toString(),
      stderr: Buffer.concat(errors).toString(),
      timedOut,
      durationMs: performance.now() - startedAt,
    };
  } finally {
    clearTimeout(deadline);
  }
}

function inputStream(input: ProcessOptions['input']): Readable {
  if (input === undefined) return Readable.from([]);
  return Readable.from(typeof input === 'string' || input instanceof Uint8Array ? [input] : input);
}

/** Ends a process that was started with a group of its own (POSIX), and its children, at once. */
export function endProcessTree(pid: number): void {
  if (process.platform === 'win32') {
    spawnSync('taskkill', ['/pid', String(pid), '/T', '/F'], { windowsHide: true });
    return;
  }
  sendSignal(-pid, 'SIGKILL');
}

/** Sends a signal to one pid; a process that is gone already is fine. */
export function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

export function endProcess(pid: number): void {
  sendSignal(pid, 'SIGKILL');
}

/** SIGSTOP: the process holds what it holds and does nothing. Not on Windows. */
export function pauseProcess(pid: number): void {
  sendSignal(pid, 'SIGSTOP');
}

export function resumeProcess(pid: number): void {
  sendSignal(pid, 'SIGCONT');
}

export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !isZombie(pid);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function isZombie(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'latin1').replace(/^.*\)/s, '').startsWith(' Z ');
  } catch {
    return false;
  }
}

export interface RunningProcess {
  pid: number;
  commandLine: string;
}

/** Only Linux has /proc; elsewhere tests that need a process list skip. */
export const canListProcesses = process.platform === 'linux' && existsSync('/proc/self/cmdline');

/** Processes other than this one whose command line contains `marker`, a path of the test, say. */
export function processesWith(marker: string): RunningProcess[] {
  if (!canListProcesses) throw new Error('processes can be listed on Linux only');
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .map((name) => ({ pid: Number(name), commandLine: commandLineOf(name) }))
    .filter((candidate) => candidate.commandLine.includes(marker));
}

function commandLineOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
  } catch {
    // It has ended since the folder was read.
    return '';
  }
}

/** Polls until `predicate` is truthy and gives that value; throws when the time is over. */
export async function waitUntil<T>(
  predicate: () => T | Promise<T>,
  options: { timeoutMs: number; pollMs?: number; what?: string },
): Promise<T> {
  const endsAt = performance.now() + options.timeoutMs;
  for (;;) {
    const value = await predicate();
    if (value) return value;
    if (performance.now() > endsAt) {
      throw new Error(`gave up after ${options.timeoutMs} ms: ${options.what ?? 'a condition'}`);
    }
    await sleep(options.pollMs ?? 10);
  }
}
