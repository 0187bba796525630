/**
 * Downloads a layer's tar object into files: several ranges at the same time, each written to its place as it arrives. The
 * ETag makes sure that all are ranges of the same object. A range that breaks off or stalls continues from where it
 * stopped. Each range needs a few MiB of memory (tar-target.ts).
 */
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { unlessSilent } from '../../lib/abort.ts';
import { describeError, MirrorError, throwIfCancelled } from '../../lib/errors.ts';
import { mapEachOf, type Slots } from '../../lib/parallel.ts';
import { backOff, pause } from '../../lib/retry.ts';
import type { GetOptions, LayerFiles } from '../store.ts';
import type { S3Bucket } from './bucket.ts';
import { BACK_OFF } from './connection.ts';
import { cutTar, describeTar } from './tar.ts';
import { TarTarget, type PendingRange, type TargetFile } from './tar-target.ts';

const MIB = 1024 * 1024;

export interface RangeLimits {
  bytes: number;
  /** How many ranges, of all layers, are downloaded at the same time, each over its own connection. */
  width: number;
  /** How long a request may take. The next one continues where it stopped. */
  attemptMs: number;
  /** How long a request may receive nothing. */
  silenceMs: number;
  /** The most attempts in succession that receive less than `progressBytes`. */
  attempts: number;
  progressBytes: number;
}

export const DEFAULT_LIMITS: RangeLimits = {
  // Large enough that a request's round trip doesn't matter, small enough to use all connections.
  bytes: 16 * MIB,
  width: 12,
  // S3 is faster than 300 KiB/s, so another connection may be, too.
  attemptMs: 60_000,
  silenceMs: 15_000,
  attempts: 4,
  progressBytes: MIB,
};

export interface DownloadOptions extends GetOptions {
  limits: RangeLimits;
  /** `width` of them, shared by all downloads. */
  slots: Slots;
}

interface Download extends DownloadOptions {
  bucket: S3Bucket;
  name: string;
  etag: string;
  files: TargetFile[];
  /** Called with the number of bytes that were written. */
  add: (bytes: number) => void;
}

/** Downloads a layer's files from its object. Throws `bad-snapshot` if it is not as declared. */
export async function downloadLayer(
  bucket: S3Bucket,
  name: string,
  layer: LayerFiles,
  directory: string,
  options: DownloadOptions,
): Promise<void> {
  const { signal, limits, slots, onBytes } = options;
  const tar = describeTar(layer);
  const head = await bucket.head(name, signal);
  if (head?.bytes !== tar.bytes) {
    const problem =
      head === undefined
        ? 'is not there'
        : `has ${String(head.bytes)} bytes instead of ${String(tar.bytes)}`;
    throw new MirrorError('bad-snapshot', `${name} in ${bucket.location} ${problem}`);
  }
  const files: TargetFile[] = [];
  let done = 0;
  const add = (bytes: number): void => {
    done += bytes;
    if (bytes > 0) onBytes?.(done);
  };
  const download = { ...options, bucket, name, etag: head.etag, files, add };
  try {
    for (const entry of tar.entries) {
      files.push({ ...entry, handle: await open(join(directory, entry.name), 'wx', 0o444) });
    }
    await mapEachOf(cutTar(tar, limits.bytes), limits.width, signal, (range, bounded) =>
      slots.run(() => bring(download, { ...range, position: range.start }, bounded)),
    );
    onBytes?.(done);
  } finally {
    await Promise.all(files.map(({ handle }) => handle.close()));
  }
}

async function bring(download: Download, range: PendingRange, signal: AbortSignal): Promise<void> {
  const { bucket, name, limits, files, onFilled } = download;
  throwIfCancelled(signal);
  let failures = 0;
  while (range.position < range.end) {
    const before = range.position;
    const problem = await attempt(download, range, signal);
    throwIfCancelled(signal);
    if (range.position - before >= limits.progressBytes) failures = 0;
    else if (problem !== undefined) failures++;
    if (failures >= limits.attempts) {
      const message = `reading ${name} in ${bucket.location} broke off ${String(failures)} times`;
      throw new MirrorError('store-unavailable', message, { cause: problem });
    }
    if (problem !== undefined) await pause(backOff(failures + 1, BACK_OFF), signal);
  }
  for (const file of files) {
    const from = Math.max(range.start, file.start);
    const to = Math.min(range.end, file.end);
    if (from < to) onFilled?.(file.name, from - file.start, to - file.start);
  }
}

/** Writes what arrives. Returns the failure that ended it, if another attempt may succeed. */
async function attempt(
  download: Download,
  range: PendingRange,
  signal: AbortSignal,
): Promise<Error | undefined> {
  const { bucket, name, etag, limits } = download;
  const deadline = AbortSignal.timeout(limits.attemptMs);
  const bounds = AbortSignal.any([signal, deadline]);
  const silent = new MirrorError('store-unavailable', 'nothing arrived for a while');
  try {
    return await unlessSilent(
      bounds,
      limits.silenceMs,
      () => silent,
      async (bounded, note) => {
        const window = { etag, start: range.position, end: range.end };
        const body = await bucket.openRange(name, window, bounded);
        try {
          return await pump(download, body, range, bounded, note);
        } finally {
          body.destroy();
        }
      },
    );
  } catch (error) {
    if (signal.aborted) throw error;
    if (error === silent) return silent;
    // The SDK has retried already, unless the deadline ended the request.
    if (deadline.aborted) return new Error('it took too long');
    throw error;
  }
}

async function pump(
  { files, add }: Download,
  body: Readable,
  range: PendingRange,
  signal: AbortSignal,
  note: () => void,
): Promise<Error | undefined> {
  const target = new TarTarget(files, range, (bytes) => {
    note();
    add(bytes);
  });
  try {
    // Read to the end of the body and not only of the range: otherwise the connection isn't reused.
    await pipeline(body, target, { signal });
  } catch (error) {
    await target.settled;
    if (target.failure !== undefined) throw target.failure;
    if (range.position === range.end) return undefined;
    if (signal.aborted) throw error;
    return Error.isError(error) ? error : new Error(describeError(error));
  }
  return range.position === range.end ? undefined : new Error('it ended early');
}
