/**
 * The mirror's directory: laid out in a staging directory beside its place, adopted by rename,
 * wiped by rename first. Only the holder of the mirror's lock calls any of this, so whatever staging
 * lies there belongs to a process that is gone.
 */
import type { Dirent } from 'node:fs';
import {
  chmod,
  copyFile,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rmdir,
  stat,
  statfs,
} from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { MirrorError, systemCode, toMirrorError } from '../lib/errors.ts';
import {
  countBytes,
  isPresent,
  makeFolder,
  removeTree,
  renameStubbornly,
  writeWhole,
} from '../lib/files.ts';
import { RECORD_FILE } from './record.ts';
import {
  findRefsFault,
  formatHead,
  parsePackedRefs,
  type Head,
  type ObjectFormat,
  type Ref,
} from './refs.ts';

/** The manifest of the record's base snapshot, as its store has it. */
export const BASE_MANIFEST_FILE = 'mirror-action-base.json.gz';

const PACKED_REFS = 'packed-refs';

const STAGING = '.staging-mirror-action-';
const TRASH = '.trash-mirror-action-';
/** What mkdtemp appends. */
const NONCE = /^[A-Za-z0-9]{6}$/;

/**
 * All that a mirror holds. Hooks, alternates, a commit-graph and the like change what git runs or
 * what an object id delivers, so what is not named here is removed whenever a mirror is opened.
 */
const KEPT_FILES = new Set(['HEAD', 'config', PACKED_REFS, RECORD_FILE, BASE_MANIFEST_FILE]);
const KEPT_FOLDERS = new Set(['objects', 'refs']);
const KEPT_OBJECTS = new Set(['info', 'pack']);
const KEPT_REFS = new Set(['heads', 'tags']);
const KEPT_PACK = /^pack-[0-9a-f]+\.(?:pack|idx)$/;

export function packDirectory(directory: string): string {
  return join(directory, 'objects', 'pack');
}

/** Bytes of all packs, without their indexes: about what a clone would move. */
export async function countPackBytes(directory: string): Promise<number> {
  const packs = packDirectory(directory);
  const names = (await readdir(packs)).filter((name) => name.endsWith('.pack'));
  const sizes = await Promise.all(names.map(async (name) => (await stat(join(packs, name))).size));
  return sizes.reduce((sum, bytes) => sum + bytes, 0);
}

/** Names of the packs that have an index: the others are none to git. */
export async function listPacks(directory: string): Promise<string[]> {
  const names = new Set(await readdir(packDirectory(directory)));
  const packs = [...names].filter((name) => name.endsWith('.pack'));
  return packs.filter((name) => names.has(`${stemOf(name)}.idx`)).sort();
}

export interface PackSize {
  /** Of its pack. */
  name: string;
  /** With its index. */
  bytes: number;
}

export async function measurePacks(directory: string): Promise<PackSize[]> {
  const folder = packDirectory(directory);
  const names = await listPacks(directory);
  return Promise.all(
    names.map(async (name) => ({
      name,
      bytes: await countBytes(folder, [name, `${stemOf(name)}.idx`]),
    })),
  );
}

function stemOf(name: string): string {
  return name.replace(/\.(?:pack|idx)$/, '');
}

/** A new, empty directory beside the mirror's place, which only this user can enter. */
export async function createStaging(path: string): Promise<string> {
  await makeFolder(dirname(path));
  return mkdtemp(`${path}${STAGING}`);
}

/**
 * Makes a directory a bare repository of ours and nothing else, new or used before: the
 * configuration is written afresh, and everything that is not a pack, its index or our own file is
 * gone. Refs stand in packed-refs alone.
 */
export async function layOut(directory: string, objectFormat: ObjectFormat): Promise<void> {
  const objects = join(directory, 'objects');
  const refs = join(directory, 'refs');
  const isFolder = (names: ReadonlySet<string>) => (entry: Dirent) =>
    entry.isDirectory() && names.has(entry.name);
  await removeOthers(
    directory,
    (entry) => isFolder(KEPT_FOLDERS)(entry) || (entry.isFile() && KEPT_FILES.has(entry.name)),
  );
  for (const folder of [objects, refs]) await makeFolder(folder);
  await removeOthers(objects, isFolder(KEPT_OBJECTS));
  // Never the folders themselves: without refs/ git takes the mirror for no repository, and other
  // steps may be reading it.
  await removeOthers(refs, isFolder(KEPT_REFS));
  for (const folder of ['objects/info', 'objects/pack', 'refs/heads', 'refs/tags']) {
    await makeFolder(join(directory, folder));
  }
  for (const folder of [join(objects, 'info'), join(refs, 'heads'), join(refs, 'tags')]) {
    await removeOthers(folder, () => false);
  }
  await tidyPacks(directory);
  await repairPacks(directory);
  await writeWhole(join(directory, 'config'), formatConfig(objectFormat));
  // git takes a directory without HEAD for no repository and looks further up.
  if (!(await isPresent(join(directory, 'HEAD')))) await writeHead(directory, undefined);
}

/** Whether somebody works in worktrees of the mirror, whose files and new objects `layOut` would remove. */
export async function hasWorktrees(directory: string): Promise<boolean> {
  const folder = join(directory, 'worktrees');
  return (await isPresent(folder)) && (await readdir(folder)).length > 0;
}

