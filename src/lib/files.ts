/** What Node's fs leaves to its callers: renames that Windows refuses for a moment, durable writes. */
import type { Dirent } from 'node:fs';
import { lstat, mkdir, open, readdir, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describeError, systemCode } from './errors.ts';
import type { Log } from './log.ts';

/** Windows refuses to rename or remove what a virus scanner or a dying process still has open. */
const BUSY = new Set(['EPERM', 'EACCES', 'EBUSY', 'ENOTEMPTY']);
const BUSY_RETRY_DELAYS_MS = [50, 200, 800];

/** `rename`, tried again on Windows while something has the file open. */
export async function renameStubbornly(from: string, to: string): Promise<void> {
  const delays = process.platform === 'win32' ? BUSY_RETRY_DELAYS_MS : [];
  for (const delayMs of delays) {
    try {
      await rename(from, to);
      return;
    } catch (error) {
      if (!BUSY.has(systemCode(error) ?? '')) throw error;
      await sleep(delayMs);
    }
  }
  await rename(from, to);
}

/** What a folder holds, or all that is below it; nothing where there is no folder. */
export async function listFolder(path: string, recursive = false): Promise<Dirent[]> {
  try {
    return await readdir(path, { withFileTypes: true, recursive });
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return [];
    throw error;
  }
}

/**
 * Makes a folder and the folders above it. Returns the outermost one that it made, or undefined if the folder
 * exists. Node's recursive `mkdir` never returns where every mkdir fails with ENOENT, as in Linux's /proc.
 */
export async function makeFolder(path: string): Promise<string | undefined> {
  const folder = resolve(path);
  if (await isFolder(folder)) return undefined;
  const parent = dirname(folder);
  const outermost = parent === folder ? undefined : await makeFolder(parent);
  try {
    await mkdir(folder);
  } catch (error) {
    // Another process may have made it.
    if (!(await isFolder(folder))) throw error;
  }
  return outermost ?? folder;
}

function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

/** Removes a file or folder with all it holds; one that is not there is no error. */
export async function removeTree(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true, maxRetries: 3, retryDelay: 100 });
}

/** Removes the folders in a folder that earlier steps left there, and says so. One that can't be removed stays. */
export async function sweepFolders(
  folder: string,
  isLeftover: (name: string) => boolean,
  log: Log,
): Promise<void> {
  const entries = await listFolder(folder);
  for (const { name } of entries.filter((each) => each.isDirectory() && isLeftover(each.name))) {
    const path = join(folder, name);
    try {
      await removeTree(path);
      log.info(`Removed ${path}, which an earlier step left behind`);
    } catch (error) {
      log.info(
        `${path} is left from an earlier step and cannot be removed: ${describeError(error)}`,
      );
    }
  }
}

/** Writes a file whole: a reader sees the old content or the new, also after a crash. */
export async function writeWhole(path: string, content: string | Uint8Array): Promise<void> {
  const temporary = `${path}.new`;
  await rm(temporary, { force: true });
  try {
    await writeDurably(temporary, content);
    await renameStubbornly(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** Creates a file whose bytes are on the disk when it returns. One that exists is an error. */
export async function writeDurably(path: string, content: string | Uint8Array): Promise<void> {
  await fillDurably(await open(path, 'wx'), content);
}

/** Writes all of a new file, and closes it. */
export async function fillDurably(file: FileHandle, content: string | Uint8Array): Promise<void> {
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Bytes of the files directly in a folder. */
export async function countFolderBytes(path: string): Promise<number> {
  return countBytes(path, await readdir(path));
}

/** Bytes of all that is below a folder, as far as it can be read while others work there. */
export async function countBytesBelow(path: string): Promise<number> {
  // What vanishes meanwhile is movement enough. Without types, Node would follow links, in circles too.
  const entries = await readdir(path, { recursive: true, withFileTypes: true }).catch(() => []);
  const sizeOf = async ({ parentPath, name }: Dirent) =>
    (await lstat(join(parentPath, name)).catch(() => undefined))?.size;
  const sizes = await Promise.all(entries.map(sizeOf));
  return sizes.reduce<number>((sum, bytes = 0) => sum + bytes, 0);
}

/** Bytes of some files in a folder. */
export async function countBytes(path: string, names: readonly string[]): Promise<number> {
  const sizes = await Promise.all(names.map(async (name) => (await stat(join(path, name))).size));
  return sizes.reduce((sum, bytes) => sum + bytes, 0);
}

/** True if something is there, also a dangling link. Throws what the file system says otherwise. */
export async function isPresent(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false;
    throw error;
  }
}

/** Fills a buffer from a position in a file. Returns its filled part, shorter where the file ends. */
export async function readInto<T extends ArrayBufferLike>(
  buffer: Buffer<T>,
  file: FileHandle,
  position: number,
): Promise<Buffer<T>> {
  let filled = 0;
  while (filled < buffer.length) {
    const length = buffer.length - filled;
    const { bytesRead } = await file.read(buffer, filled, length, position + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
}
