/** From what a store has under a number to a snapshot that may be used. */
import { MirrorError } from '../errors.ts';
import type { StoredManifest } from '../store/store.ts';
import {
  findIdentityFault,
  parseManifest,
  snapshotId,
  type Identity,
  type Snapshot,
} from './manifest.ts';

export interface FoundSnapshot {
  number: number;
  id: string;
  /** The manifest's bytes. */
  content: Uint8Array;
  snapshot: Snapshot;
}

/** `number` is the highest in the store, 0 where there is none. */
export type LookUp =
  | { found: 'nothing'; number: 0 }
  | { found: 'snapshot'; number: number; snapshot: FoundSnapshot }
  | { found: 'revocation'; number: number; reason: string }
  | { found: 'bad-manifest'; number: number; reason: string };

/** What a stored manifest is, to somebody who wants a snapshot of that identity. */
export async function readSnapshot(
  stored: StoredManifest | undefined,
  identity: Identity,
): Promise<LookUp> {
  if (stored === undefined) return { found: 'nothing', number: 0 };
  const { number, content } = stored;
  try {
    const manifest = await parseManifest(content, number);
    if (manifest.kind === 'revocation') {
      return { found: 'revocation', number, reason: manifest.reason };
    }
    const fault = findIdentityFault(manifest, identity);
    if (fault !== undefined) return { found: 'bad-manifest', number, reason: fault };
    const id = snapshotId(number, content);
    return { found: 'snapshot', number, snapshot: { number, id, content, snapshot: manifest } };
  } catch (error) {
    if (!(error instanceof MirrorError) || error.code !== 'bad-snapshot') throw error;
    return { found: 'bad-manifest', number, reason: error.message };
  }
}
