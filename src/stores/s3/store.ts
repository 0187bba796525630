/**
 * The store in a bucket of S3, or of a server that speaks its protocol (names: keys.ts). A layer is one tar object, so it
 * appears and disappears as a whole.
 *
 * The server must show only complete objects, and must show at once what was written, also in listings. A manifest is
 * created by a conditional write if the server has them; otherwise its name ends in a nonce. In both cases its writer then
 * checks that it is alone with its number, and deletes its own manifest if not. So at most one of several contending jobs
 * gets a number, even if they disagree about what the server can do. Without conditional writes perhaps none gets it.
 *
 * Foreign objects are ignored, unless they are named like a layer or a claim.
 */
import { createHash } from 'node:crypto';
import { tidy, withGrace } from '../../lib/abort.ts';
import { toMirrorError } from '../../lib/errors.ts';
import { Slots } from '../../lib/parallel.ts';
import { createStore, type RemovalOf } from '../back-end.ts';
import { digitsOf, newNonce } from '../names.ts';
import { MAX_MANIFEST_BYTES, type Store } from '../store.ts';
import type { S3Bucket } from './bucket.ts';
import type { S3Upload } from './uploads.ts';
import type { S3Creation } from './create.ts';
import { DEFAULT_LIMITS, downloadLayer, type RangeLimits } from './download.ts';
import { layerOf, numberOf, S3Keys } from './keys.ts';
import { COMMIT_GRACE_MS, uploadLayer } from './upload.ts';

export interface S3StoreOptions {
  bucket: S3Bucket;
  creation: S3Creation;
  limits?: Partial<RangeLimits>;
}

interface Session {
  bucket: S3Bucket;
  keys: S3Keys;
  signal: AbortSignal;
}

/** A store in a bucket. The first request is sent when the store is used. */
export function createS3Store({ bucket, creation, limits: given }: S3StoreOptions): Store {
  const { location } = bucket;
  const limits = { ...DEFAULT_LIMITS, ...given };
  const slots = new Slots(limits.width);
  return createStore<Session>({
    location,

    async attempt({ key, what, signal }, work) {
      try {
        return await work({ bucket, keys: new S3Keys(key), signal });
      } catch (error) {
        throw toMirrorError(error, 'store-unavailable', `${what} in ${location}`);
      }
    },

    async findManifest({ keys, signal }, below, vanished) {
      const objects = await bucket.list(keys.manifests, signal);
      const numbers = objects.map(({ name }) => numberOf(name) ?? 0);
      const number = Math.max(0, ...numbers.filter((each) => each < below && !vanished.has(each)));
      if (number === 0) return undefined;
      // More than one if writers contend: all but one will be removed soon.
      for (const { name } of objects.filter((_, index) => numbers[index] === number)) {
        const content = await bucket.read(keys.manifests + name, MAX_MANIFEST_BYTES, signal);
        if (content !== undefined) return { number, content };
      }
      return { number, content: undefined };
    },

    createManifest: (session, number, content) =>
      createManifest(session, creation, number, Buffer.from(content)),

    async hasLayer({ keys, signal }, name) {
      return (await bucket.head(keys.layer(name), signal)) !== undefined;
    },

    async getLayer({ keys, signal }, layer, directory, callbacks) {
      const options = { ...callbacks, signal, limits, slots };
      await downloadLayer(bucket, keys.layer(layer.name), layer, directory, options);
    },

    async putLayer({ keys, signal }, layer, directory, callbacks) {
      const options = { ...callbacks, signal };
      await uploadLayer(bucket, keys.layer(layer.name), layer, directory, options);
    },

    removal,
  });
}

async function createManifest(
  { bucket, keys, signal }: Session,
  creation: S3Creation,
  number: number,
  content: Buffer,
): Promise<boolean> {
  if ((await namesOf({ bucket, keys, signal }, number)).length > 0) return false;
  const isExclusive = await creation.isPossible(signal);
  const nonce = newNonce();
  const name = keys.manifest(number, isExclusive ? undefined : nonce);
  let isOurs = false;
  try {
    isOurs = await withGrace(signal, COMMIT_GRACE_MS, async (late) => {
      if (!isExclusive) await bucket.put(name, content, late, { nonce });
      else if (!(await creation.createIfAbsent(name, content, nonce, late))) return false;
      await checkStored(bucket, name, content, late);
      const names = await namesOf({ bucket, keys, signal: late }, number);
      if (!names.includes(name)) throw bucket.lost(name, 'does not list it');
      return names.length === 1;
    });
  } finally {
    if (!isOurs) await tidy((bounded) => creation.removeOwn(name, nonce, bounded));
  }
  return isOurs;
}

/** All manifests of a number: more than one only if its writers contend, or died. */
async function namesOf({ bucket, keys, signal }: Session, number: number): Promise<string[]> {
  const objects = await bucket.list(keys.manifests, signal, digitsOf(number));
  return objects
    .filter(({ name }) => numberOf(name) === number)
    .map(({ name }) => keys.manifests + name);
}

/** Throws if the server confirmed a manifest, but doesn't have it or has other bytes. */
async function checkStored(
  bucket: S3Bucket,
  name: string,
  content: Buffer,
  signal: AbortSignal,
): Promise<void> {
  const stored = await bucket.read(name, MAX_MANIFEST_BYTES, signal);
  if (stored === undefined) throw bucket.lost(name, 'does not have it');
  if (!stored.equals(content)) throw bucket.lost(name, 'holds other bytes than were sent');
}

const removal: RemovalOf<Session> = {
  async list({ bucket, keys, signal }) {
    const ages = new Map<number, number>();
    for (const { name, ageMs } of await bucket.list(keys.manifests, signal)) {
      const number = numberOf(name);
      // The age of the youngest of several, because retention relies on a manifest that existed for that long.
      if (number !== undefined) ages.set(number, Math.min(ageMs, ages.get(number) ?? Infinity));
    }
    const layers = await bucket.list(keys.layers, signal);
    const uploads = await bucket.uploads.list(keys.layers, signal);
    return {
      manifests: [...ages].map(([number, ageMs]) => ({ number, ageMs })),
      layers: layers.map(({ name, ageMs }) => ({ name: layerOf(name) ?? '', ageMs })),
      debris: uploads.map((upload) => ({ name: debrisName(upload), ageMs: upload.ageMs })),
    };
  },

  async removeManifest(session, number) {
    const names = await namesOf(session, number);
    for (const name of names) await session.bucket.remove(name, session.signal);
  },

  removeLayer: ({ bucket, keys, signal }, name) => bucket.remove(keys.layer(name), signal),

  async removeDebris({ bucket, keys, signal }, name) {
    const uploads = await bucket.uploads.list(keys.layers, signal);
    const upload = uploads.find((each) => debrisName(each) === name);
    if (upload !== undefined) await bucket.uploads.abort(upload, signal);
  },
};

/** The server chooses the ids of uploads: their digests are safe names. */
function debrisName({ name, id }: S3Upload): string {
  const digest = createHash('sha256').update(`${name}\n${id}`).digest('hex');
  return `upload-${digest.slice(0, 32)}`;
}
