/**
 * SHA-256 of chunks of files, by WebCrypto, which hashes on Node's thread pool, several chunks at once.
 *
 * In memory are the chunk that is read, and the copies that WebCrypto makes of those it hashes: at
 * most (1 + PARALLEL_CHUNKS) * CHUNK_BYTES, 64 MiB, however many are asked for.
 */
import { webcrypto } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { CHUNK_BYTES } from './manifest.ts';

/** The pool has four threads, of which one is for what is read and written meanwhile. */
const PARALLEL_CHUNKS = Math.max(2, Math.min(3, availableParallelism()));

export type OnChunk = (chunk: Uint8Array) => void;

export class ChunkDigester {
  readonly #buffer = Buffer.allocUnsafeSlow(CHUNK_BYTES);
  readonly #running = new Set<Promise<unknown>>();
  #turn: Promise<unknown> = Promise.resolve();

  /**
   * In hexadecimal, of that many bytes, at most CHUNK_BYTES, or of fewer where the file ends before.
   * Chunks are read one after the other, in the order of the calls; `onChunk` is lent each.
   */
  async digest(
    file: FileHandle,
    position: number,
    bytes: number,
    onChunk?: OnChunk,
  ): Promise<string> {
    const begun = this.#turn.then(() => this.#begin(file, position, bytes, onChunk));
    this.#turn = begun.catch(() => undefined);
    return (await begun).digest;
  }

  async #begin(
    file: FileHandle,
    position: number,
    bytes: number,
    onChunk: OnChunk | undefined,
  ): Promise<{ digest: Promise<string> }> {
    while (this.#running.size >= PARALLEL_CHUNKS) await Promise.race(this.#running);
    const chunk = await readInto(this.#buffer.subarray(0, bytes), file, position);
    onChunk?.(chunk);
    // It has copied the chunk when it returns.
    const hashed = webcrypto.subtle.digest('SHA-256', chunk);
    const digest = hashed.then((hash) => Buffer.from(hash).toString('hex'));
    const running = digest.then(ignore, ignore);
    this.#running.add(running);
    void running.then(() => this.#running.delete(running));
    return { digest };
  }
}

function ignore(): void {
  // Whoever asked for the digest hears of it.
}

/** The buffer filled from a place in a file, or its beginning where the file ends before. */
export async function readInto<T extends ArrayBufferLike>(
  buffer: Buffer<T>,
  file: FileHandle,
  position: number,
): Promise<Buffer<T>> {
  let filled = 0;
  while (filled < buffer.length) {
    const { bytesRead } = await file.read(
      buffer,
      filled,
      buffer.length - filled,
      position + filled,
    );
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
}
