/**
 * What all stores have in common. A back end fills `BackEnd` with what is its own; `createStore` makes it a store: it checks
 * the arguments before anything is asked, and keeps the order in which things are searched and removed. `checkRecords`
 * checks those of claims.
 */
import { throwIfCancelled, toMirrorError } from '../lib/errors.ts';
import { MAX_RECORD_BYTES, type ClaimRecords } from '../locks/claims/records.ts';
import { assertLayer, assertManifestNumber, assertNames, assertSize, isSafeName } from './names.ts';
import {
  MAX_MANIFEST_BYTES,
  type FindOptions,
  type GetOptions,
  type Inventory,
  type LayerFiles,
  type Removal,
  type Store,
  type TransferOptions,
} from './store.ts';

export interface Call {
  key: string;
  /** What is done, for messages: `listing` for "listing in the disk store /data: …". */
  what: string;
  signal: AbortSignal;
  isWriting?: boolean;
  /** Bounded by how long it stands still, not by how long it takes. */
  isTransfer?: boolean;
}

/** A store's own part. `S` is what it works with during one call: the key's folders, a signal, a process. */
export interface BackEnd<S> extends Pick<Store, 'location' | 'absenceHint'> {
  /** Runs one call within its time. Throws errors of the family only. */
  attempt<T>(call: Call, work: (session: S) => Promise<T>): Promise<T>;

  /**
   * The newest manifest below a number, without those that have vanished; its content is undefined if it vanishes
   * as well.
   */
  findManifest(
    session: S,
    below: number,
    vanished: ReadonlySet<number>,
  ): Promise<{ number: number; content: Uint8Array | undefined } | undefined>;

  createManifest(session: S, number: number, content: Uint8Array): Promise<boolean>;

  hasLayer(session: S, name: string): Promise<boolean>;

  getLayer(session: S, layer: LayerFiles, to: string, on: Callbacks<GetOptions>): Promise<void>;

  putLayer(session: S, layer: LayerFiles, from: string, on: Callbacks): Promise<void>;

  /** Undefined where the store evicts on its own, and only that way. */
  removal: RemovalOf<S> | undefined;
}

type Callbacks<T extends TransferOptions = TransferOptions> = Omit<T, 'signal'>;

/** What is gone already is no error. */
export interface RemovalOf<S> {
  /** In any order, with foreign names; an age may be negative. */
  list(session: S): Promise<Inventory>;
  removeManifest(session: S, number: number): Promise<void>;
  removeLayer(session: S, name: string): Promise<void>;
  removeDebris(session: S, name: string): Promise<void>;
}

/** Bounds the search for a manifest while retention removes them. */
const MAX_VANISHED = 10;

/** A store; nothing is asked until it is used. */
export function createStore<S>(backEnd: BackEnd<S>): Store {
  return new CheckedStore(backEnd);
}

class CheckedStore<S> implements Store {
  readonly location: string;
  readonly absenceHint?: string;
  readonly #backEnd: BackEnd<S>;

  constructor(backEnd: BackEnd<S>) {
    this.#backEnd = backEnd;
    this.location = backEnd.location;
    if (backEnd.absenceHint !== undefined) this.absenceHint = backEnd.absenceHint;
  }

