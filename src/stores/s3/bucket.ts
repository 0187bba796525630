/**
 * The store's requests, for objects below a prefix of a bucket. The SDK retries short failures; errors are explained
 * (errors.ts). Absence is reported only if the server says so. A signal ends a call at once, with `cancelled`, but a
 * request that was sent may still take effect.
 */
import { addAbortSignal, type Readable } from 'node:stream';
import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
} from '@aws-sdk/client-s3';
import { MirrorError } from '../../lib/errors.ts';
import {
  type Purpose,
  S3Connection,
  type S3BucketOptions,
  type S3Listing,
  writing,
} from './connection.ts';
import { isCode, isRefusal, NotS3Error, statusOf } from './errors.ts';
import { receiptOf, type S3Receipt } from './receipt.ts';
import { S3Uploads } from './uploads.ts';

export interface S3Object {
  /** Without the folder that was listed. */
  name: string;
  changedMs: number;
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

export type S3PutOutcome =
  | 'done'
  /** There is one (412). */
  | 'exists'
  /** Another writer is about to create or remove it (409). */
  | 'conflict'
  /** The server refuses the condition. */
  | 'unsupported';

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
  async list(folder: string, signal: AbortSignal, begin = ''): Promise<S3Listing<S3Object>> {
    const what = `listing ${folder}`;
    const scope = this.#connection.objects(folder + begin);
    const start = this.#connection.prefix.length + folder.length;
    return this.#connection.listPages(
      { what, permission: 's3:ListBucket', signal },
      async (purpose, ContinuationToken: string | undefined) => {
        const command = new ListObjectsV2Command({ ...scope, ContinuationToken });
        const page = await this.#connection.request(command, purpose);
        if (page.IsTruncated === undefined) throw this.#noList(what);
        const objects = (page.Contents ?? []).map(({ Key = '', LastModified }) => ({
          name: Key.slice(start),
          changedMs: LastModified?.getTime() ?? NaN,
        }));
        return { objects, next: page.IsTruncated ? page.NextContinuationToken : undefined };
      },
    );
  }

  /** At most `maxBytes` of an object; undefined if there is none. */
  async read(name: string, maxBytes: number, signal: AbortSignal): Promise<Buffer | undefined> {
    return this.#connection.send(reading(name, signal), async (abortSignal, note) => {
      // The SDK doesn't retry if a body breaks off.
      for (let attempt = 1; ; attempt++) {
        try {
          const command = new GetObjectCommand(this.#connection.object(name));
          const { Body } = await this.#connection.client.send(command, { abortSignal });
          return await readUpTo(addAbortSignal(abortSignal, Body as Readable), maxBytes, note);
        } catch (error) {
          if (isCode('NoSuchKey')(error)) return undefined;
          const isAnswer = statusOf(error) !== undefined || error instanceof NotS3Error;
          if (isAnswer || abortSignal.aborted || attempt === 3) throw error;
        }
      }
    });
  }

  /** Undefined if there is none. */
  async head(name: string, signal: AbortSignal): Promise<S3Head | undefined> {
    const purpose = { ...reading(name, signal), what: `looking for ${name}` };
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
   * Bytes of an object with that ETag, as they arrive; they may break off. Throws `bad-snapshot` if the object is missing or
   * has another ETag.
   */
  async openRange(name: string, range: S3Range, signal: AbortSignal): Promise<Readable> {
    const { etag: IfMatch, start, end } = range;
    const bytes = `bytes ${String(start)}-${String(end - 1)}`;
    const Range = bytes.replace(' ', '=');
    const command = new GetObjectCommand({ ...this.#connection.object(name), IfMatch, Range });
    const isOther = (error: unknown) =>
      isCode('NoSuchKey')(error) || [412, 416].includes(statusOf(error) ?? 0);
    const found = await this.#connection.find(command, reading(name, signal), isOther);
    if (found === undefined) {
      throw new MirrorError('bad-snapshot', `${name} in ${this.location} was removed or replaced`);
    }
    const body = found.Body as Readable;
    const isAsked = found.ContentRange?.startsWith(`${bytes}/`) === true;
    if (isAsked || (start === 0 && found.ContentLength === end)) return body;
    body.destroy();
    const problem = 'the server sends other bytes than it was asked for';
    throw new MirrorError('store-unavailable', `reading ${name} in ${this.location}: ${problem}`);
  }

  /** Creates or replaces. A stream is sent once; its length must be given. */
  async put(
    name: string,
    content: Uint8Array | Readable,
    signal: AbortSignal,
    { bytes, nonce }: { bytes?: number; nonce?: string } = {},
  ): Promise<S3Receipt> {
    const command = new PutObjectCommand({
      ...this.#connection.object(name),
      Body: content,
      ...(bytes !== undefined && { ContentLength: bytes }),
      ...(nonce !== undefined && { Metadata: { nonce } }),
    });
    return receiptOf(await this.#connection.request(command, writing(name, signal, content)));
  }

  /** Creates if there is none. The outcome may be that of a repeated request. */
  async putNew(
    name: string,
    content: Uint8Array,
    nonce: string,
    signal: AbortSignal,
  ): Promise<S3PutOutcome> {
    const command = new PutObjectCommand({
      ...this.#connection.object(name),
      Body: content,
      IfNoneMatch: '*',
      Metadata: { nonce },
    });
    let outcome: S3PutOutcome = 'done';
    const isRefused = (error: unknown): boolean => {
      const status = statusOf(error);
      if (status === 412) outcome = 'exists';
      else if (status === 409) outcome = 'conflict';
      else if (isRefusal(error)) outcome = 'unsupported';
      return outcome !== 'done';
    };
    await this.#connection.find(command, writing(name, signal, content), isRefused);
    return outcome;
  }

  /** One that is gone already is no error. */
  async remove(name: string, signal: AbortSignal): Promise<void> {
    const what = `removing ${name}`;
    const purpose = { what, permission: 's3:DeleteObject', isWrite: true, signal };
    const command = new DeleteObjectCommand(this.#connection.object(name));
    await this.#connection.find(command, purpose, isCode('NoSuchKey'));
  }

  /** The error for a server that confirmed a write, but doesn't have what was written. */
  lost(name: string, problem: string): MirrorError {
    const message = `writing ${name} in ${this.location}: the server confirmed it, but ${problem}`;
    return new MirrorError('store-unavailable', message, { concern: 's3-endpoint' });
  }

  #noList(what: string): MirrorError {
    const problem = 'the server answers with something else than a list';
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

function reading(name: string, signal: AbortSignal): Purpose {
  return { what: `reading ${name}`, permission: 's3:GetObject', signal };
}

async function readUpTo(body: Readable, maxBytes: number, note: () => void): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    note();
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes >= maxBytes) break; // which ends the connection
  }
  return Buffer.concat(chunks).subarray(0, maxBytes);
}
