/**
 * Use case of the post step: keeps a mirror that stays on its machine from falling to pieces. Where a
 * save has stored its packs, that has merged them already, and nothing is left to do; but a mirror
 * may have no store, or one that other machines save to.
 */
import { createDeadline, type Deadline } from '../lib/deadline.ts';
import { MirrorError, describeError } from '../lib/errors.ts';
import { bindSignal, type Job } from '../job/job.ts';
import {
  hasWorktrees,
  layOut,
  measurePacks,
  packDirectory,
  readRefs,
  wipe,
  type PackSize,
} from '../mirror/directory.ts';
import { mergePacks, repackEverything } from '../mirror/maintenance.ts';
import { walkAll } from '../mirror/objects.ts';
import { inspectPlace } from '../mirror/occupant.ts';
import type { MirrorRecord } from '../mirror/record.ts';
import { digestRefs, listNeededOids, type Ref } from '../mirror/refs.ts';
import { limitHistory } from '../mirror/shallow.ts';
import type { MirrorSpec } from '../snapshot/identity.ts';
import { planUpkeep } from '../mirror/tiers.ts';
import { sumBytes } from '../snapshot/manifest.ts';
import { describePacks, tryRepack, type PackingOptions } from './packing.ts';
import type { SavedMirror } from './save-snapshot.ts';
import { readBase } from './publish.ts';
import { findHeld } from '../snapshot/shared-layers.ts';

/** What maintenance needs of a mirror; a private one is gone with its job. */
type MaintenanceOptions = Pick<
  PackingOptions,
  'path' | 'objectFormat' | 'key' | 'repackTimeoutMs'
> &
  Pick<MirrorSpec, 'url' | 'depth'>;

/**
 * Merges packs that have become many. Never throws: a mirror is none the worse for many packs; one
 * where damage is found is wiped, so that the next run makes it anew. A lock that another job holds is
 * not waited for, since that job ends in the same.
 */
export async function maintainMirror(
  job: Job,
  { identity, path, isPrivate }: SavedMirror,
  repackTimeoutMs: number,
): Promise<void> {
  const { account, signal } = job;
  if (isPrivate || signal.aborted) return;
  const { key, objectFormat, spec } = identity;
  const options = { path, key, objectFormat, repackTimeoutMs, url: spec.url, depth: spec.depth };
  try {
    const acquisition = await job.lockOf(options.path).acquire({ timeoutMs: 0, signal });
    if (acquisition.outcome !== 'acquired') return;
    const { hold } = acquisition;
    try {
      await new Upkeep(bindSignal(job, hold.lost), options).run();
    } finally {
      await hold.release();
    }
  } catch (error) {
    account.recover(`The mirror at ${options.path} is not tidied: ${describeError(error)}`, error);
  }
}

/** Alone at the mirror's place. */
class Upkeep {
  readonly #job: Job;
  readonly #options: MaintenanceOptions;
  readonly #deadline: Deadline;

  constructor(job: Job, options: MaintenanceOptions) {
    this.#job = job;
    this.#options = options;
    this.#deadline = createDeadline(options.repackTimeoutMs);
  }

  async run(): Promise<void> {
    const { path, key, objectFormat, url, depth } = this.#options;
    const { account, git } = this.#job;
    const occupant = await inspectPlace(path, key, url);
    if (occupant.is !== 'mirror' || (await hasWorktrees(path))) return;
    const { record } = occupant;
    await layOut(path, objectFormat, depth);
    const packs = await measurePacks(path);
    // Packs that are few enough without any layer are so with some.
    if (planUpkeep([], packs).repack === 'nothing') return;
    const refs = await readRefs(path, objectFormat);
    // What refs do not reach is dropped: they must be those that the last fetch left.
    if (digestRefs(record.head ?? undefined, refs) !== record.refsDigest) return;
    try {
      await limitHistory(
        git,
        path,
        depth,
        refs.map(({ oid }) => oid),
      );
      await this.#maintain(record, refs, packs);
    } catch (error) {
      if (!(error instanceof MirrorError) || error.code !== 'corrupt-mirror') throw error;
      account.fallBack(`${error.message}; the mirror at ${path} is removed`, error);
      await wipe(path);
    }
  }

  async #maintain(
    record: MirrorRecord,
    refs: readonly Ref[],
    packs: readonly PackSize[],
  ): Promise<void> {
    const { path } = this.#options;
    const base = await readBase(path, record);
    const layers = await findHeld(packDirectory(path), base?.layers ?? []);
    const named = new Set(layers.flatMap(({ files }) => files.map(({ name }) => name)));
    const plan = planUpkeep(
      layers,
      packs.filter(({ name }) => !named.has(name)),
    );
    if (plan.repack === 'nothing') return;
    if (plan.repack === 'everything' && (await this.#repackEverything(packs, record, refs))) return;
    await this.#merge(plan.merged);
  }

  /** In half of the time: where it is not enough, the other half is for what takes less. */
  async #repackEverything(
    packs: readonly PackSize[],
    { head }: MirrorRecord,
    refs: readonly Ref[],
  ): Promise<boolean> {
    const { git, account, signal } = this.#job;
    const { path, objectFormat } = this.#options;
    const oids = listNeededOids(head ?? undefined, refs);
    // New packs have checksums of their own: nothing damaged is to get some.
    await describePacks(this.#job, this.#options, packs);
    const timeoutMs = this.#deadline.remainingMs() / 2;
    const isDone = await tryRepack(this.#job, path, sumBytes(packs), () =>
      repackEverything(git, path, oids, { objectFormat, timeoutMs, signal }),
    );
    if (isDone) await account.measure('walk', () => walkAll(git, path));
    return isDone;
  }

  async #merge(packs: readonly PackSize[]): Promise<void> {
    const { git, signal } = this.#job;
    const { path, objectFormat } = this.#options;
    const names = packs.map(({ name }) => name);
    await describePacks(this.#job, this.#options, packs);
    const timeoutMs = this.#deadline.remainingMs();
    await tryRepack(this.#job, path, sumBytes(packs), () =>
      mergePacks(git, path, names, { objectFormat, timeoutMs, signal }),
    );
  }
}
