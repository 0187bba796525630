/** The only place that knows which back ends there are. */
import { MirrorError } from '../lib/errors.ts';
import { createClaimLock } from '../locks/claims/claims.ts';
import type { ClaimRecords } from '../locks/claims/records.ts';
import type { Lock } from '../locks/lock.ts';
import { createActionsCacheClaim, MOST_CONTENDERS } from '../locks/claims/actions-cache.ts';
import { createActionsCacheClaimEntry } from './actions-cache/claims.ts';
import { findActionsCacheFault } from './actions-cache/environment.ts';
import { claimKey } from './actions-cache/keys.ts';
import { openActionsCache } from './actions-cache/session.ts';
import { createActionsCacheStore } from './actions-cache/store.ts';
import { checkStoreFolder } from './disk/attempt.ts';
import { createDiskRecords } from './disk/records.ts';
import { createDiskStore } from './disk/store.ts';
import type { S3Place } from './s3/open.ts';
import type { Store } from './store.ts';

/** What the settings say about the store. */
export type StoreChoice =
  | { kind: 'disk'; path: string }
  | { kind: 's3'; place: S3Place }
  /** If it wasn't asked for, it is used only if it is available. */
  | {
      kind: 'actions-cache';
      scopes: CacheScopes;
      /** Run and attempt, whose jobs contend for a claim. */
      epoch: string;
      isAskedFor: boolean;
    };

/** Whose snapshots in the Actions cache a job may use. */
export interface CacheScopes {
  /** Where it saves. */
  own: string;
  /** Where it restores from as well. */
  others: readonly string[];
}

/** A store, its claims, and other stores to restore from. */
export interface OpenStore {
  /** Undefined for none. */
  store: Store | undefined;
  /** Other stores that a snapshot may be restored from. Nothing is saved there. */
  otherStores: readonly Store[];
  /** The claim on making the snapshot of that number; undefined where the store has no claims. */
  claimOf: ((key: string, number: number) => Lock) | undefined;
  /** Why there is none, for people; else empty. */
  noStoreReason: string;
  /** To be called after the last use: nothing that could keep the process alive is left. Never throws. */
  close(): Promise<void>;
}

export interface StoreSurroundings {
  /** Who claims, for the people of other jobs. */
  holder: string;
  /** How many jobs can contend at once for a claim, as far as it is known. */
  contenders?: number | undefined;
  /** Of the job. */
  environment: NodeJS.ProcessEnv;
  /** For temporary files. */
  temporaryFolder: string;
}

const NO_STORE: OpenStore = {
  store: undefined,
  otherStores: [],
  claimOf: undefined,
  noStoreReason: '',
  close: () => Promise.resolve(),
};

/**
 * Opens the store that the settings name. Throws `invalid-input` if it was asked for and this job can't use it: otherwise
 * the job would look healthy and clone every time.
 */
export async function openStore(
  choice: StoreChoice,
  surroundings: StoreSurroundings,
): Promise<OpenStore> {
  switch (choice.kind) {
    case 'disk':
      return openDisk(choice.path, surroundings);
    case 's3':
      return openBucket(choice.place, surroundings);
    case 'actions-cache':
      return openCache(choice, surroundings);
  }
}

async function openDisk(path: string, { holder }: StoreSurroundings): Promise<OpenStore> {
  await checkStoreFolder(path);
  return withRecords(createDiskStore({ path }), (key) => createDiskRecords({ path, key }), holder);
}

async function openBucket(
  place: S3Place,
  { holder, environment }: StoreSurroundings,
): Promise<OpenStore> {
  // The AWS SDK takes a while to load.
  const { openS3 } = await import('./s3/open.ts');
  const { store, recordsOf } = await openS3(place, environment);
  return withRecords(store, recordsOf, holder);
}

function withRecords(
  store: Store,
  recordsOf: (key: string) => ClaimRecords,
  holder: string,
): OpenStore {
  const claimOf = (key: string, number: number) =>
    createClaimLock(recordsOf(key), { number, holder, isMade: lookForMade(store, key, number) });
  return { ...NO_STORE, store, claimOf };
}

/** Whether there is a snapshot of that number, or a newer one. */
function lookForMade(store: Store, key: string, number: number) {
  return async (signal: AbortSignal): Promise<boolean> =>
    ((await store.findManifest(key, { signal }))?.number ?? 0) >= number;
}

function openCache(
  { scopes, epoch, isAskedFor }: Extract<StoreChoice, { kind: 'actions-cache' }>,
  { contenders = MOST_CONTENDERS, environment, temporaryFolder }: StoreSurroundings,
): OpenStore {
  const fault = findActionsCacheFault(environment);
  if (fault !== undefined && isAskedFor) {
    const message = `the Actions cache was asked for, and this job cannot use it: ${fault}`;
    throw new MirrorError('invalid-input', message, { concern: 'store' });
  }
  if (fault !== undefined) {
    return { ...NO_STORE, noStoreReason: `neither a disk store nor a bucket is set, and ${fault}` };
  }
  const cache = openActionsCache({ environment, temporaryFolder });
  const { own, others } = scopes;
  const store = createActionsCacheStore({ cache, scope: own });
  return {
    ...NO_STORE,
    store,
    otherStores: others.map((scope) => createActionsCacheStore({ cache, scope })),
    claimOf: (key, number) => {
      const entry = createActionsCacheClaimEntry(cache, claimKey(key, own, number, epoch));
      const isMade = lookForMade(store, key, number);
      return createActionsCacheClaim(entry, { contenders, isMade });
    },
    close: () => cache.close(),
  };
}
