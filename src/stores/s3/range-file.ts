/**
 * Where the bytes of a range go: into a file, from the range's position on. What comes while some is
 * written is written at once with the next write, and what is not written yet holds back the rest:
 * at most MAX_WAITING_BYTES wait, and as many are written.
 */
import type { FileHandle } from 'node:fs/promises';
import { Writable } from 'node:stream';
import { describeError } from '../../lib/errors.ts';

const MAX_WAITING_BYTES = 512 * 1024;

interface FilledRange {
  file: FileHandle;
  /** Moved as bytes are written. */
  position: number;
  end: number;
}

export class RangeFile extends Writable {
  /** Why it could not be written, if that was the file's fault. */
  failure: Error | undefined;
  /** When nothing is written any more, also after it was destroyed; never fails. */
  settled: Promise<void> = Promise.resolve();
  readonly #range: FilledRange;
  readonly #onBytes: (bytes: number) => void;

  /** `onBytes` is told of bytes when they are written, and of none when some have come. */
  constructor(range: FilledRange, onBytes: (bytes: number) => void) {
    super({ highWaterMark: MAX_WAITING_BYTES });
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
    const { file, position, end } = this.#range;
    const room = end - position;
    let rest = cut(chunks, 0, room);
    while (rest.length > 0) {
      const { bytesWritten } = await file.writev(rest, this.#range.position);
      this.#range.position += bytesWritten;
      this.#onBytes(bytesWritten);
      rest = cut(rest, bytesWritten, Infinity);
    }
    const isTooMuch = chunks.reduce((sum, { length }) => sum + length, 0) > room;
    return isTooMuch ? new Error('it is longer than its range') : undefined;
  }
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
