/**
 * The store in a bucket of S3, or of a server that speaks it (laid out in s3-keys.ts). A layer is one
 * object, so that it is there, and gone, at once; a manifest is created by a conditional write.
 *
 * What it asks of the server: objects are seen whole, and what is written is seen at once, also in
 * listings. Where the server has no conditional writes, a manifest gets a name of its own, and its
 * writer looks whether it is alone with its number: whoever is not takes its own back. So of some who
 * contend at once none may win.
 *
 * What is in the bucket and none of ours is left alone, but for a layer's or a claim's name.
 */
import { createHash } from 'node:crypto';
import { MirrorError, throwIfCancelled, toMirrorError } from '../../lib/errors.ts';
import { Slots } from '../../lib/parallel.ts';
import {
  assertLayer,
  assertManifestNumber,
  assertManifestSize,
  assertNames,
  isSafeName,
} from '../names.ts';
import type { S3Bucket, S3Upload } from './bucket.ts';
import { newNonce, type S3Creation } from './create.ts';
import { DEFAULT_LIMITS, downloadLayer, type RangeLimits } from './download.ts';
import { numberOf, S3Keys } from './keys.ts';
import { tidy, withGrace } from './signals.ts';
import { uploadLayer } from './upload.ts';
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

/** Bounds the search for a manifest where retention removes them under our eyes. */
const MAX_VANISHED = 10;

export interface S3StoreOptions {
  bucket: S3Bucket;
  creation: S3Creation;
  limits?: Partial<RangeLimits>;
}

/** A store in a bucket; nothing is asked until the store is used. */
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
          .flatMap(({ name }) => ({ name, number: numberOf(name) ?? Infinity }))
          .filter(({ name, number }) => number < below && !vanished.has(name))
          .filter(({ number }) => number !== Infinity)
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
    const copy = Uint8Array.from(content);
    return this.#attempt(`creating manifest ${String(number)}`, signal, async () =>
      (await this.#creation.isPossible(signal))
        ? this.#create(keys.manifest(number), copy, signal)
        : this.#announce(keys, number, copy, signal),
    );
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
    const keys = keysOf(key);
    assertLayer(layer);
    const { signal } = options;
    await this.#attempt(`getting layer ${layer.name}`, signal, async () => {
      const name = keys.layer(layer.name);
      const head = await this.#bucket.head(name, signal);
      const bytes = sizeOf(layer);
      if (head?.bytes !== bytes) {
        const problem =
          head === undefined ? 'is not there' : `has ${head.bytes} bytes instead of ${bytes}`;
        throw new MirrorError('bad-snapshot', `${name} in ${this.location} ${problem}`);
      }
      const ours = { ...options, limits: this.#limits, slots: this.#slots };
      await downloadLayer(this.#bucket, name, head, layer, directory, ours);
    });
  }

  async putLayer(
    key: string,
    layer: LayerFiles,
    directory: string,
    options: TransferOptions,
  ): Promise<void> {
    const keys = keysOf(key);
    assertLayer(layer);
    const { signal } = options;
    await this.#attempt(`putting layer ${layer.name}`, signal, async () => {
      const name = keys.layer(layer.name);
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
        // Of several, the youngest: what is counted on has been there that long.
        if (number !== undefined) ages.set(number, Math.min(ageMs, ages.get(number) ?? Infinity));
      }
      return {
        manifests: [...ages]
          .map(([number, ageMs]) => ({ number, ageMs }))
          .sort((one, other) => one.number - other.number),
        layers: layers.objects
          .filter(({ name }) => isSafeName(name))
          .map(({ name, changedMs }) => ({ name, ageMs: Math.max(0, layers.nowMs - changedMs) })),
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
      if (failure !== undefined) throw toMirrorError(failure, 'store-unavailable', 'garbage stays');
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

  /** All manifests of a number: more than one only where the server has no conditional writes. */
  async #namesOf(keys: S3Keys, number: number, signal: AbortSignal): Promise<string[]> {
    const begin = keys.manifestPrefix(number).slice(keys.manifests.length);
    const { objects } = await this.#bucket.list(keys.manifests, signal, begin);
    return objects
      .filter(({ name }) => numberOf(name) === number)
      .map(({ name }) => keys.manifests + name);
  }

  async #create(name: string, content: Uint8Array, signal: AbortSignal): Promise<boolean> {
    const nonce = newNonce();
    try {
      return await withGrace(signal, (late) =>
        this.#creation.createIfAbsent(name, content, nonce, late),
      );
    } catch (error) {
      await tidy((bounded) => this.#creation.removeOwn(name, nonce, bounded));
      throw error;
    }
  }

  /** Without conditions: of all that write a number, at most one finds itself alone. */
  async #announce(
    keys: S3Keys,
    number: number,
    content: Uint8Array,
    signal: AbortSignal,
  ): Promise<boolean> {
    if ((await this.#namesOf(keys, number, signal)).length > 0) return false;
    const name = keys.manifest(number, newNonce());
    let isAlone = false;
    try {
      isAlone = await withGrace(signal, async (late) => {
        await this.#bucket.put(name, content, late);
        const names = await this.#namesOf(keys, number, late);
        return names.length === 1 && names[0] === name;
      });
    } finally {
      if (!isAlone) await tidy((bounded) => this.#bucket.remove(name, bounded));
    }
    return isAlone;
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

/** Ids of uploads are the server's words: their digests are names. */
function debrisName({ name, id }: S3Upload): string {
  const digest = createHash('sha256').update(`${name}\n${id}`).digest('hex');
  return `upload-${digest.slice(0, 32)}`;
}

function sizeOf({ files }: LayerFiles): number {
  return files.reduce((sum, { bytes }) => sum + bytes, 0);
}
