/** Objects that come in parts, several at a time. One exists when it is complete, and not before. */
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  ListMultipartUploadsCommand,
  UploadPartCommand,
  type UploadPartCommandOutput,
} from '@aws-sdk/client-s3';
import { MirrorError } from '../../lib/errors.ts';
import { writing, type S3Connection } from './connection.ts';
import { isCode, isUnsupported, statusOf } from './errors.ts';

export interface S3Upload {
  name: string;
  id: string;
}

export class S3Uploads {
  readonly #connection: S3Connection;

  constructor(connection: S3Connection) {
    this.#connection = connection;
  }

  /** Unfinished uploads in a folder, at most 1,000; none if the server doesn't list them. */
  async list(folder: string, signal: AbortSignal): Promise<(S3Upload & { ageMs: number })[]> {
    const what = `listing uploads to ${folder}`;
    const purpose = { what, permission: 's3:ListBucketMultipartUploads', signal };
    const command = new ListMultipartUploadsCommand(this.#connection.objects(folder));
    try {
      return await this.#connection.receive(command, purpose, ({ output, dateMs }) =>
        (output.Uploads ?? []).map(({ Key = '', UploadId = '', Initiated }) => ({
          name: Key.slice(this.#connection.prefix.length),
          id: UploadId,
          ageMs: dateMs - (Initiated?.getTime() ?? NaN),
        })),
      );
    } catch (error) {
      // A lifecycle rule of the bucket can end uploads as well.
      if (isUnsupported(error) || statusOf(error) === 403) return [];
      throw error;
    }
  }

  /** Starts a multipart upload; undefined if the server has none. */
  async begin(name: string, signal: AbortSignal): Promise<S3Upload | undefined> {
    const command = new CreateMultipartUploadCommand(this.#connection.object(name));
    const begun = await this.#connection.find(command, writing(name, signal), isUnsupported);
    if (begun === undefined) return undefined;
    if (begun.UploadId !== undefined) return { name, id: begun.UploadId };
    const message = `${this.#connection.location} gives an upload no id`;
    throw new MirrorError('store-unavailable', message);
  }

  /** Sends a part; parts are numbered from 1. */
  putPart(
    { name, id: UploadId }: S3Upload,
    PartNumber: number,
    Body: Uint8Array,
    signal: AbortSignal,
  ): Promise<UploadPartCommandOutput> {
    const scope = { ...this.#connection.object(name), UploadId };
    const command = new UploadPartCommand({ ...scope, PartNumber, Body });
    return this.#connection.request(command, writing(name, signal, Body.length));
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
    await this.#connection.request(command, writing(name, signal, Infinity));
  }

  /** One that is gone already is no error. */
  async abort({ name, id: UploadId }: S3Upload, signal: AbortSignal): Promise<void> {
    const what = `giving up the upload of ${name}`;
    const purpose = { what, permission: 's3:AbortMultipartUpload', signal };
    const command = new AbortMultipartUploadCommand({ ...this.#connection.object(name), UploadId });
    await this.#connection.find(command, purpose, isCode('NoSuchUpload'));
  }
}
