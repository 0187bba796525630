/**
 * Where the bytes of a range of an archive go: headers are compared with what they must be, contents go into
 * their files, padding is skipped. What arrives during a write goes out with the next one, and what waits
 * holds back the rest: at most MAX_WAITING_BYTES wait, and as many are being written.
 */
import type { FileHandle } from 'node:fs/promises';
import { Writable } from 'node:stream';
import { describeError, MirrorError } from '../../lib/errors.ts';
import type { TarEntry, TarRange } from './tar.ts';

const MAX_WAITING_BYTES = 512 * 1024;

export interface TargetFile extends TarEntry {
  handle: FileHandle;
}

/** What of a range is still to come. */
export interface PendingRange extends TarRange {
  /** Moves towards the end as bytes are written. */
  position: number;
}

export class TarTarget extends Writable {
  /** Why writing failed, if that was not the connection's fault. */
  failure: Error | undefined;
  /** Resolves once no write is under way, also after it was destroyed; never rejects. */
  settled: Promise<void> = Promise.resolve();
  readonly #files: readonly TargetFile[];
  readonly #range: PendingRange;
  readonly #onBytes: (bytes: number) => void;

  /** `onBytes` is told of bytes of files when they are written, and of 0 when anything arrived. */
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
    // What of the file this range has brought so far ends here.
    range.position = Math.max(range.position, start);
    for (let rest = chunks; rest.length > 0;) {
      const { bytesWritten } = await handle.writev(rest, range.position - start);
      range.position += bytesWritten;
      this.#onBytes(bytesWritten);
      rest = cut(rest, bytesWritten, Infinity);
    }
  }
}

/** Compares what has arrived of a header, which may be a part of it. */
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
