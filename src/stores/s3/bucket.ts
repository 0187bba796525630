/**
 * Objects below a prefix of a bucket, by the toolkit's client: the requests that the store makes, with
 * their failures told (s3-errors.ts). The client repeats what fails for a moment. Absence is told only
 * where the server itself says so; a signal ends a call at once, with `cancelled`, though what was
 * sent may be carried out yet.
 */
import type { Readable } from 'node:stream';
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
  type S3Client,
} from '@aws-sdk/client-s3';
import { MirrorError, throwIfCancelled } from '../../lib/errors.ts';
import { codeOf, statusOf, toS3Error } from './errors.ts';
import { endWith } from './signals.ts';

export interface S3BucketOptions {
  client: S3Client;
  /** For people; undefined where the inputs don't name it. */
  endpoint: string | undefined;
  bucket: string;
  /** What all names begin with; empty, or without a slash at its ends. */
  prefix: string;
}

export interface S3Object {
  /** Without the folder that was listed. */
  name: string;
  changedMs: number;
}

export interface S3Listing<T> {
  objects: T[];
  /** When it was made, by the server's clock. */
  nowMs: number;
}

export interface S3Head {
  bytes: number;
  etag: string;
  /** As its writer gave it. */
  nonce: string | undefined;
}

export interface S3Range {
  etag: string;
  start: number;
  /** The first byte that is not in it. */
  end: number;
}

export interface S3Upload {
  name: string;
  id: string;
  startedMs: number;
}

export type S3PutOutcome =
  | 'done'
  /** There is one (412). */
  | 'exists'
  /** Another writer is about to create or remove it (409). */
  | 'conflict'
  /** The server knows no conditions (501). */
  | 'unsupported';

/** How a request is told where it fails. */
interface Request {
  what: string;
  permission: string;
  isWrite?: boolean;
  signal: AbortSignal;
}

export class S3Bucket {
  readonly location: string;
  readonly #client: S3Client;
  readonly #endpoint: string | undefined;
  readonly #bucket: string;
  readonly #prefix: string;

  constructor({ client, endpoint, bucket, prefix }: S3BucketOptions) {
    this.#client = client;
    this.#endpoint = endpoint;
    this.#bucket = bucket;
    this.#prefix = prefix === '' ? '' : `${prefix}/`;
    const server = endpoint === undefined ? '' : ` at ${endpoint}`;
    this.location = `s3://${bucket}/${this.#prefix}${server}`;
  }

