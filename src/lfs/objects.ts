/**
 * LFS objects on this machine: files named by their SHA-256, as git-lfs lays them out, in a folder next to
 * the mirror. They survive a wipe of the mirror, and only the holder of its lock changes them.
 *
 * A file is never trusted for its name: workspaces share it by hard links, so anything that ran there may
 * have changed it. git-lfs itself compares sizes only, and would check out a wrong content.
 */
import { createHash } from 'node:crypto';
import type { Dirent } from 'node:fs';
import { chmod, open, rm, stat, utimes, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { READ_PLAIN, linkOrCopy } from '../lib/copy.ts';
import { MirrorError, isPlaceLost, throwIfCancelled } from '../lib/errors.ts';
import { listFolder, makeFolder, removeTree, renameStubbornly } from '../lib/files.ts';
import { mapEachOf } from '../lib/parallel.ts';
import type { OnBytes } from '../lib/progress.ts';
import type { LfsObject } from './pointers.ts';

/** Of small files most of the time is waiting. */
const FILES_AT_ONCE = 4;
const BUFFER_BYTES = 1024 * 1024;

const DAY_MS = 24 * 60 * 60_000;
/** An object that no job of this machine needed for that long is removed. */
const UNUSED_MS = 30 * DAY_MS;

/** Where the objects of a mirror are. */
export function objectsFolder(mirror: string): string {
  return `${mirror}.lfs`;
}

/** What is being downloaded or bundled; whatever a killed job left there is removed by the next. */
export function workFolder(folder: string): string {
  return join(folder, 'work');
}

export async function sweepWork(folder: string): Promise<void> {
  await removeTree(workFolder(folder));
}

/** For the end of some work. What another job may be using by now, or cannot be removed, is left to the next sweep. */
export async function leaveWork(folder: string, signal: AbortSignal): Promise<void> {
  if (!isPlaceLost(signal)) await sweepWork(folder).catch(() => undefined);
}

export function objectPath(folder: string, oid: string): string {
  return join(folder, 'objects', oid.slice(0, 2), oid.slice(2, 4), oid);
}

/** Which of these objects are here, with the content that their names say. Removes others. */
export async function findSound(
  folder: string,
  objects: readonly LfsObject[],
  signal: AbortSignal,
): Promise<Set<string>> {
  const sound = new Set<string>();
  await mapEachOf(objects, FILES_AT_ONCE, signal, async (object, bounded) => {
    const path = objectPath(folder, object.oid);
    if (await isSound(path, object, bounded)) sound.add(object.oid);
    else await rm(path, { force: true });
  });
  return sound;
}

/** Ids of all objects that are here, by their names alone. */
export async function listPresent(folder: string): Promise<Set<string>> {
  const entries = await listFolder(join(folder, 'objects'), true);
  const isObject = (entry: Dirent): boolean =>
    entry.isFile() && join(entry.parentPath, entry.name) === objectPath(folder, entry.name);
  return new Set(entries.filter(isObject).map(({ name }) => name));
}

/** Moves downloaded objects into the folder, those with the right content. Returns their ids. */
export async function adoptObjects(
  from: string,
  folder: string,
  objects: readonly LfsObject[],
  signal: AbortSignal,
): Promise<Set<string>> {
  const sound = await findSound(from, objects, signal);
  for (const oid of sound) await adopt(objectPath(from, oid), folder, oid);
  return sound;
}

async function adopt(path: string, folder: string, oid: string): Promise<void> {
  const target = objectPath(folder, oid);
  await makeFolder(dirname(target));
  await chmod(path, 0o444);
  // Windows does not replace a read-only file, which an object is.
  await removeTree(target);
  await renameStubbornly(path, target);
}

/** Gives a git directory these objects by hard links, or copies. Returns the number of bytes copied. */
export async function placeObjects(
  folder: string,
  gitDirectory: string,
  objects: readonly LfsObject[],
  signal: AbortSignal,
): Promise<number> {
  const target = join(gitDirectory, 'lfs');
  const copied = await mapEachOf(objects, FILES_AT_ONCE, signal, async ({ oid, size }, bounded) => {
    const to = objectPath(target, oid);
    await makeFolder(dirname(to));
    return linkOrCopy(objectPath(folder, oid), to, size, bounded);
  });
  return copied.reduce((sum, bytes) => sum + bytes, 0);
}

/**
 * Writes a bundle: the objects' contents in their order, each hashed on the way. Throws `corrupt-mirror` for an
 * object that is gone or has another content.
 */
export async function bundleObjects(
  folder: string,
  objects: readonly LfsObject[],
  bundle: string,
  { signal, onBytes }: { signal: AbortSignal; onBytes: OnBytes },
): Promise<void> {
  await makeFolder(dirname(bundle));
  await using target = await open(bundle, 'wx', 0o600);
  let done = 0;
  for (const object of objects) {
    const path = objectPath(folder, object.oid);
    if (!(await isSound(path, object, signal, target))) {
      // The next job downloads it again.
      await rm(path, { force: true });
      throw new MirrorError('corrupt-mirror', `${path} was removed or changed`);
    }
    done += object.size;
    onBytes(done);
  }
  await target.sync();
}

/** Takes a bundle apart into the folder. Returns the ids of the objects whose content was right. */
export async function unpackBundle(
  bundle: string,
  objects: readonly LfsObject[],
  folder: string,
  signal: AbortSignal,
): Promise<Set<string>> {
  await using source = await open(bundle, READ_PLAIN);
  const sound = new Set<string>();
  let position = 0;
  const placed = objects.map((object) => {
    position += object.size;
    return { object, start: position - object.size };
  });
  await mapEachOf(placed, FILES_AT_ONCE, signal, async ({ object, start }, bounded) => {
    const path = `${bundle}.${object.oid}`;
    const target = await open(path, 'wx', 0o600);
    const isRight = await copyOut(source, start, object, target, bounded).finally(() =>
      target.close(),
    );
    if (!isRight) return;
    await adopt(path, folder, object.oid);
    sound.add(object.oid);
  });
  return sound;
}

/** Removes objects that no job needed for a month, and the work of killed jobs. */
export async function tidyObjects(
  folder: string,
  nowMs: number,
  signal: AbortSignal,
): Promise<void> {
  await sweepWork(folder);
  for (const oid of await listPresent(folder)) {
    throwIfCancelled(signal);
    const path = objectPath(folder, oid);
    if (nowMs - (await stat(path)).mtimeMs > UNUSED_MS) await rm(path, { force: true });
  }
}

/** Whether a file has the content of an object, which is also written to `target`. */
async function isSound(
  path: string,
  object: LfsObject,
  signal: AbortSignal,
  target?: FileHandle,
): Promise<boolean> {
  // One that can't be opened is as good as absent.
  await using file = await open(path, READ_PLAIN).catch(() => undefined);
  if (file === undefined) return false;
  const { size, mtimeMs } = await file.stat();
  if (size !== object.size || !(await copyOut(file, 0, object, target, signal))) return false;
  // Used today: `tidyObjects` looks at the time.
  if (Date.now() - mtimeMs > DAY_MS) await touch(path);
  return true;
}

async function touch(path: string): Promise<void> {
  const now = new Date();
  await utimes(path, now, now).catch(() => undefined); // Another user's file: it is used all the same.
}

/**
 * Reads an object from a position of a file, and writes it to another. False if its content is not what its
 * name says.
 */
async function copyOut(
  source: FileHandle,
  start: number,
  { oid, size }: LfsObject,
  target: FileHandle | undefined,
  signal: AbortSignal,
): Promise<boolean> {
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafe(Math.min(size, BUFFER_BYTES));
  for (let done = 0; done < size;) {
    throwIfCancelled(signal);
    const length = Math.min(buffer.length, size - done);
    const { bytesRead } = await source.read(buffer, 0, length, start + done);
    if (bytesRead === 0) return false;
    const chunk = buffer.subarray(0, bytesRead);
    hash.update(chunk);
    if (target !== undefined) await target.writeFile(chunk);
    done += bytesRead;
  }
  return hash.digest('hex') === oid;
}
