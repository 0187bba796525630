/**
 * The worker processes. A call has one for itself; if it succeeds, a later call of the same step uses that again,
 * because starting one takes longer than most answers.
 */
import { PassThrough } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import { fileURLToPath } from 'node:url';
import { formatDuration } from '../../lib/durations.ts';
import { MirrorError, reasonOf, throwIfCancelled, toMirrorError } from '../../lib/errors.ts';
import { runChild, type ChildResult } from '../../lib/process.ts';
import type { CacheFolder } from './folder.ts';
import type { CacheAnswer, CacheMessage, CacheOrder, CacheRequest, CacheWord } from './protocol.ts';
import { clean, scrub } from './toolkit-log.ts';

/** How the toolkit says that it asks again. */
const ATTEMPT = /^Attempt \d+ of \d+ failed with error: /;
/** In the bundle's folder. Sources use the bundle too: it starts in a quarter of the time that theirs takes. */
const ENTRY = import.meta.url.endsWith('.ts')
  ? '../../../dist/cache-worker.js'
  : './cache-worker.js';
const PROGRAM = fileURLToPath(new URL(ENTRY, import.meta.url));
const END_GRACE_MS = 2_000;
/** Of what it says about its own end. */
const MAX_LAST_WORDS = 500;
/** tar may complain about each file. */
const MAX_WORDS = 40;

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
  onShare?: ((share: number) => void) | undefined;
}

/** One request at a time. */
export type Ask = (request: CacheRequest, asking: Asking) => Promise<CacheAnswer>;

/** As many wait for a next call; each takes some 60 MB. */
const MOST_IDLE = 2;

export class WorkerPool {
  readonly #options: WorkerOptions;
  readonly #idle: Worker[] = [];

  constructor(options: WorkerOptions) {
    this.#options = options;
  }

  /** Runs work with a worker for itself, in that folder. If it throws, the worker has ended. */
  async use<T>(
    folder: CacheFolder,
    signal: AbortSignal,
    work: (ask: Ask) => Promise<T>,
  ): Promise<T> {
    throwIfCancelled(signal);
    const worker = this.#take();
    const stop = () => {
      worker.stop(reasonOf(signal));
    };
    signal.addEventListener('abort', stop, { once: true });
    let isUsable = false;
    try {
      const result = await work((request, asking) => worker.ask({ ...request, folder }, asking));
      isUsable = worker.isRunning && this.#idle.length < MOST_IDLE;
      return result;
    } finally {
      signal.removeEventListener('abort', stop);
      if (isUsable) this.#idle.push(worker);
      else await worker.end();
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#idle.splice(0).map((worker) => worker.end()));
  }

  #take(): Worker {
    for (let worker = this.#idle.pop(); worker !== undefined; worker = this.#idle.pop()) {
      if (worker.isRunning) return worker;
    }
    return new Worker(this.#options);
  }
}

class Worker {
  #hasEnded = false;
  readonly #secrets: readonly string[];
  readonly #input = new PassThrough();
  readonly #stopping = new AbortController();
  readonly #ended: Promise<MirrorError>;
  readonly #decoder = new StringDecoder('utf8');
  #partial = '';
  #asked:
    | {
        resolve: (answer: CacheAnswer) => void;
        onShare: (share: number) => void;
        words: CacheWord[];
      }
    | undefined;

  constructor(options: WorkerOptions) {
    this.#secrets = [options.environment['ACTIONS_RUNTIME_TOKEN'] ?? ''];
    const running = runChild([process.execPath, PROGRAM], {
      ...options,
      // Each request has a time of its own; the call that makes them has the rest.
      timeoutMs: Infinity,
      signal: this.#stopping.signal,
      stdin: this.#input,
      onOutput: (chunk) => {
        this.#take(chunk);
      },
    });
    this.#ended = running
      .then(
        (result) => this.#explain(result),
        (error: unknown) => toMirrorError(error, 'store-unavailable', 'starting the cache worker'),
      )
      .finally(() => {
        this.#hasEnded = true;
      });
  }

  get isRunning(): boolean {
    return !this.#hasEnded && !this.#stopping.signal.aborted;
  }

  async ask(request: CacheOrder, { patienceMs, gauge, onShare }: Asking): Promise<CacheAnswer> {
    const { promise, resolve } = Promise.withResolvers<CacheAnswer>();
    const words: CacheWord[] = [];
    let gauged = 0;
    const expire = async (): Promise<void> => {
      const before = gauged;
      gauged = (await gauge?.()) ?? before;
      if (this.#asked?.resolve !== resolve) return;
      if (gauged !== before) {
        deadline.refresh();
        return;
      }
      const last = words.findLast(({ text }) => ATTEMPT.test(text))?.text;
      const message = `the Actions cache did not answer within ${formatDuration(patienceMs)}${last === undefined ? '' : ` (${clean(last)})`}`;
      this.stop(new MirrorError('store-unavailable', message));
    };
    const deadline = setTimeout(() => void expire(), patienceMs);
    let furthest = 0;
    const take = (share: number): void => {
      // The toolkit tells it every second, whether anything has moved or not.
      if (share > furthest) deadline.refresh();
      furthest = Math.max(furthest, share);
      onShare?.(share);
    };
    this.#asked = { resolve, onShare: take, words };
    this.#input.write(`${JSON.stringify(request)}\n`);
    try {
      const answer = await Promise.race([promise, this.#ended]);
      if (answer instanceof MirrorError) throw answer;
      return answer;
    } finally {
      clearTimeout(deadline);
      this.#asked = undefined;
    }
  }

  /** Ends it for that reason, whatever it is doing. */
  stop(reason: MirrorError): void {
    this.#stopping.abort(reason);
  }

  /** It ends by itself when its input does. */
  async end(): Promise<void> {
    this.#input.end();
    const deadline = setTimeout(() => {
      this.#stopping.abort();
    }, END_GRACE_MS);
    await this.#ended;
    clearTimeout(deadline);
  }

  #take(chunk: Buffer): void {
    const lines = (this.#partial + this.#decoder.write(chunk)).split('\n');
    this.#partial = lines.pop() ?? '';
    for (const line of lines) {
      const message = parseMessage(line);
      if (message === undefined || this.#asked === undefined) continue;
      const { words, resolve, onShare } = this.#asked;
      if ('share' in message) onShare(message.share);
      else if ('result' in message) resolve({ result: message.result, words });
      else if (words.length < MAX_WORDS) words.push(this.#scrub(message.word));
    }
  }

  #scrub({ level, text }: CacheWord): CacheWord {
    return { level, text: scrub(text, this.#secrets) };
  }

  /** Why it gives no answer any more. */
  #explain({ exitCode, stderr }: ChildResult): MirrorError {
    const reason: unknown = this.#stopping.signal.reason;
    if (reason instanceof MirrorError) return reason;
    const lastWords = scrub(stderr.trim().slice(-MAX_LAST_WORDS), this.#secrets);
    const message = `the worker for the Actions cache ended with exit code ${exitCode}: ${lastWords}`;
    return new MirrorError('store-unavailable', message);
  }
}

/** Undefined for what was written by something that NODE_OPTIONS loads before the worker. */
function parseMessage(line: string): CacheMessage | undefined {
  try {
    return JSON.parse(line) as CacheMessage;
  } catch {
    return undefined;
  }
}
