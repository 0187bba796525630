/** What Node's fs leaves to its callers: renames that Windows refuses for a moment, durable writes. */
import { lstat, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemCode } from './errors.ts';

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

/** Removes a file or folder with all it holds; one that is not there is no error. */
export async function removeTree(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true, maxRetries: 3, retryDelay: 100 });
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

async function writeDurably(path: string, content: string | Uint8Array): Promise<void> {
  const file = await open(path, 'wx');
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
