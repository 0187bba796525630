import type { Hash } from 'node:crypto';
import { open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { READ_PLAIN } from '../../lib/copy.ts';
import { MirrorError } from '../../lib/errors.ts';
import type { OnBytes } from '../../lib/progress.ts';
import { checkPlainFile } from '../layer-files.ts';
import type { Tar, TarEntry, TarRange } from './tar.ts';

const STREAM_BYTES = 256 * 1024;

interface SourceFile extends TarEntry {
  path: string;
  handle: FileHandle;
}

/** The archive of a layer's files in a folder, made as it is read. */
export class TarSource {
  readonly bytes: number;
  readonly #files: readonly SourceFile[];

  private constructor(bytes: number, files: readonly SourceFile[]) {
    this.bytes = bytes;
    this.#files = files;
  }

  /** Throws `bad-snapshot` unless all are plain files of the sizes that the archive declares. */
  static async open({ entries, bytes }: Tar, directory: string): Promise<TarSource> {
    const paths = entries.map(({ name }) => join(directory, name));
    for (const [index, { start, end }] of entries.entries()) {
      await checkPlainFile(paths[index] ?? '', end - start);
    }
    const files: SourceFile[] = [];
    try {
      for (const [index, entry] of entries.entries()) {
        const path = paths[index] ?? '';
        files.push({ ...entry, path, handle: await open(path, READ_PLAIN) });
      }
    } catch (error) {
      await Promise.all(files.map(({ handle }) => handle.close()));
      throw error;
    }
    return new TarSource(bytes, files);
  }

  /** Fills the beginning of a buffer with a range of the archive, and gives that. */
  async read({ start: from, end: to }: TarRange, buffer: Buffer): Promise<Buffer> {
    const content = buffer.subarray(0, to - from).fill(0);
    for (const { path, handle, header, headerStart, start, end } of this.#files) {
      if (headerStart < to && start > from) {
        const skipped = Math.max(0, from - headerStart);
        header.copy(content, Math.max(0, headerStart - from), skipped);
      }
      for (let at = Math.max(from, start); at < Math.min(to, end);) {
        const length = Math.min(to, end) - at;
        const { bytesRead } = await handle.read(content, at - from, length, at - start);
        if (bytesRead === 0) throw changed(path);
        at += bytesRead;
      }
    }
    return content;
  }

  /** The whole archive, piece after piece. */
  async *stream(digest: Hash, onBytes?: OnBytes): AsyncGenerator<Buffer> {
    for (let start = 0; start < this.bytes; start += STREAM_BYTES) {
      const range = { start, end: Math.min(this.bytes, start + STREAM_BYTES) };
      const content = await this.read(range, Buffer.allocUnsafeSlow(STREAM_BYTES));
      digest.update(content);
      onBytes?.(this.contentBytes({ start: 0, end: range.end }));
      yield content;
    }
    await this.check();
  }

  /** How many bytes of a range are content of files. */
  contentBytes({ start: from, end: to }: TarRange): number {
    return this.#files.reduce(
      (sum, { start, end }) => sum + Math.max(0, Math.min(to, end) - Math.max(from, start)),
      0,
    );
  }

  /** Throws `bad-snapshot` where a file is longer by now. */
  async check(): Promise<void> {
    for (const { path, handle, start, end } of this.#files) {
      if ((await handle.stat()).size !== end - start) throw changed(path);
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#files.map(({ handle }) => handle.close()));
  }
}

function changed(path: string): MirrorError {
  return new MirrorError('bad-snapshot', `${path} changed while it was stored`);
}
