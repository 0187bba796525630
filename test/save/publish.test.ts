/** What becomes of a snapshot whose writer is late, cancelled, or cut off just then. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { openGit } from '../../src/git/git.ts';
import { Account } from '../../src/job/account.ts';
import type { Job } from '../../src/job/job.ts';
import { MirrorError } from '../../src/lib/errors.ts';
import { silentLog } from '../../src/lib/log.ts';
import { createMachineLock } from '../../src/locks/machine.ts';
import { BASE_MANIFEST_FILE } from '../../src/mirror/directory.ts';
import { planPacking } from '../../src/save/packing.ts';
import { saveSnapshot } from '../../src/save/save-snapshot.ts';
import { identify } from '../../src/snapshot/identity.ts';
import { flipBit } from '../support/corruption.ts';
import { gitEnvironment } from '../support/git.ts';
import { startGitServer } from '../support/git-server/server.ts';
import { Machine } from '../support/machine.ts';
import { createRepository, repositorySizes } from '../support/repository-fixture.ts';
import { FORMAT_VERSION, type Manifest } from '../../src/snapshot/manifest.ts';
import { publishManifest } from '../../src/save/publish.ts';
import { applyRetention, retain } from '../../src/save/retention.ts';
import { createDiskStore } from '../../src/stores/disk/store.ts';
import type { Store } from '../../src/stores/store.ts';
import { temporaryDirectories } from '../support/temporary-directory.ts';
import { KEY, outcomeOf, signal } from '../stores/contract/store-contract.ts';

const directories = temporaryDirectories();
let path: string;
let store: Store;
let cancel: AbortController;

beforeEach(async () => {
  path = await directories.create('publish');
  store = createDiskStore({ path });
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
    list: store.list.bind(store),
    remove: store.remove.bind(store),
    putLayer: store.putLayer.bind(store),
    hasLayer: store.hasLayer.bind(store),
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

const options = {
  ...{ isForced: false, leastAgeMs: 0, maxSnapshots: 3, repackTimeoutMs: 60_000 },
  ...{ run: 'a test', action: '0' },
};

async function jobWith(ownStore: Store): Promise<Job> {
  const folder = await directories.create('job');
  const environment = gitEnvironment();
  return {
    git: await openGit({ environment, workingDirectory: folder, signal, log: silentLog }),
    ...{ store: ownStore, noStoreReason: '', otherStores: [], claimOf: undefined },
    ...{ account: new Account(silentLog), log: silentLog, signal, temporaryFolder: folder },
    accessOf: (url) => ({ url, token: '' }),
    lockOf: (path) => createMachineLock(`${path}.lock`),
  };
}

/** A machine that saves to the store, after main. */
async function startMachine() {
  const root = await directories.create('machine');
  await createRepository(join(root, 'owner/name.git'), repositorySizes.tiny);
  const server = await startGitServer({ root });
  const url = server.repositoryUrl('owner/name');
  const machine = await Machine.create({ root: join(root, 'machine'), url, store: path });
  const { mirror } = await machine.main();
  return { server, machine, mirror };
}

test('a snapshot that the mirror cannot note is published all the same, and the next job knows it', async () => {
  const { server, machine, mirror } = await startMachine();
  const spoil = () => {
    mkdirSync(join(mirror.path, BASE_MANIFEST_FILE));
  };
  const job = await jobWith(where({ after: spoil }));
  const saved = await saveSnapshot(job, mirror, options, false);
  expect(saved).toMatchObject({ result: 'published' });
  expect(job.account.fallbacks).toMatchObject([{ reason: expect.stringContaining('not noted') }]);
  await machine.main();
  expect(await machine.post()).toMatchObject({ result: 'unchanged' });
  await server.stop();
});

test('a damaged mirror is left to the job that took its lock over meanwhile', async () => {
  const { server, machine, mirror } = await startMachine();
  const packs = readdirSync(machine.packs).filter((name) => name.endsWith('.pack'));
  for (const name of packs) flipBit(join(machine.packs, name), 100);
  const lost = new AbortController();
  const loseOnFailure = (text: string) => {
    if (text.includes('failed')) lost.abort(new MirrorError('lost-lock', 'it was removed'));
  };
  const hold = { lost: lost.signal, release: () => Promise.resolve(), staysTaken: false };
  const job: Job = {
    ...(await jobWith(store)),
    account: new Account({ ...silentLog, info: loseOnFailure }),
    lockOf: () => ({ acquire: () => Promise.resolve({ outcome: 'acquired', hold, waitedMs: 0 }) }),
  };
  expect(await outcomeOf(saveSnapshot(job, mirror, options, false))).toBe('lost-lock');
  expect(existsSync(mirror.path)).toBe(true);
  expect(await machine.post()).toMatchObject({ result: 'corrupt' });
  expect(existsSync(mirror.path)).toBe(false);
  await server.stop();
});

test('a save asks for few layers at a time, and ends no sooner than its last question', async () => {
  let [running, most, asked] = [0, 0, 0];
  const failing = Object.assign(where({}), {
    async hasLayer() {
      const isLast = (asked += 1) === 4;
      most = Math.max(most, (running += 1));
      await sleep(isLast ? 0 : 50);
      running -= 1;
      if (isLast) throw new MirrorError('store-unavailable', 'cut off');
      return true;
    },
  });
  const job = await jobWith(failing);
  const spec = { url: 'https://h/o/n', refspecs: [], depth: 'full' as const, cacheKey: '' };
  const mirror = { identity: identify(spec, 'sha1'), path: job.temporaryFolder, isPrivate: true };
  const layers = Array.from({ length: 20 }, (_, n) => ({ name: String(n), bytes: 0, files: [] }));
  const planning = planPacking({ job, store: failing, mirror, options }, layers, 0);
  expect(await outcomeOf(planning)).toBe('store-unavailable');
  expect({ running, most, asked }).toEqual({ running: 0, most: 4, asked: 4 });
});

describe('old snapshots that could not be removed', () => {
  test.each([
    ['a warning, if the store failed', 'store-unavailable', 1],
    ['no warning, if the job was cancelled', 'cancelled', 0],
  ] as const)('are %s', async (_, code, warnings) => {
    const said: string[] = [];
    const log = { ...silentLog, warning: (text: string) => void said.push(text) };
    const failing = Object.assign(where({}), {
      list: () => Promise.reject(new MirrorError(code, 'ended')),
    });
    await retain({ account: new Account(log), log, signal }, failing, KEY, 1);
    expect(said).toHaveLength(warnings);
  });
});
