/**
 * Use case of the post step: publish a new snapshot of the mirror, if its last fetch succeeded, if it has
 * changed, and if no other job has published since that fetch began.
 */
import { bindSignal, type Job } from '../job/job.ts';
import { MirrorError, describeError, hasCode, throwIfCancelled } from '../lib/errors.ts';
import { mapEachOf } from '../lib/parallel.ts';
import type { Hold } from '../locks/lock.ts';
import { hasWorktrees, layOut, parseRefs, readPackedRefs } from '../mirror/directory.ts';
import { inspectPlace } from '../mirror/occupant.ts';
import { digestPackedRefs } from '../mirror/refs.ts';
import { readSnapshot } from '../snapshot/look-up.ts';
import type { StoredManifest } from '../stores/store.ts';
import { underClaim } from './claimed.ts';
import { chooseLineage, findObstacle, findUnchangedBase, type SaveResult } from './decide.ts';
import { packAndPublish } from './pack-and-publish.ts';
import type { Save, SavedMirror, SaveOptions } from './save.ts';
import { SAVE_LOCK_TIMEOUT_MS, underLock } from './locked.ts';
import { readBase } from './publish.ts';

/**
 * Saves, under the mirror's lock. `isClaimed` says that main's claim on this snapshot is still this
 * job's. Throws the named failure of the store or of git; the store then shows nothing
 * new.
 */
export async function saveSnapshot(
  job: Job,
  mirror: SavedMirror,
  options: SaveOptions,
  isClaimed: boolean,
): Promise<SaveResult> {
  const { store } = job;
  if (store === undefined) return skip('there is no store');
  const saved = await underLock(job, mirror, SAVE_LOCK_TIMEOUT_MS, (bound) =>
    saveAlone({ job: bound, store, mirror, options }, isClaimed),
  );
  return saved ?? skip(`another job is using ${mirror.path}`);
}

/**
 * Saves at the end of main, for jobs that wait for it, under the mirror's lock and, where main has it, the
 * claim. Throws `corrupt-mirror` where the mirror was wiped; everything else is left to post, and the
 * result is undefined then.
 */
export async function saveEarly(
  job: Job,
  mirror: SavedMirror,
  options: SaveOptions,
  claim: Hold | undefined,
): Promise<SaveResult | undefined> {
  const { store, account } = job;
  if (store === undefined) return undefined;
  const isClaimed = claim?.lost.aborted === false;
  const bound = isClaimed ? bindSignal(job, claim.lost) : job;
  try {
    const saved = await saveAlone({ job: bound, store, mirror, options }, isClaimed);
    if (saved.result !== 'corrupt') return saved;
    throw new MirrorError('corrupt-mirror', saved.reason);
  } catch (error) {
    if (hasCode(error, 'corrupt-mirror')) throw error;
    throwIfCancelled(job.signal);
    account.fallBack(`Not saved early, post will try again: ${describeError(error)}`, error);
    return undefined;
  }
}

/** A save would remove them, and the commits that were made there. */
const WORKTREES =
  'somebody works in a worktree of the mirror: remove it before the job ends, or use a clone of the mirror';

function skip(reason: string): SaveResult {
  return { result: 'skipped', reason };
}

function refuse(reason: string): SaveResult {
  return { result: 'refused', reason };
}

async function saveAlone(save: Save, isClaimed: boolean): Promise<SaveResult> {
  try {
    return await decideAndSave(save, isClaimed);
  } catch (error) {
    // The platform says so for events that are not trusted: nobody has to act on it.
    if (!hasCode(error, 'store-read-only')) throw error;
    return skip(error.message);
  }
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
  const work = (by: Save): Promise<SaveResult> => packAndPublish(by, saved, lineage);
  if (isClaimed) return work(save);
  const claimed = { job: save.job, key: identity.key, number: fence + 1 };
  return underClaim(claimed, (job) => work({ ...save, job }));
}

/** The newest manifest of the store, then of the others that snapshots are restored from. */
async function findNewest({ job, store, mirror }: Save): Promise<(StoredManifest | undefined)[]> {
  const { signal, otherStores, account } = job;
  const stores = [store, ...otherStores];
  return mapEachOf(stores, stores.length, signal, (each, bounded) =>
    account.measure('look-up', () => each.findManifest(mirror.identity.key, { signal: bounded })),
  );
}