/**
 * Makes packs readable again after a `chmod` or `chown` in a workspace, which reaches them through hard links:
 * restores the mode, or replaces another user's file by a copy. Throws `corrupt-mirror` for one that this
 * user can't read.
 */
async function repairPacks(directory: string): Promise<void> {
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

/**
 * Removes what is neither a pack nor its index: temporary packs, locks, `.keep`, `.promisor`, and
 * of a pack that was being made or removed the half that is left.
 */
export async function tidyPacks(directory: string): Promise<void> {
  const whole = new Set((await listPacks(directory)).map(stemOf));
  await removeOthers(
    packDirectory(directory),
    (entry) => entry.isFile() && KEPT_PACK.test(entry.name) && whole.has(stemOf(entry.name)),
  );
}

/** A link is never kept: what it leads to is not the mirror's, to use or to tidy. */
async function removeOthers(directory: string, isKept: (entry: Dirent) => boolean): Promise<void> {
  const entries = await readdir(directory, { withFileTypes: true });
  for (const { name } of entries.filter((entry) => !isKept(entry))) {
    await removeTree(join(directory, name));
  }
}

function formatConfig(objectFormat: ObjectFormat): string {
  const isSha1 = objectFormat === 'sha1';
  const lines = [
    '[core]',
    // Version 1 is what makes git look at extensions.
    `\trepositoryformatversion = ${isSha1 ? '0' : '1'}`,
    '\tfilemode = false',
    '\tbare = true',
    ...(isSha1 ? [] : ['[extensions]', `\tobjectformat = ${objectFormat}`]),
  ];
  return `${lines.join('\n')}\n`;
}

/**
 * Puts all refs in place, by one rename: all change at once, those that are gone upstream are gone,
 * and names that differ only in case stay apart on every file system.
 */
export async function writePackedRefs(directory: string, packedRefs: string): Promise<void> {
  await writeWhole(join(directory, PACKED_REFS), Buffer.from(packedRefs, 'latin1'));
}

export async function writeHead(directory: string, head: Head | undefined): Promise<void> {
  await writeWhole(join(directory, 'HEAD'), Buffer.from(formatHead(head), 'latin1'));
}

/** The content of packed-refs, which `parseRefs` and `digestPackedRefs` understand. */
export async function readPackedRefs(directory: string): Promise<string> {
  return readFile(join(directory, PACKED_REFS), 'latin1');
}

/** The refs of a mirror; throws SyntaxError or RangeError where packed-refs is not what we wrote. */
export async function readRefs(directory: string, objectFormat: ObjectFormat): Promise<Ref[]> {
  return parseRefs(await readPackedRefs(directory), objectFormat);
}

export function parseRefs(packedRefs: string, objectFormat: ObjectFormat): Ref[] {
  const refs = parsePackedRefs(packedRefs);
  const fault = findRefsFault(refs, objectFormat);
  if (fault !== undefined) throw new RangeError(`packed-refs: ${fault}`);
  return refs;
}

/**
 * Renames a finished staging directory into the mirror's place; what was there is removed. Throws
 * `mirror-refused` where the file system does not let it: no other mirror would cure that.
 */
export async function adopt(staging: string, path: string): Promise<void> {
  let trash: string | undefined;
  try {
    trash = await moveAside(path);
    await renameStubbornly(staging, path);
  } catch (error) {
    if (trash !== undefined) await rename(trash, path);
    throw toMirrorError(error, 'mirror-refused', `the mirror cannot be put at ${path}`);
  }
  if (trash !== undefined) await removeTree(trash);
}

/** Deletes the mirror; it is out of its place at once, whatever happens to the rest. */
export async function wipe(path: string): Promise<void> {
  const trash = await moveAside(path);
  if (trash !== undefined) await removeTree(trash);
}

async function moveAside(path: string): Promise<string | undefined> {
  if (!(await isPresent(path))) return undefined;
  const trash = await mkdtemp(`${path}${TRASH}`);
  // Windows does not rename over a folder, not even an empty one.
  await rmdir(trash);
  await renameStubbornly(path, trash);
  return trash;
}

/**
 * Removes staging and trash that dead processes left beside the mirror's place; gives how many. For
 * a place that has been inspected: beside one that is not ours nothing is.
 */
export async function sweep(path: string): Promise<number> {
  const parent = dirname(path);
  const entries = (await isPresent(parent)) ? await readdir(parent, { withFileTypes: true }) : [];
  const left = entries.filter((entry) => entry.isDirectory() && isLeftover(entry.name, path));
  for (const { name } of left) await removeTree(join(parent, name));
  return left.length;
}

function isLeftover(name: string, path: string): boolean {
  return [STAGING, TRASH].some((kind) => {
    const prefix = basename(path) + kind;
    return name.startsWith(prefix) && NONCE.test(name.slice(prefix.length));
  });
}

/** True where a second mirror as large as this one fits on its disk, with a tenth to spare. */
export async function hasRoomForCopy(path: string, bytes: number): Promise<boolean> {
  const { bavail, bsize } = await statfs(dirname(path));
  return bavail * bsize > bytes * 1.1;
}
