/**
 * Use case of the post step: keeps a mirror that stays on its machine from falling to pieces. Where a
 * save has stored its packs, that has merged them already, and nothing is left to do; but a mirror
 * may have no store, or one that other machines save to.
 */
import { sumBytes } from '../lib/bytes.ts';
import { createDeadline, type Deadline } from '../lib/deadline.ts';
import { describeError, hasCode, throwIfPlaceLost } from '../lib/errors.ts';
import type { Job } from '../job/job.ts';
import { hasWorktrees, layOut, readRefs, wipe } from '../mirror/directory.ts';
import { mergePacks, repackEverything, type RepackOptions } from '../mirror/maintenance.ts';
import { walkAll } from '../mirror/objects.ts';
import { inspectPlace } from '../mirror/occupant.ts';
import { digestRefs, listNeededOids } from '../mirror/refs.ts';
import { limitHistory } from '../mirror/shallow.ts';
import { planUpkeep } from '../mirror/tiers.ts';
import { underLock } from './locked.ts';
import { describePacks, measureOthers, tryRepack } from './packing.ts';
import type { SavedMirror } from './save.ts';
import { readBase } from './publish.ts';
import { measurePacks, packDirectory, type PackSize } from '../mirror/packs.ts';
import { findHeld } from '../snapshot/shared-layers.ts';

/**
 * Merges packs that have become many. Never throws, because many packs do a mirror no harm. A damaged mirror is wiped, so
 * that the next run makes a new one. If another job holds the lock, nothing is done: that job does the same at its end.
 */
export async function maintainMirror(
  job: Job,
  mirror: SavedMirror,
  repackTimeoutMs: number,
): Promise<void> {
  const { account, signal } = job;
  const { path, isPrivate } = mirror;
  // A private one is gone with its job.
  if (isPrivate || signal.aborted) return;
  try {
    await underLock(job, mirror, 0, (bound) =>
      maintainAlone(bound, mirror, createDeadline(repackTimeoutMs)),
    );
  } catch (error) {
    account.recover(`The mirror at ${path} is not tidied: ${describeError(error)}`, error);
  }
}

async function maintainAlone(job: Job, mirror: SavedMirror, deadline: Deadline): Promise<void> {
  const { git, account, signal } = job;
  const { path, identity } = mirror;
  const { key, spec, objectFormat } = identity;
  const occupant = await inspectPlace(path, key, spec.url);
  if (occupant.is !== 'mirror' || (await hasWorktrees(path))) return;
  const { record } = occupant;
  await layOut(path, objectFormat, spec.depth);
  const packs = await measurePacks(path);
  // Packs that are few enough without any layer are so with some.
  if (planUpkeep([], packs).repack === 'nothing') return;
  const refs = await readRefs(path, objectFormat);
  const head = record.head ?? undefined;
  // What refs do not reach is dropped: they must be those that the last fetch left.
  if (digestRefs(head, refs) !== record.refsDigest) return;
  const oids = listNeededOids(head, refs);
  try {
    await limitHistory(git, path, spec.depth, oids);
    const layers = await findHeld(
      packDirectory(path),
      (await readBase(path, record))?.layers ?? [],
    );
    const plan = planUpkeep(layers, await measureOthers(path, layers));
    if (plan.repack === 'nothing') return;
    const isAll = plan.repack === 'everything';
    if (isAll && (await repackAll(job, mirror, packs, oids, deadline))) return;
    const names = plan.merged.map(({ name }) => name);
    const restOfTime = (): number => deadline.remainingMs();
    await repack(job, mirror, plan.merged, restOfTime, (options) =>
      mergePacks(git, path, names, options),
    );
  } catch (error) {
    if (!hasCode(error, 'corrupt-mirror')) throw error;
    throwIfPlaceLost(signal);
    account.fallBack(`${error.message}; the mirror at ${path} is removed`, error);
    await wipe(path);
  }
}

/** In half of the time: where it is not enough, the other half is for what takes less. */
async function repackAll(
  job: Job,
  mirror: SavedMirror,
  packs: readonly PackSize[],
  oids: readonly string[],
  deadline: Deadline,
): Promise<boolean> {
  const { git, account } = job;
  const { path } = mirror;
  const halfTime = (): number => deadline.remainingMs() / 2;
  const isDone = await repack(job, mirror, packs, halfTime, (options) =>
    repackEverything(git, path, oids, options),
  );
  if (isDone) await account.measure('walk', () => walkAll(git, path));
  return isDone;
}

async function repack(
  job: Job,
  mirror: SavedMirror,
  packs: readonly PackSize[],
  remainingMs: () => number,
  work: (options: RepackOptions) => Promise<void>,
): Promise<boolean> {
  // New packs have checksums of their own: nothing damaged is to get some.
  await describePacks(job, mirror, packs);
  const { objectFormat } = mirror.identity;
  const options = { objectFormat, timeoutMs: remainingMs(), signal: job.signal };
  return tryRepack(job, mirror.path, sumBytes(packs), () => work(options));
}
