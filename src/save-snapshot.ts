/**
 * Use case of the post step: publish a new snapshot of the mirror, if its last fetch succeeded, if
 * it has news, and if nobody else has published since that fetch began.
 */
import { MirrorError, describeError } from './errors.ts';
import { countFolderBytes } from './files.ts';
import { bindSignal, type Job } from './job.ts';
import { layOut, packDirectory, readRefs, wipe } from './mirror/directory.ts';
import { inspectPlace } from './mirror/occupant.ts';
import { writeRecord, type MirrorRecord } from './mirror/record.ts';
import { digestRefs, type ObjectFormat, type Ref } from './mirror/refs.ts';
import { withProgress } from './progress.ts';
import { deriveKey } from './snapshot/key.ts';
import { describeLayer, listPackFiles } from './snapshot/layers.ts';
import { readSnapshot } from './snapshot/look-up.ts';
import { FORMAT_VERSION, type Layer, type Snapshot } from './snapshot/manifest.ts';
import {
  checkConnectivity,
  hasHole,
  publishManifest,
  publishSnapshot,
  readBase,
  writeBase,
} from './snapshot/publish.ts';
import { RETENTION_GRACE_MS, applyRetention } from './snapshot/retention.ts';
import { withTransferDeadline } from './snapshot/transfer.ts';
import type { Store } from './store/store.ts';

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
  maxSnapshots: number;
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

/** Why the settings or the event forbid a save, or undefined where they do not. */
export function decideNotToSave(
  policy: 'auto' | 'always' | 'never',
  lowTrust: string | undefined,
): string | undefined {
  if (policy === 'never') return '`save` is `never`';
  return policy === 'auto' ? lowTrust : undefined;
}

/** Throws the named failure of the store or of git; nothing new is visible in the store then. */
export async function saveSnapshot(job: Job, options: SaveOptions): Promise<SaveResult> {
  const { store, signal } = job;
  if (store === undefined) return skip('there is no store');
  if (keyNow(job, options) !== options.key)
    return refuse('the inputs are not those of main any more');
  if (options.isPrivate) return new Save(job, store, options).run();
  const lock = job.lockOf(options.path);
  const acquisition = await job.account.measure('lock', () =>
    lock.acquire({ timeoutMs: LOCK_TIMEOUT_MS, signal }),
  );
  if (acquisition.outcome !== 'acquired') {
    return skip(`another job is at work on ${options.path}`);
  }
  try {
    return await new Save(bindSignal(job, acquisition.hold.lost), store, options).run();
  } finally {
    await acquisition.hold.release();
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

  async run(): Promise<SaveResult> {
    const { path, key, objectFormat } = this.#options;
    const occupant = await inspectPlace(path, key, this.#job.upstream.access.url);
    if (occupant.is !== 'mirror')
      return refuse(`there is no mirror of this job at ${path} any more`);
    const { record } = occupant;
    await layOut(path, objectFormat);
    const refs = await readRefs(path, objectFormat);
    if (digestRefs(record.head ?? undefined, refs) !== record.refsDigest) {
      return refuse('its refs are not what its last successful fetch left');
    }
    const { fence } = record;
    if (fence === null) return skip('the store could not be asked before the fetch');
    return (await this.#settle(record, fence)) ?? (await this.#save(record, refs, fence));
  }

  /** What makes a save pointless or wrong: the store has the same already, or something newer. */
  async #settle(record: MirrorRecord, fence: number): Promise<SaveResult | undefined> {
    const { key, isForced, objectFormat } = this.#options;
    const { signal, upstream, account } = this.#job;
    const { access, refspecs } = upstream;
    const identity = { upstream: access.url, refspecs, objectFormat };
    const stored = await account.measure('look-up', () =>
      this.#store.findManifest(key, { signal }),
    );
    const newest = await readSnapshot(stored, identity);
    const isSame =
      newest.found === 'snapshot' &&
      newest.number !== record.rejected &&
      newest.snapshot.snapshot.refsDigest === record.refsDigest;
    if (isSame && !isForced) return { result: 'unchanged', id: newest.snapshot.id };
    return newest.number > fence ? { result: 'superseded', number: newest.number } : undefined;
  }

  async #save(record: MirrorRecord, refs: readonly Ref[], fence: number): Promise<SaveResult> {
    const { path } = this.#options;
    const { account, git } = this.#job;
    // An older base may have been revoked meanwhile: then everything is walked.
    const base = record.base?.number === fence ? await readBase(path, record) : undefined;
    const layer = await this.#orWipe(() => account.measure('digest', () => this.#describePacks()));
    if ('result' in layer) return layer;
    const walked = await this.#orWipe(
      () => account.measure('walk', () => checkConnectivity(git, path, record, base)),
      base && { isIn: () => hasHole(git, path, base), revoke: () => this.#revoke(fence) },
    );
    if (typeof walked === 'object') return walked;
    return this.#publish(record, this.#describe(record, refs, layer, walked, fence), layer);
  }

  async #describePacks(): Promise<Layer> {
    const packs = packDirectory(this.#options.path);
    const names = await listPackFiles(packs);
    return withProgress(this.#job.log, 'reading packs', await countFolderBytes(packs), (onBytes) =>
      describeLayer(packs, names, this.#options.objectFormat, onBytes),
    );
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
          publishSnapshot(this.#store, key, path, snapshot, [layer], { log, signal: bounded }),
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
      base: { number, id },
      walkedRefsDigest: isWalked ? record.refsDigest : record.walkedRefsDigest,
      fence: number,
      rejected: null,
    });
    await this.#retain();
    return { result: 'published', id, bytes: layer.bytes + content.length };
  }

  #describe(
    { head, refsDigest }: MirrorRecord,
    refs: readonly Ref[],
    layer: Layer,
    savesSinceFullWalk: number,
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
      layers: [layer],
      savesSinceFullWalk,
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
