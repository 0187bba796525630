/** What the disk store asks of a file system beyond plain calls: durable, exclusive publishing. */
import type { Stats } from 'node:fs';
import { chmod, chown, link, lstat, open, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { syncFile } from '../../lib/copy.ts';
import { systemCode } from '../../lib/errors.ts';
import { fillDurably } from '../../lib/files.ts';
import { isGone } from '../layer-files.ts';

/** Where folders cannot be synced (Windows, some network disks) names are as durable as they get. */
const NO_FOLDER_SYNC = new Set(['EISDIR', 'EPERM', 'EACCES', 'EINVAL', 'ENOTSUP', 'EBADF']);
/** EISDIR: how libuv names Windows' "not supported here". */
const NO_HARD_LINKS = new Set(['EPERM', 'ENOTSUP', 'ENOSYS', 'EXDEV', 'EMLINK', 'EISDIR']);

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
  root: Stats,
): Promise<boolean> {
  try {
    await link(draft, path);
    return true;
  } catch (error) {
    const code = systemCode(error) ?? '';
    // NFS: the link was made, its reply was lost, and the repeated request found it there. Then the draft has two names.
    if (code === 'EEXIST') return (await stat(draft)).nlink > 1;
    if (!NO_HARD_LINKS.has(code)) throw error;
    return createFile(path, content, root);
  }
}

async function createFile(path: string, content: Uint8Array, root: Stats): Promise<boolean> {
  const file = await open(path, 'wx').catch((error: unknown) => {
    if (systemCode(error) === 'EEXIST') return undefined;
    throw error;
  });
  if (file === undefined) return false;
  const fill = async (): Promise<void> => {
    await fillDurably(file, content);
    await giveRights(path, root);
  };
  await orUndo(fill(), () => rm(path, { force: true }));
  return true;
}

/**
 * Gives what was just created in a store the owner, group and mode of the store's own folder, so that
 * all who share the store can use it. What this user may not give, or the disk does not have, is left.
 * Files are not executable, and lack what `fileMask` lacks.
 */
export async function giveRights(path: string, root: Stats, fileMask = 0o666): Promise<void> {
  if (process.platform === 'win32') return;
  const ignore = (): undefined => undefined;
  // Only root may give a file away; others may choose among their own groups.
  const uid = process.geteuid?.() === 0 ? root.uid : -1;
  await chown(path, uid, root.gid).catch(ignore);
  const found = await stat(path);
  // A setgid bit came with the parent folder, and would be lost.
  const mode = found.isDirectory()
    ? (root.mode & 0o1777) | 0o700 | (found.mode & 0o2000)
    : root.mode & fileMask;
  await chmod(path, mode).catch(ignore);
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

/** Names, with the times of their last change; what vanishes meanwhile is left out. */
export async function listTimes(folder: string): Promise<{ name: string; changedMs: number }[]> {
  const listed: { name: string; changedMs: number }[] = [];
  for (const name of await readdir(folder)) {
    const found = await lstat(join(folder, name)).catch((error: unknown) => {
      if (!isGone(error)) throw error;
      return undefined;
    });
    if (found !== undefined) listed.push({ name, changedMs: found.mtimeMs });
  }
  return listed;
}
