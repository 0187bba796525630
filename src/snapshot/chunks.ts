/**
 * SHA-256 of chunks of files, by WebCrypto, which hashes several chunks in parallel on Node's thread pool.
 *
 * Memory holds the chunk being read, and WebCrypto's copies of those being hashed: at most
 * (1 + PARALLEL_CHUNKS) * CHUNK_BYTES, 64 MiB, however many are asked for.
 */
import { webcrypto } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { throwIfCancelled } from '../lib/errors.ts';
import { readInto } from '../lib/files.ts';
import { Slots } from '../lib/parallel.ts';
import { CHUNK_BYTES } from './manifest.ts';

/** The pool has four threads. One is left for reads and writes. */
const PARALLEL_CHUNKS = Math.max(2, Math.min(3, availableParallelism()));

export type OnChunk = (chunk: Uint8Array) => void;

/** Throws the signal's reason instead of reading another chunk once the signal has fired. */
export class ChunkDigester {
  readonly #signal: AbortSignal;
  readonly #buffer = Buffer.allocUnsafeSlow(CHUNK_BYTES);
  readonly #slots = new Slots(PARALLEL_CHUNKS);
  #lastRead: Promise<unknown> = Promise.resolve();

  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  /**
   * The digest, in hexadecimal, of up to CHUNK_BYTES bytes at a position, or of fewer where the file ends.
   * Chunks are read one at a time, in the order of the calls; `onChunk` may use each until it returns.
   */
  digest(file: FileHandle, position: number, bytes: number, onChunk?: OnChunk): Promise<string> {
    return this.#slots.run(async () => {
      const read = this.#lastRead.then(async () => {
        throwIfCancelled(this.#signal);
        const chunk = await readInto(this.#buffer.subarray(0, bytes), file, position);
        onChunk?.(chunk);
        // It has copied the chunk when it returns, so the buffer is free for the next one.
        return { hash: webcrypto.subtle.digest('SHA-256', chunk) };
      });
      this.#lastRead = read.catch(() => undefined);
      return Buffer.from(await (await read).hash).toString('hex');
    });
  }
}