  /** What is in a folder and below it, whose names begin so. */
  async list(folder: string, signal: AbortSignal, begin = ''): Promise<S3Listing<S3Object>> {
    const request = { what: `listing ${folder}`, permission: 's3:ListBucket', signal };
    const objects: S3Object[] = [];
    let nowMs: number | undefined;
    let token: string | undefined;
    do {
      const command = new ListObjectsV2Command({
        Bucket: this.#bucket,
        Prefix: this.#prefix + folder + begin,
        ContinuationToken: token,
      });
      const clock: ServerClock = {};
      command.middlewareStack.add(noteTime(clock), NOTES_TIME);
      const page = await this.#send(request, () =>
        this.#client.send(command, { abortSignal: signal }),
      );
      nowMs ??= clock.nowMs;
      for (const { Key = '', LastModified } of page.Contents ?? []) {
        const name = Key.slice(this.#prefix.length + folder.length);
        objects.push({ name, changedMs: LastModified?.getTime() ?? NaN });
      }
      token = page.IsTruncated === true ? page.NextContinuationToken : undefined;
    } while (token !== undefined);
    return { objects, nowMs: nowMs ?? this.#noTime(request) };
  }

  /** At most so many bytes of an object; undefined if there is none. */
  async read(name: string, maxBytes: number, signal: AbortSignal): Promise<Buffer | undefined> {
    const request = { what: `reading ${name}`, permission: 's3:GetObject', signal };
    return this.#orAbsent(request, 'NoSuchKey', async () => {
      // The body is not repeated by the client.
      for (let attempt = 1; ; attempt++) {
        const { Body } = await this.#client.send(new GetObjectCommand(this.#name(name)), {
          abortSignal: signal,
        });
        try {
          return await readUpTo(Body as Readable, maxBytes);
        } catch (error) {
          if (signal.aborted || attempt === 3) throw error;
        }
      }
    });
  }

  /** Undefined if there is none. */
  async head(name: string, signal: AbortSignal): Promise<S3Head | undefined> {
    const request = { what: `looking for ${name}`, permission: 's3:GetObject', signal };
    const found = await this.#send(request, async () => {
      try {
        return await this.#client.send(new HeadObjectCommand(this.#name(name)), {
          abortSignal: signal,
        });
      } catch (error) {
        if (statusOf(error) === 404) return undefined;
        throw error;
      }
    });
    // Such an answer has no body that could say what it is that is missing.
    if (found === undefined) await this.#checkBucket(signal);
    return (
      found && {
        bytes: found.ContentLength ?? NaN,
        etag: found.ETag ?? '',
        nonce: found.Metadata?.['nonce'],
      }
    );
  }

  /**
   * Bytes of an object of that ETag, as they come: they may break off. Throws `bad-snapshot` where it
   * is no longer there, or another.
   */
  async openRange(name: string, range: S3Range, signal: AbortSignal): Promise<Readable> {
    const { etag, start, end } = range;
    const request = { what: `reading ${name}`, permission: 's3:GetObject', signal };
    return this.#send(request, async () => {
      try {
        const command = new GetObjectCommand({
          ...this.#name(name),
          IfMatch: etag,
          Range: `bytes=${String(start)}-${String(end - 1)}`,
        });
        const { Body, ContentRange, ContentLength } = await this.#client.send(command, {
          abortSignal: signal,
        });
        const isAsked = ContentRange?.startsWith(`bytes ${String(start)}-${String(end - 1)}/`);
        if (isAsked !== true && !(start === 0 && ContentLength === end)) {
          (Body as Readable).destroy();
          throw new Error('the server gives other bytes than it was asked for');
        }
        return Body as Readable;
      } catch (error) {
        const isGone = codeOf(error) === 'NoSuchKey' || [412, 416].includes(statusOf(error) ?? 0);
        if (!isGone) throw error;
        const message = `${name} in ${this.location} was removed, or is another one by now`;
        throw new MirrorError('bad-snapshot', message, { cause: error });
      }
    });
  }

  /** Creates or replaces. */
  async put(name: string, content: Uint8Array, signal: AbortSignal): Promise<void> {
    const command = new PutObjectCommand({ ...this.#name(name), Body: content });
    await this.#send(this.#writing(name, signal), () =>
      this.#client.send(command, { abortSignal: signal }),
    );
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
    return this.#send(this.#writing(name, signal), async () => {
      try {
        await this.#client.send(command, { abortSignal: signal });
        return 'done';
      } catch (error) {
        const status = statusOf(error);
        if (status === 412) return 'exists';
        if (status === 409) return 'conflict';
        if (status === 501 || codeOf(error) === 'NotImplemented') return 'unsupported';
        throw error;
      }
    });
  }

  /** One that is gone already is no error. */
  async remove(name: string, signal: AbortSignal): Promise<void> {
    const request = {
      what: `removing ${name}`,
      permission: 's3:DeleteObject',
      isWrite: true,
      signal,
    };
    await this.#orAbsent(request, 'NoSuchKey', () =>
      this.#client.send(new DeleteObjectCommand(this.#name(name)), { abortSignal: signal }),
    );
  }

  /** Begins an object that comes in parts, and gives the upload's id. */
  async beginUpload(name: string, signal: AbortSignal): Promise<string> {
    const { UploadId } = await this.#send(this.#writing(name, signal), () =>
      this.#client.send(new CreateMultipartUploadCommand(this.#name(name)), {
        abortSignal: signal,
      }),
    );
    if (UploadId !== undefined) return UploadId;
    throw new MirrorError('store-unavailable', `${this.location} gives an upload no id`);
  }

  /** Sends a part, numbered from 1, and gives its ETag. */
  async putPart(
    upload: { name: string; id: string },
    number: number,
    content: Uint8Array,
    signal: AbortSignal,
  ): Promise<string> {
    const command = new UploadPartCommand({
      ...this.#name(upload.name),
      UploadId: upload.id,
      PartNumber: number,
      Body: content,
    });
    const { ETag } = await this.#send(this.#writing(upload.name, signal), () =>
      this.#client.send(command, { abortSignal: signal }),
    );
    return ETag ?? '';
  }

  /** Makes the object of its parts, of which these are the ETags: only now is it there. */
  async completeUpload(
    upload: { name: string; id: string },
    etags: readonly string[],
    signal: AbortSignal,
  ): Promise<void> {
    const Parts = etags.map((ETag, index) => ({ ETag, PartNumber: index + 1 }));
    const command = new CompleteMultipartUploadCommand({
      ...this.#name(upload.name),
      UploadId: upload.id,
      MultipartUpload: { Parts },
    });
    await this.#send(this.#writing(upload.name, signal), () =>
      this.#client.send(command, { abortSignal: signal }),
    );
  }

  /** One that is gone already is no error. */
  async abortUpload(upload: { name: string; id: string }, signal: AbortSignal): Promise<void> {
    const request = {
      what: `giving up the upload of ${upload.name}`,
      permission: 's3:AbortMultipartUpload',
      isWrite: true,
      signal,
    };
    const command = new AbortMultipartUploadCommand({
      ...this.#name(upload.name),
      UploadId: upload.id,
    });
    await this.#orAbsent(request, 'NoSuchUpload', () =>
      this.#client.send(command, { abortSignal: signal }),
    );
  }

  /** Uploads in a folder that were begun and not ended; none where the server does not tell. */
  async listUploads(folder: string, signal: AbortSignal): Promise<S3Listing<S3Upload>> {
    const request = {
      what: `listing uploads to ${folder}`,
      permission: 's3:ListBucketMultipartUploads',
      signal,
    };
    const objects: S3Upload[] = [];
    let nowMs: number | undefined;
    let markers: { KeyMarker?: string | undefined; UploadIdMarker?: string | undefined } = {};
    for (;;) {
      const command = new ListMultipartUploadsCommand({
        Bucket: this.#bucket,
        Prefix: this.#prefix + folder,
        ...markers,
      });
      const clock: ServerClock = {};
      command.middlewareStack.add(noteTime(clock), NOTES_TIME);
      const page = await this.#send(request, async () => {
        try {
          return await this.#client.send(command, { abortSignal: signal });
        } catch (error) {
          // Tidying goes on without: a rule of the bucket can end them as well.
          if ([403, 405, 501].includes(statusOf(error) ?? 0)) return undefined;
          throw error;
        }
      });
      nowMs ??= clock.nowMs;
      for (const { Key = '', UploadId = '', Initiated } of page?.Uploads ?? []) {
        const name = Key.slice(this.#prefix.length);
        objects.push({ name, id: UploadId, startedMs: Initiated?.getTime() ?? NaN });
      }
      const { NextKeyMarker: KeyMarker, NextUploadIdMarker: UploadIdMarker } = page ?? {};
      if (page?.IsTruncated !== true || KeyMarker === undefined) break;
      markers = { KeyMarker, UploadIdMarker };
    }
    return { objects, nowMs: nowMs ?? this.#noTime(request) };
  }

  /** Throws unless the bucket is there and may be listed. */
  async #checkBucket(signal: AbortSignal): Promise<void> {
    const request = { what: 'listing', permission: 's3:ListBucket', signal };
    const command = new ListObjectsV2Command({
      Bucket: this.#bucket,
      Prefix: this.#prefix,
      MaxKeys: 1,
    });
    await this.#send(request, () => this.#client.send(command, { abortSignal: signal }));
  }

  async #orAbsent<T>(
    request: Request,
    absence: string,
    send: () => Promise<T>,
  ): Promise<T | undefined> {
    return this.#send(request, async () => {
      try {
        return await send();
      } catch (error) {
        if (codeOf(error) === absence) return undefined;
        throw error;
      }
    });
  }

  /** Sends what is told so where it fails. */
  async #send<T>(request: Request, send: () => Promise<T>): Promise<T> {
    const { signal, what, permission, isWrite = false } = request;
    throwIfCancelled(signal);
    // A clock that was set meanwhile: from the answer the client has learnt by how much it is off.
    const sendByTheClock = async (): Promise<T> => {
      try {
        return await send();
      } catch (error) {
        if (codeOf(error) !== 'RequestTimeTooSkewed') throw error;
        return send();
      }
    };
    try {
      return await endWith(sendByTheClock(), signal);
    } catch (error) {
      throwIfCancelled(signal);
      const { location } = this;
      throw toS3Error(error, { what, permission, isWrite, location, endpoint: this.#endpoint });
    }
  }

  #writing(name: string, signal: AbortSignal): Request {
    return { what: `writing ${name}`, permission: 's3:PutObject', isWrite: true, signal };
  }

  #name(name: string): { Bucket: string; Key: string } {
    return { Bucket: this.#bucket, Key: this.#prefix + name };
  }

  #noTime({ what }: Request): never {
    const message = `${what} in ${this.location}: the server does not tell the time (no Date header)`;
    throw new MirrorError('store-unavailable', message);
  }
}

interface ServerClock {
  nowMs?: number;
}

/** Where a command notes the time that its answer tells, which the toolkit does not hand on. */
const NOTES_TIME = { step: 'deserialize', priority: 'low', name: 'noteTime' } as const;

function noteTime(clock: ServerClock) {
  return <A, R extends { response: unknown }>(next: (args: A) => Promise<R>) =>
    async (args: A): Promise<R> => {
      const result = await next(args);
      const { headers } = result.response as { headers?: Record<string, string> };
      const nowMs = Date.parse(headers?.['date'] ?? '');
      if (!Number.isNaN(nowMs)) clock.nowMs = nowMs;
      return result;
    };
}

async function readUpTo(body: Readable, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes >= maxBytes) break; // which ends the connection
  }
  return Buffer.concat(chunks).subarray(0, maxBytes);
}
