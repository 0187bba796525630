/**
 * Use case of the post step: publish a new snapshot of the mirror, if its last fetch succeeded, if
 * it has news, and if nobody else has published since that fetch began.
 */
import { MirrorError, describeError, throwIfCancelled } from '../lib/errors.ts';
import { bindSignal, type Job } from '../job/job.ts';
import type { Hold } from '../locks/lock.ts';
import { layOut, parseRefs, readPackedRefs, wipe } from '../mirror/directory.ts';
import { inspectPlace } from '../mirror/occupant.ts';
import { writeRecord, type MirrorRecord } from '../mirror/record.ts';
import { digestPackedRefs, listNeededOids, type ObjectFormat, type Ref } from '../mirror/refs.ts';
import { mapEachOf } from '../lib/parallel.ts';
import { deriveKey } from '../snapshot/key.ts';
import { readSnapshot, type LookUp } from '../snapshot/look-up.ts';
import { FORMAT_VERSION, snapshotId, type Layer, type Snapshot } from '../snapshot/manifest.ts';
import { Packing, type Content } from './packing.ts';
import {
  checkConnectivity,
  hasHole,
  publishManifest,
  publishSnapshot,
  readBase,
  writeBase,
} from './publish.ts';
import { RETENTION_GRACE_MS, applyRetention } from './retention.ts';
import { withTransferDeadline } from '../snapshot/transfer.ts';
import type { Store, StoredManifest } from '../stores/store.ts';

export interface SaveOptions {
  /** As now, evaluated again for post: with other inputs than main's nothing can be saved. */
  cacheKey: string;
  path: string;
  /** A private mirror has no lock: nobody else knows it. */
  isPrivate: boolean;
  key: string;
  objectFormat: ObjectFormat;
  /** Publishes even what the store has already. */
  isForced: boolean;
  /**
   * Publishes only where no sound snapshot is younger, in milliseconds; 0 for always. For a store
   * where only this branch could read what it saves.
   */
  leastAgeMs: number;
  maxSnapshots: number;
  /** A repack that takes longer is given up, and the packs are saved as they are. */
  repackTimeoutMs: number;
  /** For people: the run that saves, and the version of the action. */
  run: string;
  action: string;
}

export type SaveResult =
  | { result: 'published'; id: string; bytes: number }
  /** The store's newest snapshot holds the same refs. */
  | { result: 'unchanged'; id: string }
  /** Somebody published after this mirror's fetch began. */
  | { result: 'superseded'; number: number }
  | { result: 'skipped'; reason: string }
  /** Something is not as this job left it: nothing will be saved until a person changes that. */
  | { result: 'refused'; reason: string }
  /** Something is damaged or missing: the mirror is wiped, so that the next run makes it anew. */
  | { result: 'corrupt'; reason: string };

/** Other jobs of this machine may be at work on the mirror; whoever fetched last saves too. */
const LOCK_TIMEOUT_MS = 60_000;

const TOO_YOUNG =
  'a snapshot of the last day is there, and only this branch could restore a newer one';

/** Why the settings or the event forbid a save, or undefined where they do not. */
export function decideNotToSave(
  policy: 'auto' | 'always' | 'never',
  lowTrust: string | undefined,
): string | undefined {
  if (policy === 'never') return '`save` is `never`';
  return policy === 'auto' ? lowTrust : undefined;
}

/**
 * `isClaimed` says that main has the claim on what is to be saved, and could not use it: not every
 * store lets go of one. Throws the named failure of the store or of git; nothing new is visible in the
 * store then.
 */
export async function saveSnapshot(
  job: Job,
  options: SaveOptions,
  isClaimed: boolean,
): Promise<SaveResult> {
  const { store, signal } = job;
  if (store === undefined) return skip('there is no store');
  if (keyNow(job, options) !== options.key)
    return refuse('the inputs are not those of main any more');
  if (options.isPrivate) return new Save(job, store, options).run(isClaimed);
  const lock = job.lockOf(options.path);
  const acquisition = await job.account.measure('lock', () =>
    lock.acquire({ timeoutMs: LOCK_TIMEOUT_MS, signal }),
  );
  if (acquisition.outcome !== 'acquired') {
    return skip(`another job is at work on ${options.path}`);
  }
  try {
    const save = new Save(bindSignal(job, acquisition.hold.lost), store, options);
    return await save.run(isClaimed);
  } finally {
    await acquisition.hold.release();
  }
}

