/** What becomes of a manifest whose writer is late, cancelled, or cut off just then. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { MirrorError } from '../../src/lib/errors.ts';
import { FORMAT_VERSION, type Manifest } from '../../src/snapshot/manifest.ts';
import { publishManifest } from '../../src/save/publish.ts';
import { applyRetention } from '../../src/save/retention.ts';
import { createDiskStore } from '../../src/stores/disk/store.ts';
import type { Store } from '../../src/stores/store.ts';
import { temporaryDirectories } from '../support/temporary-directory.ts';
import { KEY, outcomeOf, signal } from '../stores/contract/store-contract.ts';

const directories = temporaryDirectories();
let store: Store;
let cancel: AbortController;

beforeEach(async () => {
  store = createDiskStore({ path: await directories.create('publish') });
  cancel = new AbortController();
});
afterEach(() => directories.removeAll());

function manifestOf(number: number, reason: string): Manifest {
  return {
    ...{ version: FORMAT_VERSION, kind: 'revocation', number, reason, run: 'a test' },
    ...{ createdAt: new Date().toISOString(), git: '2.50.0', action: '0' },
  };
}

/** The store, where something happens around the creation of a manifest. */
function where(happening: { before?: () => Promise<void>; after?: () => void }): Store {
  return Object.assign(Object.create(store) as Store, {
    location: store.location,
    findManifest: store.findManifest.bind(store),
    withdrawManifest: store.withdrawManifest.bind(store),
    createManifest: async (...call: Parameters<Store['createManifest']>) => {
      await happening.before?.();
      const isCreated = await store.createManifest(...call);
      happening.after?.();
      return isCreated;
    },
  });
}

async function numbers(): Promise<number[]> {
  return (await store.list(KEY, signal)).manifests.map(({ number }) => number);
}

/** Others save 1 to 3, and retention keeps the last. */
async function overtake(): Promise<void> {
  for (const number of [1, 2, 3]) {
    await publishManifest(store, KEY, manifestOf(number, 'by others'), signal);
  }
  await applyRetention(store, KEY, { maxSnapshots: 1, graceMs: 0, signal });
  expect(await numbers()).toEqual([3]);
}

const stop = () => {
  cancel.abort();
};

describe('a writer whose number was used and is free again', () => {
  test.each([
    ['goes on', {}],
    ['has lost its claim meanwhile', { after: stop }],
  ])('that %s takes its own back', async (_, more) => {
    const late = where({ before: overtake, ...more });
    const publishing = publishManifest(late, KEY, manifestOf(1, 'ours'), cancel.signal);
    expect(await publishing).toEqual({ is: 'superseded', number: 3 });
    expect(await numbers()).toEqual([3]);
  });
});

describe('a writer that is cancelled', () => {
  test('when its manifest is there has published', async () => {
    const cancelled = where({ after: stop });
    const publishing = publishManifest(cancelled, KEY, manifestOf(1, 'ours'), cancel.signal);
    expect(await publishing).toMatchObject({ is: 'published', number: 1 });
    expect(await numbers()).toEqual([1]);
  });

  test('when another one has its number has not', async () => {
    await publishManifest(store, KEY, manifestOf(1, 'by others'), signal);
    const cancelled = where({ after: stop });
    const publishing = publishManifest(cancelled, KEY, manifestOf(1, 'ours'), cancel.signal);
    expect(await outcomeOf(publishing)).toBe('cancelled');
    expect(await numbers()).toEqual([1]);
  });
});

test('a writer that cannot look at what it has created leaves nothing', async () => {
  const blind = Object.assign(where({}), {
    findManifest: () => Promise.reject(new MirrorError('store-unavailable', 'cut off')),
  });
  const publishing = publishManifest(blind, KEY, manifestOf(1, 'ours'), cancel.signal);
  expect(await outcomeOf(publishing)).toBe('store-unavailable');
  expect(await numbers()).toEqual([]);
});
