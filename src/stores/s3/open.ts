/**
 * Opens the store in a bucket, with its claims. Nothing else imports what is made of the AWS toolkit,
 * and this is imported only where S3 is used: the toolkit takes a while to load.
 */
import type { S3Client } from '@aws-sdk/client-s3';
import { toMirrorError } from '../../lib/errors.ts';
import type { ClaimRecords } from '../../locks/claims/records.ts';
import { S3Bucket } from './bucket.ts';
import { createS3Client, type S3Access } from './client.ts';
import { S3Creation } from './create.ts';
import { createS3Records } from './records.ts';
import { createS3Store } from './store.ts';
import type { Store } from '../store.ts';

export interface S3Place {
  bucket: string;
  /** What the names of all objects begin with; empty, or without a slash at its ends. */
  prefix: string;
  /** Undefined: as the AWS tools resolve it. */
  region: string | undefined;
  /** Undefined: as the AWS tools resolve it. */
  endpoint: string | undefined;
  isPathStyle: boolean;
}

export interface OpenS3 {
  store: Store;
  recordsOf: (key: string) => ClaimRecords;
}

/** Asks nothing of the server yet. Throws `invalid-input` where the machine's own AWS settings are bad. */
export async function openS3(
  { bucket: name, prefix, ...access }: S3Place,
  environment: S3Access['environment'],
): Promise<OpenS3> {
  const client = await openClient({ ...access, environment });
  const bucket = new S3Bucket({ client, endpoint: access.endpoint, bucket: name, prefix });
  const creation = new S3Creation(bucket);
  return {
    store: createS3Store({ bucket, creation }),
    recordsOf: (key) => createS3Records({ bucket, creation, key }),
  };
}

async function openClient(access: S3Access): Promise<S3Client> {
  try {
    return await createS3Client(access);
  } catch (error) {
    throw toMirrorError(error, 'invalid-input', 'The AWS settings of this machine cannot be used');
  }
}
