/** Records of claims in a bucket: an object each, in the key's folder (see keys.ts). */
import { MirrorError } from '../../lib/errors.ts';
import { MAX_RECORD_BYTES, type ClaimRecords } from '../../locks/claims/records.ts';
import { checkRecords } from '../back-end.ts';
import { newNonce } from '../names.ts';
import type { S3Bucket } from './bucket.ts';
import type { S3Creation } from './create.ts';
import { S3Keys } from './keys.ts';

export interface S3RecordsOptions {
  bucket: S3Bucket;
  creation: S3Creation;
  key: string;
}

/** Records of a key; `create` throws `store-unavailable` where the server has no conditional writes. */
export function createS3Records({ bucket, creation, key }: S3RecordsOptions): ClaimRecords {
  const { claims } = new S3Keys(key);
  return checkRecords(key, {
    async create(name, content, signal) {
      if (await creation.isPossible(signal)) {
        return creation.createIfAbsent(claims + name, content, newNonce(), signal);
      }
      const problem =
        'the server has no conditional writes (`If-None-Match: *`), which claims need';
      throw new MirrorError('store-unavailable', `claims in ${bucket.location}: ${problem}`);
    },
    read: (name, signal) => bucket.read(claims + name, MAX_RECORD_BYTES, signal),
    async write(name, content, signal) {
      await bucket.put(claims + name, content, signal);
    },
    list: (signal) => bucket.list(claims, signal),
    remove: (name, signal) => bucket.remove(claims + name, signal),
  });
}
