/**
 * A process that uses a disk store, for the tests of the disk store: run by Node natively, with its
 * task as JSON in argv. Prints one JSON value.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemCode } from '../../src/lib/errors.ts';
import { leaveHungCalls } from '../../src/lib/hung-calls.ts';
import { createDiskRecords } from '../../src/stores/disk/records.ts';
import { createDiskStore } from '../../src/stores/disk/store.ts';
import { openStore } from '../../src/stores/open.ts';
import type { LayerFiles, Store } from '../../src/stores/store.ts';

/** `gids` are the user's groups, the first being its own. */
export type WriterTask = {
  path: string;
  key: string;
  umask?: number;
  uid?: number;
  gids?: number[];
} & (
  | { do: 'race'; writer: string; numbers: number; startAtMs: number }
  | { do: 'save'; writer: string; source: string; files: LayerFiles['files'] }
  | { do: 'open' }
  | { do: 'try'; source: string; layer: LayerFiles; number?: number }
);

const { signal } = new AbortController();

/** Contends for each number in turn; gives the numbers it won. */
async function race(store: Store, task: WriterTask & { do: 'race' }): Promise<number[]> {
  await sleep(Math.max(0, task.startAtMs - Date.now()));
  const won: number[] = [];
  for (let number = 1; number <= task.numbers; number++) {
    const content = Buffer.from(`${task.writer} `.repeat(2_000));
    if (await store.createManifest(task.key, number, content, signal)) won.push(number);
  }
  return won;
}

/**
 * Saves snapshots until it is killed, and prints a mark as it begins and after each. A manifest holds the
 * layer it needs.
 */
async function save(store: Store, task: WriterTask & { do: 'save' }): Promise<never> {
  for (let count = 1; ; count++) {
    process.stdout.write('.');
    const layer = { name: `${task.writer}-${count}`, files: task.files };
    await store.putLayer(task.key, layer, task.source, { signal });
    const newest = await store.findManifest(task.key, { signal });
    const content = Buffer.from(JSON.stringify(layer));
    await store.createManifest(task.key, (newest?.number ?? 0) + 1, content, signal);
  }
}

export interface TrialResult {
  /** What became of each call: `done`, or the error's code. */
  outcomes: Record<string, string>;
  messages: string[];
}

/** Every kind of call: of the store, and of a claim's records. */
async function tryAll(store: Store, task: WriterTask & { do: 'try' }): Promise<TrialResult> {
  const { path, key, source, layer, number = 2 } = task;
  const records = createDiskRecords({ path, key });
  const target = await mkdtemp(join(tmpdir(), 'store-writer-'));
  const claim = `claim-${number}`;
  const calls: Record<string, () => Promise<unknown>> = {
    find: () => store.findManifest(key, { signal }),
    put: () => store.putLayer(key, layer, source, { signal }),
    create: () => store.createManifest(key, number, Buffer.from('new'), signal),
    claim: () => records.create(claim, Buffer.from('claim'), signal),
    beat: () => records.write('heartbeat', Buffer.from(String(number)), signal),
    get: () => store.getLayer(key, layer, target, { signal }),
    list: () => store.list(key, signal),
    tidy: () =>
      store.remove(
        key,
        { manifests: [number - 1], layers: [`layer-${number - 1}`], debris: [] },
        signal,
      ),
  };
  const outcomes: Record<string, string> = {};
  const messages: string[] = [];
  for (const [name, call] of Object.entries(calls)) {
    outcomes[name] = await call().then(
      () => 'done',
      (error: unknown) => {
        messages.push(String(error));
        return systemCode(error) ?? String(error);
      },
    );
  }
  await rm(target, { recursive: true, force: true });
  return { outcomes, messages };
}

/** Opens the store and looks for a snapshot, as a job does; gives what became of both, and when. */
async function open({ path, key }: WriterTask): Promise<{ failure: string; afterMs: number }[]> {
  const surroundings = { holder: 'writer', environment: {}, temporaryFolder: tmpdir() };
  const steps: { failure: string; afterMs: number }[] = [];
  let store: Store | undefined;
  const calls = [
    async () => void ({ store } = await openStore({ kind: 'disk', path }, surroundings)),
    async () => store?.findManifest(key, { signal }),
  ];
  for (const call of calls) {
    const failure = await call().then(() => 'none', String);
    steps.push({ failure, afterMs: performance.now() });
  }
  return steps;
}

async function perform(task: WriterTask): Promise<unknown> {
  const store = createDiskStore({ path: task.path });
  switch (task.do) {
    case 'race':
      return race(store, task);
    case 'save':
      return save(store, task);
    case 'open':
      return open(task);
    case 'try':
      return tryAll(store, task);
  }
}

const task = JSON.parse(process.argv[2] ?? '') as WriterTask;
if (task.umask !== undefined) process.umask(task.umask);
if (task.uid !== undefined) {
  process.setgroups?.(task.gids ?? []);
  process.setgid?.(task.gids?.[0] ?? task.uid);
  process.setuid?.(task.uid);
}
process.stdout.write(JSON.stringify(await perform(task)));
leaveHungCalls();
