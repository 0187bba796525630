/** Reads what a store has under a number, and decides whether it is a snapshot that this job may use. */
import { hasCode } from '../lib/errors.ts';
import type { StoredManifest } from '../stores/store.ts';
import type { MirrorIdentity } from './identity.ts';
import { parseManifest, snapshotId, type Snapshot } from './manifest.ts';

export interface FoundSnapshot {
  number: number;
  id: string;
  /** The manifest's bytes. */
  content: Uint8Array;
  manifest: Snapshot;
}

/** What is stored under a number; `createdAt` (milliseconds) is by its writer's clock. */
export type LookUp =
  | { found: 'nothing'; number: 0 }
  | ({ found: 'snapshot'; createdAt: number } & FoundSnapshot)
  | { found: 'revocation'; number: number; id: string; createdAt: number; reason: string }
  | { found: 'bad-manifest'; number: number; id: string; reason: string };

/** Judges a stored manifest for a job that needs a snapshot of that identity. */
export async function readSnapshot(
  stored: StoredManifest | undefined,
  identity: MirrorIdentity,
): Promise<LookUp> {
  if (stored === undefined) return { found: 'nothing', number: 0 };
  const { number, content } = stored;
  const id = snapshotId(number, content);
  try {
    const manifest = await parseManifest(content, number);
    const createdAt = Date.parse(manifest.createdAt);
    if (manifest.kind === 'revocation') {
      return { found: 'revocation', number, id, createdAt, reason: manifest.reason };
    }
    if (manifest.kind !== 'repository') {
      return { found: 'bad-manifest', number, id, reason: `it holds ${manifest.kind}` };
    }
    const fault = findIdentityFault(manifest, identity);
    if (fault !== undefined) return { found: 'bad-manifest', number, id, reason: fault };
    return { found: 'snapshot', number, id, createdAt, content, manifest };
  } catch (error) {
    if (!hasCode(error, 'bad-snapshot')) throw error;
    return { found: 'bad-manifest', number, id, reason: error.message };
  }
}

/** Why a snapshot is not one of this identity, or undefined if it is. */
export function findIdentityFault(
  snapshot: Snapshot,
  { spec, objectFormat }: MirrorIdentity,
): string | undefined {
  if (snapshot.upstream !== spec.url) return `it is of ${snapshot.upstream}`;
  if (snapshot.objectFormat !== objectFormat) return `it has ${snapshot.objectFormat} ids`;
  if (snapshot.depth !== spec.depth) return `it has the depth ${snapshot.depth}`;
  const same = JSON.stringify(snapshot.refspecs) === JSON.stringify(spec.refspecs);
  return same ? undefined : 'it was made with other refspecs';
}
