/**
 * A layer's files on their way into one object, one file after the other: in one request where it is
 * small, else in parts, several at a time. The object is there when the last request is done, and not
 * before. A part is held in memory, so that it can be sent again.
 */
import { open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { READ_PLAIN } from '../../lib/copy.ts';
import { MirrorError, throwIfCancelled } from '../../lib/errors.ts';
import { checkPlainFile } from '../layer-files.ts';
import { forEachOf } from '../../lib/parallel.ts';
import type { S3Bucket } from './bucket.ts';
import { tidy, withGrace } from './signals.ts';
import type { LayerFiles, TransferOptions } from '../store.ts';

const MIB = 1024 * 1024;
/** S3 takes parts from 5 MiB on, at most 10,000 of an object. */
const PART_BYTES = 8 * MIB;
const MAX_PARTS = 10_000;
/** Parts on their way: with their size, what an upload takes of memory. */
const WIDTH = 4;

/** Throws `bad-snapshot` if files are not as declared, before anything is sent where that shows. */
export async function uploadLayer(
  bucket: S3Bucket,
  name: string,
  layer: LayerFiles,
  directory: string,
  options: TransferOptions,
): Promise<void> {
  for (const file of layer.files) await checkPlainFile(join(directory, file.name), file.bytes);
  const source = await LayerSource.open(layer, directory);
  try {
    await new Upload(bucket, name, source, options).run();
  } finally {
    await source.close();
  }
}

class Upload {
  readonly #bucket: S3Bucket;
  readonly #name: string;
  readonly #source: LayerSource;
  readonly #options: TransferOptions;

  constructor(bucket: S3Bucket, name: string, source: LayerSource, options: TransferOptions) {
    this.#bucket = bucket;
    this.#name = name;
    this.#source = source;
    this.#options = options;
  }

  async run(): Promise<void> {
    const { signal, onBytes } = this.#options;
    if (this.#source.bytes <= PART_BYTES) {
      const { bytes } = this.#source;
      const content = await this.#source.read(0, bytes, Buffer.allocUnsafeSlow(bytes));
      await this.#commit((late) => this.#bucket.put(this.#name, content, late));
    } else {
      // Also after a cancel: what was begun can only be given up by its id.
      const id = await withGrace(signal, (late) => this.#bucket.beginUpload(this.#name, late));
      const upload = { name: this.#name, id };
      try {
        const etags = await this.#putParts(upload);
        await this.#commit((late) => this.#complete(upload, etags, late));
      } catch (error) {
        await tidy((bounded) => this.#bucket.abortUpload(upload, bounded));
        throw error;
      }
    }
    onBytes?.(this.#source.bytes);
  }

  async #putParts(upload: { name: string; id: string }): Promise<string[]> {
    const { signal, onBytes } = this.#options;
    const { bytes } = this.#source;
    const partBytes = Math.max(PART_BYTES, Math.ceil(bytes / MAX_PARTS / MIB) * MIB);
    const starts = Array.from(
      { length: Math.ceil(bytes / partBytes) },
      (_, index) => index * partBytes,
    );
    const etags = new Array<string>(starts.length).fill('');
    let done = 0;
    // Used again: otherwise many pile up before they are collected.
    const buffers: Buffer[] = [];
    await forEachOf([...starts.entries()], WIDTH, signal, async ([index, start], bounded) => {
      const buffer = buffers.pop() ?? Buffer.allocUnsafeSlow(partBytes);
      const content = await this.#source.read(start, Math.min(bytes, start + partBytes), buffer);
      etags[index] = await this.#bucket.putPart(upload, index + 1, content, bounded);
      buffers.push(buffer);
      done += content.length;
      // Its end is told by the end.
      if (done < bytes) onBytes?.(done);
    });
    await this.#source.check();
    return etags;
  }

  async #complete(
    upload: { name: string; id: string },
    etags: readonly string[],
    signal: AbortSignal,
  ): Promise<void> {
    try {
      await this.#bucket.completeUpload(upload, etags, signal);
    } catch (error) {
      // Names are never reused: what is there is ours, and only its answer was lost.
      const found = await this.#bucket.head(this.#name, signal).catch(() => undefined);
      if (found?.bytes !== this.#source.bytes) throw error;
    }
  }

  /** What makes the object: after a cancel it comes to its end, or nothing is left of it. */
  async #commit(work: (late: AbortSignal) => Promise<void>): Promise<void> {
    const { signal } = this.#options;
    throwIfCancelled(signal);
    try {
      await withGrace(signal, work);
    } catch (error) {
      await tidy((bounded) => this.#bucket.remove(this.#name, bounded));
      throw error;
    }
  }
}

/** The files of a layer, read as if they were one. */
class LayerSource {
  readonly bytes: number;
  readonly #files: { path: string; handle: FileHandle; start: number; bytes: number }[];

  private constructor(
    files: { path: string; handle: FileHandle; start: number; bytes: number }[],
    bytes: number,
  ) {
    this.#files = files;
    this.bytes = bytes;
  }

  static async open(layer: LayerFiles, directory: string): Promise<LayerSource> {
    const files: { path: string; handle: FileHandle; start: number; bytes: number }[] = [];
    let start = 0;
    try {
      for (const { name, bytes } of layer.files) {
        const path = join(directory, name);
        files.push({ path, handle: await open(path, READ_PLAIN), start, bytes });
        start += bytes;
      }
    } catch (error) {
      await Promise.all(files.map(({ handle }) => handle.close()));
      throw error;
    }
    return new LayerSource(files, start);
  }

  /** The bytes from one to before another, in a buffer that has room for them. */
  async read(from: number, to: number, buffer: Buffer): Promise<Buffer> {
    const content = buffer.subarray(0, to - from);
    for (const { path, handle, start, bytes } of this.#files) {
      const end = Math.min(to, start + bytes);
      for (let at = Math.max(from, start); at < end;) {
        const { bytesRead } = await handle.read(content, at - from, end - at, at - start);
        if (bytesRead === 0) throw changed(path);
        at += bytesRead;
      }
    }
    return content;
  }

  /** Throws `bad-snapshot` where a file is longer by now. */
  async check(): Promise<void> {
    for (const { path, handle, bytes } of this.#files) {
      if ((await handle.stat()).size !== bytes) throw changed(path);
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#files.map(({ handle }) => handle.close()));
  }
}

function changed(path: string): MirrorError {
  return new MirrorError('bad-snapshot', `${path} changed while it was stored`);
}
