/** From a snapshot in a store to a directory with its packs and refs, verified. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { sumBytes } from '../lib/bytes.ts';
import { MirrorError } from '../lib/errors.ts';
import { removeTree, renameStubbornly } from '../lib/files.ts';
import type { Git } from '../git/git.ts';
import type { Log } from '../lib/log.ts';
import { checkFiles, type Candidate } from '../mirror/candidate.ts';
import { BASE_MANIFEST_FILE, layOut, writeHead, writePackedRefs } from '../mirror/directory.ts';
import { indexAgain, peelRefs, walkAll } from '../mirror/objects.ts';
import { findHeadCommit, formatPackedRefs } from '../mirror/refs.ts';
import { rehashCommit } from '../mirror/rehash.ts';
import { listPacks, packDirectory, partnerOf } from '../mirror/packs.ts';
import { mapEachOf } from '../lib/parallel.ts';
import { withProgress } from '../lib/progress.ts';
import type { Store } from '../stores/store.ts';
import { ChunkDigester } from '../snapshot/chunks.ts';
import { LayerCheck } from '../snapshot/layer-check.ts';
import type { FoundSnapshot } from '../snapshot/look-up.ts';
import type { Layer, Snapshot } from '../snapshot/manifest.ts';

/** How a restored snapshot is checked, each including the ones before. */
export type Verification = 'standard' | 'tip' | 'full';

/** Of small layers most of the time is waiting; of large ones a store has its own connections. */
const LAYERS_AT_ONCE = 4;

export interface UnpackOptions {
  git: Git;
  store: Store;
  key: string;
  verification: Verification;
  log: Log;
  signal: AbortSignal;
}

/**
 * Fills an empty directory from a snapshot. Throws `bad-snapshot` for whatever is wrong with it,
 * `store-unavailable` where the store failed; the directory is then good for nothing.
 */
export async function unpackSnapshot(
  { git, store, key, verification, log, signal }: UnpackOptions,
  { number, id, content, manifest: snapshot }: FoundSnapshot,
  directory: string,
): Promise<Candidate> {
  const { objectFormat, head } = snapshot;
  await layOut(directory, objectFormat);
  await bringLayers({ store, key, log, signal }, snapshot, directory);
  const packedRefs = formatPackedRefs(snapshot.refs);
  await writePackedRefs(directory, packedRefs);
  await writeHead(directory, head);
  await writeFile(join(directory, BASE_MANIFEST_FILE), content);
  try {
    await verify(git, directory, snapshot, verification);
  } catch (error) {
    if (!(error instanceof MirrorError) || error.code !== 'corrupt-mirror') throw error;
    throw new MirrorError('bad-snapshot', error.message, { cause: error });
  }
  const { refs, refsDigest } = snapshot;
  return {
    directory,
    refs,
    packedRefs,
    base: { number, id, refsDigest },
    walkedRefsDigest: null,
  };
}

/** The packs of all layers, each checked; layers that are found bad end the others. */
async function bringLayers(
  { store, key, log, signal }: Pick<UnpackOptions, 'store' | 'key' | 'log' | 'signal'>,
  snapshot: Snapshot,
  directory: string,
): Promise<void> {
  const digester = new ChunkDigester(signal);
  const brought = snapshot.layers.map(() => 0);
  await withProgress(log, 'downloading packs', sumBytes(snapshot.layers), (onBytes) =>
    mapEachOf([...snapshot.layers.entries()], LAYERS_AT_ONCE, signal, async (entry, bounded) => {
      const [index, layer] = entry;
      // A folder of its own for each: nothing reaches the packs before it is verified.
      const incoming = join(directory, `incoming-${String(index)}`);
      await mkdir(incoming);
      const check = new LayerCheck(incoming, layer, digester);
      const onBrought = (bytes: number): void => {
        brought[index] = bytes;
        onBytes(brought.reduce((sum, each) => sum + each));
      };
      try {
        const options = { signal: bounded, onBytes: onBrought, onFilled: check.note };
        await store.getLayer(key, layer, incoming, options);
        await check.finish(snapshot.objectFormat);
      } finally {
        await check.end();
      }
      await moveFiles(incoming, packDirectory(directory), layer);
    }),
  );
}

async function moveFiles(from: string, to: string, layer: Layer): Promise<void> {
  // Packs before their indexes, as git writes them: an index without a pack is an error to git.
  const names = layer.files
    .map(({ name }) => name)
    .sort()
    .reverse();
  for (const name of names) await renameStubbornly(join(from, name), join(to, name));
  await removeTree(from);
}

async function verify(
  git: Git,
  directory: string,
  { refs, head, objectFormat, depth }: Snapshot,
  verification: Verification,
): Promise<void> {
  if (verification === 'full') await indexPacks(git, directory);
  const peeled = await peelRefs(git, directory, refs);
  const wrong = peeled.find(({ peeled: oid }, index) => oid !== refs[index]?.peeled);
  if (wrong !== undefined) {
    throw new MirrorError('bad-snapshot', `${wrong.name} is not peeled to what it points at`);
  }
  await checkFiles(git, directory, depth, head, refs);
  const commit = findHeadCommit(head, refs);
  if (commit !== undefined && verification === 'tip') {
    await rehashCommit(git, directory, objectFormat, commit);
  }
  if (verification === 'full') await walkAll(git, directory);
}

/** Makes the indexes again from the packs' content, one after the other. */
async function indexPacks(git: Git, directory: string): Promise<void> {
  for (const name of await listPacks(directory)) {
    const pack = join(packDirectory(directory), name);
    await removeTree(partnerOf(pack));
    await indexAgain(git, directory, pack);
  }
}
