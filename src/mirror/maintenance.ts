/**
 * Merges packs as tiers.ts planned it, under the mirror's lock.
 *
 * The new pack is complete, and its index is compared with the old ones, before the first old pack is removed. So a
 * killed process leaves objects twice, but never loses one. Its other leftovers are removed when the mirror is opened
 * (directory.ts). Old packs are removed and never changed, so a process that reads one, or has a link to it, keeps it.
 *
 * It uses `git pack-objects` instead of `git repack`, which chooses packs by their number of objects, keeps others only
 * by `.keep` files (`--keep-pack` loses objects in git 2.34), and removes packs without checking the new one.
 */
import { readdir } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { MirrorError, isPlaceLost, throwIfCancelled } from '../lib/errors.ts';
import { removeTree } from '../lib/files.ts';
import type { Git } from '../git/git.ts';
import { toLines } from './objects.ts';
import { PackIndex } from './pack-index.ts';
import type { ObjectFormat } from './refs.ts';
import { listPacks, packDirectory, partnerOf, removePacks, tidyPacks } from './packs.ts';

/** How many objects are looked up before other work gets a turn: about 20 ms. */
const OBJECTS_IN_A_ROW = 20_000;

const MAX_THREADS = 4;
/** Memory of each thread, in addition to about 150 bytes for each object: half a GiB for all threads. */
const WINDOW_MEMORY = '128m';

const CONFIGURATION = [
  // Larger files are copied without looking for deltas, for which they would be read into memory.
  ['core.bigFileThreshold', '32m'],
  // A user's configuration may set this, which would make several packs.
  ['pack.packSizeLimit', '0'],
] as const;

export interface RepackOptions {
  objectFormat: ObjectFormat;
  timeoutMs: number;
  signal: AbortSignal;
}

/**
 * Merges some packs into one, without objects that the other packs also have. Throws `corrupt-mirror` if an object is
 * missing or damaged. A merge that fails leaves all old packs.
 */
export async function mergePacks(
  git: Git,
  directory: string,
  packs: readonly string[],
  options: RepackOptions,
): Promise<void> {
  const kept = (await listPacks(directory)).filter((name) => !packs.includes(name));
  const lines = [...packs, ...kept.map((name) => `^${name}`)];
  const made = await orAsBefore(directory, options.signal, async () => {
    const packed = await packObjects(git, directory, ['--stdin-packs'], lines, options);
    await checkNothingIsLost(directory, packs, [...packed, ...kept], options);
    return packed;
  });
  await removePacks(directory, [...made, ...kept]);
}

/**
 * Merges all packs into one that has only objects that these ids reach. Throws as `mergePacks` does. The caller has to
 * walk the result: this only checks that the new pack has the ids themselves.
 */
export async function repackEverything(
  git: Git,
  directory: string,
  oids: readonly string[],
  options: RepackOptions,
): Promise<void> {
  const made = await orAsBefore(directory, options.signal, async () => {
    const packed = await packObjects(git, directory, ['--revs'], oids, options);
    const ids = oids.map((oid) => Buffer.from(oid, 'hex'));
    await checkHeld(directory, ids, packed, options);
    return packed;
  });
  await removePacks(directory, made);
}

/**
 * Does what brings packs into a mirror. If that fails, they are removed: git may have been ended when one was complete, and
 * what arrived may lack objects that it refers to. In any case so are temporary packs of a git that was ended, and
 * reverse indexes, which our mirrors don't keep.
 */
export async function orAsBefore<T>(
  directory: string,
  signal: AbortSignal,
  work: () => Promise<T>,
): Promise<T> {
  const before = await listPacks(directory);
  try {
    return await work();
  } catch (error) {
    if (!isPlaceLost(signal)) await removePacks(directory, before);
    throw error;
  } finally {
    if (!isPlaceLost(signal)) await tidyPacks(directory);
  }
}

/** A loose object is a file named by its id, in a folder of the id's first two digits. */
const LOOSE_FOLDER = /^[0-9a-f]{2}$/;
const OID_REST = /^[0-9a-f]{38}(?:[0-9a-f]{24})?$/;
const LOOSE_TIMEOUT_MS = 10 * 60_000;

/**
 * Puts objects that a fetch left loose into a pack, since a mirror holds nothing but packs. Only a server
 * that offers plain files makes git fetch objects one by one. Throws `corrupt-mirror` for a damaged one. The caller
 * tidies the packs.
 */
export async function packLooseObjects(git: Git, directory: string): Promise<void> {
  const objects = join(directory, 'objects');
  const folders = (await readdir(objects)).filter((name) => LOOSE_FOLDER.test(name));
  const oids: string[] = [];
  for (const folder of folders) {
    const names = await readdir(join(objects, folder));
    oids.push(...names.filter((name) => OID_REST.test(name)).map((name) => folder + name));
  }
  if (oids.length > 0) {
    await packObjects(git, directory, [], oids, { timeoutMs: LOOSE_TIMEOUT_MS });
  }
  for (const folder of folders) await removeTree(join(objects, folder));
}

/** Returns the names of the new packs: one, or none if there were no objects. Leaves temporary files. */
async function packObjects(
  git: Git,
  directory: string,
  mode: readonly string[],
  lines: readonly string[],
  { timeoutMs }: Pick<RepackOptions, 'timeoutMs'>,
): Promise<string[]> {
  const configuration = CONFIGURATION.flatMap(([key, value]) => ['-c', `${key}=${value}`]);
  const threads = Math.min(MAX_THREADS, availableParallelism());
  const options = [
    ...['--quiet', '--non-empty', '--delta-base-offset'],
    ...[`--threads=${String(threads)}`, `--window-memory=${WINDOW_MEMORY}`],
  ];
  const target = join(packDirectory(directory), 'pack');
  const command = {
    gitDirectory: directory,
    args: [...configuration, 'pack-objects', ...options, ...mode, target],
    stdin: toLines(lines),
    timeoutMs,
  };
  const output = await git.read(command, 'packing objects');
  const hashes = output.toString('latin1').split('\n');
  return hashes.filter((hash) => hash !== '').map((hash) => `pack-${hash}.pack`);
}

async function checkNothingIsLost(
  directory: string,
  old: readonly string[],
  others: readonly string[],
  options: RepackOptions,
): Promise<void> {
  for (const name of old) {
    const index = await readIndex(directory, name, options.objectFormat);
    await checkHeld(directory, index.oids(), others, options);
  }
}

async function checkHeld(
  directory: string,
  oids: Iterable<Buffer>,
  packs: readonly string[],
  { objectFormat, signal }: RepackOptions,
): Promise<void> {
  let missing = oids;
  let count = 0;
  for (const name of packs) {
    const index = await readIndex(directory, name, objectFormat);
    const left: Buffer[] = [];
    for (const oid of missing) {
      if (!index.has(oid)) left.push(oid);
      count += 1;
      // There may be millions of objects: this lets a cancel interrupt the loop.
      if (count % OBJECTS_IN_A_ROW === 0) await setImmediate();
      throwIfCancelled(signal);
    }
    // The index of a large pack is large, so it is read only if an object isn't in the new one.
    if (left.length === 0) return;
    missing = left;
  }
  const [oid] = missing;
  if (oid !== undefined) {
    throw new MirrorError('unknown', `git left ${oid.toString('hex')} out of the new pack`);
  }
}

function readIndex(
  directory: string,
  pack: string,
  objectFormat: ObjectFormat,
): Promise<PackIndex> {
  return PackIndex.read(join(packDirectory(directory), partnerOf(pack)), objectFormat);
}
