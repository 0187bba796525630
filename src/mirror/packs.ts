/** The packs in a mirror's directory. */
import type { Dirent } from 'node:fs';
import { chmod, copyFile, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { MirrorError, systemCode } from '../lib/errors.ts';
import { countBytes, removeTree, renameStubbornly } from '../lib/files.ts';

const PACK_FILE = /^pack-[0-9a-f]+\.(?:pack|idx)$/;

export function packDirectory(directory: string): string {
  return join(directory, 'objects', 'pack');
}

/** Bytes of all packs, without their indexes: about what a clone would move. */
export async function countPackBytes(directory: string): Promise<number> {
  const folder = packDirectory(directory);
  return countBytes(
    folder,
    (await readdir(folder)).filter((name) => name.endsWith('.pack')),
  );
}

/** A pack's index, an index's pack. */
export function partnerOf(name: string): string {
  return name.endsWith('.pack') ? name.replace(/\.pack$/, '.idx') : name.replace(/\.idx$/, '.pack');
}

/** Names of the packs in a folder that have an index, and of these indexes, sorted. git ignores others. */
export async function listPackFiles(folder: string): Promise<string[]> {
  const names = (await readdir(folder)).filter((name) => PACK_FILE.test(name));
  const all = new Set(names);
  return names.filter((name) => all.has(partnerOf(name))).sort();
}

/** Names of a mirror's packs. */
export async function listPacks(directory: string): Promise<string[]> {
  const names = await listPackFiles(packDirectory(directory));
  return names.filter((name) => name.endsWith('.pack'));
}

export interface PackSize {
  /** Name of its pack. */
  name: string;
  /** Of the pack and its index. */
  bytes: number;
}

export async function measurePacks(directory: string): Promise<PackSize[]> {
  const folder = packDirectory(directory);
  const names = await listPacks(directory);
  return Promise.all(
    names.map(async (name) => ({
      name,
      bytes: await countBytes(folder, [name, partnerOf(name)]),
    })),
  );
}

/**
 * Removes what is neither a pack nor its index: temporary packs, locks, `.keep`, `.promisor`, and the pack or index that
 * an interrupted write or removal left without its partner.
 */
export async function tidyPacks(directory: string): Promise<void> {
  const folder = packDirectory(directory);
  const whole = new Set(await listPackFiles(folder));
  await removeOthers(folder, (entry) => entry.isFile() && whole.has(entry.name));
}

/** Removes all packs but these. */
export async function removePacks(directory: string, kept: readonly string[]): Promise<void> {
  for (const name of (await listPacks(directory)).filter((each) => !kept.includes(each))) {
    // The index first: git reports an index without its pack as an error.
    for (const file of [partnerOf(name), name]) {
      await removeTree(join(packDirectory(directory), file));
    }
  }
}

/**
 * Makes packs readable again after a `chmod` or `chown` in a workspace, which reaches them through hard links:
 * restores the mode, or replaces another user's file by a copy. Throws `corrupt-mirror` for one that this
 * user can't read.
 */
export async function repairPacks(directory: string): Promise<void> {
  const user = process.getuid?.();
  // Windows has neither such modes nor owners, and root reads everything.
  if (user === undefined || user === 0) return;
  const folder = packDirectory(directory);
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(folder, entry.name);
    const { uid, mode } = await stat(path);
    if (uid !== user) await replaceByCopy(path, uid);
    else if ((mode & 0o444) !== 0o444) await chmod(path, 0o444);
  }
}

async function replaceByCopy(path: string, owner: number): Promise<void> {
  const copy = `${path}.copy`;
  try {
    await copyFile(path, copy);
    await chmod(copy, 0o444);
    await renameStubbornly(copy, path);
  } catch (error) {
    if (systemCode(error) !== 'EACCES') throw error;
    const what = `${path} belongs to user ${String(owner)} and can't be read`;
    const hint = 'chown or chmod in a workspace reaches it through a hard link';
    throw new MirrorError('corrupt-mirror', `${what}: ${hint}`, { cause: error });
  }
}

/** Removes all other entries. Links are never kept, because their targets aren't part of the mirror. */
export async function removeOthers(
  directory: string,
  isKept: (entry: Dirent) => boolean,
): Promise<void> {
  const entries = await readdir(directory, { withFileTypes: true });
  for (const { name } of entries.filter((entry) => !isKept(entry))) {
    await removeTree(join(directory, name));
  }
}
