/**
 * A layer's object on its way into files: in ranges, several at a time, each written where it belongs
 * as it comes. All are ranges of one object, by its ETag. A range that breaks off, or stands still,
 * is asked for again from where it came to. In memory are of each range some MiB (s3-range-file.ts).
 */
import { open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { describeError, MirrorError, throwIfCancelled } from '../../lib/errors.ts';
import { forEachOf, type Slots } from '../../lib/parallel.ts';
import type { S3Bucket, S3Head } from './bucket.ts';
import { RangeFile } from './range-file.ts';
import { backOff } from './signals.ts';
import type { GetOptions, LayerFiles } from '../store.ts';

const MIB = 1024 * 1024;

export interface RangeLimits {
  bytes: number;
  /** Ranges of all layers on their way, each on a connection of its own. */
  width: number;
  /** How long a request may take; where bytes still come, the next goes on behind them. */
  attemptMs: number;
  /** How long a request may bring nothing. */
  silenceMs: number;
  /** Attempts in succession that bring less than `progressBytes`. */
  attempts: number;
  progressBytes: number;
}

export const DEFAULT_LIMITS: RangeLimits = {
  // Large enough that a request's way to and fro does not count, small enough to be spread.
  bytes: 16 * MIB,
  width: 12,
  // A connection that is slower than 300 KiB/s is not S3's pace: another may be.
  attemptMs: 60_000,
  silenceMs: 15_000,
  attempts: 4,
  progressBytes: MIB,
};

interface Range {
  name: string;
  file: FileHandle;
  start: number;
  /** In the file. */
  position: number;
  end: number;
  /** Where the file begins in the object. */
  offset: number;
}

export interface DownloadOptions extends GetOptions {
  limits: RangeLimits;
  /** `width` of them, shared by all downloads. */
  slots: Slots;
}

/** Brings the files of a layer from an object, which `head` has told of. */
export async function downloadLayer(
  bucket: S3Bucket,
  name: string,
  head: S3Head,
  layer: LayerFiles,
  directory: string,
  options: DownloadOptions,
): Promise<void> {
  const files: FileHandle[] = [];
  try {
    const ranges: Range[] = [];
    let offset = 0;
    for (const { name: fileName, bytes } of layer.files) {
      const file = await open(join(directory, fileName), 'wx', 0o444);
      files.push(file);
      for (let position = 0; position < bytes; position += options.limits.bytes) {
        const end = Math.min(bytes, position + options.limits.bytes);
        ranges.push({ name: fileName, file, start: position, position, end, offset });
      }
      offset += bytes;
    }
    await new Download(bucket, name, head.etag, options).run(ranges);
    options.onBytes?.(offset);
  } finally {
    await Promise.all(files.map((file) => file.close()));
  }
}

class Download {
  readonly #bucket: S3Bucket;
  readonly #name: string;
  readonly #etag: string;
  readonly #options: DownloadOptions;
  #done = 0;

  constructor(bucket: S3Bucket, name: string, etag: string, options: DownloadOptions) {
    this.#bucket = bucket;
    this.#name = name;
    this.#etag = etag;
    this.#options = options;
  }

  async run(ranges: readonly Range[]): Promise<void> {
    const { signal, limits, slots } = this.#options;
    await forEachOf(ranges, limits.width, signal, (range, bounded) =>
      slots.run(() => this.#bring(range, bounded)),
    );
  }

  async #bring(range: Range, signal: AbortSignal): Promise<void> {
    const { attempts, progressBytes } = this.#options.limits;
    throwIfCancelled(signal);
    let failures = 0;
    while (range.position < range.end) {
      const before = range.position;
      const problem = await this.#attempt(range, signal);
      throwIfCancelled(signal);
      if (range.position - before >= progressBytes) failures = 0;
      else if (problem !== undefined) failures++;
      if (failures >= attempts) {
        const message = `reading ${this.#name} in ${this.#bucket.location} broke off ${String(failures)} times`;
        throw new MirrorError('store-unavailable', message, { cause: problem });
      }
      if (problem !== undefined) await backOff(failures, signal);
    }
    this.#options.onFilled?.(range.name, range.start, range.end);
  }

  /** Writes what comes; gives what broke it off, if that is to be tried again. */
  async #attempt(range: Range, signal: AbortSignal): Promise<Error | undefined> {
    const { attemptMs, silenceMs } = this.#options.limits;
    const watch = new Watch(signal, attemptMs, silenceMs);
    try {
      const { position, end, offset } = range;
      const window = { etag: this.#etag, start: offset + position, end: offset + end };
      const body = await this.#open(window, watch, signal);
      if (body instanceof Error) return body;
      try {
        return await this.#pump(body, range, watch);
      } finally {
        body.destroy();
      }
    } finally {
      watch.end();
    }
  }

  async #open(
    window: { etag: string; start: number; end: number },
    watch: Watch,
    signal: AbortSignal,
  ): Promise<Readable | Error> {
    try {
      return await this.#bucket.openRange(this.#name, window, watch.signal);
    } catch (error) {
      // The client has tried again by itself, unless it was our watch that ended it.
      if (watch.signal.aborted && !signal.aborted) return watch.problem;
      throw error;
    }
  }

  async #pump(body: Readable, range: Range, watch: Watch): Promise<Error | undefined> {
    const target = new RangeFile(range, (bytes) => {
      watch.note();
      this.#done += bytes;
      if (bytes > 0) this.#options.onBytes?.(this.#done);
    });
    try {
      // To the body's end and not to the range's: its connection is used again only then.
      await pipeline(body, target, { signal: watch.signal });
    } catch (error) {
      await target.settled;
      if (target.failure !== undefined) throw target.failure;
      if (range.position === range.end) return undefined;
      if (watch.signal.aborted) return watch.problem;
      return Error.isError(error) ? error : new Error(describeError(error));
    }
    return range.position === range.end ? undefined : new Error('it ended early');
  }
}

/** Ends a request that takes too long, or in which nothing comes. */
class Watch {
  readonly signal: AbortSignal;
  /** Why it was ended. */
  problem = new Error('it took too long');
  readonly #controller = new AbortController();
  readonly #total: NodeJS.Timeout;
  readonly #silence: NodeJS.Timeout;

  constructor(signal: AbortSignal, attemptMs: number, silenceMs: number) {
    this.signal = AbortSignal.any([signal, this.#controller.signal]);
    this.#total = setTimeout(() => {
      this.#controller.abort();
    }, attemptMs);
    this.#silence = setTimeout(() => {
      this.problem = new Error('nothing came for a while');
      this.#controller.abort();
    }, silenceMs);
  }

  /** Something came, or was written. */
  note(): void {
    this.#silence.refresh();
  }

  end(): void {
    clearTimeout(this.#total);
    clearTimeout(this.#silence);
  }
}
