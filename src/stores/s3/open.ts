/**
 * Opens the store in a bucket, with its claims. Nothing else imports what uses the AWS SDK, and this is imported only where
 * S3 is used: the SDK takes a while to load.
 */
import { toMirrorError } from '../../lib/errors.ts';
import type { ClaimRecords } from '../../locks/claims/records.ts';
import { S3Bucket } from './bucket.ts';
import { createS3Client, type S3Access } from './client.ts';
import { S3Creation } from './create.ts';
import { createS3Records } from './records.ts';
import { createS3Store } from './store.ts';
import type { Store } from '../store.ts';

export interface S3Place extends S3Access {
  bucket: string;
  /** What the names of all objects begin with; empty, or without a slash at its ends. */
  prefix: string;
}

export interface OpenS3 {
  store: Store;
  recordsOf: (key: string) => ClaimRecords;
}

/** Asks nothing of the server yet. Throws `invalid-input` where the machine's own AWS settings are bad. */
export async function openS3(place: S3Place, environment: NodeJS.ProcessEnv): Promise<OpenS3> {
  const client = await createS3Client(place, environment).catch((error: unknown) => {
    throw toMirrorError(error, 'invalid-input', 'The AWS settings of this machine cannot be used');
  });
  const bucket = new S3Bucket({ ...place, client });
  const creation = new S3Creation(bucket);
  return {
    store: createS3Store({ bucket, creation }),
    recordsOf: (key) => createS3Records({ bucket, creation, key }),
  };
}
