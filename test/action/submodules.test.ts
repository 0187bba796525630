/** Which submodules are fetched without credentials. */
import { expect, test } from '@jest/globals';
import type { Settings } from '../../src/action/inputs/settings.ts';
import { findAnonymousReason } from '../../src/action/submodules.ts';

const url = 'https://github.com/owner/name';
const other = 'https://github.com/owner/other';

function reasonFor(store: Settings['store']['kind'], of: string, cachesPrivateSubmodules = false) {
  const settings = { store: { kind: store }, upstream: { url }, cachesPrivateSubmodules };
  return findAnonymousReason(settings as Settings, of);
}

test('those whose snapshots would go to the Actions cache, unless that is allowed', () => {
  expect(reasonFor('actions-cache', other)).toMatch(/`cache-private-submodules: true`/);
  expect(reasonFor('actions-cache', other, true)).toBeUndefined();
});

test('never the repository itself, nor any whose snapshots go elsewhere', () => {
  expect(reasonFor('actions-cache', url)).toBeUndefined();
  expect(reasonFor('disk', other)).toBeUndefined();
  expect(reasonFor('s3', other)).toBeUndefined();
});
