/**
 * The worker processes. A call has one for itself; if it succeeds, a later call of the same step uses that again,
 * because starting one takes longer than most answers.
 */
import { createInterface } from 'node:readline';
import { PassThrough } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { formatDuration } from '../../lib/durations.ts';
import { MirrorError, reasonOf, throwIfCancelled, toMirrorError } from '../../lib/errors.ts';
import { runChild, type ChildResult } from '../../lib/process.ts';
import { watchForStall } from '../../lib/stall.ts';
import {
  parseMessage,
  type CacheAnswer,
  type CacheMessage,
  type CacheOrder,
  type LogLine,
} from './protocol.ts';
import { clean, scrub } from './toolkit-log.ts';

/** How the toolkit says that it asks again. */
const ATTEMPT = /^Attempt \d+ of \d+ failed with error: /;
/** In the bundle's folder. Sources use the bundle too: it starts in a quarter of the time that theirs takes. */
const ENTRY = import.meta.url.endsWith('.ts')
  ? '../../../dist/cache-worker.js'
  : './cache-worker.js';
const PROGRAM = fileURLToPath(new URL(ENTRY, import.meta.url));
/** Of what it says about its own end. */
const MAX_LAST_WORDS = 500;
/** tar may complain about each file: then its command, before, and how it ended, after, tell more. */
const MAX_LINES = 40;
/** As many wait for a next call; each takes some 60 MB. */
const MOST_IDLE = 2;

export interface WorkerOptions {
  environment: NodeJS.ProcessEnv;
  /** Where it waits for requests. */
  workingDirectory: string;
}

export interface Asking {
  /**
   * In milliseconds, without an answer and without progress; then the worker is ended, and everything
   * asked fails with `store-unavailable`.
   */
  patienceMs: number;
  /** Progress that the toolkit does not tell: any number that changes with it. */
  gauge?: () => Promise<number>;
  onShare?: (share: number) => void;
}

/** One request at a time. */
export type Ask = (request: CacheOrder, asking: Asking) => Promise<CacheAnswer>;

export class WorkerPool {
  readonly #options: WorkerOptions;
  #idle: Worker[] = [];
  #isClosed = false;

  constructor(options: WorkerOptions) {
    this.#options = options;
  }

  /** Runs work with a worker for itself. If it throws, the worker has ended. */
  async use<T>(signal: AbortSignal, work: (ask: Ask) => Promise<T>): Promise<T> {
    // It may have been cancelled while the caller made its folder.
    throwIfCancelled(signal);
    this.#idle = this.#idle.filter(({ isRunning }) => isRunning);
    const worker = this.#idle.pop() ?? new Worker(this.#options);
    const stop = () => {
      worker.stop(reasonOf(signal));
    };
    signal.addEventListener('abort', stop, { once: true });
    try {
      const result = await work((request, asking) => worker.ask(request, asking));
      if (!this.#isClosed && this.#idle.length < MOST_IDLE) this.#idle.push(worker);
      return result;
    } finally {
      signal.removeEventListener('abort', stop);
      if (!this.#idle.includes(worker)) await worker.end();
    }
  }

  /** Ends the idle workers. Those of calls that still run end with their call. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all(this.#idle.splice(0).map((worker) => worker.end()));
  }
}

class Worker {
  readonly #secret: string;
  readonly #input = new PassThrough();
  readonly #stopping = new AbortController();
  readonly #ended: Promise<MirrorError>;
  #take: (message: CacheMessage) => void = () => undefined;

  constructor(options: WorkerOptions) {
    this.#secret = options.environment['ACTIONS_RUNTIME_TOKEN'] ?? '';
    const output = new PassThrough();
    createInterface({ input: output }).on('line', (line) => {
      const message = parseMessage(line);
      if (message !== undefined) this.#take(message);
    });
    const running = runChild([process.execPath, PROGRAM], {
      ...options,
      // Each request has a time of its own; the call that makes them has the rest.
      timeoutMs: Infinity,
      signal: this.#stopping.signal,
      stdin: this.#input,
      onOutput: (chunk) => output.write(chunk),
    });
    this.#ended = running
      .then(
        (result) => this.#explain(result),
        (error: unknown) => toMirrorError(error, 'store-unavailable', 'starting the cache worker'),
      )
      .finally(() => {
        this.stop();
      });
  }

  get isRunning(): boolean {
    return !this.#stopping.signal.aborted;
  }

  async ask(request: CacheOrder, { patienceMs, gauge, onShare }: Asking): Promise<CacheAnswer> {
    const { promise, resolve } = Promise.withResolvers<CacheAnswer>();
    const lines: LogLine[] = [];
    const watch = watchForStall(0, { stallMs: patienceMs, signsOfLife: gauge }, () => {
      this.stop(silence(patienceMs, lines));
    });
    let furthest = 0;
    this.#take = (message) => {
      if ('result' in message) resolve({ result: message.result, lines });
      else if ('share' in message) {
        // The toolkit tells it every second, whether anything has moved or not.
        if (message.share > furthest) watch.note();
        furthest = Math.max(furthest, message.share);
        onShare?.(message.share);
      } else {
        const { level, text } = message.line;
        lines.push({ level, text: scrub(text, this.#secret) });
        if (lines.length > MAX_LINES) lines.splice(MAX_LINES / 2, 1);
      }
    };
    this.#input.write(`${JSON.stringify(request)}\n`);
    try {
      const answer = await Promise.race([promise, this.#ended]);
      if (answer instanceof MirrorError) throw answer;
      return answer;
    } finally {
      watch.end();
    }
  }

  /** Ends it for that reason, whatever it is doing. */
  stop(reason?: MirrorError): void {
    this.#stopping.abort(reason);
  }

  async end(): Promise<void> {
    this.stop();
    await this.#ended;
  }

  /** Why it gives no answer any more. */
  #explain({ exitCode, stderr }: ChildResult): MirrorError {
    const reason: unknown = this.#stopping.signal.reason;
    if (reason instanceof MirrorError) return reason;
    const lastWords = scrub(stderr.trim().slice(-MAX_LAST_WORDS), this.#secret);
    const message = `the worker for the Actions cache ended with exit code ${exitCode}: ${lastWords}`;
    return new MirrorError('store-unavailable', message);
  }
}

function silence(patienceMs: number, lines: readonly LogLine[]): MirrorError {
  const last = lines.findLast(({ text }) => ATTEMPT.test(text))?.text;
  const reason = last === undefined ? '' : ` (${clean(last)})`;
  const message = `the Actions cache did not answer within ${formatDuration(patienceMs)}${reason}`;
  return new MirrorError('store-unavailable', message);
}
