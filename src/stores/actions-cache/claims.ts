/** Claims as entries of the Actions cache, next to the snapshots of a scope. */
import { randomBytes } from 'node:crypto';
import type { ClaimEntries } from '../../locks/claims/actions-cache.ts';
import { claimKey } from './keys.ts';
import type { ActionsCache } from './session.ts';
import { assertNames } from '../names.ts';

export interface ActionsCacheClaimEntriesOptions {
  cache: ActionsCache;
  scope: string;
  key: string;
}

export function createActionsCacheClaimEntries({
  cache,
  scope,
  key,
}: ActionsCacheClaimEntriesOptions): ClaimEntries {
  assertNames('key', key);
  return {
    has: ({ number, epoch }, signal) =>
      cache.call({ what: 'looking for a claim', signal }, (session) =>
        session.has(claimKey(key, scope, number, epoch)),
      ),
    create: ({ number, epoch }, signal) => {
      // Distinguishes our claim from another job's if a reply was lost.
      const content = randomBytes(12);
      return cache.call({ what: 'creating a claim', signal, isWriting: true }, (session) =>
        session.create(claimKey(key, scope, number, epoch), content),
      );
    },
  };
}
