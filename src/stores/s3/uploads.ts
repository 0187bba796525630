/** Objects that come in parts, several at a time. One exists when it is complete, and not before. */
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  ListMultipartUploadsCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { MirrorError } from '../../lib/errors.ts';
import { writing, type S3Connection, type S3Listing } from './connection.ts';
import { isCode, isUnsupported, statusOf } from './errors.ts';
import { receiptOf, type S3Receipt } from './receipt.ts';

export interface S3Upload {
  name: string;
  id: string;
}

export class S3Uploads {
  readonly #connection: S3Connection;

  constructor(connection: S3Connection) {
    this.#connection = connection;
  }

  /** Unfinished uploads in a folder; none if the server doesn't list them. */
  async list(
    folder: string,
    signal: AbortSignal,
  ): Promise<S3Listing<S3Upload & { startedMs: number }>> {
    const scope = this.#connection.objects(folder);
    // A lifecycle rule of the bucket can end uploads as well.
    const isUnlisted = (error: unknown) => isUnsupported(error) || statusOf(error) === 403;
    type Markers = Record<'KeyMarker' | 'UploadIdMarker', string | undefined>;
    return this.#connection.listPages(
      { what: `listing uploads to ${folder}`, permission: 's3:ListBucketMultipartUploads', signal },
      async (purpose, markers: Markers | undefined) => {
        const command = new ListMultipartUploadsCommand({ ...scope, ...markers });
        const page = await this.#connection.find(command, purpose, isUnlisted);
        const objects = (page?.Uploads ?? []).map(({ Key = '', UploadId = '', Initiated }) => ({
          name: Key.slice(this.#connection.prefix.length),
          id: UploadId,
          startedMs: Initiated?.getTime() ?? NaN,
        }));
        const { NextKeyMarker: KeyMarker, NextUploadIdMarker: UploadIdMarker } = page ?? {};
        const hasMore = page?.IsTruncated === true && KeyMarker !== undefined;
        return { objects, next: hasMore ? { KeyMarker, UploadIdMarker } : undefined };
      },
    );
  }

  /** Starts a multipart upload; undefined if the server has none. */
  async begin(name: string, signal: AbortSignal): Promise<S3Upload | undefined> {
    const command = new CreateMultipartUploadCommand(this.#connection.object(name));
    const begun = await this.#connection.find(command, writing(name, signal), isUnsupported);
    if (begun === undefined) return undefined;
    if (begun.UploadId !== undefined) return { name, id: begun.UploadId };
    throw new MirrorError(
      'store-unavailable',
      `${this.#connection.location} gives an upload no id`,
    );
  }

  /** Sends a part; parts are numbered from 1. */
  async putPart(
    { name, id: UploadId }: S3Upload,
    PartNumber: number,
    Body: Uint8Array,
    signal: AbortSignal,
  ): Promise<S3Receipt> {
    const command = new UploadPartCommand({
      ...this.#connection.object(name),
      UploadId,
      PartNumber,
      Body,
    });
    return receiptOf(await this.#connection.request(command, writing(name, signal, Body)));
  }

  /** Joins the parts, which have these ETags. The object exists only after this. */
  async complete(
    { name, id: UploadId }: S3Upload,
    etags: readonly string[],
    signal: AbortSignal,
  ): Promise<void> {
    const Parts = etags.map((ETag, index) => ({ ETag, PartNumber: index + 1 }));
    const scope = { ...this.#connection.object(name), UploadId };
    const command = new CompleteMultipartUploadCommand({ ...scope, MultipartUpload: { Parts } });
    // The server may take its time to join the parts.
    await this.#connection.request(command, { ...writing(name, signal), silenceMs: Infinity });
  }

  /** One that is gone already is no error. */
  async abort({ name, id: UploadId }: S3Upload, signal: AbortSignal): Promise<void> {
    const what = `giving up the upload of ${name}`;
    const purpose = { what, permission: 's3:AbortMultipartUpload', isWrite: true, signal };
    const command = new AbortMultipartUploadCommand({ ...this.#connection.object(name), UploadId });
    await this.#connection.find(command, purpose, isCode('NoSuchUpload'));
  }
}
