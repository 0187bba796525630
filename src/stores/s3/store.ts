/**
 * The store in a bucket of S3, or of a server that speaks its protocol (names: keys.ts). A layer is one tar
 * object, so it appears, and goes, at once.
 *
 * It asks of the server that objects are seen whole, and that what was written is seen at once, also in
 * listings. A manifest is created by a conditional write where the server has them; elsewhere its name ends
 * in a nonce. In both cases its writer then looks whether it is alone with its number, and takes its own
 * back where it is not. So of jobs that contend at most one has a number, whatever they believe of the
 * server. Without conditional writes perhaps none has.
 *
 * Foreign objects are ignored, but for the names of layers and claims.
 */
import { createHash } from 'node:crypto';
import { tidy, withGrace } from '../../lib/abort.ts';
import { throwIfCancelled, toMirrorError } from '../../lib/errors.ts';
import { Slots } from '../../lib/parallel.ts';
import {
  assertLayer,
  assertManifestNumber,
  assertManifestSize,
  assertNames,
  isSafeName,
} from '../names.ts';
import {
  type FindOptions,
  type GetOptions,
  type Inventory,
  type LayerFiles,
  MAX_MANIFEST_BYTES,
  type Removal,
  type Store,
  type StoredManifest,
  type TransferOptions,
} from '../store.ts';
import type { S3Bucket, S3Upload } from './bucket.ts';
import { newNonce, type S3Creation } from './create.ts';
import { DEFAULT_LIMITS, downloadLayer, type RangeLimits } from './download.ts';
import { layerOf, numberOf, S3Keys } from './keys.ts';
import { COMMIT_GRACE_MS, uploadLayer } from './upload.ts';

/** Bounds the search for a manifest where retention removes them at the same time. */
const MAX_VANISHED = 10;

export interface S3StoreOptions {
  bucket: S3Bucket;
  creation: S3Creation;
  limits?: Partial<RangeLimits>;
}

/** A store in a bucket; nothing is requested until the store is used. */
export function createS3Store({ bucket, creation, limits }: S3StoreOptions): Store {
  return new S3Store(bucket, creation, { ...DEFAULT_LIMITS, ...limits });
}

class S3Store implements Store {
  readonly location: string;
  readonly #bucket: S3Bucket;
  readonly #creation: S3Creation;
  readonly #limits: RangeLimits;
  readonly #slots: Slots;

  constructor(bucket: S3Bucket, creation: S3Creation, limits: RangeLimits) {
    this.location = bucket.location;
    this.#bucket = bucket;
    this.#creation = creation;
    this.#limits = limits;
    this.#slots = new Slots(limits.width);
  }

