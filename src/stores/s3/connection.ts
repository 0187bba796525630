/**
 * Sends requests to the server. A request ends if the server is silent for too long or the job's signal fires, and its
 * failure is explained (errors.ts). The SDK retries short failures.
 */
import type { Readable } from 'node:stream';
import type {
  $Command,
  S3Client,
  S3ClientResolvedConfig,
  ServiceInputTypes,
  ServiceOutputTypes,
} from '@aws-sdk/client-s3';
import { endWith, unlessSilent } from '../../lib/abort.ts';
import { formatDuration } from '../../lib/durations.ts';
import { MirrorError, throwIfCancelled } from '../../lib/errors.ts';
import { listen, watchAnswers } from './answers.ts';
import { codeOf, toS3Error } from './errors.ts';

/** A request without an answer for this long is given up and not repeated. */
const SILENCE_MS = 20_000;
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

export interface S3Listing<T> {
  objects: T[];
  /** When it was made, by the server's clock. */
  nowMs: number;
}

/** What a request is for, for the message of its failure. */
export interface Purpose {
  what: string;
  permission: string;
  isWrite?: boolean;
  signal: AbortSignal;
  silenceMs?: number;
  /** Gets the server's clock. */
  onDate?: (dateMs: number) => void;
}

/** Sending a larger body takes time, so only the SDK's own deadlines apply. */
const SMALL_BODY_BYTES = 256 * 1024;

/** Of a request that writes an object. */
export function writing(
  name: string,
  signal: AbortSignal,
  body: Uint8Array | Readable = Buffer.of(),
): Purpose {
  const purpose = { what: `writing ${name}`, permission: 's3:PutObject', isWrite: true, signal };
  const isSmall = body instanceof Uint8Array && body.length <= SMALL_BODY_BYTES;
  return isSmall ? purpose : { ...purpose, silenceMs: Infinity };
}

type Command<I extends ServiceInputTypes, O extends ServiceOutputTypes> = $Command<
  I,
  O,
  S3ClientResolvedConfig
>;

export class S3Connection {
  readonly client: S3Client;
  readonly location: string;
  /** What all names begin with; empty, or with a slash at its end. */
  readonly prefix: string;
  readonly #bucket: string;
  readonly #silenceMs: number;

  constructor({ client, endpoint, bucket, prefix, silenceMs = SILENCE_MS }: S3BucketOptions) {
    this.client = watchAnswers(client);
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

  /** All pages of a listing, and when the first was made. `getPage` sends its request for the given purpose. */
  async listPages<T, M>(
    purpose: Purpose,
    getPage: (
      purpose: Purpose,
      next: M | undefined,
    ) => Promise<{ objects: T[]; next: M | undefined }>,
  ): Promise<S3Listing<T>> {
    const objects: T[] = [];
    let nowMs = NaN;
    const onDate = (dateMs: number): void => {
      if (Number.isNaN(nowMs)) nowMs = dateMs;
    };
    let next: M | undefined;
    do {
      const page = await getPage({ ...purpose, onDate }, next);
      objects.push(...page.objects);
      next = page.next;
    } while (next !== undefined);
    if (!Number.isNaN(nowMs)) return { objects, nowMs };
    const message = `${purpose.what} in ${this.location}: the server does not tell the time (no Date header)`;
    throw new MirrorError('store-unavailable', message);
  }

  request<I extends ServiceInputTypes, O extends ServiceOutputTypes>(
    command: Command<I, O>,
    purpose: Purpose,
  ): Promise<O> {
    return this.send(purpose, (abortSignal) => this.client.send(command, { abortSignal }));
  }

  /** The same, but undefined for a failure that only says that something is absent. */
  find<I extends ServiceInputTypes, O extends ServiceOutputTypes>(
    command: Command<I, O>,
    purpose: Purpose,
    isAbsence: (error: unknown) => boolean,
  ): Promise<O | undefined> {
    return this.send(purpose, (abortSignal) =>
      this.client.send(command, { abortSignal }).catch((error: unknown) => {
        if (isAbsence(error)) return undefined;
        throw error;
      }),
    );
  }

  /** Sends what may fail, and explains the failure. */
  async send<T>(
    purpose: Purpose,
    send: (bounded: AbortSignal, note: () => void) => Promise<T>,
  ): Promise<T> {
    const { signal, what, permission, isWrite = false, onDate } = purpose;
    const { silenceMs = this.#silenceMs } = purpose;
    const { location } = this;
    throwIfCancelled(signal);
    const silent = (): MirrorError => {
      const message = `${what} in ${location}: the server has not answered for ${formatDuration(silenceMs)}`;
      return new MirrorError('store-unavailable', message, { concern: 's3-endpoint' });
    };
    try {
      return await unlessSilent(signal, silenceMs, silent, (bounded, note) => {
        const listener = (dateMs: number): void => {
          note();
          onDate?.(dateMs);
        };
        const sending = listen(listener, () => againByTheClock(() => send(bounded, note)));
        // The SDK sleeps between two attempts.
        return endWith(sending, bounded);
      });
    } catch (error) {
      throwIfCancelled(signal);
      throw toS3Error(error, { what, permission, isWrite, location });
    }
  }
}

/** If this machine's clock was set in the meantime, the SDK learns the difference from the answer. */
async function againByTheClock<T>(send: () => Promise<T>): Promise<T> {
  return send().catch((error: unknown) => {
    if (codeOf(error) !== 'RequestTimeTooSkewed') throw error;
    return send();
  });
}