/**
 * The same at the end of main, for jobs that wait for it, under the mirror's lock and, where main
 * got it, the claim. Throws `corrupt-mirror` where the mirror was wiped; everything else is left to
 * post.
 */
export async function saveEarly(
  job: Job,
  options: SaveOptions,
  claim: Hold | undefined,
): Promise<SaveResult | undefined> {
  const { store, account } = job;
  if (store === undefined) return undefined;
  const isClaimed = claim?.lost.aborted === false;
  const bound = isClaimed ? bindSignal(job, claim.lost) : job;
  try {
    const saved = await new Save(bound, store, options).run(isClaimed);
    if (saved.result !== 'corrupt') return saved;
    throw new MirrorError('corrupt-mirror', saved.reason);
  } catch (error) {
    if (error instanceof MirrorError && error.code === 'corrupt-mirror') throw error;
    throwIfCancelled(job.signal);
    account.fallBack(`Not saved early, post will try again: ${describeError(error)}`);
    return undefined;
  }
}

function keyNow({ upstream }: Job, { objectFormat, cacheKey }: SaveOptions): string {
  const { access, refspecs } = upstream;
  return deriveKey({ upstream: access.url, refspecs, objectFormat, cacheKey });
}

function skip(reason: string): SaveResult {
  return { result: 'skipped', reason };
}

function refuse(reason: string): SaveResult {
  return { result: 'refused', reason };
}

/**
 * Where others of the same store have saved since: the layers of the mirror's own base that the
 * newest names too. A name is never used twice, so it has been restored or stored from here.
 */
function findNamedAgain(
  own: Snapshot | undefined,
  { rejected }: MirrorRecord,
  newest: LookUp | undefined,
): Layer[] {
  if (newest?.found !== 'snapshot' || rejected.includes(newest.id)) return [];
  const names = new Set(newest.snapshot.snapshot.layers.map(({ name }) => name));
  return own?.layers.filter(({ name }) => names.has(name)) ?? [];
}

/**
 * The id of the mirror's own base where that holds the same refs and is what a store has still. It
 * was held against its rules when it became the base, and 100,000 refs are not read once more.
 */
function findBase(
  stored: readonly (StoredManifest | undefined)[],
  { base, refsDigest, rejected }: MirrorRecord,
): string | undefined {
  if (base?.refsDigest !== refsDigest || rejected.includes(base.id)) return undefined;
  const isIt = ({ number, content }: StoredManifest) => snapshotId(number, content) === base.id;
  return stored.some((each) => each !== undefined && isIt(each)) ? base.id : undefined;
}

/** One save, alone at the mirror's place. */
class Save {
  readonly #job: Job;
  readonly #store: Store;
  readonly #options: SaveOptions;

  constructor(job: Job, store: Store, options: SaveOptions) {
    this.#job = job;
    this.#store = store;
    this.#options = options;
  }

  /** Under the claim on what it saves, or getting that first. */
  async run(isClaimed: boolean): Promise<SaveResult> {
    try {
      return await this.#run(isClaimed);
    } catch (error) {
      // The platform says so for events that are not trusted, which is no fault of anybody's.
      if (!(error instanceof MirrorError) || error.code !== 'store-read-only') throw error;
      return skip(error.message);
    }
  }

  async #run(isClaimed: boolean): Promise<SaveResult> {
    const { path, key, objectFormat } = this.#options;
    const occupant = await inspectPlace(path, key, this.#job.upstream.access.url);
    if (occupant.is !== 'mirror')
      return refuse(`there is no mirror of this job at ${path} any more`);
    const { record } = occupant;
    await layOut(path, objectFormat);
    const packedRefs = await readPackedRefs(path);
    if (digestPackedRefs(record.head ?? undefined, packedRefs) !== record.refsDigest) {
      return refuse('its refs are not what its last successful fetch left');
    }
    const { fence } = record;
    if (fence === null) return skip('the store could not be asked before the fetch');
    const stored = await this.#findNewest();
    const same = this.#options.isForced ? undefined : findBase(stored, record);
    if (same !== undefined) return { result: 'unchanged', id: same };
    const newest = await this.#judge(stored);
    const settled = this.#settle(record, fence, newest);
    if (settled !== undefined) return settled;
    const refs = parseRefs(packedRefs, objectFormat);
    const save = (by: Save): Promise<SaveResult> => by.#save(record, refs, fence, newest);
    return isClaimed ? save(this) : this.#underClaim(fence + 1, save);
  }

