/**
 * A store: where snapshots are kept. It moves bytes and decides nothing. Its callers read manifests, judge whether a
 * snapshot is sound, and choose what retention removes.
 *
 * A snapshot is a numbered manifest and the layers that it names. Calling sequence of a save: `putLayer` for each new
 * layer, then `createManifest`, which commits the snapshot. Calling sequence of a restore: `findManifest`, then `getLayer`
 * for each layer into an empty directory, several at the same time; if one fails, `findManifest` again with `below`.
 *
 * Failure rules:
 * - Nothing is visible before it is complete: a reader never sees half a layer or half a manifest.
 * - `createManifest` creates or refuses, atomically among all machines. An existing number is never replaced: it is the
 *   fence against a job that lost a race, was stopped, or is late.
 * - `findManifest` returns undefined only for proven absence. If it can't tell, it throws `store-unavailable`.
 * - `getLayer` throws `bad-snapshot` if the layer or one of its files is missing, or a file is longer or shorter than
 *   declared; `store-unavailable` if the store failed. It doesn't check digests.
 * - Calls that write throw `no-space`, `store-unavailable`, or `store-read-only` if this job may only read, and leave
 *   nothing visible.
 * - A number may be refused although no manifest is found under it: another writer has it and is not done, or died. The
 *   caller then tries the next number.
 * - In a store that evicts on its own, and only that way, `list` shows nothing, and `remove` and `withdrawManifest` do
 *   nothing.
 * - An aborted signal ends a call soon, with `cancelled`.
 * - Keys, numbers and names to remove that are not allowed are our bug: TypeError. Names and sizes in a layer come from a
 *   manifest: `bad-snapshot`.
 */
import type { OnBytes } from '../lib/progress.ts';

export interface Store {
  /** Where it is, for people. It has no secret. */
  readonly location: string;

  /** For people who miss a snapshot: what may hide or remove one in this store. */
  readonly absenceHint?: string;

  /** The manifest with the highest number, or with the highest one below `below`. */
  findManifest(key: string, options: FindOptions): Promise<StoredManifest | undefined>;

  /** True if it was created by this call, false if the number is taken. */
  createManifest(
    key: string,
    number: number,
    content: Uint8Array,
    signal: AbortSignal,
  ): Promise<boolean>;

  /** Deletes a manifest that this job created. A missing one is no error. */
  withdrawManifest(key: string, number: number, signal: AbortSignal): Promise<void>;

  /** False only for proven absence. An existing layer may be damaged. */
  hasLayer(key: string, name: string, signal: AbortSignal): Promise<boolean>;

  /** Downloads a layer's files into an existing, empty directory. */
  getLayer(key: string, layer: LayerFiles, directory: string, options: GetOptions): Promise<void>;

  /**
   * Stores the layer's files from a directory; throws `bad-snapshot` if they are not as declared. Its name must be new:
   * names are never used twice.
   */
  putLayer(
    key: string,
    layer: LayerFiles,
    directory: string,
    options: TransferOptions,
  ): Promise<void>;

  /** All manifests and layers of a key, oldest number first. */
  list(key: string, signal: AbortSignal): Promise<Inventory>;

  /** Removes what `list` returned. A missing item is no error. */
  remove(key: string, what: Removal, signal: AbortSignal): Promise<void>;
}

export interface FindOptions {
  below?: number;
  signal: AbortSignal;
}

export interface TransferOptions {
  signal: AbortSignal;
  /** Called with the number of bytes moved so far; finally with all, if the call succeeds. */
  onBytes?: OnBytes | undefined;
}

export interface GetOptions extends TransferOptions {
  /**
   * Called for ranges of a file that were written and no longer change, in any order, so that they can be checked while
   * others are still downloaded. The end of a range is exclusive. A store may report none.
   */
  onFilled?: OnFilled | undefined;
}

/** Never called twice for a byte. */
export type OnFilled = (name: string, start: number, end: number) => void;

export interface StoredManifest {
  /** A positive integer. */
  number: number;
  /** As given to `createManifest`, cut after MAX_MANIFEST_BYTES: readers refuse a longer one. */
  content: Uint8Array;
}

/** What a store needs to know of a layer: names are `[A-Za-z0-9._-]`, never `.` or `..`. */
export interface LayerFiles {
  name: string;
  files: readonly { name: string; bytes: number }[];
}

/** Ages are by the store's own clock, so that clocks of two machines are never compared. */
export interface Inventory {
  manifests: readonly { number: number; ageMs: number }[];
  layers: readonly { name: string; ageMs: number }[];
  /** Left behind by writers that died; safe to remove once it is older than any writer can live. */
  debris: readonly { name: string; ageMs: number }[];
}

export interface Removal {
  manifests: readonly number[];
  layers: readonly string[];
  debris: readonly string[];
}

/** A compressed manifest of 100,000 refs has about 5 MB. */
export const MAX_MANIFEST_BYTES = 64 * 1024 * 1024;
