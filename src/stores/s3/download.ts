/**
 * Downloads a layer's tar object into files: several ranges at the same time, each written to its place as it arrives. The
 * ETag makes sure that all are ranges of the same object. A range that breaks off or stalls continues from where it
 * stopped. Each range needs a few MiB of memory (body.ts).
 */
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { MirrorError, throwIfCancelled } from '../../lib/errors.ts';
import { mapEachOf, type Slots } from '../../lib/parallel.ts';
import { backOff, pause } from '../../lib/retry.ts';
import type { GetOptions, LayerFiles } from '../store.ts';
import type { S3Bucket } from './bucket.ts';
import { BrokenOffError } from './body.ts';
import { BACK_OFF } from './connection.ts';
import {
  contentBytes,
  cutTar,
  describeTar,
  overlap,
  writeTar,
  type TarFile,
  type TarRange,
} from './tar.ts';

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
  files: readonly TarFile[];
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
  await using opened = new AsyncDisposableStack();
  const files: TarFile[] = [];
  for (const entry of tar.entries) {
    const handle = opened.use(await open(join(directory, entry.name), 'wx', 0o444));
    files.push({ ...entry, handle });
  }
  let done = 0;
  const add = (bytes: number): void => {
    done += bytes;
    if (bytes > 0) onBytes?.(done);
  };
  const download = { ...options, bucket, name, etag: head.etag, files, add };
  await mapEachOf(cutTar(tar, limits.bytes), limits.width, signal, (range, bounded) =>
    slots.run(() => bring(download, range, bounded)),
  );
  onBytes?.(done);
}

async function bring(download: Download, range: TarRange, signal: AbortSignal): Promise<void> {
  const { bucket, name, limits, onFilled } = download;
  const files = download.files.filter(
    ({ headerStart, end }) => headerStart < range.end && end > range.start,
  );
  const rest = { ...range };
  for (let failures = 0; rest.start < rest.end;) {
    const before = rest.start;
    const problem = await attempt({ ...download, files }, rest, signal);
    if (rest.start === rest.end) break;
    failures = rest.start - before >= limits.progressBytes ? 0 : failures + 1;
    if (failures >= limits.attempts) {
      const message = `reading ${name} in ${bucket.location} broke off ${String(failures)} times`;
      throw new MirrorError('store-unavailable', message, { cause: problem });
    }
    await pause(backOff(failures + 1, BACK_OFF), signal);
  }
  for (const file of files) {
    const { start, end } = overlap(range, file);
    if (start < end) onFilled?.(file.name, start - file.start, end - file.start);
  }
}

/** Writes what arrives, and moves the range's start. Returns the failure that ended it, if another attempt may succeed. */
async function attempt(
  { bucket, name, etag, files, limits: { attemptMs, silenceMs }, add }: Download,
  range: TarRange,
  signal: AbortSignal,
): Promise<unknown> {
  const deadline = AbortSignal.timeout(attemptMs);
  const options = { signal: AbortSignal.any([signal, deadline]), silenceMs };
  try {
    await bucket.readRange(name, { ...range, etag }, options, async (pieces, bytes) => {
      await writeTar(files, range.start, pieces);
      add(contentBytes(files, { start: range.start, end: range.start + bytes }));
      range.start += bytes;
    });
    return undefined;
  } catch (error) {
    throwIfCancelled(signal);
    if (deadline.aborted) return new Error('it took too long');
    if (error instanceof BrokenOffError) return error;
    throw error;
  }
}
