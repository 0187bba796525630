/**
 * A store: where snapshots live. It moves bytes and decides nothing: what a manifest says, which
 * snapshot is sound and what retention lets go is decided by its callers.
 *
 * A snapshot is a numbered manifest plus the layers it names. Calling sequence of a save: `putLayer`
 * for each new layer, then `createManifest`; the manifest's presence commits the snapshot. Of a
 * restore: `findManifest`, then `getLayer` for each layer into an empty directory, for some of them at
 * once; if one fails, `findManifest` again with `below`.
 *
 * Failure rules:
 * - Nothing is visible before it is whole: a reader never sees half a layer or half a manifest.
 * - `createManifest` creates or refuses, atomically, among all machines. A number that exists is
 *   never replaced: it is the fence against a job that lost a race, was stopped, or is late.
 * - `findManifest` answers undefined only for proven absence; not being able to tell throws
 *   `store-unavailable`.
 * - `getLayer` throws `bad-snapshot` when the layer or one of its files is gone, or a file is longer
 *   or shorter than declared; `store-unavailable` when the store failed. It does not check digests.
 * - Everything that writes throws `no-space`, `store-unavailable`, or `store-read-only` where this job
 *   may only read, and leaves nothing visible.
 * - A number may be refused although no manifest is found under it: another writer has it and is not
 *   done, or died. Whoever needs a number then takes the next.
 * - Where a store lets go of things by itself, and only so, `list` shows nothing, and `remove` and
 *   `withdrawManifest` do nothing.
 * - An aborted signal ends a call soon, with `cancelled`.
 * - Keys, numbers and names to remove that are not allowed are our bug: TypeError. Names and sizes in
 *   a layer are a manifest's word: `bad-snapshot`.
 */
import type { OnBytes } from '../lib/progress.ts';

export interface Store {
  /** Where it is, for people; holds no secret. */
  readonly location: string;

  /** For people who miss a snapshot: what else may hide or remove one here. */
  readonly absenceHint?: string;

  /** The manifest with the highest number, below `below` where given. */
  findManifest(key: string, options: FindOptions): Promise<StoredManifest | undefined>;

  /** True if it was created by this call, false if the number is taken. */
  createManifest(
    key: string,
    number: number,
    content: Uint8Array,
    signal: AbortSignal,
  ): Promise<boolean>;

  /** Takes back a manifest that this job created; one that is gone already is no error. */
  withdrawManifest(key: string, number: number, signal: AbortSignal): Promise<void>;

  /** False only for proven absence; what is there may be damaged. */
  hasLayer(key: string, name: string, signal: AbortSignal): Promise<boolean>;

  /** Brings a layer's files into an existing, empty directory. */
  getLayer(key: string, layer: LayerFiles, directory: string, options: GetOptions): Promise<void>;

  /**
   * Stores the layer's files from a directory; `bad-snapshot` if they are not as declared there. Its
   * name is new: names are never reused.
   */
  putLayer(
    key: string,
    layer: LayerFiles,
    directory: string,
    options: TransferOptions,
  ): Promise<void>;

  /** All manifests and layers of a key, oldest number first. */
  list(key: string, signal: AbortSignal): Promise<Inventory>;

  /** Removes what `list` has shown; what is gone already is no error. */
  remove(key: string, what: Removal, signal: AbortSignal): Promise<void>;
}

export interface FindOptions {
  below?: number;
  signal: AbortSignal;
}

export interface TransferOptions {
  signal: AbortSignal;
  /** Told how much of the layer has been moved so far; in the end all, if the call succeeds. */
  onBytes?: OnBytes | undefined;
}

export interface GetOptions extends TransferOptions {
  /**
   * Told of stretches of a file that are there and stay as they are, from a byte to before another,
   * in any order, so that they can be looked at while the rest comes. A store may tell of none.
   */
  onFilled?: OnFilled | undefined;
}

/** Told of no byte twice. */
export type OnFilled = (name: string, start: number, end: number) => void;

export interface StoredManifest {
  /** A positive integer. */
  number: number;
  /** As given to `createManifest`. What is past MAX_MANIFEST_BYTES is left out; no reader takes it. */
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
  /** Left by writers that died; safe to remove once older than any writer can live. */
  debris: readonly { name: string; ageMs: number }[];
}

export interface Removal {
  manifests: readonly number[];
  layers: readonly string[];
  debris: readonly string[];
}

/** A compressed manifest of 100,000 refs has some 5 MB; this is far beyond any honest one. */
export const MAX_MANIFEST_BYTES = 64 * 1024 * 1024;
