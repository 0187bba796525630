/** The private folder that the toolkit works in, for one call of the store. */
import { chmod, chown, lstat, mkdir, mkdtemp, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { linkOrCopy } from '../../lib/copy.ts';
import { MirrorError } from '../../lib/errors.ts';
import { removeTree } from '../../lib/files.ts';
import { checkPlainFile, checkPlainFolder } from '../layer-files.ts';
import type { LayerFiles } from '../store.ts';

/** git only reads its packs. */
const PACK_MODE = 0o444;

export interface CacheFolder {
  /** Holds the others, and the archives that the toolkit makes. */
  root: string;
  /** The worker's working directory. */
  workspace: string;
  /** What is saved and restored; absent at first. */
  entry: string;
}

/**
 * The folders as the toolkit is told of them: relative, since it splits its command lines for tar at
 * spaces. They are true from the working directory, and from the folder of an archive, where tar runs.
 */
export const WORKSPACE_FOR_TOOLKIT = '../workspace';
export const TEMPORARY_FOR_TOOLKIT = '..';

/** Runs work in a new folder below `parent`, and removes it afterwards. The runner empties `parent`, should that fail. */
export async function withCacheFolder<T>(
  parent: string,
  work: (folder: CacheFolder) => Promise<T>,
): Promise<T> {
  const root = await mkdtemp(join(parent, 'mirror-action-cache-'));
  try {
    const workspace = join(root, 'workspace');
    await mkdir(workspace);
    return await work({ root, workspace, entry: join(workspace, 'entry') });
  } finally {
    await removeStubbornly(root).catch(() => undefined);
  }
}

/** An archive may have brought folders that may not be written to. */
async function removeStubbornly(path: string): Promise<void> {
  try {
    await removeTree(path);
  } catch {
    await openFolders(path);
    await removeTree(path);
  }
}

async function openFolders(path: string): Promise<void> {
  const found = await lstat(path);
  if (!found.isDirectory()) return;
  await chmod(path, 0o700);
  for (const name of await readdir(path)) await openFolders(join(path, name));
}

/** Lays out what a layer declares, and nothing else; throws `bad-snapshot` if it is not as declared. */
export async function layOut(
  layer: LayerFiles,
  from: string,
  entry: string,
  signal: AbortSignal,
): Promise<void> {
  for (const { name, bytes } of layer.files) await checkPlainFile(join(from, name), bytes);
  await mkdir(entry);
  for (const { name, bytes } of layer.files) {
    // Linked files are only read: tar makes the copy.
    await linkOrCopy(join(from, name), join(entry, name), bytes, signal);
    await checkPlainFile(join(entry, name), bytes);
  }
}

/** Moves an entry's files to where they are wanted, if they are what the layer declares, all of it. */
export async function moveEntryFiles(
  layer: LayerFiles,
  entry: string,
  to: string,
  signal: AbortSignal,
): Promise<void> {
  await checkEntry(layer, entry);
  for (const { name, bytes } of layer.files) {
    const source = join(entry, name);
    // For root, tar keeps the owner that the archive names.
    if (process.getuid?.() === 0) await chown(source, 0, process.getgid?.() ?? 0);
    await chmod(source, PACK_MODE);
    await linkOrCopy(source, join(to, name), bytes, signal);
  }
}

async function checkEntry(layer: LayerFiles, entry: string): Promise<void> {
  await checkPlainFolder(entry);
  const declared = new Set(layer.files.map(({ name }) => name));
  const extra = (await readdir(entry)).find((name) => !declared.has(name));
  if (extra !== undefined) {
    throw bad(layer, `holds ${JSON.stringify(extra)}, which it does not declare`);
  }
  for (const { name, bytes } of layer.files) {
    const path = join(entry, name);
    await checkPlainFile(path, bytes);
    // A link to a file elsewhere on this machine would share it with the mirror.
    if ((await lstat(path)).nlink !== 1) throw bad(layer, `has ${name} as a link`);
  }
}

function bad(layer: LayerFiles, problem: string): MirrorError {
  return new MirrorError('bad-snapshot', `the archive of layer ${layer.name} ${problem}`);
}
