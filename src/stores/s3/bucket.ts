/**
 * The store's requests, for objects below a prefix of a bucket. Errors are explained (errors.ts). Absence is reported only
 * if the server says so. A signal ends a call at once, with `cancelled`, but a request that was sent may still take effect.
 */
import type { Readable } from 'node:stream';
import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  type PutObjectCommandOutput,
} from '@aws-sdk/client-s3';
import { MirrorError } from '../../lib/errors.ts';
import { retry } from '../../lib/retry.ts';
import { BrokenOffError, passOn } from './body.ts';
import { type Purpose, type S3BucketOptions, S3Connection, writing } from './connection.ts';
import { isCode, statusOf } from './errors.ts';
import { S3Uploads } from './uploads.ts';

const READ_ATTEMPTS = 3;

export interface S3Object {
  /** Without the folder that was listed. */
  name: string;
  /** By the server's clock; negative if that was set back. */
  ageMs: number;
}

export interface S3Head {
  bytes: number;
  etag: string;
  /** As its writer gave it. */
  nonce: string | undefined;
}

/** A part of one object: from a byte to before another. */
export interface S3Range {
  etag: string;
  start: number;
  end: number;
}

export interface PutOptions {
  /** Of a stream. */
  bytes?: number;
  nonce?: string;
  ifAbsent?: boolean;
}

export class S3Bucket {
  readonly location: string;
  readonly uploads: S3Uploads;
  readonly #connection: S3Connection;