  /** One job at a time archives for a number, where the store has claims. */
  async #underClaim(
    number: number,
    work: (save: Save) => Promise<SaveResult>,
  ): Promise<SaveResult> {
    const { claimOf, log, signal } = this.#job;
    const { key } = this.#options;
    if (claimOf === undefined) return work(this);
    const isDone = async (bounded: AbortSignal) =>
      ((await this.#store.findManifest(key, { signal: bounded }))?.number ?? 0) >= number;
    const acquisition = await claimOf(key, number).acquire({ timeoutMs: 0, signal, isDone });
    if (acquisition.outcome === 'unavailable') {
      // Creating the manifest is the fence; a claim only saves work.
      log.info(`Saving without a claim: ${acquisition.reason}`);
      return work(this);
    }
    if (acquisition.outcome === 'not-needed') return { result: 'superseded', number };
    if (acquisition.outcome !== 'acquired') return skip('another job is saving it');
    const { hold } = acquisition;
    try {
      return await work(new Save(bindSignal(this.#job, hold.lost), this.#store, this.#options));
    } catch (error) {
      if (hold.lost.aborted && !signal.aborted) return skip('another job took it over');
      throw error;
    } finally {
      await hold.release();
    }
  }

  /** The newest of the store, and then of the others that snapshots are restored from. */
  async #findNewest(): Promise<(StoredManifest | undefined)[]> {
    const { signal, otherStores, account } = this.#job;
    const { key } = this.#options;
    const stores = [this.#store, ...otherStores];
    return mapEachOf(stores, stores.length, signal, (store, bounded) =>
      account.measure('look-up', () => store.findManifest(key, { signal: bounded })),
    );
  }

  #judge(stored: readonly (StoredManifest | undefined)[]): Promise<LookUp[]> {
    const { access, refspecs } = this.#job.upstream;
    const { objectFormat } = this.#options;
    const identity = { upstream: access.url, refspecs, objectFormat };
    return Promise.all(stored.map((each) => readSnapshot(each, identity)));
  }

  /** What makes a save pointless or wrong: there is the same already, or something newer. */
  #settle(record: MirrorRecord, fence: number, newest: readonly LookUp[]): SaveResult | undefined {
    const same = newest.find(
      (each) =>
        each.found === 'snapshot' &&
        !record.rejected.includes(each.id) &&
        each.snapshot.snapshot.refsDigest === record.refsDigest,
    );
    if (same?.found === 'snapshot' && !this.#options.isForced) {
      return { result: 'unchanged', id: same.id };
    }
    const number = newest[0]?.number ?? 0;
    if (number > fence) return { result: 'superseded', number };
    return newest.some((each) => this.#isYoung(each, record)) ? skip(TOO_YOUNG) : undefined;
  }

  #isYoung(found: LookUp, { rejected }: MirrorRecord): boolean {
    if (found.found !== 'snapshot' || rejected.includes(found.id)) return false;
    return Date.now() - found.createdAt < this.#options.leastAgeMs;
  }

  async #save(
    record: MirrorRecord,
    refs: readonly Ref[],
    fence: number,
    newest: readonly LookUp[],
  ): Promise<SaveResult> {
    const { path } = this.#options;
    const { account, git } = this.#job;
    const own = await readBase(path, record);
    // A base that is not the newest may have been revoked meanwhile: then everything is walked.
    const isCurrent = newest.some(
      (each) => each.found === 'snapshot' && each.id === record.base?.id,
    );
    const base = isCurrent ? own : undefined;
    const packing = new Packing(this.#job, this.#store, this.#options);
    const planned = await packing.plan(base?.layers ?? findNamedAgain(own, record, newest[0]));
    const layer = await this.#orWipe(() => packing.describe(planned.shared));
    if ('result' in layer) return layer;
    const faults = base && {
      isIn: () => hasHole(git, path, base),
      revoke: () => this.#revoke(fence),
    };
    const walked = await this.#orWipe(
      () => account.measure('walk', () => checkConnectivity(git, path, record, base)),
      faults,
    );
    if (typeof walked === 'object') return walked;
    const found = { shared: planned.shared, layer, walked };
    const oids = listNeededOids(record.head ?? undefined, refs);
    const content = await this.#orWipe(() => packing.repack(found, planned, oids), faults);
    if ('result' in content) return content;
    return this.#publish(record, this.#describe(record, refs, content, fence), content.layer);
  }

  /** Runs a check; where it finds damage, the mirror is wiped and nothing is saved. */
  async #orWipe<T>(
    check: () => Promise<T>,
    /** Damage that came with the snapshot is said to all who would restore it. */
    base?: { isIn: () => Promise<boolean>; revoke: () => Promise<void> },
  ) {
    try {
      return await check();
    } catch (error) {
      if (!(error instanceof MirrorError) || error.code !== 'corrupt-mirror') throw error;
      try {
        if ((await base?.isIn()) === true) await base?.revoke();
      } finally {
        await wipe(this.#options.path);
      }
      return { result: 'corrupt', reason: error.message } satisfies SaveResult;
    }
  }

  async #publish(record: MirrorRecord, snapshot: Snapshot, layer: Layer): Promise<SaveResult> {
    const { path, key } = this.#options;
    const { account, log, signal } = this.#job;
    const publication = await account.measure(
      'upload',
      () =>
        withTransferDeadline(signal, (bounded) =>
          publishSnapshot(this.#store, key, path, snapshot, layer, { log, signal: bounded }),
        ),
      () => layer.bytes,
    );
    if (publication.is === 'superseded') {
      return { result: 'superseded', number: publication.number };
    }
    const { number, id, content } = publication;
    await writeBase(path, content);
    const isWalked = snapshot.savesSinceFullWalk === 0;
    await writeRecord(path, {
      ...record,
      base: { number, id, refsDigest: record.refsDigest },
      walkedRefsDigest: isWalked ? record.refsDigest : record.walkedRefsDigest,
      fence: number,
      rejected: [],
    });
    await this.#retain();
    return { result: 'published', id, bytes: layer.bytes + content.length };
  }

  #describe(
    { head, refsDigest }: MirrorRecord,
    refs: readonly Ref[],
    { shared, layer, walked }: Content,
    fence: number,
  ): Snapshot {
    const { access, refspecs } = this.#job.upstream;
    return {
      ...this.#common(fence),
      kind: 'snapshot',
      upstream: access.url,
      objectFormat: this.#options.objectFormat,
      refspecs: [...refspecs],
      head: head ?? undefined,
      refs,
      refsDigest,
      // Refs can move without new objects.
      layers: layer.files.length === 0 ? shared : [...shared, layer],
      savesSinceFullWalk: walked,
    };
  }

  #common(fence: number) {
    return {
      version: FORMAT_VERSION,
      number: fence + 1,
      createdAt: new Date().toISOString(),
      run: this.#options.run,
      git: this.#job.git.version,
      action: this.#options.action,
    } as const;
  }

  /** Tells every reader not to use this number or any below. */
  async #revoke(fence: number): Promise<void> {
    const reason = 'an object is missing that its refs need';
    const revocation = { ...this.#common(fence), kind: 'revocation' as const, reason };
    await publishManifest(this.#store, this.#options.key, revocation, this.#job.signal);
  }

  async #retain(): Promise<void> {
    const { key, maxSnapshots } = this.#options;
    const { account, signal } = this.#job;
    try {
      const options = { maxSnapshots, graceMs: RETENTION_GRACE_MS, signal };
      await account.measure('tidy', () => applyRetention(this.#store, key, options));
    } catch (error) {
      account.fallBack(`Old snapshots could not be removed: ${describeError(error)}`);
    }
  }
}
