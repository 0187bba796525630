/**
 * Sends requests to the server. The SDK retries short failures. A request ends if the server is silent for too long or the
 * job's signal fires, and its failure is explained (errors.ts).
 */
import { addAbortSignal, type Readable } from 'node:stream';
import type {
  $Command,
  S3Client,
  S3ClientResolvedConfig,
  ServiceInputTypes,
  ServiceOutputTypes,
} from '@aws-sdk/client-s3';
import { endWith, unlessSilent } from '../../lib/abort.ts';
import { formatDuration } from '../../lib/durations.ts';
import { throwIfCancelled, type MirrorError } from '../../lib/errors.ts';
import { BrokenOffError } from './body.ts';
import { isCode, NotS3Error, toS3Error } from './errors.ts';

/** A request without an answer for this long is given up and not repeated. */
const SILENCE_MS = 20_000;
/** Sending a larger body takes time, so only the SDK's own deadlines apply. */
const SMALL_BODY_BYTES = 256 * 1024;
/** Pauses between requests that are repeated here and not by the SDK. */
export const BACK_OFF = { firstMs: 100, longestMs: 5_000 };

export interface S3BucketOptions {
  client: S3Client;
  /** For people; undefined where the settings don't name it. */
  endpoint: string | undefined;
  bucket: string;
  /** What all names begin with; empty, or without a slash at its ends. */
  prefix: string;
  silenceMs?: number;
}

/** What a request is for, for the message of its failure. */
export interface Purpose {
  what: string;
  permission: string;
  signal: AbortSignal;
  silenceMs?: number | undefined;
}

/** An answer, whose body may still arrive. */
export interface Arrived<O> {
  output: O;
  /** By the server's clock; NaN if the server doesn't tell the time. */
  dateMs: number;
  /** Of an output that has one. */
  body: () => Readable;
  /** To be called when something of the body arrived. */
  note: () => void;
}

interface RawAnswer {
  statusCode: number;
  headers: Record<string, string>;
  body?: Readable;
}

type Command<I extends ServiceInputTypes, O extends ServiceOutputTypes> = $Command<
  I,
  O,
  S3ClientResolvedConfig
>;

/** Of a request that writes an object, with a body of that size. */
export function writing(name: string, signal: AbortSignal, bytes = 0): Purpose {
  const silenceMs = bytes > SMALL_BODY_BYTES ? Infinity : undefined;
  return { what: `writing ${name}`, permission: 's3:PutObject', signal, silenceMs };
}

export class S3Connection {
  readonly location: string;
  /** What all names begin with; empty, or with a slash at its end. */
  readonly prefix: string;
  readonly #client: S3Client;
  readonly #bucket: string;
  readonly #silenceMs: number;

  constructor({ client, endpoint, bucket, prefix, silenceMs = SILENCE_MS }: S3BucketOptions) {
    this.#client = client;
    this.prefix = prefix === '' ? '' : `${prefix}/`;
    this.#bucket = bucket;
    this.#silenceMs = silenceMs;
    const server = endpoint === undefined ? '' : ` at ${endpoint}`;
    this.location = `s3://${bucket}/${this.prefix}${server}`;
  }

  /** An object, as requests name it. */
  object(name: string): { Bucket: string; Key: string } {
    return { Bucket: this.#bucket, Key: this.prefix + name };
  }

  /** All objects whose names begin so, as requests name them. */
  objects(begin: string): { Bucket: string; Prefix: string } {
    return { Bucket: this.#bucket, Prefix: this.prefix + begin };
  }

  request<I extends ServiceInputTypes, O extends ServiceOutputTypes>(
    command: Command<I, O>,
    purpose: Purpose,
  ): Promise<O> {
    return this.receive(command, purpose, ({ output }) => output);
  }

  /** The same, but undefined for a failure that only says that something is absent. */
  find<I extends ServiceInputTypes, O extends ServiceOutputTypes>(
    command: Command<I, O>,
    purpose: Purpose,
    isAbsence: (error: unknown) => boolean,
  ): Promise<O | undefined> {
    return this.request(command, purpose).catch((error: unknown) => {
      if (isAbsence(error)) return undefined;
      throw error;
    });
  }

  /** Sends a request, and uses its answer as long as it arrives. */
  async receive<I extends ServiceInputTypes, O extends ServiceOutputTypes, T>(
    command: Command<I, O>,
    { what, permission, signal, silenceMs = this.#silenceMs }: Purpose,
    use: (answer: Arrived<O>) => T | Promise<T>,
  ): Promise<T> {
    const { location } = this;
    throwIfCancelled(signal);
    const silent = (): MirrorError => {
      const message = `${what} in ${location}: the server has not answered for ${formatDuration(silenceMs)}`;
      return new BrokenOffError(message, { isSilence: true });
    };
    try {
      return await unlessSilent(signal, silenceMs, silent, async (bounded, note) => {
        let dateMs = NaN;
        watch(command, ({ headers }) => {
          note();
          dateMs = Date.parse(headers['date'] ?? '');
        });
        const send = (): Promise<O> => this.#client.send(command, { abortSignal: bounded });
        // The SDK sleeps between two attempts.
        const output = await endWith(againByTheClock(send), bounded);
        const body = (): Readable =>
          addAbortSignal(bounded, (output as { Body?: unknown }).Body as Readable);
        return use({ output, dateMs, body, note });
      });
    } catch (error) {
      throwIfCancelled(signal);
      throw toS3Error(error, { what, permission, location });
    }
  }
}

/**
 * The SDK learns from an answer how far this machine's clock is off, and repeats the request itself if it was off from the
 * start, but not always if the clock was set in the meantime.
 */
async function againByTheClock<T>(send: () => Promise<T>): Promise<T> {
  return send().catch((error: unknown) => {
    if (isCode('RequestTimeTooSkewed')(error)) return send();
    throw error;
  });
}

/** Looks at each answer before the SDK reads it. The SDK would treat a web page as an empty list: throws NotS3Error. */
function watch<I extends ServiceInputTypes, O extends ServiceOutputTypes>(
  command: Command<I, O>,
  onAnswer: (answer: RawAnswer) => void,
): void {
  command.middlewareStack.add(
    (next) => async (args) => {
      const result = await next(args);
      const answer = result.response as RawAnswer;
      onAnswer(answer);
      if (!isWebPage(answer)) return result;
      const { hostname = '' } = args.request as { hostname?: string };
      answer.body?.destroy();
      const page = `a web page (text/html, status ${String(answer.statusCode)})`;
      throw new NotS3Error(`${hostname} answers with ${page}, not as an S3 server`);
    },
    // Within retries and within what reads the body.
    { step: 'deserialize', priority: 'low', name: 'watch' },
  );
}

/**
 * A gateway's page for a failure of the server (5xx) is one too, but that failure is to be retried. Some S3
 * servers label empty answers as HTML, and Swift adds a page to some that it has accepted.
 */
function isWebPage({ statusCode, headers }: RawAnswer): boolean {
  if (!/^text\/html\b/i.test(headers['content-type'] ?? '')) return false;
  const isEmpty = statusCode === 204 || headers['content-length'] === '0';
  const isOfS3 = Object.keys(headers).some((name) => name.startsWith('x-amz-'));
  return !isEmpty && !isOfS3 && statusCode < 500;
}
