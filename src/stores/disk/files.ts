/** What the disk store asks of a file system beyond plain calls: durable, exclusive publishing. */
import type { BigIntStats } from 'node:fs';
import { link, lstat, open, readdir, rm, stat, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { syncFile, writeAll } from '../../lib/copy.ts';
import { MirrorError, systemCode } from '../../lib/errors.ts';
import { isGone } from '../layer-files.ts';

const CANCEL_GRACE_MS = 2000;

/** Where folders cannot be synced (Windows, some network disks) names are as durable as they get. */
const NO_FOLDER_SYNC = new Set(['EISDIR', 'EPERM', 'EACCES', 'EINVAL', 'ENOTSUP', 'EBADF']);
/** EISDIR: how libuv names Windows' "not supported here". */
const NO_HARD_LINKS = new Set(['EPERM', 'ENOTSUP', 'ENOSYS', 'EXDEV', 'EMLINK', 'EISDIR']);

/** Creates a file (one that exists is an error) whose bytes are on the disk when it returns. */
export async function writeNewFile(path: string, content: Uint8Array): Promise<void> {
  await fill(await open(path, 'wx'), content);
}

/**
 * Gives a finished, synced draft its final name if that name is free: true; if it is taken: false.
 *
 * Without hard links the final file is created and then filled. A reader may then see a manifest
 * that is cut short, and so it stays if the writer dies; no reader accepts one, and its number is
 * taken.
 */
export async function publishFile(
  draft: string,
  path: string,
  content: Uint8Array,
): Promise<boolean> {
  try {
    await link(draft, path);
    return true;
  } catch (error) {
    const code = systemCode(error) ?? '';
    // NFS: the link was made, its reply was lost, and the repeated request found it there.
    if (code === 'EEXIST') return isSameFile(draft, path);
    if (!NO_HARD_LINKS.has(code)) throw error;
    return createFile(path, content);
  }
}

async function createFile(path: string, content: Uint8Array): Promise<boolean> {
  const file = await open(path, 'wx').catch((error: unknown) => {
    if (systemCode(error) === 'EEXIST') return undefined;
    throw error;
  });
  if (file === undefined) return false;
  await orUndo(fill(file, content), () => rm(path, { force: true }));
  return true;
}

async function fill(file: FileHandle, content: Uint8Array): Promise<void> {
  try {
    await writeAll(file, content);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function isSameFile(one: string, other: string): Promise<boolean> {
  const identify = ({ dev, ino }: BigIntStats): string => `${dev}:${ino}`;
  try {
    const found = identify(await stat(one, { bigint: true }));
    return found === identify(await stat(other, { bigint: true }));
  } catch {
    return false; // withdrawn meanwhile, and not by us
  }
}

/** Takes back what was made visible, as well as it goes, when the step after it fails. */
export async function orUndo(step: Promise<void>, undo: () => Promise<void>): Promise<void> {
  try {
    await step;
  } catch (error) {
    await undo().catch(() => undefined);
    throw error;
  }
}

/** Makes the names in a folder durable, where the system can. */
export async function syncFolder(path: string): Promise<void> {
  try {
    await syncFile(path);
  } catch (error) {
    if (!NO_FOLDER_SYNC.has(systemCode(error) ?? '')) throw error;
  }
}

/** Makes the names of `path` and of the folders above it, below `top`, durable. */
export async function syncParents(path: string, top: string): Promise<void> {
  for (let folder = path; folder !== top; folder = dirname(folder)) {
    await syncFolder(dirname(folder));
  }
}

/** Names in order, with the times of their last change; what vanishes meanwhile is left out. */
export async function listTimes(folder: string): Promise<{ name: string; changedMs: number }[]> {
  const listed: { name: string; changedMs: number }[] = [];
  for (const name of (await readdir(folder)).sort()) {
    const found = await lstat(join(folder, name)).catch((error: unknown) => {
      if (!isGone(error)) throw error;
      return undefined;
    });
    if (found !== undefined) listed.push({ name, changedMs: found.mtimeMs });
  }
  return listed;
}

/** Whether Windows refused only because somebody has the file open at this moment. */
export function isBusyOnWindows(error: unknown): boolean {
  const code = systemCode(error) ?? '';
  return process.platform === 'win32' && ['EPERM', 'EBUSY', 'EACCES', 'ENOTEMPTY'].includes(code);
}

/**
 * Waits for work that heeds the signal by itself, but not for ever: a hung network disk blocks a
 * call in the kernel, where no signal reaches. The work then ends, and tidies up, whenever it can.
 */
export function endSoon<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  let timer: NodeJS.Timeout | undefined;
  const onAbort = (): void => {
    timer = setTimeout(() => {
      reject(new MirrorError('cancelled', 'the job was cancelled while the disk did not answer'));
    }, CANCEL_GRACE_MS);
  };
  signal.addEventListener('abort', onAbort, { once: true });
  const clear = (): void => {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  };
  work.finally(clear).then(resolve, reject);
  return promise;
}
