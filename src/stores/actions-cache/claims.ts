/** A claim as an entry of the Actions cache, next to the snapshots of a scope. */
import { randomBytes } from 'node:crypto';
import type { ClaimEntry } from '../../locks/claims/actions-cache.ts';
import type { ActionsCache } from './session.ts';

export function createActionsCacheClaimEntry(cache: ActionsCache, name: string): ClaimEntry {
  return {
    exists: (signal) =>
      cache.call({ what: 'looking for a claim', signal }, (session) => session.has(name)),
    create: (signal) => {
      // Distinguishes our claim from another job's if a reply was lost.
      const content = randomBytes(12);
      return cache.call({ what: 'creating a claim', signal, isWriting: true }, (session) =>
        session.create(name, content),
      );
    },
  };
}
