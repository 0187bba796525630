/**
 * Uploads a layer's files as one tar object: a small one in one request, others in parts, several at the same time. The
 * object doesn't exist before the last request has succeeded. Parts are kept in memory, so that they can be sent again.
 * What the server confirmed is checked: the size by a HEAD request, the bytes by the ETags, which are MD5 digests on most
 * servers. Bytes without such an ETag are read back.
 */
import { createHash, hash } from 'node:crypto';
import { Readable } from 'node:stream';
import { tidy, withGrace } from '../../lib/abort.ts';
import { formatBytes, sumBytes } from '../../lib/bytes.ts';
import { MirrorError, hasCode, throwIfCancelled } from '../../lib/errors.ts';
import { mapEachOf } from '../../lib/parallel.ts';
import type { OnBytes } from '../../lib/progress.ts';
import { backOff, retry } from '../../lib/retry.ts';
import type { LayerFiles, TransferOptions } from '../store.ts';
import type { S3Bucket } from './bucket.ts';
import type { S3Upload } from './uploads.ts';
import { describeTar, type TarRange } from './tar.ts';
import { TarSource } from './tar-source.ts';

const MIB = 1024 * 1024;
/** S3 allows parts of 5 MiB and more, at most 10,000 for an object. */
const PART_BYTES = 8 * MIB;
const MAX_PARTS = 10_000;
/** Parts that are sent at the same time. Their number and size decide how much memory an upload needs. */
const WIDTH = 4;
/** The most that S3 accepts in one request. */
const MAX_PUT_BYTES = 5 * 1024 * MIB;
const PUT_ATTEMPTS = 3;
const PUT_BACK_OFF = { firstMs: 1_000, longestMs: 2_000 };
/** How long the request that makes the object visible may continue after a cancel. A cancelled job has 7.5 s. */
export const COMMIT_GRACE_MS = 2_000;

interface Job extends TransferOptions {
  bucket: S3Bucket;
  name: string;
  source: TarSource;
}

/** Bytes whose ETag isn't their MD5 digest: they are read back. */
interface Doubt extends TarRange {
  md5: string;
}

/** Throws `bad-snapshot` if files are not as declared; if their sizes show it, before anything is sent. */
export async function uploadLayer(
  bucket: S3Bucket,
  name: string,
  layer: LayerFiles,
  directory: string,
  options: TransferOptions,
): Promise<void> {
  const source = await TarSource.open(describeTar(layer), directory);
  try {
    const job = { ...options, bucket, name, source };
    if (source.bytes <= PART_BYTES) await putSmall(job);
    else await putLarge(job);
    options.onBytes?.(sumBytes(layer.files));
  } finally {
    await source.close();
  }
}

async function putSmall(job: Job): Promise<void> {
  const { bucket, name, source } = job;
  const range = { start: 0, end: source.bytes };
  const content = await source.read(range, Buffer.allocUnsafeSlow(source.bytes));
  const md5 = hash('md5', content);
  await commit(job, async (late) => {
    const receipt = await bucket.put(name, content, late);
    return receipt.md5 === undefined || receipt.md5 === md5 ? [] : [{ ...range, md5 }];
  });
}

async function putLarge(job: Job): Promise<void> {
  const { bucket, name, signal } = job;
  // Also after a cancel, because an upload can be aborted only by its id.
  const upload = await withGrace(signal, COMMIT_GRACE_MS, (late) =>
    bucket.uploads.begin(name, late),
  );
  if (upload === undefined) return putAtOnce(job);
  try {
    const { etags, doubts } = await putParts(job, upload);
    await commit(job, async (late) => {
      await complete(job, upload, etags, late);
      return doubts;
    });
  } catch (error) {
    await tidy((bounded) => bucket.uploads.abort(upload, bounded));
    throw error;
  }
}

