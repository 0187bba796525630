/**
 * Uploads a layer's files as one tar object: a small one in one request, others in parts, several at the same time. The
 * object doesn't exist before the last request has succeeded. Parts are kept in memory, so that they can be sent again.
 * What the server confirmed is checked: the size by a HEAD request, the bytes by the ETags, which are MD5 digests on most
 * servers. Bytes with another digest are read back; where ETags are no digests, the size has to do.
 */
import { createHash, hash, type Hash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { tidy, withGrace } from '../../lib/abort.ts';
import { formatBytes, sumBytes } from '../../lib/bytes.ts';
import { READ_PLAIN } from '../../lib/copy.ts';
import { MirrorError, hasCode, throwIfCancelled } from '../../lib/errors.ts';
import { mapEachOf } from '../../lib/parallel.ts';
import { backOff, retry } from '../../lib/retry.ts';
import { checkPlainFile } from '../layer-files.ts';
import type { LayerFiles, TransferOptions } from '../store.ts';
import type { S3Bucket } from './bucket.ts';
import { contentBytes, describeTar, readTar, type TarFile, type TarRange } from './tar.ts';
import type { S3Upload } from './uploads.ts';

const MIB = 1024 * 1024;
/** S3 allows parts of 5 MiB and more, at most 10,000 for an object. */
const PART_BYTES = 8 * MIB;
const MAX_PARTS = 10_000;
/** Parts that are sent at the same time. Their number and size decide how much memory an upload needs. */
const WIDTH = 4;
/** The most that S3 accepts in one request. */
const MAX_PUT_BYTES = 5 * 1024 * MIB;
const STREAM_BYTES = 256 * 1024;
const PUT_ATTEMPTS = 3;
const PUT_BACK_OFF = { firstMs: 1_000, longestMs: 2_000 };
/** How long the request that makes the object visible may continue after a cancel. A cancelled job has 7.5 s. */
export const COMMIT_GRACE_MS = 2_000;

interface Job extends TransferOptions {
  bucket: S3Bucket;
  name: string;
  files: readonly TarFile[];
  /** Of the archive. */
  bytes: number;
}

/** Bytes that the server may have stored wrongly: they are read back. */
interface Suspect extends TarRange {
  md5: string;
}

interface Part {
  etag: string;
  suspects: Suspect[];
}

/** What a server says about bytes that it stored. */
interface Receipt {
  ETag?: string | undefined;
  ServerSideEncryption?: string | undefined;
  SSECustomerAlgorithm?: string | undefined;
}

/** Throws `bad-snapshot` if files are not as declared; if their sizes show it, before anything is sent. */
export async function uploadLayer(
  bucket: S3Bucket,
  name: string,
  layer: LayerFiles,
  directory: string,
  options: TransferOptions,
): Promise<void> {
  const { entries, bytes } = describeTar(layer);
  await using opened = new AsyncDisposableStack();
  const files: TarFile[] = [];
  for (const entry of entries) {
    const path = join(directory, entry.name);
    await checkPlainFile(path, entry.end - entry.start);
    files.push({ ...entry, handle: opened.use(await open(path, READ_PLAIN)) });
  }
  const job = { ...options, bucket, name, files, bytes };
  if (bytes <= PART_BYTES) await putSmall(job);
  else await putLarge(job);
  options.onBytes?.(sumBytes(layer.files));
}

async function putSmall(job: Job): Promise<void> {
  const { bucket, name, files, bytes } = job;
  const range = { start: 0, end: bytes };
  const content = await readTar(files, range, Buffer.allocUnsafeSlow(bytes));
  await commit(job, async (late) =>
    suspectsOf(await bucket.put(name, content, late), range, hash('md5', content)),
  );
}

async function putLarge(job: Job): Promise<void> {
  const { bucket, name, signal } = job;
  // Also after a cancel, because an upload can be aborted only by its id.
  const upload = await withGrace(signal, COMMIT_GRACE_MS, (late) =>
    bucket.uploads.begin(name, late),
  );
  if (upload === undefined) return putAtOnce(job);
  try {
    const parts = await putParts(job, upload);
    await commit(job, async (late) => {
      await complete(job, upload, parts, late);
      return parts.flatMap(({ suspects }) => suspects);
    });
  } catch (error) {
    await tidy((bounded) => bucket.uploads.abort(upload, bounded));
    throw error;
  }
}

async function putParts(
  { bucket, files, bytes, signal, onBytes }: Job,
  upload: S3Upload,
): Promise<Part[]> {
  const partBytes = Math.max(PART_BYTES, Math.ceil(bytes / MAX_PARTS / MIB) * MIB);
  const numbers = Array.from({ length: Math.ceil(bytes / partBytes) }, (_, index) => index + 1);
  // Buffers are reused: otherwise many pile up before they are collected.
  const buffers: Buffer[] = [];
  let done = 0;
  return mapEachOf(numbers, WIDTH, signal, async (number, bounded) => {
    const buffer = buffers.pop() ?? Buffer.allocUnsafeSlow(partBytes);
    const range = { start: (number - 1) * partBytes, end: Math.min(bytes, number * partBytes) };
    const content = await readTar(files, range, buffer);
    const md5 = hash('md5', content);
    const receipt = await bucket.uploads.putPart(upload, number, content, bounded);
    buffers.push(buffer);
    done += contentBytes(files, range);
    onBytes?.(done);
    return { etag: receipt.ETag ?? '', suspects: suspectsOf(receipt, range, md5) };
  });
}

async function complete(
  { bucket, name, bytes }: Job,
  upload: S3Upload,
  parts: readonly Part[],
  signal: AbortSignal,
): Promise<void> {
  const etags = parts.map(({ etag }) => etag);
  try {
    await bucket.uploads.complete(upload, etags, signal);
  } catch (error) {
    // Names are never used twice: an existing object is ours, and only its answer was lost.
    const found = await bucket.head(name, signal).catch(() => undefined);
    if (found?.bytes !== bytes) throw error;
  }
}

/** Uploads in one request, for a server without parts. The files are read while it is sent, and again if it is repeated. */
async function putAtOnce(job: Job): Promise<void> {
  const { bucket, name, bytes } = job;
  if (bytes > MAX_PUT_BYTES) {
    const sizes = `${formatBytes(bytes)} where one upload takes ${formatBytes(MAX_PUT_BYTES)}`;
    const message = `writing ${name} in ${bucket.location}: the server has no multipart uploads, and the layer has ${sizes}`;
    throw new MirrorError('store-unavailable', message, { concern: 's3-endpoint' });
  }
  let told = 0;
  const onBytes = (done: number): void => {
    if (done > told) job.onBytes?.((told = done));
  };
  await commit(job, (late) =>
    retry(() => putStream({ ...job, onBytes }, late), {
      signal: late,
      pauseAfter(error, failures) {
        const isTransient = hasCode(error, 'store-unavailable');
        const isOver = job.signal.aborted || !isTransient || failures === PUT_ATTEMPTS;
        return isOver ? undefined : backOff(failures, PUT_BACK_OFF);
      },
    }),
  );
}

async function putStream(job: Job, signal: AbortSignal): Promise<Suspect[]> {
  const { bucket, name, bytes } = job;
  const digest = createHash('md5');
  const body = Readable.from(streamTar(job, digest));
  try {
    const receipt = await bucket.put(name, body, signal, { bytes });
    return suspectsOf(receipt, { start: 0, end: bytes }, digest.digest('hex'));
  } finally {
    body.destroy();
  }
}

async function* streamTar({ files, bytes, onBytes }: Job, digest: Hash): AsyncGenerator<Buffer> {
  for (let start = 0; start < bytes; start += STREAM_BYTES) {
    const range = { start, end: Math.min(bytes, start + STREAM_BYTES) };
    const content = await readTar(files, range, Buffer.allocUnsafeSlow(STREAM_BYTES));
    digest.update(content);
    onBytes?.(contentBytes(files, { start: 0, end: range.end }));
    yield content;
  }
}

/** The range, if the server's ETag looks like an MD5 digest and is another. */
function suspectsOf(receipt: Receipt, range: TarRange, md5: string): Suspect[] {
  const { ETag = '', ServerSideEncryption, SSECustomerAlgorithm } = receipt;
  // With a key of KMS or of the customer, ETags look like digests and are none.
  const isOpaque = ServerSideEncryption?.startsWith('aws:') ?? SSECustomerAlgorithm !== undefined;
  const found = /^"?([0-9a-f]{32})"?$/i.exec(ETag)?.[1]?.toLowerCase();
  return isOpaque || found === undefined || found === md5 ? [] : [{ ...range, md5 }];
}

/** Creates the object and checks it. After a cancel it still finishes, or removes the object. */
async function commit(job: Job, work: (late: AbortSignal) => Promise<Suspect[]>): Promise<void> {
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
  { bucket, name, bytes }: Job,
  suspects: readonly Suspect[],
  signal: AbortSignal,
): Promise<void> {
  const found = await bucket.head(name, signal);
  if (found === undefined) throw bucket.lost(name, 'does not have it');
  if (found.bytes !== bytes) {
    const sizes = `${String(found.bytes)} bytes instead of ${String(bytes)}`;
    throw bucket.lost(name, `has ${sizes}`);
  }
  for (const { start, end, md5 } of suspects) {
    const digest = createHash('md5');
    await bucket.readRange(name, { etag: found.etag, start, end }, { signal }, (pieces) => {
      for (const piece of pieces) digest.update(piece);
      return Promise.resolve();
    });
    if (digest.digest('hex') !== md5) throw bucket.lost(name, 'holds other bytes than were sent');
  }
}
