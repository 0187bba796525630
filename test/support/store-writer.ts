/**
 * A process that uses a disk store, for the tests of the disk store: run by Node natively, with its
 * task as JSON in argv. Prints one JSON value.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { systemCode } from '../../src/lib/errors.ts';
import { createDiskStore } from '../../src/stores/disk/store.ts';
import type { LayerFiles, Store } from '../../src/stores/store.ts';

export type WriterTask = { path: string; key: string; umask?: number; uid?: number } & (
  | { do: 'race'; writer: string; numbers: number; startAtMs: number }
  | { do: 'save'; writer: string; source: string; files: LayerFiles['files'] }
  | { do: 'try'; source: string; layer: LayerFiles }
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

/** Saves snapshots until it is killed. A manifest holds the layer it needs. */
async function save(store: Store, task: WriterTask & { do: 'save' }): Promise<never> {
  for (let count = 1; ; count++) {
    const layer = { name: `${task.writer}-${count}`, files: task.files };
    await store.putLayer(task.key, layer, task.source, { signal });
    const newest = await store.findManifest(task.key, { signal });
    const content = Buffer.from(JSON.stringify(layer));
    await store.createManifest(task.key, (newest?.number ?? 0) + 1, content, signal);
  }
}

/** Gives what became of each call: `done`, or the error's code. */
async function tryAll(store: Store, { key, source, layer }: WriterTask & { do: 'try' }) {
  const calls: Record<string, () => Promise<unknown>> = {
    find: () => store.findManifest(key, { signal }),
    put: () => store.putLayer(key, layer, source, { signal }),
    create: () => store.createManifest(key, 2, Buffer.from('new'), signal),
    list: () => store.list(key, signal),
  };
  const outcomes: Record<string, string> = {};
  for (const [name, call] of Object.entries(calls)) {
    outcomes[name] = await call().then(
      () => 'done',
      (error: unknown) => systemCode(error) ?? String(error),
    );
  }
  return outcomes;
}

async function perform(task: WriterTask): Promise<unknown> {
  const store = createDiskStore({ path: task.path });
  switch (task.do) {
    case 'race':
      return race(store, task);
    case 'save':
      return save(store, task);
    case 'try':
      return tryAll(store, task);
  }
}

const task = JSON.parse(process.argv[2] ?? '') as WriterTask;
if (task.umask !== undefined) process.umask(task.umask);
if (task.uid !== undefined) {
  process.setgroups?.([]);
  process.setgid?.(task.uid);
  process.setuid?.(task.uid);
}
process.stdout.write(JSON.stringify(await perform(task)));
