/** Copies a layer's files between a mirror and a disk, and compares them with their declared sizes. */
import { lstat, open } from 'node:fs/promises';
import { join } from 'node:path';
import { READ_PLAIN, copyPlainFile, type CopyOptions } from '../lib/copy.ts';
import { MirrorError, systemCode } from '../lib/errors.ts';
import { readInto } from '../lib/files.ts';
import type { LayerFiles, OnFilled } from './store.ts';

/** ESTALE: on NFS, the file was removed by another machine. */
const GONE = new Set(['ENOENT', 'ENOTDIR', 'ELOOP', 'ESTALE']);

/**
 * Copies only the files that a layer declares, from folder to folder. Throws `bad-snapshot` if a source is not as
 * declared, and `cancelled` soon after the signal; the caller has to remove what was copied until then. An existing
 * target is an error.
 */
export async function copyLayer(
  layer: LayerFiles,
  from: string,
  to: string,
  { onFilled, ...options }: CopyOptions & { onFilled?: OnFilled | undefined },
): Promise<void> {
  // All sizes first: a short file is noticed before gigabytes are copied.
  for (const { name, bytes } of layer.files) await checkPlainFile(join(from, name), bytes);
  let done = 0;
  for (const { name, bytes } of layer.files) {
    const before = done;
    let told = 0;
    const onBytes = (copied: number): void => {
      if (copied > told) onFilled?.(name, told, copied);
      told = copied;
      options.onBytes?.(before + copied);
    };
    await copyDeclared(join(from, name), join(to, name), bytes, { ...options, onBytes });
    done += bytes;
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

/** At most `maxBytes` of a file; undefined if it is missing, empty if it is not a plain file. */
export async function readPlainFile(path: string, maxBytes: number): Promise<Buffer | undefined> {
  try {
    if (!(await lstat(path)).isFile()) return Buffer.alloc(0);
    await using file = await open(path, READ_PLAIN);
    const content = Buffer.alloc(Math.min((await file.stat()).size, maxBytes));
    return await readInto(content, file, 0);
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

/** Whether an error of the file system says that a file or folder doesn't exist, or no longer. */
export function isGone(error: unknown): boolean {
  return GONE.has(systemCode(error) ?? '');
}

async function copyDeclared(
  from: string,
  to: string,
  bytes: number,
  options: CopyOptions,
): Promise<void> {
  try {
    await copyPlainFile(from, to, bytes, options);
  } catch (error) {
    if (error instanceof RangeError) throw badFile(from, 'changed while it was copied');
    // Only a missing source says something about the layer.
    if (isGone(error)) await checkPlainFile(from, bytes);
    throw error;
  }
}

function rethrowGone(path: string): (error: unknown) => never {
  return (error) => {
    if (isGone(error)) throw badFile(path, 'does not exist, or is not a plain file', error);
    throw error;
  };
}

function badFile(path: string, problem: string, cause?: unknown): MirrorError {
  return new MirrorError('bad-snapshot', `${path} ${problem}`, { cause });
}
