/**
 * Use case of the post step: publish a new snapshot of the mirror, if its last fetch succeeded, if it has
 * changed, and if no other job has published since that fetch began.
 */
import type { Job } from '../job/job.ts';
import { MirrorError } from '../lib/errors.ts';
import { mapEachOf } from '../lib/parallel.ts';
import type { Hold } from '../locks/lock.ts';
import { hasWorktrees, layOut, parseRefs, readPackedRefs } from '../mirror/directory.ts';
import { inspectPlace } from '../mirror/occupant.ts';
import { digestPackedRefs } from '../mirror/refs.ts';
import { readSnapshot } from '../snapshot/look-up.ts';
import type { StoredManifest } from '../stores/store.ts';
import { underClaim } from './claimed.ts';
import { chooseLineage, findObstacle, findUnchangedBase, skip, type SaveResult } from './decide.ts';
import { packAndPublish } from './pack-and-publish.ts';
import type { Save, SavedMirror, SaveOptions } from './save.ts';
import { saveEarly, saveUnderLock } from './locked.ts';
import { readBase } from './publish.ts';

/** Post's save. `isClaimed` says that main's claim on this snapshot is still this job's. Throws as `saveUnderLock` does. */
export async function saveSnapshot(
  job: Job,
  mirror: SavedMirror,
  options: SaveOptions,
  isClaimed: boolean,
): Promise<SaveResult> {
  return saveUnderLock(job, mirror, (bound, store) =>
    decideAndSave({ job: bound, store, mirror, options }, isClaimed),
  );
}

/** Main's save of a clone, as `saveEarly`. Throws `corrupt-mirror` if it wiped the mirror. */
export async function saveClone(
  job: Job,
  mirror: SavedMirror,
  options: SaveOptions,
  claim: Hold | undefined,
): Promise<SaveResult | undefined> {
  const saved = await saveEarly(job, claim, 'Not saved early', (bound, store, isClaimed) =>
    decideAndSave({ job: bound, store, mirror, options }, isClaimed),
  );
  if (saved?.result === 'corrupt') throw new MirrorError('corrupt-mirror', saved.reason);
  return saved;
}

/** A save would remove them, and the commits that were made there. */
const WORKTREES =
  'somebody works in a worktree of the mirror: remove it before the job ends, or use a clone of the mirror';

function refuse(reason: string): SaveResult {
  return { result: 'refused', reason };
}

async function decideAndSave(save: Save, isClaimed: boolean): Promise<SaveResult> {
  const { mirror, options } = save;
  const { identity, path } = mirror;
  const occupant = await inspectPlace(path, identity.key, identity.spec.url);
  if (occupant.is !== 'mirror') return refuse(`the mirror of this job is no longer at ${path}`);
  const { record } = occupant;
  if (await hasWorktrees(path)) return refuse(WORKTREES);
  await layOut(path, identity.objectFormat, identity.spec.depth);
  const packedRefs = await readPackedRefs(path);
  if (digestPackedRefs(record.head ?? undefined, packedRefs) !== record.refsDigest) {
    return refuse('its refs changed since the last successful fetch');
  }
  const { fence } = record;
  if (fence === null) return skip('the store could not be asked before the fetch');
  const stored = await findNewest(save);
  const unchanged = options.isForced ? undefined : findUnchangedBase(stored, record);
  if (unchanged !== undefined) return { result: 'unchanged', id: unchanged };
  const newest = await Promise.all(stored.map((each) => readSnapshot(each, identity)));
  const obstacle = findObstacle(record, fence, newest, options, Date.now());
  if (obstacle !== undefined) return obstacle;
  const saved = { record, fence, refs: parseRefs(packedRefs, identity.objectFormat) };
  const lineage = chooseLineage(await readBase(path, record), record, newest);
  return underClaim(save.job, { key: identity.key, number: fence + 1, isClaimed }, (job) =>
    packAndPublish({ ...save, job }, saved, lineage),
  );
}

/** The newest manifest of the store, then of the others that snapshots are restored from. */
async function findNewest({ job, store, mirror }: Save): Promise<(StoredManifest | undefined)[]> {
  const { signal, otherStores, account } = job;
  const stores = [store, ...otherStores];
  return mapEachOf(stores, stores.length, signal, (each, bounded) =>
    account.measure('look-up', () => each.findManifest(mirror.identity.key, { signal: bounded })),
  );
}
