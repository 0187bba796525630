/** From a mirror to a snapshot that everybody sees: its layers first, its manifest last. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { hasCode, systemCode } from '../lib/errors.ts';
import type { Git } from '../git/git.ts';
import type { Job } from '../job/job.ts';
import type { Log } from '../lib/log.ts';
import { BASE_MANIFEST_FILE } from '../mirror/directory.ts';
import { checkTrees, walkAll, walkFrom, walkNew } from '../mirror/objects.ts';
import type { MirrorRecord } from '../mirror/record.ts';
import type { Depth } from '../mirror/refs.ts';
import { packDirectory } from '../mirror/packs.ts';
import { withProgress } from '../lib/progress.ts';
import type { Store, StoredManifest } from '../stores/store.ts';
import {
  FORMAT_VERSION,
  encodeManifest,
  parseManifest,
  snapshotId,
  type Layer,
  type Manifest,
  type Snapshot,
} from '../snapshot/manifest.ts';
import { findHeld } from '../snapshot/shared-layers.ts';

/** After this many cheap walks everything is walked once more. */
const MAX_SAVES_SINCE_FULL_WALK = 20;

/**
 * Walks what refs reach; throws `corrupt-mirror` where an object is missing. Returns the number of saves since
 * everything was walked: 0 if it was now. What is new since the base is enough while a full walk stands behind
 * the base, and all its packs are here: such a walk is blind to a hole in it. A tip mirror is walked whole:
 * without a history that is little.
 */
export async function checkConnectivity(
  git: Git,
  directory: string,
  depth: Depth,
  record: MirrorRecord,
  base: Snapshot | undefined,
): Promise<number> {
  // A pack that was lost since takes what was walked with it.
  const isWhole = base === undefined || (await holdsPacksOf(directory, base));
  if (isWhole && record.walkedRefsDigest === record.refsDigest) return 0;
  const isNewEnough =
    depth === 'full' && base !== undefined && base.savesSinceFullWalk < MAX_SAVES_SINCE_FULL_WALK;
  if (isWhole && isNewEnough) {
    await walkNew(git, directory, [...new Set(base.refs.map(({ oid }) => oid))]);
    return base.savesSinceFullWalk + 1;
  }
  await walkAll(git, directory);
  return 0;
}

/**
 * Whether a snapshot lacks an object that its refs need, as seen from a mirror with sound packs that
 * descends from it: all the snapshot's packs are here, and the object is not.
 */
export async function hasHole(git: Git, directory: string, snapshot: Snapshot): Promise<boolean> {
  if (!(await holdsPacksOf(directory, snapshot))) return false;
  const oids = [...new Set(snapshot.refs.map(({ oid }) => oid))];
  try {
    // A tip mirror that has moved on no longer knows where the snapshot's history ends.
    await (snapshot.depth === 'tip' ? checkTrees : walkFrom)(git, directory, oids);
    return false;
  } catch (error) {
    if (!hasCode(error, 'corrupt-mirror')) throw error;
    return true;
  }
}

async function holdsPacksOf(directory: string, { layers }: Snapshot): Promise<boolean> {
  return (await findHeld(packDirectory(directory), layers)).length === layers.length;
}

type Publication =
  | { is: 'published'; number: number; id: string; content: Uint8Array }
  /** The number was taken, or a higher one is there. */
  | { is: 'superseded'; number: number };

/**
 * Puts the new layer, unless it is empty, and creates the manifest. A refusal is looked at: a write
 * that was carried out although its answer was lost is a success.
 */
export async function publishSnapshot(
  store: Store,
  key: string,
  directory: string,
  snapshot: Snapshot,
  newLayer: Layer,
  { log, signal }: { log: Log; signal: AbortSignal },
): Promise<Publication> {
  // What no reader would take is not to cost an upload.
  await encodeReadable(snapshot);
  if (newLayer.files.length > 0) {
    await withProgress(log, 'saving packs', newLayer.bytes, (onBytes) =>
      store.putLayer(key, newLayer, packDirectory(directory), { signal, onBytes }),
    );
  }
  return publishManifest(store, key, snapshot, signal);
}

