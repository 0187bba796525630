/**
 * The mirror's directory. It is created in a staging directory next to its place and adopted by a rename. A wipe also
 * renames it first. Only the holder of the mirror's lock calls these functions, so an existing staging directory
 * belongs to a process that has ended.
 */
import type { Dirent } from 'node:fs';
import { mkdtemp, readFile, rmdir, statfs } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { toMirrorError } from '../lib/errors.ts';
import {
  isPresent,
  listFolder,
  makeFolder,
  removeTree,
  renameStubbornly,
  sweepFolders,
  writeWhole,
} from '../lib/files.ts';
import type { Log } from '../lib/log.ts';
import { RECORD_FILE } from './record.ts';
import { packDirectory, removeOthers, repairPacks, tidyPacks } from './packs.ts';
import {
  findRefsFault,
  formatHead,
  parsePackedRefs,
  type Depth,
  type Head,
  type ObjectFormat,
  type Ref,
} from './refs.ts';

/** The file with the manifest of the record's base snapshot, as the store has it. */
export const BASE_MANIFEST_FILE = 'mirror-action-base.json.gz';

const PACKED_REFS = 'packed-refs';
/** The commits whose parents git takes for absent. Only a tip mirror has any (shallow.ts). */
export const SHALLOW_FILE = 'shallow';

const STAGING = '.staging-mirror-action-';
const TRASH = '.trash-mirror-action-';
/** The suffix that mkdtemp appends. */
const NONCE = /^[A-Za-z0-9]{6}$/;

/**
 * Everything that a mirror may hold. Hooks, alternates or a commit-graph would change what git runs or which content an
 * object id has, so all other entries are removed whenever a mirror is opened.
 */
const FILES: readonly string[] = ['HEAD', 'config', PACKED_REFS, RECORD_FILE, BASE_MANIFEST_FILE];
/**
 * Its folders, and the folders in each. They stay when a mirror is opened: without refs/ git doesn't recognise the
 * repository, and other steps may be reading it. packs.ts says what objects/pack may hold.
 */
const FOLDERS: readonly (readonly [string, readonly string[]])[] = [
  ['.', ['objects', 'refs']],
  ['objects', ['info', 'pack']],
  ['refs', ['heads', 'tags']],
  ['objects/info', []],
  ['refs/heads', []],
  ['refs/tags', []],
];

/** Creates an empty directory next to the mirror's place, which only this user can enter. */
export async function createStaging(path: string): Promise<string> {
  await makeFolder(dirname(path));
  return mkdtemp(`${path}${STAGING}`);
}

/**
 * Turns a new or an existing directory into a bare repository that holds only known files: it writes the configuration
 * again, and removes everything except packs, their indexes and our own files. Refs are kept only in packed-refs.
 * After this, the caller has to write `shallow` of a tip mirror again, before git reads history there.
 */
export async function layOut(
  directory: string,
  objectFormat: ObjectFormat,
  depth: Depth = 'full',
): Promise<void> {
  const files = (await keepsShallow(directory, depth)) ? [...FILES, SHALLOW_FILE] : FILES;
  for (const [name, folders] of FOLDERS) {
    const folder = join(directory, name);
    await makeFolder(folder);
    const isKept = (entry: Dirent): boolean =>
      (entry.isDirectory() && folders.includes(entry.name)) ||
      (entry.isFile() && name === '.' && files.includes(entry.name));
    await removeOthers(folder, isKept);
  }
  await makeFolder(packDirectory(directory));
  await tidyPacks(directory);
  await repairPacks(directory);
  await writeWhole(join(directory, 'config'), formatConfig(objectFormat));
  // Without HEAD git doesn't recognise the repository and searches the parent folders.
  if (!(await isPresent(join(directory, 'HEAD')))) await writeHead(directory, undefined);
}

/** No git command works where `shallow` holds anything but object ids (git fact 21). */
async function keepsShallow(directory: string, depth: Depth): Promise<boolean> {
  if (depth === 'full') return false;
  const text = await readFile(join(directory, SHALLOW_FILE), 'latin1').catch(() => '');
  return /^(?:(?:[0-9a-f]{40}|[0-9a-f]{64})\n)+$/.test(text);
}

/** Whether the mirror has worktrees, whose files and new objects `layOut` would remove. */
export async function hasWorktrees(directory: string): Promise<boolean> {
  const folder = join(directory, 'worktrees');
  return (await listFolder(folder)).length > 0;
}

function formatConfig(objectFormat: ObjectFormat): string {
  const isSha1 = objectFormat === 'sha1';
  const lines = [
    '[core]',
    // git reads extensions only if the version is 1.
    `\trepositoryformatversion = ${isSha1 ? '0' : '1'}`,
    '\tfilemode = false',
    '\tbare = true',
    ...(isSha1 ? [] : ['[extensions]', `\tobjectformat = ${objectFormat}`]),
  ];
  return `${lines.join('\n')}\n`;
}

/**
 * Replaces all refs by one rename: all change at once, refs that upstream deleted disappear, and names that differ only
 * in case stay separate on every file system.
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

/** The refs of a mirror. Throws SyntaxError or RangeError if packed-refs isn't as we wrote it. */
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
 * Renames a finished staging directory into the mirror's place, and removes the previous one. Throws `mirror-refused` if
 * the file system refuses: it would refuse another mirror, too.
 */
export async function adopt(staging: string, path: string): Promise<void> {
  let trash: string | undefined;
  try {
    trash = await moveAside(path);
    await renameStubbornly(staging, path);
  } catch (error) {
    if (trash !== undefined) await renameStubbornly(trash, path);
    throw toMirrorError(error, 'mirror-refused', `the mirror cannot be put at ${path}`);
  }
  if (trash !== undefined) await discard(trash);
}

/** Deletes the mirror: renames it first, so that its place is free at once. */
export async function wipe(path: string): Promise<void> {
  const trash = await moveAside(path);
  if (trash !== undefined) await discard(trash);
}

/** What can't be removed now is left to the next job's sweep. */
async function discard(trash: string): Promise<void> {
  await removeTree(trash).catch(() => undefined);
}

async function moveAside(path: string): Promise<string | undefined> {
  if (!(await isPresent(path))) return undefined;
  const trash = await mkdtemp(`${path}${TRASH}`);
  // Windows can't rename over a folder, not even over an empty one.
  await rmdir(trash);
  await renameStubbornly(path, trash);
  return trash;
}

/**
 * Removes staging and trash folders that dead processes left next to the mirror's place. Call it only for a place that
 * was found to be ours.
 */
export async function sweep(path: string, log: Log): Promise<void> {
  const isLeftover = (name: string): boolean =>
    [STAGING, TRASH].some((kind) => {
      const prefix = basename(path) + kind;
      return name.startsWith(prefix) && NONCE.test(name.slice(prefix.length));
    });
  await sweepFolders(dirname(path), isLeftover, log);
}

/** Whether a second mirror of this size fits on its disk, with a tenth to spare. */
export async function hasRoomForCopy(path: string, bytes: number): Promise<boolean> {
  const { bavail, bsize } = await statfs(dirname(path));
  return bavail * bsize > bytes * 1.1;
}
