import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, expect } from '@jest/globals';
import type { HeldThing, Report } from './lock-holder.ts';

const PROGRAM = fileURLToPath(new URL('lock-holder.ts', import.meta.url));

export interface HolderOptions {
  /** A command that starts the holder. */
  prefix?: string[];
  nodeOptions?: string[];
  /** Its user and group, where this process may choose. */
  user?: number | undefined;
  /** Added to that of this process. */
  environment?: Record<string, string>;
}

/**
 * Starts holders, once they are ready. Call it once in a file or block, before its own afterEach: what
 * was started ends with its test, and must not have complained.
 */
export function useHolders(): (thing: HeldThing, options?: HolderOptions) => Promise<Holder> {
  const holders: Holder[] = [];
  afterEach(async () => {
    const started = holders.splice(0);
    await Promise.all(started.map((holder) => holder.kill()));
    expect(started.map((holder) => holder.complaints).join('')).toBe('');
  });
  return async (thing, options) => {
    const holder = new Holder(thing, options);
    holders.push(holder);
    await holder.expect('ready');
    return holder;
  };
}

/** A child process that runs lock-holder.ts; the caller has to end it. */
export class Holder {
  readonly #child: ChildProcess;
  readonly #reports: AsyncIterator<string>;
  readonly #ended: Promise<unknown>;
  complaints = '';

  constructor(thing: HeldThing, options: HolderOptions = {}) {
    const { prefix = [], nodeOptions = [], user, environment } = options;
    const argv = [...prefix, process.execPath, ...nodeOptions, PROGRAM, JSON.stringify(thing)];
    const identity = user === undefined ? {} : { uid: user, gid: user };
    const env = { ...process.env, ...environment };
    this.#child = spawn(argv[0]!, argv.slice(1), { stdio: 'pipe', env, ...identity });
    this.#ended = once(this.#child, 'close');
    this.#reports = createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]();
    this.#child.stderr!.on('data', (text) => (this.complaints += String(text)));
    // Writing to a holder that was killed fails; the test then misses the answer.
    this.#child.stdin!.on('error', () => undefined);
  }

  send(command: string): void {
    this.#child.stdin!.write(`${command}\n`);
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#ended;
  }

  async next(): Promise<Report> {
    const line = await this.#reports.next();
    if (line.done === true) throw new Error(`the holder has ended: ${this.complaints}`);
    return JSON.parse(line.value) as Report;
  }

  async expect(event: Report['event']): Promise<void> {
    expect(await this.next()).toMatchObject({ event });
  }

  async acquire(timeoutMs: number): Promise<Report> {
    this.send(`acquire ${timeoutMs}`);
    const report = await this.next();
    return report.event === 'waiting' ? this.next() : report;
  }

  async take(): Promise<void> {
    expect(await this.acquire(0)).toMatchObject({ event: 'acquired' });
  }

  /** Calls back with everything it reports until it ends. */
  async watch(onReport: (report: Report) => void): Promise<void> {
    for (;;) {
      const line = await this.#reports.next();
      if (line.done === true) return;
      onReport(JSON.parse(line.value) as Report);
    }
  }
}
