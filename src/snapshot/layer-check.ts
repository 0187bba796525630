/**
 * Compares a layer's files with their description. Each chunk is checked as soon as all of it is written, so that
 * the first chunks are checked while others are still downloaded.
 */
import { open, stat, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { MirrorError } from '../lib/errors.ts';
import type { ObjectFormat } from '../mirror/refs.ts';
import type { ChunkDigester } from './chunks.ts';
import { checkPairs } from './layers.ts';
import { CHUNK_BYTES, type Layer, type LayerFile } from './manifest.ts';

/** Start it with an empty folder, or with one that has the files. The caller has to `end` it. */
export class LayerCheck {
  readonly #directory: string;
  readonly #layer: Layer;
  readonly #files: Map<string, FileCheck>;

  /** Layers that are checked in parallel share a digester, which bounds the memory. */
  constructor(directory: string, layer: Layer, digester: ChunkDigester) {
    this.#directory = directory;
    this.#layer = layer;
    this.#files = new Map(
      layer.files.map((file) => [
        file.name,
        new FileCheck(join(directory, file.name), file, digester),
      ]),
    );
  }

  /** Bytes written to a file, which no longer change; each byte is reported at most once. */
  readonly note = (name: string, start: number, end: number): void => {
    this.#files.get(name)?.note(start, end);
  };

  /** Once all files are complete: also checks bytes that were not reported. Throws `bad-snapshot`. */
  async finish(objectFormat: ObjectFormat): Promise<void> {
    for (const { name, bytes } of this.#layer.files) {
      const found = (await stat(join(this.#directory, name))).size;
      if (found === bytes) continue;
      throw this.#bad(name, `has ${String(found)} of ${String(bytes)} bytes`);
    }
    for (const [name, file] of this.#files) {
      const wrong = await file.findWrong();
      if (wrong !== undefined) throw this.#bad(name, `is damaged in its chunk ${String(wrong)}`);
    }
    const names = this.#layer.files.map(({ name }) => name);
    await checkPairs(this.#directory, names, objectFormat, 'bad-snapshot');
  }

  /** Waits for unfinished reads, and closes the files. Doesn't throw. */
  async end(): Promise<void> {
    await Promise.all([...this.#files.values()].map((file) => file.end()));
  }

  #bad(name: string, what: string): MirrorError {
    const layer = this.#layer.name.slice(0, 12);
    return new MirrorError('bad-snapshot', `${name} in layer ${layer} ${what}`);
  }
}

class FileCheck {
  readonly #path: string;
  readonly #bytes: number;
  readonly #chunks: readonly string[];
  readonly #digester: ChunkDigester;
  /** The number of bytes of each chunk that were not reported yet. */
  readonly #missing: number[];
  /** For each chunk whose check has started: whether it is as described. */
  readonly #sound: (Promise<boolean> | undefined)[];
  #opened: Promise<FileHandle> | undefined;

  constructor(path: string, { bytes, chunks }: LayerFile, digester: ChunkDigester) {
    this.#path = path;
    this.#bytes = bytes;
    this.#chunks = chunks;
    this.#digester = digester;
    this.#missing = chunks.map((_, index) => this.#sizeOf(index));
    this.#sound = chunks.map(() => undefined);
  }

  note(start: number, end: number): void {
    for (let index = Math.floor(start / CHUNK_BYTES); index < this.#chunks.length; index += 1) {
      const from = index * CHUNK_BYTES;
      if (from >= end) break;
      const written = Math.min(end, from + this.#sizeOf(index)) - Math.max(start, from);
      const missing = (this.#missing[index] ?? 0) - written;
      this.#missing[index] = missing;
      if (missing === 0) void this.#begin(index);
    }
  }

  /** Checks the remaining chunks. Returns the index of the first one that is not as described. */
  async findWrong(): Promise<number | undefined> {
    const sound = await Promise.all(this.#chunks.map((_, index) => this.#begin(index)));
    const wrong = sound.indexOf(false);
    return wrong < 0 ? undefined : wrong;
  }

  async end(): Promise<void> {
    await Promise.allSettled(this.#sound.filter((each) => each !== undefined));
    await this.#opened?.then((file) => file.close()).catch(() => undefined);
  }

  #begin(index: number): Promise<boolean> {
    const begun = this.#sound[index] ?? this.#check(index);
    this.#sound[index] = begun;
    // `findWrong` rejects with it.
    begun.catch(() => undefined);
    return begun;
  }

  async #check(index: number): Promise<boolean> {
    const bytes = this.#sizeOf(index);
    const file = await (this.#opened ??= open(this.#path, 'r'));
    const digest = await this.#digester.digest(file, index * CHUNK_BYTES, bytes);
    return digest === this.#chunks[index];
  }

  #sizeOf(index: number): number {
    return Math.min(CHUNK_BYTES, this.#bytes - index * CHUNK_BYTES);
  }
}