  async findManifest(
    key: string,
    { below = Infinity, signal }: FindOptions,
  ): Promise<StoredManifest | undefined> {
    const keys = keysOf(key);
    if (below !== Infinity) assertManifestNumber(below);
    return this.#attempt('finding a manifest', signal, async () => {
      const vanished = new Set<string>();
      while (vanished.size < MAX_VANISHED) {
        const { objects } = await this.#bucket.list(keys.manifests, signal);
        const newest = objects
          .map(({ name }) => ({ name, number: numberOf(name) ?? Infinity }))
          .filter(({ number }) => number < below && number !== Infinity)
          .filter(({ name }) => !vanished.has(name))
          .sort((one, other) => one.number - other.number)
          .at(-1);
        if (newest === undefined) return undefined;
        const name = keys.manifests + newest.name;
        const content = await this.#bucket.read(name, MAX_MANIFEST_BYTES, signal);
        if (content !== undefined) return { number: newest.number, content };
        vanished.add(newest.name);
      }
      throw new Error('manifests vanish faster than they can be read');
    });
  }

  async createManifest(
    key: string,
    number: number,
    content: Uint8Array,
    signal: AbortSignal,
  ): Promise<boolean> {
    const keys = keysOf(key);
    assertManifestNumber(number);
    assertManifestSize(content);
    const copy = Buffer.from(content);
    return this.#attempt(`creating manifest ${String(number)}`, signal, async () => {
      if ((await this.#namesOf(keys, number, signal)).length > 0) return false;
      const isExclusive = await this.#creation.isPossible(signal);
      const nonce = newNonce();
      const name = keys.manifest(number, isExclusive ? undefined : nonce);
      let isOurs = false;
      try {
        isOurs = await withGrace(signal, COMMIT_GRACE_MS, async (late) => {
          if (!isExclusive) await this.#bucket.put(name, copy, late, { nonce });
          else if (!(await this.#creation.createIfAbsent(name, copy, nonce, late))) return false;
          await this.#checkStored(name, copy, late);
          const names = await this.#namesOf(keys, number, late);
          if (!names.includes(name)) throw this.#bucket.lost(name, 'does not list it');
          return names.length === 1;
        });
      } finally {
        if (!isOurs) await tidy((bounded) => this.#creation.removeOwn(name, nonce, bounded));
      }
      return isOurs;
    });
  }

  async withdrawManifest(key: string, number: number, signal: AbortSignal): Promise<void> {
    const keys = keysOf(key);
    assertManifestNumber(number);
    await this.#attempt(`withdrawing manifest ${String(number)}`, signal, () =>
      this.#removeManifest(keys, number, signal),
    );
  }

  async hasLayer(key: string, name: string, signal: AbortSignal): Promise<boolean> {
    const keys = keysOf(key);
    assertNames('layer', name);
    return this.#attempt(
      `looking for layer ${name}`,
      signal,
      async () => (await this.#bucket.head(keys.layer(name), signal)) !== undefined,
    );
  }

  async getLayer(
    key: string,
    layer: LayerFiles,
    directory: string,
    options: GetOptions,
  ): Promise<void> {
    const name = keysOf(key).layer(layer.name);
    assertLayer(layer);
    const ours = { ...options, limits: this.#limits, slots: this.#slots };
    await this.#attempt(`getting layer ${layer.name}`, options.signal, () =>
      downloadLayer(this.#bucket, name, layer, directory, ours),
    );
  }

  async putLayer(
    key: string,
    layer: LayerFiles,
    directory: string,
    options: TransferOptions,
  ): Promise<void> {
    const name = keysOf(key).layer(layer.name);
    assertLayer(layer);
    const { signal } = options;
    await this.#attempt(`putting layer ${layer.name}`, signal, async () => {
      if ((await this.#bucket.head(name, signal)) !== undefined) {
        throw new Error('a layer of this name exists');
      }
      await uploadLayer(this.#bucket, name, layer, directory, options);
    });
  }

  async list(key: string, signal: AbortSignal): Promise<Inventory> {
    const keys = keysOf(key);
    return this.#attempt('listing', signal, async () => {
      const manifests = await this.#bucket.list(keys.manifests, signal);
      const layers = await this.#bucket.list(keys.layers, signal);
      const uploads = await this.#bucket.listUploads(keys.layers, signal);
      const ages = new Map<number, number>();
      for (const { name, changedMs } of manifests.objects) {
        const number = numberOf(name);
        const ageMs = Math.max(0, manifests.nowMs - changedMs);
        // Of several, the youngest: retention counts on a manifest that was there for so long.
        if (number !== undefined) ages.set(number, Math.min(ageMs, ages.get(number) ?? Infinity));
      }
      return {
        manifests: [...ages]
          .map(([number, ageMs]) => ({ number, ageMs }))
          .sort((one, other) => one.number - other.number),
        layers: layers.objects.flatMap(({ name, changedMs }) => {
          const layer = layerOf(name) ?? '';
          const ageMs = Math.max(0, layers.nowMs - changedMs);
          return isSafeName(layer) ? [{ name: layer, ageMs }] : [];
        }),
        debris: uploads.objects.map((upload) => ({
          name: debrisName(upload),
          ageMs: Math.max(0, uploads.nowMs - upload.startedMs),
        })),
      };
    });
  }

  async remove(key: string, what: Removal, signal: AbortSignal): Promise<void> {
    const keys = keysOf(key);
    what.manifests.forEach(assertManifestNumber);
    assertNames('layer', ...what.layers);
    assertNames('debris', ...what.debris);
    await this.#attempt('removing', signal, async () => {
      // First and strictly: a manifest that cannot be removed keeps its layers.
      for (const number of what.manifests) await this.#removeManifest(keys, number, signal);
      let failure: unknown;
      for (const chore of await this.#chores(keys, what, signal)) {
        throwIfCancelled(signal);
        await chore().catch((error: unknown) => (failure ??= error));
      }
      if (failure !== undefined) {
        throw toMirrorError(failure, 'store-unavailable', 'old data could not be removed');
      }
    });
  }

  async #chores(
    keys: S3Keys,
    { layers, debris }: Removal,
    signal: AbortSignal,
  ): Promise<(() => Promise<void>)[]> {
    const uploads =
      debris.length === 0 ? [] : (await this.#bucket.listUploads(keys.layers, signal)).objects;
    return [
      ...layers.map((name) => () => this.#bucket.remove(keys.layer(name), signal)),
      ...uploads
        .filter((upload) => debris.includes(debrisName(upload)))
        .map((upload) => () => this.#bucket.abortUpload(upload, signal)),
    ];
  }

  async #removeManifest(keys: S3Keys, number: number, signal: AbortSignal): Promise<void> {
    const names = await this.#namesOf(keys, number, signal);
    for (const name of names) await this.#bucket.remove(name, signal);
  }

  /** All manifests of a number: more than one only where writers of it contend, or died. */
  async #namesOf(keys: S3Keys, number: number, signal: AbortSignal): Promise<string[]> {
    const begin = keys.manifestPrefix(number).slice(keys.manifests.length);
    const { objects } = await this.#bucket.list(keys.manifests, signal, begin);
    return objects
      .filter(({ name }) => numberOf(name) === number)
      .map(({ name }) => keys.manifests + name);
  }

  /** Throws where a server that confirmed a manifest has it not, or not so. */
  async #checkStored(name: string, content: Buffer, signal: AbortSignal): Promise<void> {
    const stored = await this.#bucket.read(name, MAX_MANIFEST_BYTES, signal);
    if (stored === undefined) throw this.#bucket.lost(name, 'does not have it');
    if (!stored.equals(content)) throw this.#bucket.lost(name, 'holds other bytes than were sent');
  }

  async #attempt<T>(what: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    throwIfCancelled(signal);
    try {
      return await work();
    } catch (error) {
      throw toMirrorError(error, 'store-unavailable', `${what} in ${this.location}`);
    }
  }
}

function keysOf(key: string): S3Keys {
  assertNames('key', key);
  return new S3Keys(key);
}

/** The server chooses the ids of uploads: their digests are safe names. */
function debrisName({ name, id }: S3Upload): string {
  const digest = createHash('sha256').update(`${name}\n${id}`).digest('hex');
  return `upload-${digest.slice(0, 32)}`;
}
