/**
 * The store's requests, for objects below a prefix of a bucket. The SDK retries short failures; errors are explained
 * (errors.ts). Absence is reported only if the server says so. A signal ends a call at once, with `cancelled`, but a
 * request that was sent may still take effect.
 */
import { addAbortSignal, type Readable } from 'node:stream';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { MirrorError } from '../../lib/errors.ts';
import { type Purpose, S3Connection, type S3BucketOptions, type S3Listing } from './connection.ts';
import { codeOf, isRefusal, isUnsupported, NotS3Error, statusOf } from './errors.ts';

/** Sending a larger body takes time, so only the SDK's own deadlines apply. */
const SMALL_BODY_BYTES = 256 * 1024;

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

export interface S3Upload {
  name: string;
  id: string;
}

/** What the server returns for bytes that it stored. */
export interface S3Receipt {
  etag: string;
  /** Of the bytes, in hexadecimal digits, where the ETag looks like it. */
  md5: string | undefined;
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
  readonly #connection: S3Connection;
  readonly #bucket: string;
  readonly #prefix: string;

  constructor(options: S3BucketOptions) {
    this.#connection = new S3Connection(options);
    this.#bucket = options.bucket;
    this.#prefix = options.prefix === '' ? '' : `${options.prefix}/`;
    this.location = this.#connection.location;
  }

  /** The objects in and below a folder whose names begin with a prefix. */
  async list(folder: string, signal: AbortSignal, begin = ''): Promise<S3Listing<S3Object>> {
    const what = `listing ${folder}`;
    const scope = { Bucket: this.#bucket, Prefix: this.#prefix + folder + begin };
    const start = this.#prefix.length + folder.length;
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

  /** Unfinished uploads in a folder; none if the server doesn't list them. */
  async listUploads(
    folder: string,
    signal: AbortSignal,
  ): Promise<S3Listing<S3Upload & { startedMs: number }>> {
    const scope = { Bucket: this.#bucket, Prefix: this.#prefix + folder };
    // A lifecycle rule of the bucket can end uploads as well.
    const isUnlisted = (error: unknown) => isUnsupported(error) || statusOf(error) === 403;
    type Markers = Record<'KeyMarker' | 'UploadIdMarker', string | undefined>;
    return this.#connection.listPages(
      { what: `listing uploads to ${folder}`, permission: 's3:ListBucketMultipartUploads', signal },
      async (purpose, markers: Markers | undefined) => {
        const command = new ListMultipartUploadsCommand({ ...scope, ...markers });
        const page = await this.#connection.find(command, purpose, isUnlisted);
        const objects = (page?.Uploads ?? []).map(({ Key = '', UploadId = '', Initiated }) => ({
          name: Key.slice(this.#prefix.length),
          id: UploadId,
          startedMs: Initiated?.getTime() ?? NaN,
        }));
        const { NextKeyMarker: KeyMarker, NextUploadIdMarker: UploadIdMarker } = page ?? {};
        const hasMore = page?.IsTruncated === true && KeyMarker !== undefined;
        return { objects, next: hasMore ? { KeyMarker, UploadIdMarker } : undefined };
      },
    );
  }

  /** At most `maxBytes` of an object; undefined if there is none. */
  async read(name: string, maxBytes: number, signal: AbortSignal): Promise<Buffer | undefined> {
    return this.#connection.send(reading(name, signal), async (abortSignal, note) => {
      // The SDK doesn't retry if a body breaks off.
      for (let attempt = 1; ; attempt++) {
        try {
          const command = new GetObjectCommand(this.#name(name));
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
    const command = new HeadObjectCommand(this.#name(name));
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
    const command = new GetObjectCommand({ ...this.#name(name), IfMatch, Range });
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
      ...this.#name(name),
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
      ...this.#name(name),
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
    const command = new DeleteObjectCommand(this.#name(name));
    await this.#connection.find(command, purpose, isCode('NoSuchKey'));
  }

  /** Starts a multipart upload; undefined if the server has none. */
  async beginUpload(name: string, signal: AbortSignal): Promise<S3Upload | undefined> {
    const command = new CreateMultipartUploadCommand(this.#name(name));
    const begun = await this.#connection.find(command, writing(name, signal), isUnsupported);
    if (begun === undefined) return undefined;
    if (begun.UploadId !== undefined) return { name, id: begun.UploadId };
    throw new MirrorError('store-unavailable', `${this.location} gives an upload no id`);
  }

  /** Sends a part; parts are numbered from 1. */
  async putPart(
    { name, id: UploadId }: S3Upload,
    PartNumber: number,
    Body: Uint8Array,
    signal: AbortSignal,
  ): Promise<S3Receipt> {
    const command = new UploadPartCommand({ ...this.#name(name), UploadId, PartNumber, Body });
    return receiptOf(await this.#connection.request(command, writing(name, signal, Body)));
  }

  /** Joins the parts, which have these ETags. The object exists only after this. */
  async completeUpload(
    { name, id: UploadId }: S3Upload,
    etags: readonly string[],
    signal: AbortSignal,
  ): Promise<void> {
    const Parts = etags.map((ETag, index) => ({ ETag, PartNumber: index + 1 }));
    const scope = { ...this.#name(name), UploadId };
    const command = new CompleteMultipartUploadCommand({ ...scope, MultipartUpload: { Parts } });
    // The server may take its time to join the parts.
    await this.#connection.request(command, { ...writing(name, signal), silenceMs: Infinity });
  }

  /** One that is gone already is no error. */
  async abortUpload({ name, id: UploadId }: S3Upload, signal: AbortSignal): Promise<void> {
    const what = `giving up the upload of ${name}`;
    const purpose = { what, permission: 's3:AbortMultipartUpload', isWrite: true, signal };
    const command = new AbortMultipartUploadCommand({ ...this.#name(name), UploadId });
    await this.#connection.find(command, purpose, isCode('NoSuchUpload'));
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
    const scope = { Bucket: this.#bucket, Prefix: this.#prefix, MaxKeys: 1 };
    await this.#connection.request(new ListObjectsV2Command(scope), purpose);
  }

  #name(name: string): { Bucket: string; Key: string } {
    return { Bucket: this.#bucket, Key: this.#prefix + name };
  }
}

function reading(name: string, signal: AbortSignal): Purpose {
  return { what: `reading ${name}`, permission: 's3:GetObject', signal };
}

function writing(
  name: string,
  signal: AbortSignal,
  body: Uint8Array | Readable = Buffer.of(),
): Purpose {
  const purpose = { what: `writing ${name}`, permission: 's3:PutObject', isWrite: true, signal };
  const isSmall = body instanceof Uint8Array && body.length <= SMALL_BODY_BYTES;
  return isSmall ? purpose : { ...purpose, silenceMs: Infinity };
}

function isCode(code: string): (error: unknown) => boolean {
  return (error) => codeOf(error) === code;
}

interface Taken {
  ETag?: string | undefined;
  ServerSideEncryption?: string | undefined;
  SSECustomerAlgorithm?: string | undefined;
}

function receiptOf({ ETag = '', ServerSideEncryption, SSECustomerAlgorithm }: Taken): S3Receipt {
  // With a key of KMS or of the customer, ETags look like digests and are none.
  const isOpaque = ServerSideEncryption?.startsWith('aws:') ?? SSECustomerAlgorithm !== undefined;
  const md5 = isOpaque ? undefined : /^"?([0-9a-f]{32})"?$/i.exec(ETag)?.[1]?.toLowerCase();
  return { etag: ETag, md5 };
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