  async findManifest(key: string, { below = Infinity, signal }: FindOptions) {
    if (below !== Infinity) assertManifestNumber(below);
    return this.#attempt({ key, what: 'finding a manifest', signal }, async (session) => {
      const vanished = new Set<number>();
      while (vanished.size < MAX_VANISHED) {
        const found = await this.#backEnd.findManifest(session, below, vanished);
        if (found === undefined) return undefined;
        const { number, content } = found;
        if (content !== undefined) return { number, content };
        vanished.add(number);
      }
      throw new Error('manifests vanish faster than they can be read');
    });
  }

  async createManifest(key: string, number: number, content: Uint8Array, signal: AbortSignal) {
    assertManifestNumber(number);
    assertSize('manifest', content, MAX_MANIFEST_BYTES);
    const call = { key, what: `creating manifest ${number}`, signal, isWriting: true };
    return this.#attempt(call, (session) => this.#backEnd.createManifest(session, number, content));
  }

  async withdrawManifest(key: string, number: number, signal: AbortSignal) {
    assertManifestNumber(number);
    const call = { key, what: `withdrawing manifest ${number}`, signal, isWriting: true };
    await this.#attemptRemoval(call, undefined, (session, removal) =>
      removal.removeManifest(session, number),
    );
  }

  async hasLayer(key: string, name: string, signal: AbortSignal) {
    assertNames('layer', name);
    const call = { key, what: `looking for layer ${name}`, signal };
    return this.#attempt(call, (session) => this.#backEnd.hasLayer(session, name));
  }

  async getLayer(key: string, layer: LayerFiles, directory: string, options: GetOptions) {
    assertLayer(layer);
    const { signal, ...callbacks } = options;
    const call = { key, what: `getting layer ${layer.name}`, signal, isTransfer: true };
    await this.#attempt(call, (session) =>
      this.#backEnd.getLayer(session, layer, directory, callbacks),
    );
  }

  async putLayer(key: string, layer: LayerFiles, directory: string, options: TransferOptions) {
    assertLayer(layer);
    const { signal, ...callbacks } = options;
    const what = `putting layer ${layer.name}`;
    const call = { key, what, signal, isWriting: true, isTransfer: true };
    await this.#attempt(call, async (session) => {
      if (await this.#backEnd.hasLayer(session, layer.name)) {
        throw new Error('a layer of this name exists');
      }
      await this.#backEnd.putLayer(session, layer, directory, callbacks);
    });
  }

  async list(key: string, signal: AbortSignal) {
    const nothing: Inventory = { manifests: [], layers: [], debris: [] };
    // A store may have to write to tell the time.
    const call = { key, what: 'listing', signal, isWriting: true };
    return this.#attemptRemoval(call, nothing, async (session, removal) => {
      const { manifests, layers, debris } = await removal.list(session);
      return {
        manifests: withAges(manifests).sort((one, other) => one.number - other.number),
        layers: withAges(layers.filter(({ name }) => isSafeName(name))),
        debris: withAges(debris.filter(({ name }) => isSafeName(name))),
      };
    });
  }

  async remove(key: string, { manifests, layers, debris }: Removal, signal: AbortSignal) {
    manifests.forEach(assertManifestNumber);
    assertNames('layer', ...layers);
    assertNames('debris', ...debris);
    const call = { key, what: 'removing', signal, isWriting: true, isTransfer: true };
    await this.#attemptRemoval(call, undefined, async (session, removal) => {
      // First and strictly: a manifest that cannot be removed keeps its layers.
      for (const number of manifests) {
        throwIfCancelled(signal);
        await removal.removeManifest(session, number);
      }
      let failure: unknown;
      const chores = [
        ...layers.map((name) => () => removal.removeLayer(session, name)),
        ...debris.map((name) => () => removal.removeDebris(session, name)),
      ];
      for (const chore of chores) {
        throwIfCancelled(signal);
        await chore().catch((error: unknown) => (failure ??= error));
      }
      if (failure === undefined) return;
      throw toMirrorError(failure, 'store-unavailable', 'old data could not be removed');
    });
  }

  #attempt<T>(call: Call, work: (session: S) => Promise<T>): Promise<T> {
    check(call);
    return this.#backEnd.attempt(call, work);
  }

  async #attemptRemoval<T>(
    call: Call,
    otherwise: T,
    work: (session: S, removal: RemovalOf<S>) => Promise<T>,
  ): Promise<T> {
    const { removal } = this.#backEnd;
    if (removal !== undefined) return this.#attempt(call, (session) => work(session, removal));
    check(call);
    return otherwise;
  }
}

function check({ key, signal }: Call): void {
  assertNames('key', key);
  throwIfCancelled(signal);
}

/** None below 0: a store may tell the time by the second, or list what is younger than its `now`. */
function withAges<T extends { ageMs: number }>(items: readonly T[]): T[] {
  return items.map((item) => ({ ...item, ageMs: Math.max(0, item.ageMs) }));
}

/** Records whose names and sizes are checked; foreign names are left out of the list. */
export function checkRecords(key: string, records: ClaimRecords): ClaimRecords {
  assertNames('key', key);
  const checkRecord = (name: string, content: Uint8Array = Buffer.of()): void => {
    assertNames('record', name);
    assertSize('record', content, MAX_RECORD_BYTES);
  };
  return {
    async create(name, content, signal) {
      checkRecord(name, content);
      return records.create(name, content, signal);
    },
    async write(name, content, signal) {
      checkRecord(name, content);
      await records.write(name, content, signal);
    },
    async read(name, signal) {
      checkRecord(name);
      return records.read(name, signal);
    },
    async remove(name, signal) {
      checkRecord(name);
      await records.remove(name, signal);
    },
    async list(signal) {
      return (await records.list(signal)).filter(({ name }) => isSafeName(name));
    },
  };
}
