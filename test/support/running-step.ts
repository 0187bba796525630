import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { endProcess, sendSignal, waitUntil, type ProcessResult } from './processes.ts';
import {
  isMaskCommand,
  readLog,
  type Annotation,
  type FileCommands,
  type FileCommandValues,
} from './runner-commands.ts';

export interface StepResult extends ProcessResult {
  outputs: Record<string, string>;
  state: Record<string, string>;
  summary: string;
  annotations: Annotation[];
  masks: string[];
  groups: string[];
  /** stdout and stderr as they came, without the lines that only tell the runner what to mask. */
  log: string;
}

export interface RunningStep {
  readonly pid: number;
  /** Lines so far. */
  readonly lines: readonly string[];
  readonly finished: Promise<StepResult>;
  waitForLine(pattern: RegExp, timeoutMs?: number): Promise<string>;
  /** SIGKILL to Node alone; its children are left to themselves. */
  kill(): void;
  /** As the runner does it: SIGINT, after 7.5 s SIGTERM, after another 2.5 s SIGKILL. */
  cancel(waits?: { interruptMs: number; terminateMs: number }): Promise<StepResult>;
}

export interface StepStart {
  /** The script that Node runs. */
  script: string;
  cwd: string;
  environment: Record<string, string>;
  files: FileCommands;
  onLine: ((line: string) => void) | undefined;
  /** Called once, with what the step has told by its files. */
  onEnd: (told: FileCommandValues) => void;
}

const defaultWaits = { interruptMs: 7_500, terminateMs: 2_500 };
/** What a step leaves running may hold its output open; the runner does not wait for it either. */
const lingeringOutputMs = 1_000;

/** Starts one step of an action, as a process of its own. */
export function startStep(start: StepStart): RunningStep {
  const startedAt = performance.now();
  const child = spawn(process.execPath, [start.script], {
    cwd: start.cwd,
    env: { ...start.environment, ...start.files.environment },
    stdio: ['ignore', 'pipe', 'pipe'],
    windowsHide: true,
  });
  if (child.pid === undefined) throw new Error(`${process.execPath} did not start`);
  const output = { stdout: [] as string[], stderr: [] as string[], lines: [] as string[] };
  for (const name of ['stdout', 'stderr'] as const) {
    createInterface({ input: child[name], crlfDelay: Infinity }).on('line', (line) => {
      output[name].push(line);
      output.lines.push(line);
      start.onLine?.(line);
    });
  }
  child.once('exit', () => {
    setTimeout(() => {
      child.stdout.destroy();
      child.stderr.destroy();
    }, lingeringOutputMs).unref();
  });
  const closed = new Promise<Pick<ProcessResult, 'exitCode' | 'signal'>>((resolve) => {
    child.once('close', (exitCode, signal) => {
      resolve({ exitCode, signal });
    });
  });
  const finished = closed.then((ending): StepResult => {
    const told = start.files.read();
    start.onEnd(told);
    const { outputs, state, summary } = told;
    return {
      ...ending,
      ...{ durationMs: performance.now() - startedAt, timedOut: false },
      ...{ stdout: output.stdout.join('\n'), stderr: output.stderr.join('\n') },
      ...{ outputs, state, summary },
      ...readLog(output.lines),
      log: output.lines.filter((line) => !isMaskCommand(line)).join('\n'),
    };
  });
  return new Step(child.pid, output.lines, finished);
}

class Step implements RunningStep {
  readonly pid: number;
  readonly lines: readonly string[];
  readonly finished: Promise<StepResult>;
  #isOver = false;

  constructor(pid: number, lines: readonly string[], finished: Promise<StepResult>) {
    this.pid = pid;
    this.lines = lines;
    this.finished = finished;
    const end = (): void => {
      this.#isOver = true;
    };
    finished.then(end, end);
  }

  async waitForLine(pattern: RegExp, timeoutMs = 30_000): Promise<string> {
    const what = `a line like ${String(pattern)}`;
    let found: string | undefined;
    const isSettled = (): boolean => {
      const isOver = this.#isOver;
      found = this.lines.find((line) => pattern.test(line));
      return isOver || found !== undefined;
    };
    await waitUntil(isSettled, { timeoutMs, what });
    if (found === undefined) throw new Error(`the step ended without ${what}`);
    return found;
  }

  kill(): void {
    if (!this.#isOver) endProcess(this.pid);
  }

  async cancel(waits = defaultWaits): Promise<StepResult> {
    const stages = [
      { signal: 'SIGINT', waitMs: waits.interruptMs },
      { signal: 'SIGTERM', waitMs: waits.terminateMs },
    ] as const;
    for (const { signal, waitMs } of stages) {
      if (this.#isOver) break;
      sendSignal(this.pid, signal);
      const stopWaiting = new AbortController();
      const waiting = sleep(waitMs, undefined, { signal: stopWaiting.signal }).catch(() => {});
      await Promise.race([this.finished.catch(() => {}), waiting]);
      stopWaiting.abort();
    }
    this.kill();
    return this.finished;
  }
}