/** The manifest's bytes; throws `bad-snapshot` for one that no reader would take. */
async function encodeReadable(manifest: Manifest): Promise<Uint8Array> {
  const content = await encodeManifest(manifest);
  await parseManifest(content, manifest.number);
  return content;
}

/** What every manifest says of its writer. */
export function describeWriter(
  { git }: Job,
  { run, action }: { run: string; action: string },
  number: number,
) {
  const createdAt = new Date().toISOString();
  return { version: FORMAT_VERSION, number, createdAt, run, git: git.version, action } as const;
}

/** A writer that died may have left a number that is taken, and under which nothing is found. */
const MAX_DEAD_NUMBERS = 3;
/** For one more try of what must not stay undone. A cancelled job has 7.5 s. */
const LAST_TRY_MS = 2_000;

/**
 * Creates a manifest under its number, and takes it back if a higher one is there. Numbers that are
 * taken with nothing under them are passed over, a few. What was created is judged also where the
 * job is cancelled, or has lost its claim, meanwhile; where that fails, it is taken back if possible.
 */
export async function publishManifest(
  store: Store,
  key: string,
  manifest: Manifest,
  signal: AbortSignal,
): Promise<Publication> {
  const last = manifest.number + MAX_DEAD_NUMBERS;
  for (let { number } = manifest; ; number++) {
    const content = await encodeReadable({ ...manifest, number });
    const find = (bounded: AbortSignal) => store.findManifest(key, { signal: bounded });
    const withdraw = (bounded: AbortSignal) => store.withdrawManifest(key, number, bounded);
    if (!(await store.createManifest(key, number, content, signal))) {
      const newest = await find(signal);
      if (isOurManifest(newest, number, content)) return published(number, content);
      const isDead = (newest?.number ?? 0) < manifest.number;
      if (isDead && number < last) continue;
      return { is: 'superseded', number: newest?.number ?? number };
    }
    const newest = await insist(find, signal).catch(async (error: unknown) => {
      await withdraw(AbortSignal.timeout(LAST_TRY_MS)).catch(() => undefined);
      throw error;
    });
    if (isOurManifest(newest, number, content)) return published(number, content);
    // Retention frees old numbers: a job that comes very late can take one that was used before.
    await insist(withdraw, signal);
    return { is: 'superseded', number: newest?.number ?? number };
  }
}

function isOurManifest(
  found: StoredManifest | undefined,
  number: number,
  content: Uint8Array,
): boolean {
  return found?.number === number && Buffer.compare(found.content, content) === 0;
}

function published(number: number, content: Uint8Array): Publication {
  return { is: 'published', number, id: snapshotId(number, content), content };
}

/** Tries once more, for a moment, what failed or was cancelled; then throws the first failure. */
async function insist<T>(
  work: (signal: AbortSignal) => Promise<T>,
  signal: AbortSignal,
): Promise<T> {
  return work(signal).catch((error: unknown) =>
    work(AbortSignal.timeout(LAST_TRY_MS)).catch(() => {
      throw error;
    }),
  );
}

/** The manifest that lies in a mirror for its base, if it is that one and sound. */
export async function readBase(
  directory: string,
  { base }: MirrorRecord,
): Promise<Snapshot | undefined> {
  if (base === null) return undefined;
  try {
    const content = await readFile(join(directory, BASE_MANIFEST_FILE));
    const manifest = await parseManifest(content, base.number);
    const isBase = manifest.kind === 'repository' && snapshotId(base.number, content) === base.id;
    return isBase ? manifest : undefined;
  } catch (error) {
    const isGone = systemCode(error) === 'ENOENT';
    if (isGone || hasCode(error, 'bad-snapshot')) return undefined;
    throw error;
  }
}
