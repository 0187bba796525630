/**
 * Makes many packs one. The planner is tiers.ts; this does what it says, alone at the mirror's place.
 *
 * A new pack is whole before the first old one goes, and that it holds what they held is proven by
 * their indexes: a process that is killed leaves objects twice, never not at all. Whatever else it
 * leaves is swept with the rest (directory.ts). Who reads an old pack meanwhile, or has a link to
 * it, keeps it: it is removed, never changed.
 *
 * `git pack-objects` and not `git repack`: that one decides by numbers of objects which packs are
 * to be one, keeps others by `.keep` files or loses objects (`--keep-pack` in git 2.34), and
 * removes packs without a look at the new one.
 */
import { readdir } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { MirrorError, throwIfCancelled } from '../lib/errors.ts';
import { removeTree } from '../lib/files.ts';
import type { Git } from '../git/git.ts';
import { listPacks, packDirectory, tidyPacks } from './directory.ts';
import { PackIndex } from './pack-index.ts';
import type { ObjectFormat } from './refs.ts';

/** How many objects are looked up before other work gets a turn: some 20 ms. */
const OBJECTS_IN_A_ROW = 20_000;

const MAX_THREADS = 4;
/** Each thread's, on top of some 150 bytes for each object: half a GiB for all of them. */
const WINDOW_MEMORY = '128m';

const CONFIGURATION = [
  // Larger files are copied as they are and never held whole in memory, to look for a delta.
  ['core.bigFileThreshold', '32m'],
  // What a user's configuration may say, and would make several packs.
  ['pack.packSizeLimit', '0'],
] as const;

export interface RepackOptions {
  objectFormat: ObjectFormat;
  timeoutMs: number;
  signal: AbortSignal;
}

/**
 * Makes some packs one, without what the others hold as well. Throws `corrupt-mirror` for an object
 * that is missing or damaged; after any failure all packs are there that were.
 */
export async function mergePacks(
  git: Git,
  directory: string,
  packs: readonly string[],
  options: RepackOptions,
): Promise<void> {
  const kept = (await listPacks(directory)).filter((name) => !packs.includes(name));
  const lines = [...packs, ...kept.map((name) => `^${name}`)];
  const made = await packObjects(git, directory, ['--stdin-packs'], lines, options);
  await checkNothingIsLost(directory, packs, [...made, ...kept], options);
  await removePacks(directory, [...made, ...kept]);
}

/**
 * Makes all packs one, of nothing but what these ids reach. Throws as `mergePacks`. What is reached
 * is to be walked afterwards: here only the ids themselves are looked for in the new pack.
 */
export async function repackEverything(
  git: Git,
  directory: string,
  oids: readonly string[],
  options: RepackOptions,
): Promise<void> {
  const made = await packObjects(git, directory, ['--revs'], oids, options);
  const ids = oids.map((oid) => Buffer.from(oid, 'hex'));
  await checkHeld(directory, ids, made, options);
  await removePacks(directory, made);
}

/** A loose object is a file named by its id, in a folder of the id's first two digits. */
const LOOSE_FOLDER = /^[0-9a-f]{2}$/;
const OID_REST = /^[0-9a-f]{38}(?:[0-9a-f]{24})?$/;
const LOOSE_TIMEOUT_MS = 10 * 60_000;

/**
 * Puts objects that a fetch left loose into a pack, since a mirror holds nothing but packs. Only a server
 * that offers plain files makes git fetch objects one by one. Throws `corrupt-mirror` for a damaged one.
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

/** Names of the packs that it made: one, or none where there was nothing to put into it. */
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
    stdin: lines.map((line) => `${line}\n`).join(''),
    timeoutMs,
  };
  try {
    const output = await git.read(command, 'making one pack of many');
    const hashes = output.toString('latin1').split('\n');
    return hashes.filter((hash) => hash !== '').map((hash) => `pack-${hash}.pack`);
  } finally {
    // Temporary packs of a git that was ended, and reverse indexes, which no mirror of ours keeps.
    await tidyPacks(directory);
  }
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
      // Of millions of objects: a cancel is to be heard.
      if (count % OBJECTS_IN_A_ROW === 0) await setImmediate();
      throwIfCancelled(signal);
    }
    // The index of a large pack is large: it is read only where something is not in the new one.
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
  const name = pack.replace(/\.pack$/, '.idx');
  return PackIndex.read(join(packDirectory(directory), name), objectFormat);
}

/** Removes all packs but these. */
export async function removePacks(directory: string, kept: readonly string[]): Promise<void> {
  for (const name of (await listPacks(directory)).filter((each) => !kept.includes(each))) {
    // Its index first: one without its pack is an error to git.
    for (const file of [name.replace(/\.pack$/, '.idx'), name]) {
      await removeTree(join(packDirectory(directory), file));
    }
  }
}