  constructor(options: S3BucketOptions) {
    this.#connection = new S3Connection(options);
    this.uploads = new S3Uploads(this.#connection);
    this.location = this.#connection.location;
  }

  /** The objects in and below a folder whose names begin with a prefix. */
  async list(folder: string, signal: AbortSignal, begin = ''): Promise<S3Object[]> {
    const what = `listing ${folder}`;
    const purpose = { what, permission: 's3:ListBucket', signal };
    const scope = this.#connection.objects(folder + begin);
    const start = this.#connection.prefix.length + folder.length;
    const objects: S3Object[] = [];
    let ContinuationToken: string | undefined;
    do {
      const command = new ListObjectsV2Command({ ...scope, ContinuationToken });
      const page = await this.#connection.receive(command, purpose, (answer) => answer);
      const { IsTruncated, NextContinuationToken, Contents = [] } = page.output;
      if (IsTruncated === undefined) {
        throw this.#failure(what, 'the server did not answer with a list');
      }
      if (IsTruncated && (NextContinuationToken ?? '') === '') {
        throw this.#failure(what, 'the server does not tell how a long list continues');
      }
      if (Number.isNaN(page.dateMs)) {
        throw this.#failure(what, 'the server does not tell the time (no Date header)');
      }
      for (const { Key = '', LastModified } of Contents) {
        const ageMs = page.dateMs - (LastModified?.getTime() ?? NaN);
        objects.push({ name: Key.slice(start), ageMs });
      }
      ContinuationToken = IsTruncated ? NextContinuationToken : undefined;
    } while (ContinuationToken !== undefined);
    return objects;
  }

  /** At most `maxBytes` of an object; undefined if there is none. */
  async read(name: string, maxBytes: number, signal: AbortSignal): Promise<Buffer | undefined> {
    // The SDK doesn't retry if a body breaks off.
    const pauseAfter = (error: unknown, failures: number): number | undefined => {
      const isBroken = error instanceof BrokenOffError && !error.isSilence;
      return isBroken && failures < READ_ATTEMPTS ? 0 : undefined;
    };
    const reading = (): Promise<Buffer> => this.#readOnce(name, maxBytes, signal);
    return retry(reading, { signal, pauseAfter }).catch((error: unknown) => {
      if (isCode('NoSuchKey')(error)) return undefined;
      throw error;
    });
  }

  #readOnce(name: string, maxBytes: number, signal: AbortSignal): Promise<Buffer> {
    const purpose = purposeOf(name, signal);
    const command = new GetObjectCommand(this.#connection.object(name));
    return this.#connection.receive(command, purpose, async ({ body, note }) => {
      const pieces: Buffer[] = [];
      let bytes = 0;
      try {
        for await (const piece of body() as AsyncIterable<Buffer>) {
          note();
          pieces.push(piece);
          bytes += piece.length;
          if (bytes >= maxBytes) break; // which ends the connection
        }
      } catch (cause) {
        throw new BrokenOffError(`${purpose.what} in ${this.location} broke off`, { cause });
      }
      return Buffer.concat(pieces).subarray(0, maxBytes);
    });
  }

  /** Undefined if there is none. */
  async head(name: string, signal: AbortSignal): Promise<S3Head | undefined> {
    const purpose = { ...purposeOf(name, signal), what: `looking for ${name}` };
    const command = new HeadObjectCommand(this.#connection.object(name));
    const isMissing = (error: unknown) => statusOf(error) === 404;
    const found = await this.#connection.find(command, purpose, isMissing);
    if (found === undefined) {
      // Such an answer has no body that could say what is missing: the object or the bucket.
      await this.#checkBucket(signal);
      return undefined;
    }
    const { ContentLength: bytes = NaN, ETag: etag = '', Metadata } = found;
    return { bytes, etag, nonce: Metadata?.['nonce'] };
  }

  /**
   * Passes bytes of an object with that ETag to `take`, as they arrive. Throws BrokenOffError if they stop before the end,
   * and `bad-snapshot` if the object is missing or has another ETag.
   */
  async readRange(
    name: string,
    { etag: IfMatch, start, end }: S3Range,
    { signal, silenceMs }: { signal: AbortSignal; silenceMs?: number },
    take: (pieces: readonly Buffer[], bytes: number) => Promise<void>,
  ): Promise<void> {
    const purpose = { ...purposeOf(name, signal), silenceMs };
    const what = `${purpose.what} in ${this.location}`;
    const range = `${String(start)}-${String(end - 1)}`;
    const Range = `bytes=${range}`;
    const command = new GetObjectCommand({ ...this.#connection.object(name), IfMatch, Range });
    const isOther = (error: unknown) =>
      isCode('NoSuchKey')(error) || [412, 416].includes(statusOf(error) ?? 0);
    try {
      await this.#connection.receive(command, purpose, async ({ output, body, note }) => {
        const isAsked = output.ContentRange?.startsWith(`bytes ${range}/`) === true;
        const isWhole = start === 0 && output.ContentLength === end;
        let at = start;
        await passOn(what, body(), async (pieces, bytes) => {
          note();
          at += bytes;
          if ((isAsked || isWhole) && at <= end) return take(pieces, bytes);
          throw this.#failure(purpose.what, 'the server sent the wrong range');
        });
        if (at < end) throw new BrokenOffError(`${what} ended early`);
      });
    } catch (error) {
      if (!isOther(error)) throw error;
      throw new MirrorError('bad-snapshot', `${name} in ${this.location} was removed or replaced`);
    }
  }

  /** Creates or replaces. A stream is sent once. */
  async put(
    name: string,
    content: Uint8Array | Readable,
    signal: AbortSignal,
    { bytes, nonce, ifAbsent = false }: PutOptions = {},
  ): Promise<PutObjectCommandOutput> {
    const command = new PutObjectCommand({
      ...this.#connection.object(name),
      Body: content,
      ...(bytes !== undefined && { ContentLength: bytes }),
      ...(nonce !== undefined && { Metadata: { nonce } }),
      ...(ifAbsent && { IfNoneMatch: '*' }),
    });
    const size = content instanceof Uint8Array ? content.length : Infinity;
    return this.#connection.request(command, writing(name, signal, size));
  }

  /**
   * Creates it; false if there is one (412), or another writer is about to create or remove it (409). The answer may be that
   * to a repeated request.
   */
  async putNew(
    name: string,
    content: Uint8Array,
    nonce: string,
    signal: AbortSignal,
  ): Promise<boolean> {
    try {
      await this.put(name, content, signal, { nonce, ifAbsent: true });
      return true;
    } catch (error) {
      if ([409, 412].includes(statusOf(error) ?? 0)) return false;
      throw error;
    }
  }

  /** One that is gone already is no error. */
  async remove(name: string, signal: AbortSignal): Promise<void> {
    const purpose = { what: `removing ${name}`, permission: 's3:DeleteObject', signal };
    const command = new DeleteObjectCommand(this.#connection.object(name));
    await this.#connection.find(command, purpose, isCode('NoSuchKey'));
  }

  /** The error for a server that confirmed a write, but doesn't have what was written. */
  lost(name: string, problem: string): MirrorError {
    return this.#failure(`writing ${name}`, `the server confirmed it, but ${problem}`);
  }

  #failure(what: string, problem: string): MirrorError {
    const message = `${what} in ${this.location}: ${problem}`;
    return new MirrorError('store-unavailable', message, { concern: 's3-endpoint' });
  }

  /** Throws unless the bucket exists and may be listed. */
  async #checkBucket(signal: AbortSignal): Promise<void> {
    const purpose = { what: 'listing', permission: 's3:ListBucket', signal };
    const scope = { ...this.#connection.objects(''), MaxKeys: 1 };
    await this.#connection.request(new ListObjectsV2Command(scope), purpose);
  }
}

function purposeOf(name: string, signal: AbortSignal): Purpose {
  return { what: `reading ${name}`, permission: 's3:GetObject', signal };
}
