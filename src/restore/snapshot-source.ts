/**
 * The stores as the restore sees them: a source that may fail. What goes wrong with a snapshot or with
 * the store is said, and is an event of the life cycle, never an exception; only a cancelled job is.
 */
import { MirrorError, toMirrorError } from '../lib/errors.ts';
import type { Job } from '../job/job.ts';
import type { Candidate } from '../mirror/candidate.ts';
import type { Event } from './lifecycle.ts';
import { mapEachOf } from '../lib/parallel.ts';
import type { Store, StoredManifest } from '../stores/store.ts';
import { readSnapshot, type FoundSnapshot, type LookUp } from '../snapshot/look-up.ts';
import { countBytes, type Identity } from '../snapshot/manifest.ts';
import { withTransferDeadline } from '../snapshot/transfer.ts';
import { unpackSnapshot, type Verification } from './unpack-snapshot.ts';

/** A store, and how far down its numbers it has been asked. */
interface Line {
  readonly store: Store;
  /** Its newest manifest that was not judged yet. */
  newest: StoredManifest | undefined;
  /** Everything from this number on was judged. */
  below: number | undefined;
  /** Looked up, and not judged yet. */
  next: LookUp | undefined;
}

export class SnapshotSource {
  /**
   * The highest number in the store when it was asked first, 0 for none: what comes after may be
   * newer than what this job fetches. Null where the store could not be asked.
   */
  fence: number | null = null;
  /** Ids of what was found bad. */
  readonly rejected: string[] = [];
  #lines: Line[] = [];
  #found: { snapshot: FoundSnapshot; store: Store } | undefined;
  readonly #job: Job;
  readonly #key: string;
  readonly #identity: Identity;
  readonly #verification: Verification;

  constructor(job: Job, key: string, identity: Identity, verification: Verification) {
    this.#job = job;
    this.#key = key;
    this.#identity = identity;
    this.#verification = verification;
  }

  /**
   * Asks the stores for their newest manifests: to be done before upstream is asked for its refs.
   * Done again, it begins anew.
   */
  async open(): Promise<void> {
    const { store, otherStores, signal } = this.#job;
    this.fence = null;
    this.#lines = [];
    if (store === undefined) return;
    const stores = [store, ...otherStores];
    // Side by side: in the Actions cache each takes half a second, and most of that is waiting.
    const lines = await mapEachOf(stores, stores.length, signal, (each) =>
      this.#openLine(each, each === store ? 'and nothing will be saved' : 'from there'),
    );
    const [own] = lines;
    if (own !== undefined) this.fence = own.newest?.number ?? 0;
    this.#lines = lines.filter((line) => line !== undefined);
  }

  async #openLine(store: Store, consequence: string): Promise<Line | undefined> {
    const { signal, account } = this.#job;
    try {
      const newest = await account.measure('look-up', () =>
        store.findManifest(this.#key, { signal }),
      );
      return { store, newest, below: undefined, next: undefined };
    } catch (error) {
      account.fallBack(
        `${storeFailure(error).message}; going on without a snapshot, ${consequence}`,
      );
      return undefined;
    }
  }

  /** Whether somebody has published since the store was asked. */
  async hasNewer(signal: AbortSignal): Promise<boolean> {
    const newest = await this.#job.store?.findManifest(this.#key, { signal });
    return (newest?.number ?? 0) > (this.fence ?? Infinity);
  }

  /** The stores that could be asked, for people. */
  get places(): string {
    return this.#lines.map(({ store }) => store.location).join(' or ');
  }

  /** Judges the newest snapshot that was not judged yet. */
  async lookUp(): Promise<Event> {
    for (const line of this.#lines) await this.#advance(line);
    // Stores count for themselves, so that only their writers' clocks can say which is newer.
    const [line] = this.#lines
      .filter(({ next }) => next !== undefined && next.found !== 'nothing')
      .sort((one, other) => timeOf(other.next) - timeOf(one.next));
    const next = line?.next;
    if (line === undefined || next === undefined) return { name: 'snapshot-absent' };
    line.below = next.number;
    line.next = undefined;
    return this.#judge(next, line.store);
  }

  /** Looks up what is next in a line; one that fails is left out from here on. */
  async #advance(line: Line): Promise<void> {
    if (line.next !== undefined) return;
    const { signal, account } = this.#job;
    const { below, store } = line;
    try {
      const stored =
        below === undefined
          ? line.newest
          : await account.measure('look-up', () =>
              store.findManifest(this.#key, { below, signal }),
            );
      line.next = await readSnapshot(stored, this.#identity);
    } catch (error) {
      account.fallBack(`${storeFailure(error).message}; going on without a snapshot from there`);
      line.next = { found: 'nothing', number: 0 };
    }
  }

  #judge(result: LookUp, store: Store): Event {
    const { account } = this.#job;
    switch (result.found) {
      case 'nothing':
        return { name: 'snapshot-absent' };
      case 'snapshot':
        this.#found = { snapshot: result.snapshot, store };
        return { name: 'snapshot-found' };
      case 'revocation':
        account.fallBack(`Snapshots up to ${String(result.number)} were revoked: ${result.reason}`);
        this.rejected.push(result.id);
        return { name: 'snapshot-revoked' };
      case 'bad-manifest':
        account.fallBack(`Snapshot ${String(result.number)} is not used: ${result.reason}`);
        this.rejected.push(result.id);
        return { name: 'snapshot-bad' };
    }
  }

  /**
   * Fills an empty directory from the snapshot that was found; the candidate, or what went wrong. Throws
   * `cancelled` when that signal fires as well.
   */
  async unpack(directory: string, stopped: AbortSignal): Promise<Candidate | Event> {
    const { account, log } = this.#job;
    const signal = AbortSignal.any([this.#job.signal, stopped]);
    const git = this.#job.git.withSignal(signal);
    if (this.#found === undefined) throw new Error('no snapshot was found');
    const { store, snapshot: found } = this.#found;
    log.info(`Restoring snapshot ${found.id} from ${store.location}`);
    const verification = this.#verification;
    const work = (bounded: AbortSignal) =>
      unpackSnapshot(
        { git, store, key: this.#key, verification, log, signal: bounded },
        found,
        directory,
      );
    try {
      return await account.measure(
        'restore',
        () => withTransferDeadline(signal, work),
        () => countBytes(found.snapshot),
      );
    } catch (error) {
      if (error instanceof MirrorError && error.code === 'bad-snapshot') {
        account.fallBack(`Snapshot ${found.id} is not used: ${error.message}`);
        this.rejected.push(found.id);
        return { name: 'snapshot-bad' };
      }
      account.fallBack(
        `Snapshot ${found.id} could not be restored: ${storeFailure(error).message}`,
      );
      return { name: 'snapshot-absent' };
    }
  }
}

/** What cannot be read has no time, and is got out of the way first. */
function timeOf(next: LookUp | undefined): number {
  return next !== undefined && 'createdAt' in next ? next.createdAt : Infinity;
}

/** What is fallen back from: every failure of the store or of this disk, but not a cancelled job. */
function storeFailure(error: unknown): MirrorError {
  const failure = toMirrorError(error, 'store-unavailable', 'the store');
  if (failure.code === 'cancelled') throw failure;
  return failure;
}
