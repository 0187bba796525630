/** Records of claims in a bucket: an object each, in the key's folder (see keys.ts). */
import { MirrorError } from '../../lib/errors.ts';
import { MAX_RECORD_BYTES, type ClaimRecords } from '../../locks/claims/records.ts';
import { assertNames, assertRecordSize, isSafeName } from '../names.ts';
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
  assertNames('key', key);
  const keys = new S3Keys(key);
  const nameOf = (name: string): string => {
    assertNames('record', name);
    return keys.claim(name);
  };
  return {
    async create(name, content, signal) {
      const path = nameOf(name);
      assertRecordSize(content);
      const copy = Uint8Array.from(content);
      if (!(await creation.isPossible(signal))) {
        const message = `claims in ${bucket.location}: ${NO_CONDITIONAL_WRITES}`;
        throw new MirrorError('store-unavailable', message);
      }
      return creation.createIfAbsent(path, copy, newNonce(), signal);
    },
    async read(name, signal) {
      return bucket.read(nameOf(name), MAX_RECORD_BYTES, signal);
    },
    async write(name, content, signal) {
      const path = nameOf(name);
      assertRecordSize(content);
      await bucket.put(path, Uint8Array.from(content), signal);
    },
    async list(signal) {
      const { objects, nowMs } = await bucket.list(keys.claims, signal);
      const own = objects.filter(({ name }) => isSafeName(name));
      return own.map(({ name, changedMs }) => ({ name, ageMs: nowMs - changedMs }));
    },
    async remove(name, signal) {
      await bucket.remove(nameOf(name), signal);
    },
  };
}
