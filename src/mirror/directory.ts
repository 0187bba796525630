/**
 * The mirror's directory: laid out in a staging directory beside its place, adopted by rename,
 * wiped by rename first. Only the holder of the mirror's lock calls any of this, so whatever staging
 * lies there belongs to a process that is gone.
 */
import type { Dirent } from 'node:fs';
import { lstat, mkdir, mkdtemp, readdir, readFile, rename, rmdir, statfs } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { MirrorError, systemCode } from '../errors.ts';
import { isPresent, removeTree, renameStubbornly, writeWhole } from '../files.ts';
import { RECORD_FILE, findRecord, type MirrorRecord } from './record.ts';
import {
  findRefsFault,
  formatHead,
  formatPackedRefs,
  parsePackedRefs,
  type Head,
  type ObjectFormat,
  type Ref,
} from './refs.ts';

/** The manifest of the record's base snapshot, as its store has it. */
export const BASE_MANIFEST_FILE = 'mirror-action-base.json.gz';

const STAGING = '.staging-';
const TRASH = '.trash-';

/**
 * All that a mirror holds. Hooks, alternates, a commit-graph and the like change what git runs or
 * what an object id delivers, so what is not named here is removed whenever a mirror is opened.
 */
const KEPT_FILES = new Set(['HEAD', 'config', 'packed-refs', RECORD_FILE, BASE_MANIFEST_FILE]);
const KEPT_OBJECTS = new Set(['info', 'pack']);
const KEPT_PACK = /^pack-[0-9a-f]+\.(?:pack|idx)$/;

export function packDirectory(directory: string): string {
  return join(directory, 'objects', 'pack');
}

/** A new, empty directory beside the mirror's place, which only this user can enter. */
export async function createStaging(path: string): Promise<string> {
  await mkdir(dirname(path), { recursive: true });
  return mkdtemp(`${path}${STAGING}`);
}

/**
 * Makes a directory a bare repository of ours and nothing else, new or used before: the
 * configuration is written afresh, and everything that is not a pack, its index or our own file is
 * gone. Refs stand in packed-refs alone.
 */
export async function layOut(directory: string, objectFormat: ObjectFormat): Promise<void> {
  const objects = join(directory, 'objects');
  await removeOthers(directory, (entry) =>
    entry.isDirectory() ? entry.name === 'objects' : entry.isFile() && KEPT_FILES.has(entry.name),
  );
  await mkdir(objects, { recursive: true });
  await removeOthers(objects, (entry) => entry.isDirectory() && KEPT_OBJECTS.has(entry.name));
  for (const folder of ['objects/info', 'objects/pack', 'refs/heads', 'refs/tags']) {
    await mkdir(join(directory, folder), { recursive: true });
  }
  await removeOthers(join(objects, 'info'), () => false);
  await tidyPacks(directory);
  await writeWhole(join(directory, 'config'), formatConfig(objectFormat));
  // git takes a directory without HEAD for no repository and looks further up.
  if (!(await isPresent(join(directory, 'HEAD')))) await writeHead(directory, undefined);
}

/** Removes what is neither a pack nor an index: temporary packs, locks, `.keep`, `.promisor`. */
export async function tidyPacks(directory: string): Promise<void> {
  await removeOthers(
    packDirectory(directory),
    (entry) => entry.isFile() && KEPT_PACK.test(entry.name),
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
 * Puts refs and HEAD in place, packed-refs by one rename: all refs change at once, refs that are
 * gone upstream are gone, and names that differ only in case stay apart on every file system.
 */
export async function writeRefs(
  directory: string,
  head: Head | undefined,
  refs: readonly Ref[],
): Promise<void> {
  const content = Buffer.from(formatPackedRefs(refs), 'latin1');
  await writeWhole(join(directory, 'packed-refs'), content);
  await writeHead(directory, head);
}

async function writeHead(directory: string, head: Head | undefined): Promise<void> {
  await writeWhole(join(directory, 'HEAD'), Buffer.from(formatHead(head), 'latin1'));
}

/** The refs of a mirror; throws SyntaxError or RangeError where packed-refs is not what we wrote. */
export async function readRefs(directory: string, objectFormat: ObjectFormat): Promise<Ref[]> {
  const text = await readFile(join(directory, 'packed-refs'), 'latin1');
  const refs = parsePackedRefs(text);
  const fault = findRefsFault(refs, objectFormat);
  if (fault !== undefined) throw new RangeError(`packed-refs: ${fault}`);
  return refs;
}

/** What is at the mirror's place, before git has looked at it. */
export type Occupant =
  | { is: 'absent' }
  | { is: 'mirror'; record: MirrorRecord }
  /** One of ours that cannot be used, and may be replaced. */
  | { is: 'unusable'; reason: string };

/**
 * Looks at the mirror's place. Throws `mirror-refused` for whatever is not ours to replace: a link,
 * a file, a folder without our record, another user's, another upstream's.
 */
export async function inspectPlace(path: string, key: string, upstream: string): Promise<Occupant> {
  const found = await findEntry(path);
  if (found === undefined) return { is: 'absent' };
  if (!found.isDirectory()) throw refused(path, 'is not a directory');
  if (isForeign(found.uid)) throw refused(path, `belongs to user ${String(found.uid)}`);
  const record = await findRecord(path);
  if (record === undefined) {
    if ((await readdir(path)).length === 0) return { is: 'absent' };
    throw refused(path, 'holds something that is not a mirror of this action');
  }
  if (record === 'damaged') return { is: 'unusable', reason: 'its record is damaged' };
  if (record.upstream !== upstream) throw refused(path, `is a mirror of ${record.upstream}`);
  if (record.key === key) return { is: 'mirror', record };
  return { is: 'unusable', reason: 'it was made with other settings' };
}

async function findEntry(path: string) {
  try {
    return await lstat(path);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw refused(path, 'cannot be looked at', error);
  }
}

function isForeign(owner: number): boolean {
  return process.getuid !== undefined && process.getuid() !== owner;
}

function refused(path: string, what: string, cause?: unknown): MirrorError {
  const message = `${path} ${what}: choose another \`mirror-path\`, or remove it`;
  return new MirrorError('mirror-refused', message, { cause });
}

/** Renames a finished staging directory into the mirror's place; what was there is removed. */
export async function adopt(staging: string, path: string): Promise<void> {
  const trash = await moveAside(path);
  try {
    await renameStubbornly(staging, path);
  } catch (error) {
    if (trash !== undefined) await rename(trash, path);
    throw error;
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

/** Removes staging and trash that dead processes left beside the mirror's place. */
export async function sweep(path: string): Promise<number> {
  const parent = dirname(path);
  const own = basename(path);
  const names = (await isPresent(parent)) ? await readdir(parent) : [];
  const left = names.filter((name) => [STAGING, TRASH].some((kind) => name.startsWith(own + kind)));
  for (const name of left) await removeTree(join(parent, name));
  return left.length;
}

/** True where a second mirror as large as this one fits on its disk, with a tenth to spare. */
export async function hasRoomForCopy(path: string, bytes: number): Promise<boolean> {
  const { bavail, bsize } = await statfs(dirname(path));
  return bavail * bsize > bytes * 1.1;
}
