/**
 * Receives the bytes of a range of an archive: compares headers with the expected ones, writes contents to their files,
 * skips padding. Bytes that arrive during a write are written by the next one. At most MAX_WAITING_BYTES wait, and as many
 * are being written; then the sender is slowed down.
 */
import type { FileHandle } from 'node:fs/promises';
import { Writable } from 'node:stream';
import { describeError, MirrorError } from '../../lib/errors.ts';
import type { TarEntry, TarRange } from './tar.ts';

const MAX_WAITING_BYTES = 512 * 1024;

export interface TargetFile extends TarEntry {
  handle: FileHandle;
}

/** The part of a range that has not arrived yet. */
export interface PendingRange extends TarRange {
  /** Moves towards the end as bytes are written. */
  position: number;
}

export class TarTarget extends Writable {
  /** Why writing failed, if that was not the connection's fault. */
  failure: Error | undefined;
  /** Resolves once no write is running, also after it was destroyed. Never rejects. */
  settled: Promise<void> = Promise.resolve();
  readonly #files: readonly TargetFile[];
  readonly #range: PendingRange;
  readonly #onBytes: (bytes: number) => void;

  /** `onBytes` is called with the number of file bytes that were written, and with 0 whenever anything arrived. */
  constructor(files: readonly TargetFile[], range: PendingRange, onBytes: (bytes: number) => void) {
    super({ highWaterMark: MAX_WAITING_BYTES });
    this.#files = files;
    this.#range = range;
    this.#onBytes = onBytes;
  }

  override _write(chunk: Buffer, _: BufferEncoding, done: (error?: Error) => void): void {
    this.#begin([chunk], done);
  }

  override _writev(chunks: { chunk: Buffer }[], done: (error?: Error) => void): void {
    this.#begin(
      chunks.map(({ chunk }) => chunk),
      done,
    );
  }

  #begin(chunks: readonly Buffer[], done: (error?: Error) => void): void {
    this.#onBytes(0);
    this.settled = this.#fill(chunks).then(done, (error: unknown) => {
      this.failure = Error.isError(error) ? error : new Error(describeError(error));
      done(this.failure);
    });
  }

  async #fill(chunks: readonly Buffer[]): Promise<Error | undefined> {
    const range = this.#range;
    const from = range.position;
    const to = from + chunks.reduce((sum, { length }) => sum + length, 0);
    const until = Math.min(to, range.end);
    for (const file of this.#files) {
      if (file.end < from || file.headerStart >= until) continue;
      checkHeader(file, cut(chunks, file.headerStart - from, file.start - from), from);
      await this.#write(file, cut(chunks, file.start - from, Math.min(until, file.end) - from));
    }
    range.position = until;
    return to > range.end ? new Error('the server sends more than it was asked for') : undefined;
  }

  async #write({ handle, start }: TargetFile, chunks: readonly Buffer[]): Promise<void> {
    const range = this.#range;
    // The end of what this range has written to the file so far.
    range.position = Math.max(range.position, start);
    for (let rest = chunks; rest.length > 0;) {
      const { bytesWritten } = await handle.writev(rest, range.position - start);
      range.position += bytesWritten;
      this.#onBytes(bytesWritten);
      rest = cut(rest, bytesWritten, Infinity);
    }
  }
}

/** Compares the part of a header that has arrived. */
function checkHeader({ name, header, headerStart }: TarEntry, parts: Buffer[], from: number): void {
  const found = Buffer.concat(parts);
  const skipped = Math.max(0, from - headerStart);
  if (found.equals(header.subarray(skipped, skipped + found.length))) return;
  throw new MirrorError('bad-snapshot', `the header of ${name} is another than declared`);
}

/** The bytes of some chunks, one after the other, from one to before another. */
function cut(chunks: readonly Buffer[], start: number, end: number): Buffer[] {
  let at = 0;
  const wanted: Buffer[] = [];
  for (const chunk of chunks) {
    const part = chunk.subarray(Math.max(0, start - at), Math.max(0, end - at));
    if (part.length > 0) wanted.push(part);
    at += chunk.length;
  }
  return wanted;
}
