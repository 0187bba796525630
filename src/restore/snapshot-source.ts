/**
 * The stores as a restore sees them: sources that may fail. What goes wrong with a snapshot or a store is
 * reported and becomes an event of the life cycle, never an exception; only a cancelled job throws.
 */
import type { Job } from '../job/job.ts';
import { sumBytes } from '../lib/bytes.ts';
import { MirrorError, toStoreFailure } from '../lib/errors.ts';
import { mapEachOf } from '../lib/parallel.ts';
import type { Candidate } from '../mirror/candidate.ts';
import type { MirrorIdentity } from '../snapshot/identity.ts';
import { readSnapshot, type FoundSnapshot, type LookUp } from '../snapshot/look-up.ts';
import { withTransferDeadline } from '../snapshot/transfer.ts';
import type { Store, StoredManifest } from '../stores/store.ts';
import { unpackSnapshot, type Verification } from './unpack-snapshot.ts';

export interface SnapshotSource {
  /**
   * The highest number in the store when it was asked, 0 for none: a higher one may be newer than what
   * this job fetches. Null where the store could not be asked.
   */
  readonly fence: number | null;
  /** Of the stores that answered. */
  readonly cursors: readonly StoreCursor[];
}

/** A store, and how far down its numbers it has been read. */
interface StoreCursor {
  readonly store: Store;
  /** Its newest manifest when it was asked. */
  readonly newest: StoredManifest | undefined;
  /** Everything from this number on was judged. */
  below: number | undefined;
  /** Looked up, and not judged yet. */
  next: LookUp | undefined;
}

export interface SnapshotInStore {
  snapshot: FoundSnapshot;
  store: Store;
}

export type Judgement =
  | { name: 'snapshot-found'; found: SnapshotInStore }
  | { name: 'snapshot-absent' }
  | { name: 'snapshot-revoked' | 'snapshot-bad'; id: string };

/**
 * Asks all stores for their newest manifests. It must happen before upstream is asked for its refs, so
 * that whatever is published later has a number above the fence.
 */
export async function openSource(job: Job, key: string): Promise<SnapshotSource> {
  const { store, otherStores, signal } = job;
  if (store === undefined) return { fence: null, cursors: [] };
  const stores = [store, ...otherStores];
  // In parallel: in the Actions cache each look-up takes half a second, most of it waiting.
  const found = await mapEachOf(stores, stores.length, signal, (each) =>
    openCursor(job, key, each, each === store ? ', and nothing will be saved' : ' from there'),
  );
  const [own] = found;
  return {
    fence: own === undefined ? null : (own.newest?.number ?? 0),
    cursors: found.filter((cursor) => cursor !== undefined),
  };
}

async function openCursor(
  { signal, account }: Job,
  key: string,
  store: Store,
  consequence: string,
): Promise<StoreCursor | undefined> {
  try {
    const newest = await account.measure('look-up', () => store.findManifest(key, { signal }));
    return { store, newest, below: undefined, next: undefined };
  } catch (error) {
    const failure = toStoreFailure(error);
    account.fallBack(`${failure.message}; continuing without a snapshot${consequence}`, failure);
    return undefined;
  }
}

/** The stores that answered, for people. */
export function describeSource({ cursors }: SnapshotSource): string {
  return cursors.map(({ store }) => store.location).join(' or ');
}

/** Judges the newest snapshot, of all stores, that was not judged yet. */
export async function judgeNext(
  job: Job,
  source: SnapshotSource,
  identity: MirrorIdentity,
): Promise<Judgement> {
  for (const cursor of source.cursors) await advanceCursor(job, cursor, identity);
  // Each store has numbers of its own, so only their writers' clocks can tell which is newer.
  const [cursor] = source.cursors
    .filter(({ next }) => next !== undefined && next.found !== 'nothing')
    .sort((one, other) => timeOf(other.next) - timeOf(one.next));
  const next = cursor?.next;
  if (cursor === undefined || next === undefined) return { name: 'snapshot-absent' };
  cursor.below = next.number;
  cursor.next = undefined;
  return judge(job, next, cursor.store);
}

/** Looks up what is next in a store; one that fails has nothing more. */
async function advanceCursor(
  { signal, account }: Job,
  cursor: StoreCursor,
  identity: MirrorIdentity,
): Promise<void> {
  const { below, store, newest } = cursor;
  if (cursor.next !== undefined) return;
  try {
    const stored =
      below === undefined
        ? newest
        : await account.measure('look-up', () =>
            store.findManifest(identity.key, { below, signal }),
          );
    cursor.next = await readSnapshot(stored, identity);
  } catch (error) {
    const failure = toStoreFailure(error);
    account.fallBack(`${failure.message}; continuing without a snapshot from there`, failure);
    cursor.next = { found: 'nothing', number: 0 };
  }
}

function judge({ account }: Job, result: LookUp, store: Store): Judgement {
  switch (result.found) {
    case 'nothing':
      return { name: 'snapshot-absent' };
    case 'snapshot':
      return { name: 'snapshot-found', found: { snapshot: result, store } };
    case 'revocation':
      account.fallBack(
        `Snapshots up to ${String(result.number)} were revoked: ${result.reason}`,
        'snapshot-revoked',
      );
      return { name: 'snapshot-revoked', id: result.id };
    case 'bad-manifest':
      account.fallBack(
        `Snapshot ${String(result.number)} is not used: ${result.reason}`,
        'bad-snapshot',
      );
      return { name: 'snapshot-bad', id: result.id };
  }
}

export interface UnpackTarget {
  key: string;
  verification: Verification;
  /** An empty folder. */
  directory: string;
  /** Ends the restore, with `cancelled`. */
  stopped: AbortSignal;
}

/** Fills a directory from a snapshot: gives the candidate, or what went wrong. */
export async function unpackFound(
  job: Job,
  { store, snapshot }: SnapshotInStore,
  { key, verification, directory, stopped }: UnpackTarget,
): Promise<Candidate | 'snapshot-bad' | 'snapshot-absent'> {
  const { account, log } = job;
  const signal = AbortSignal.any([job.signal, stopped]);
  const git = job.git.withSignal(signal);
  log.info(`Restoring snapshot ${snapshot.id} from ${store.location}`);
  const work = (bounded: AbortSignal) =>
    unpackSnapshot({ git, store, key, verification, log, signal: bounded }, snapshot, directory);
  try {
    return await account.measure(
      'restore',
      () => withTransferDeadline(signal, work),
      () => sumBytes(snapshot.manifest.layers),
    );
  } catch (error) {
    if (error instanceof MirrorError && error.code === 'bad-snapshot') {
      account.fallBack(`Snapshot ${snapshot.id} is not used: ${error.message}`, error);
      return 'snapshot-bad';
    }
    const failure = toStoreFailure(error);
    account.fallBack(`Snapshot ${snapshot.id} could not be restored: ${failure.message}`, failure);
    return 'snapshot-absent';
  }
}

/** What cannot be read has no time, and is judged first. */
function timeOf(next: LookUp | undefined): number {
  return next !== undefined && 'createdAt' in next ? next.createdAt : Infinity;
}
