/**
 * The store as the restore sees it: a source that may fail. What goes wrong with a snapshot or with
 * the store is said, and is an event of the life cycle, never an exception; only a cancelled job is.
 */
import { MirrorError, toMirrorError } from '../errors.ts';
import type { Job } from '../job.ts';
import type { Candidate } from '../mirror/candidate.ts';
import type { Event } from '../mirror/lifecycle.ts';
import type { StoredManifest } from '../store/store.ts';
import { readSnapshot, type FoundSnapshot, type LookUp } from './look-up.ts';
import { countBytes, type Identity } from './manifest.ts';
import { withTransferDeadline } from './transfer.ts';
import { unpackSnapshot, type Verification } from './unpack.ts';

export class SnapshotSource {
  /**
   * The highest number in the store when it was asked first, 0 for none: what comes after may be
   * newer than what this job fetches. Null where the store could not be asked.
   */
  fence: number | null = null;
  /** The highest number that was found bad. */
  rejected: number | null = null;
  #newest: StoredManifest | undefined;
  #found: FoundSnapshot | undefined;
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

  /** Asks the store for its newest manifest: to be done before upstream is asked for its refs. */
  async open(): Promise<void> {
    const { store, signal, account } = this.#job;
    if (store === undefined) return;
    try {
      this.#newest = await account.measure('look-up', () =>
        store.findManifest(this.#key, { signal }),
      );
      this.fence = this.#newest?.number ?? 0;
    } catch (error) {
      account.fallBack(
        `${storeFailure(error).message}; going on without a snapshot, and nothing will be saved`,
      );
    }
  }

  /** Judges the newest snapshot, or looks for the newest below a number. */
  async lookUp(below: number | undefined): Promise<Event> {
    const { store, signal, account } = this.#job;
    if (store === undefined || this.fence === null) return { name: 'snapshot-absent' };
    try {
      const stored =
        below === undefined
          ? this.#newest
          : await account.measure('look-up', () =>
              store.findManifest(this.#key, { below, signal }),
            );
      return this.#judge(await readSnapshot(stored, this.#identity), `in ${store.location}`);
    } catch (error) {
      account.fallBack(`${storeFailure(error).message}; going on without a snapshot`);
      return { name: 'snapshot-absent' };
    }
  }

  #judge(result: LookUp, where: string): Event {
    const { account, log } = this.#job;
    const { number } = result;
    switch (result.found) {
      case 'nothing':
        log.info(`No snapshot ${where}`);
        return { name: 'snapshot-absent' };
      case 'snapshot':
        this.#found = result.snapshot;
        return { name: 'snapshot-found', snapshot: number };
      case 'revocation':
        account.fallBack(`Snapshots up to ${String(number)} were revoked: ${result.reason}`);
        this.#reject(number);
        return { name: 'snapshot-revoked' };
      case 'bad-manifest':
        account.fallBack(`Snapshot ${String(number)} is not used: ${result.reason}`);
        this.#reject(number);
        return { name: 'snapshot-bad', snapshot: number };
    }
  }

  #reject(number: number): void {
    this.rejected = Math.max(this.rejected ?? 0, number);
  }

  /** Fills an empty directory from the snapshot that was found; the candidate, or what went wrong. */
  async unpack(directory: string): Promise<Candidate | Event> {
    const { store, git, signal, account, log } = this.#job;
    const found = this.#found;
    if (store === undefined || found === undefined) throw new Error('no snapshot was found');
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
        this.#reject(found.number);
        return { name: 'snapshot-bad', snapshot: found.number };
      }
      account.fallBack(
        `Snapshot ${found.id} could not be restored: ${storeFailure(error).message}`,
      );
      return { name: 'snapshot-absent' };
    }
  }
}

/** What is fallen back from: every failure of the store or of this disk, but not a cancelled job. */
function storeFailure(error: unknown): MirrorError {
  const failure = toMirrorError(error, 'store-unavailable', 'the store');
  if (failure.code === 'cancelled') throw failure;
  return failure;
}
