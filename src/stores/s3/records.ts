/** Records of claims in a bucket: an object each, in the key's folder (see keys.ts). */
import { MirrorError } from '../../lib/errors.ts';
import { MAX_RECORD_BYTES, type ClaimRecords } from '../../locks/claims/records.ts';
import { checkRecords } from '../back-end.ts';
import type { S3Bucket } from './bucket.ts';
import { newNonce, NO_CONDITIONAL_WRITES, type S3Creation } from './create.ts';
import { S3Keys } from './keys.ts';

export interface S3RecordsOptions {
  bucket: S3Bucket;
  creation: S3Creation;
  key: string;
}

/** Records of a key; `create` throws `store-unavailable` where the server has no conditional writes. */
export function createS3Records({ bucket, creation, key }: S3RecordsOptions): ClaimRecords {
  const keys = new S3Keys(key);
  return checkRecords(key, {
    async create(name, content, signal) {
      if (await creation.isPossible(signal)) {
        return creation.createIfAbsent(keys.claim(name), content, newNonce(), signal);
      }
      const message = `claims in ${bucket.location}: ${NO_CONDITIONAL_WRITES}`;
      throw new MirrorError('store-unavailable', message);
    },
    read: (name, signal) => bucket.read(keys.claim(name), MAX_RECORD_BYTES, signal),
    async write(name, content, signal) {
      await bucket.put(keys.claim(name), content, signal);
    },
    async list(signal) {
      const { objects, nowMs } = await bucket.list(keys.claims, signal);
      return objects.map(({ name, changedMs }) => ({ name, ageMs: nowMs - changedMs }));
    },
    remove: (name, signal) => bucket.remove(keys.claim(name), signal),
  });
}
