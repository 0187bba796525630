/** Copies of plain files that can be cancelled. */
import { constants } from 'node:fs';
import { chmod, copyFile, link, lstat, open, type FileHandle } from 'node:fs/promises';
import { throwIfCancelled } from './errors.ts';
import type { OnBytes } from './progress.ts';

const MIB = 1024 * 1024;
/**
 * Linux allocates the page cache in pieces of one write, and large pieces may be memory that a virtual
 * machine's host has reclaimed: restoring 326 MiB took 1.4 s with writes of 1 MiB, and 0.7 s with these.
 */
const COPY_BUFFER_BYTES = MIB / 4;
/** A sync cannot be aborted, so data is synced as it arrives, never much of it at once. */
const SYNC_EVERY_BYTES = 32 * MIB;

/**
 * Flags to read a file: never through a symlink, and never waiting for a pipe's writer. Windows has
 * neither flag; there they are undefined, which counts as 0.
 */
export const READ_PLAIN = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

export interface CopyOptions {
  /** Permissions of the copy. */
  mode: number;
  /** Whether the bytes are on the disk when the copy ends. */
  durable: boolean;
  signal: AbortSignal;
  onBytes?: OnBytes | undefined;
}

/**
 * Hard-links a read-only file, or copies it where that is impossible: to another file system, to one without
 * links, of another user. Returns the number of bytes copied. A target that exists is an error.
 */
export async function linkOrCopy(
  from: string,
  to: string,
  bytes: number,
  signal: AbortSignal,
): Promise<number> {
  try {
    await link(from, to);
    return 0;
  } catch {
    // A copy works, or fails with a better reason.
    await copyPlainFile(from, to, bytes, { mode: 0o444, durable: false, signal });
    return bytes;
  }
}

/**
 * Copies a plain file that should have that many bytes; never follows or makes a link. Throws what the file
 * system says, `cancelled` soon after the signal, and RangeError if the file is longer or shorter; the caller
 * removes what was copied until then. A target that exists is an error.
 */
export async function copyPlainFile(
  from: string,
  to: string,
  bytes: number,
  options: CopyOptions,
): Promise<void> {
  throwIfCancelled(options.signal);
  await using source = await open(from, READ_PLAIN);
  const copied =
    (await cloneFile(source, from, to, options)) ??
    (await copyInPieces(source, to, bytes, options));
  if (copied !== bytes) throw new RangeError(`${from} changed while it was copied`);
  options.onBytes?.(bytes);
}

/** Shares the blocks where the file system can (Btrfs, XFS, APFS). Returns the bytes, or undefined where it cannot. */
async function cloneFile(
  source: FileHandle,
  from: string,
  to: string,
  { mode, durable }: CopyOptions,
): Promise<number | undefined> {
  // The file that is open, even if a link has taken its name. macOS copies such a link as a link.
  const path = process.platform === 'linux' ? `/proc/self/fd/${String(source.fd)}` : from;
  try {
    await copyFile(path, to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE_FORCE);
  } catch {
    return undefined; // Whatever the reason, copying in pieces works or fails with a better one.
  }
  const stats = await lstat(to);
  if (!stats.isFile()) throw new Error(`${to} is not a plain file`);
  await chmod(to, mode);
  if (durable) await syncFile(to);
  return stats.size;
}

/** By hand, because `copyFile` cannot be aborted: 10 GB would outlive a cancelled job. */
async function copyInPieces(
  source: FileHandle,
  to: string,
  bytes: number,
  options: CopyOptions,
): Promise<number> {
  const target = await open(to, 'wx', options.mode);
  try {
    const copied = await pump(source, target, bytes, options);
    if (options.durable) await target.sync();
    return copied;
  } finally {
    await target.close();
  }
}

/** Reads while it writes, as fast as `copyFile`; stops once the source is longer than declared. Returns the bytes read. */
async function pump(
  source: FileHandle,
  target: FileHandle,
  bytes: number,
  { durable, signal, onBytes }: CopyOptions,
): Promise<number> {
  let buffer = Buffer.allocUnsafe(COPY_BUFFER_BYTES);
  let spare = Buffer.allocUnsafe(COPY_BUFFER_BYTES);
  let copied = 0;
  let unsynced = 0;
  let { bytesRead } = await source.read(buffer);
  while (bytesRead > 0) {
    throwIfCancelled(signal);
    copied += bytesRead;
    if (copied > bytes) break;
    const [next] = await Promise.all([
      source.read(spare),
      target.writeFile(buffer.subarray(0, bytesRead)),
    ]);
    onBytes?.(copied);
    unsynced += bytesRead;
    if (durable && unsynced >= SYNC_EVERY_BYTES) {
      await target.datasync();
      unsynced = 0;
    }
    [buffer, spare, bytesRead] = [spare, buffer, next.bytesRead];
  }
  return copied;
}

/** Makes a file, or the names in a folder, durable. */
export async function syncFile(path: string): Promise<void> {
  await using file = await open(path, 'r');
  await file.sync();
}