async function putParts(
  { bucket, source, signal, onBytes }: Job,
  upload: S3Upload,
): Promise<{ etags: string[]; doubts: Doubt[] }> {
  const { bytes } = source;
  const partBytes = Math.max(PART_BYTES, Math.ceil(bytes / MAX_PARTS / MIB) * MIB);
  const starts = Array.from(
    { length: Math.ceil(bytes / partBytes) },
    (_, index) => index * partBytes,
  );
  const etags = starts.map(() => '');
  const doubts: Doubt[] = [];
  // Buffers are reused: otherwise many pile up before they are collected.
  const buffers: Buffer[] = [];
  let done = 0;
  await mapEachOf([...starts.entries()], WIDTH, signal, async ([index, start], bounded) => {
    const buffer = buffers.pop() ?? Buffer.allocUnsafeSlow(partBytes);
    const range = { start, end: Math.min(bytes, start + partBytes) };
    const content = await source.read(range, buffer);
    const md5 = hash('md5', content);
    const receipt = await bucket.uploads.putPart(upload, index + 1, content, bounded);
    etags[index] = receipt.etag;
    if (receipt.md5 !== undefined && receipt.md5 !== md5) doubts.push({ ...range, md5 });
    buffers.push(buffer);
    done += source.contentBytes(range);
    onBytes?.(done);
  });
  await source.check();
  return { etags, doubts };
}

async function complete(
  { bucket, name, source }: Job,
  upload: S3Upload,
  etags: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  try {
    await bucket.uploads.complete(upload, etags, signal);
  } catch (error) {
    // Names are never used twice: an existing object is ours, and only its answer was lost.
    const found = await bucket.head(name, signal).catch(() => undefined);
    if (found?.bytes !== source.bytes) throw error;
  }
}

/** Uploads in one request, for a server without parts. The files are read while it is sent, and again if it is repeated. */
async function putAtOnce(job: Job): Promise<void> {
  const { bucket, name, source } = job;
  if (source.bytes > MAX_PUT_BYTES) {
    const sizes = `${formatBytes(source.bytes)} where one upload takes ${formatBytes(MAX_PUT_BYTES)}`;
    const message = `writing ${name} in ${bucket.location}: the server has no multipart uploads, and the layer has ${sizes}`;
    throw new MirrorError('store-unavailable', message, { concern: 's3-endpoint' });
  }
  let told = 0;
  const onBytes = (done: number): void => {
    if (done > told) job.onBytes?.((told = done));
  };
  await commit(job, (late) =>
    retry(() => putStream(job, onBytes, late), {
      signal: late,
      pauseAfter(error, failures) {
        const isTransient = hasCode(error, 'store-unavailable');
        const isOver = job.signal.aborted || !isTransient || failures === PUT_ATTEMPTS;
        return isOver ? undefined : backOff(failures, PUT_BACK_OFF);
      },
    }),
  );
}

async function putStream(
  { bucket, name, source }: Job,
  onBytes: OnBytes,
  signal: AbortSignal,
): Promise<Doubt[]> {
  const digest = createHash('md5');
  const body = Readable.from(source.stream(digest, onBytes));
  try {
    const receipt = await bucket.put(name, body, signal, { bytes: source.bytes });
    const md5 = digest.digest('hex');
    const isSound = receipt.md5 === undefined || receipt.md5 === md5;
    return isSound ? [] : [{ start: 0, end: source.bytes, md5 }];
  } finally {
    body.destroy();
  }
}

/** Creates the object and checks it. After a cancel it still finishes, or removes the object. */
async function commit(job: Job, work: (late: AbortSignal) => Promise<Doubt[]>): Promise<void> {
  const { bucket, name, signal } = job;
  throwIfCancelled(signal);
  try {
    await withGrace(signal, COMMIT_GRACE_MS, async (late) => {
      await verify(job, await work(late), late);
    });
  } catch (error) {
    await tidy((bounded) => bucket.remove(name, bounded));
    throw error;
  }
}

async function verify(
  { bucket, name, source }: Job,
  doubts: readonly Doubt[],
  signal: AbortSignal,
): Promise<void> {
  const found = await bucket.head(name, signal);
  if (found === undefined) throw bucket.lost(name, 'does not have it');
  if (found.bytes !== source.bytes) {
    const sizes = `${String(found.bytes)} bytes instead of ${String(source.bytes)}`;
    throw bucket.lost(name, `has ${sizes}`);
  }
  for (const { start, end, md5 } of doubts) {
    const digest = createHash('md5');
    const body = await bucket.openRange(name, { etag: found.etag, start, end }, signal);
    for await (const chunk of body as AsyncIterable<Buffer>) digest.update(chunk);
    if (digest.digest('hex') !== md5) throw bucket.lost(name, 'holds other bytes than were sent');
  }
}
