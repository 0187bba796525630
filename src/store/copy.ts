/** Copies of plain files between a mirror and a disk that can be cancelled. */
import { constants } from 'node:fs';
import { chmod, copyFile, lstat, open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { MirrorError, systemCode, throwIfCancelled } from '../errors.ts';
import type { LayerFiles } from './store.ts';

const MIB = 1024 * 1024;
const COPY_BUFFER_BYTES = MIB;
/** A sync cannot be aborted, so data is synced as it comes and never much of it at once. */
const SYNC_EVERY_BYTES = 32 * MIB;

/** ESTALE: on NFS, the file was removed by another machine. */
const GONE = new Set(['ENOENT', 'ENOTDIR', 'ELOOP', 'ESTALE']);

// Never through a symlink, and never waiting for a pipe's writer. Windows knows neither flag; there
// they are undefined, which counts as 0.
const READ_PLAIN = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

export interface CopyOptions {
  /** Permissions of the copies. */
  mode: number;
  /** Whether the bytes are on the disk when the copy is done. */
  durable: boolean;
  signal: AbortSignal;
}

/**
 * Copies the files that a layer declares from folder to folder, and nothing else. Throws
 * `bad-snapshot` if a source is not as declared, `cancelled` soon after the signal; what was copied
 * until then stays for the caller to remove. A target that exists is an error.
 */
export async function copyLayer(
  layer: LayerFiles,
  from: string,
  to: string,
  options: CopyOptions,
): Promise<void> {
  // All sizes first: a short file is noticed before gigabytes are copied.
  for (const { name, bytes } of layer.files) await checkPlainFile(join(from, name), bytes);
  for (const { name, bytes } of layer.files) {
    throwIfCancelled(options.signal);
    await copyPlainFile(join(from, name), join(to, name), bytes, options);
  }
}

/** Throws `bad-snapshot` unless there is a plain file (no symlink) of exactly this size, in bytes. */
export async function checkPlainFile(path: string, bytes: number): Promise<void> {
  const found = await lstat(path).catch(rethrowGone(path));
  if (!found.isFile()) throw badFile(path, 'is not a plain file');
  if (found.size !== bytes) throw badFile(path, `has ${found.size} bytes instead of ${bytes}`);
}

/** Throws `bad-snapshot` unless there is a folder (no symlink). */
export async function checkPlainFolder(path: string): Promise<void> {
  const found = await lstat(path).catch(rethrowGone(path));
  if (!found.isDirectory()) throw badFile(path, 'is not a folder');
}

/** At most `maxBytes` of a file; undefined if it is gone, nothing if it is not a plain file. */
export async function readPlainFile(path: string, maxBytes: number): Promise<Buffer | undefined> {
  try {
    if (!(await lstat(path)).isFile()) return Buffer.alloc(0);
    const file = await open(path, READ_PLAIN);
    try {
      const content = Buffer.alloc(Math.min((await file.stat()).size, maxBytes));
      let filled = 0;
      while (filled < content.length) {
        const { bytesRead } = await file.read(content, filled, content.length - filled);
        if (bytesRead === 0) break;
        filled += bytesRead;
      }
      return content.subarray(0, filled);
    } finally {
      await file.close();
    }
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

/** Whether an error of the file system says that what was asked for is not, or no longer, there. */
export function isGone(error: unknown): boolean {
  return GONE.has(systemCode(error) ?? '');
}

/** Never a hard link: an in-place write through one name would change the other. */
async function copyPlainFile(
  from: string,
  to: string,
  bytes: number,
  options: CopyOptions,
): Promise<void> {
  if (await cloneFile(from, to)) {
    await chmod(to, options.mode);
    if (options.durable) await syncFile(to);
  } else {
    await copyInPieces(from, to, bytes, options);
  }
  // The source may have changed since it was checked.
  await checkPlainFile(to, bytes);
}

/** Shares the blocks where the file system can (Btrfs, XFS, APFS): 10 GB then take no time. */
async function cloneFile(from: string, to: string): Promise<boolean> {
  try {
    await copyFile(from, to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE_FORCE);
    return true;
  } catch {
    return false; // whatever the reason, copying in pieces works or says it better
  }
}

/** By hand and not by `copyFile`, which cannot be aborted: 10 GB would outlive a cancelled job. */
async function copyInPieces(
  from: string,
  to: string,
  bytes: number,
  options: CopyOptions,
): Promise<void> {
  const source = await open(from, READ_PLAIN).catch(rethrowGone(from));
  try {
    const target = await open(to, 'wx', options.mode);
    try {
      const copied = await pump(source, target, bytes, options);
      if (copied !== bytes) throw badFile(from, 'changed while it was copied');
      if (options.durable) await target.sync();
    } finally {
      await target.close();
    }
  } finally {
    await source.close();
  }
}

/**
 * Copies to the source's end, or stops where it is longer than declared. Reads while it writes: that
 * makes it about as fast as `copyFile`. Gives the number of bytes read.
 */
async function pump(
  source: FileHandle,
  target: FileHandle,
  bytes: number,
  { durable, signal }: CopyOptions,
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
      writeAll(target, buffer.subarray(0, bytesRead)),
    ]);
    unsynced += bytesRead;
    if (durable && unsynced >= SYNC_EVERY_BYTES) {
      await target.datasync();
      unsynced = 0;
    }
    [buffer, spare, bytesRead] = [spare, buffer, next.bytesRead];
  }
  return copied;
}

/** Writes all bytes at the file's current position, where a single write may take fewer. */
export async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  let written = 0;
  while (written < bytes.length) written += (await file.write(bytes, written)).bytesWritten;
}

/** Makes a file, or the names in a folder, durable. */
export async function syncFile(path: string): Promise<void> {
  const file = await open(path, 'r');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

function rethrowGone(path: string): (error: unknown) => never {
  return (error) => {
    if (isGone(error)) throw badFile(path, 'is not there, or no plain file', error);
    throw error;
  };
}

function badFile(path: string, problem: string, cause?: unknown): MirrorError {
  return new MirrorError('bad-snapshot', `${path} ${problem}`, { cause });
}
