import { DeleteObjectCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3';
import type { ClaimRecords } from '../../../src/locks/claims/records.ts';
import { S3Bucket } from '../../../src/stores/s3/bucket.ts';
import { describeClient } from '../../../src/stores/s3/client.ts';
import { S3Creation } from '../../../src/stores/s3/create.ts';
import type { RangeLimits } from '../../../src/stores/s3/download.ts';
import { createS3Records } from '../../../src/stores/s3/records.ts';
import { createS3Store } from '../../../src/stores/s3/store.ts';
import type { Store } from '../../../src/stores/store.ts';
import type { S3Server } from './servers.ts';

/** What a process needs to open the same store. */
export interface S3Place {
  server: S3Server;
  prefix: string;
}

export interface OpenedS3 {
  store: Store;
  recordsOf(key: string): ClaimRecords;
  bucket: S3Bucket;
}

/** Stores below a prefix of a server's bucket; each that is opened is another job's. */
export class S3Stores {
  readonly #server: S3Server;
  readonly #prefix: string;
  readonly #clients = new Map<string, S3Client>();

  constructor(server: S3Server, prefix: string) {
    this.#server = server;
    this.#prefix = prefix;
  }

  /** The store that another process has told of. */
  static at({ server, prefix }: S3Place): OpenedS3 {
    const at = prefix.lastIndexOf('/');
    return new S3Stores(server, prefix.slice(0, at)).open(prefix.slice(at + 1));
  }

  /** What a process needs to open it, by the server's other endpoint if it shall and there is one. */
  placeOf(prefix: string, isByOther = false): S3Place {
    const { endpoint, otherEndpoint = endpoint } = this.#server;
    const server = { ...this.#server, endpoint: isByOther ? otherEndpoint : endpoint };
    return { server, prefix: `${this.#prefix}/${prefix}` };
  }

  open(
    prefix: string,
    endpoint: string = this.#server.endpoint,
    limits: Partial<RangeLimits> = {},
    silenceMs?: number,
  ): OpenedS3 {
    const options = { endpoint, bucket: this.#server.bucket, prefix: `${this.#prefix}/${prefix}` };
    const client = this.#client(endpoint);
    const bucket = new S3Bucket({ ...options, client, ...(silenceMs && { silenceMs }) });
    const creation = new S3Creation(bucket);
    return {
      store: createS3Store({ bucket, creation, limits }),
      recordsOf: (key) => createS3Records({ bucket, creation, key }),
      bucket,
    };
  }

  /** The objects below one of the prefixes, or all, by their names after it. */
  async list(prefix: string): Promise<string[]> {
    const start = this.#startOf(prefix);
    const names: string[] = [];
    let ContinuationToken: string | undefined;
    do {
      const page = await this.#client(this.#server.endpoint).send(
        new ListObjectsV2Command({ Bucket: this.#server.bucket, Prefix: start, ContinuationToken }),
      );
      names.push(...(page.Contents ?? []).map(({ Key = '' }) => Key.slice(start.length + 1)));
      ContinuationToken = page.NextContinuationToken;
    } while (ContinuationToken !== undefined);
    return names;
  }

  async removeAll(prefix = ''): Promise<void> {
    const start = this.#startOf(prefix);
    for (const name of await this.list(prefix)) {
      await this.#client(this.#server.endpoint).send(
        new DeleteObjectCommand({ Bucket: this.#server.bucket, Key: `${start}/${name}` }),
      );
    }
  }

  close(): void {
    for (const client of this.#clients.values()) client.destroy();
    this.#clients.clear();
  }

  #startOf(prefix: string): string {
    return prefix === '' ? this.#prefix : `${this.#prefix}/${prefix}`;
  }

  #client(endpoint: string): S3Client {
    const client = this.#clients.get(endpoint) ?? makeClient(this.#server, endpoint);
    this.#clients.set(endpoint, client);
    return client;
  }
}

/** As the store makes it, but with the server's credentials. */
function makeClient(server: S3Server, endpoint: string): S3Client {
  const { accessKeyId, secretAccessKey, sessionToken, region } = server;
  const access = { region, endpoint, isPathStyle: true };
  return new S3Client({
    ...describeClient(access, {}),
    credentials: { accessKeyId, secretAccessKey, ...(sessionToken && { sessionToken }) },
  });
}
