/** The only place that knows which back ends there are. */
import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { MirrorError, describeError } from '../errors.ts';
import { createClaimLock } from '../lock/claims.ts';
import type { ClaimLock } from '../lock/lock.ts';
import { createDiskRecords } from './disk-records.ts';
import { createDiskStore } from './disk.ts';
import type { Store } from './store.ts';

/** What the settings say about the store. */
export type StoreChoice =
  | { kind: 'disk'; path: string }
  /** Where it was not asked for, it is taken if it is there. */
  | { kind: 'actions-cache'; scopes: CacheScopes; isAskedFor: boolean };

/** Whose snapshots in the Actions cache a job may use. */
export interface CacheScopes {
  /** Where it saves. */
  own: string;
  /** Where it restores from as well. */
  others: readonly string[];
}

/** A store, and what comes with it. */
export interface OpenStore {
  /** Undefined for none. */
  store: Store | undefined;
  /** More that a snapshot may be restored from; nothing is saved there. */
  otherStores: readonly Store[];
  /** The claim on making the snapshot of that number; undefined where the store has no claims. */
  claimOf: ((key: string, number: number) => ClaimLock) | undefined;
  /** Why there is none, for people; else empty. */
  absence: string;
}

/**
 * The store that the settings name. What was asked for and cannot be had throws `invalid-input`:
 * going on without it would look like a healthy run and clone every time. `holder` says to other jobs
 * who claims.
 */
export async function openStore(choice: StoreChoice, holder: string): Promise<OpenStore> {
  return choice.kind === 'disk' ? openDisk(choice.path, holder) : openCache(choice);
}

async function openDisk(path: string, holder: string): Promise<OpenStore> {
  await checkFolder(path);
  return {
    store: createDiskStore({ path }),
    otherStores: [],
    claimOf: (key, number) => createClaimLock(createDiskRecords({ path, key }), { number, holder }),
    absence: '',
  };
}

function openCache(choice: Extract<StoreChoice, { kind: 'actions-cache' }>): OpenStore {
  const fault = 'the Actions cache is not in this version';
  if (choice.isAskedFor) {
    throw new MirrorError('invalid-input', `Input \`store\` is "actions-cache", but ${fault}`);
  }
  const absence = `${fault}, and \`disk-path\` is not set`;
  return { store: undefined, otherStores: [], claimOf: undefined, absence };
}

async function checkFolder(path: string): Promise<void> {
  try {
    if (!(await stat(path)).isDirectory()) throw new Error('it is not a folder');
    await access(path, constants.R_OK | constants.X_OK);
  } catch (error) {
    // A typo, or a volume that is not mounted.
    const message = `Input \`disk-path\` is ${JSON.stringify(path)}; allowed is an existing folder that this user can read`;
    throw new MirrorError('invalid-input', `${message} (${describeError(error)})`, {
      cause: error,
    });
  }
}
