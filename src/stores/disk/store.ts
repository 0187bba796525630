/** The disk store: a folder on this machine or on a network disk (laid out in folders.ts). */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { hasCode, systemCode, throwIfCancelled } from '../../lib/errors.ts';
import { removeTree, renameStubbornly } from '../../lib/files.ts';
import type { OnBytes } from '../../lib/progress.ts';
import { createStore, type RemovalOf } from '../back-end.ts';
import { checkPlainFolder, copyLayer, readPlainFile } from '../layer-files.ts';
import { MAX_MANIFEST_BYTES, type Store } from '../store.ts';
import { attempt } from './attempt.ts';
import { giveRights, listTimes, orUndo, syncFolder } from './files.ts';
import { DiskFolders, numberOf } from './folders.ts';

export interface DiskStoreOptions {
  /** The absolute path of a folder that exists. */
  path: string;
}

interface Session {
  folders: DiskFolders;
  /** Fires when the call is cancelled or given up. */
  signal: AbortSignal;
  /** Called when something moved. */
  note: () => void;
}

/** A store in a folder, which is not touched until the store is used. */
export function createDiskStore({ path: root }: DiskStoreOptions): Store {
  return createStore<Session>({
    location: `the disk store ${root}`,

    attempt: ({ key, ...call }, work) =>
      attempt({ root, ...call }, (signal, note) =>
        work({ folders: new DiskFolders(root, key), signal, note }),
      ),

    async findManifest({ folders }, below, vanished) {
      const names = (await folders.exist()) ? await readdir(folders.manifests) : [];
      const numbers = names.map((name) => numberOf(name) ?? 0);
      const number = Math.max(0, ...numbers.filter((each) => each < below && !vanished.has(each)));
      if (number === 0) return undefined;
      return { number, content: await readPlainFile(folders.manifest(number), MAX_MANIFEST_BYTES) };
    },

    createManifest: ({ folders, signal }, number, content) =>
      folders.createIfAbsent(folders.manifest(number), content, signal),

    hasLayer: ({ folders }, name) => folders.exist(folders.layer(name)),

    /** The files are not synced: a mirror that a crash has damaged is cloned again. */
    async getLayer({ folders, signal, note }, layer, directory, { onBytes, onFilled }) {
      const stored = folders.layer(layer.name);
      const options = { mode: 0o444, durable: false, signal, onFilled };
      try {
        await checkPlainFolder(stored);
        await copyLayer(layer, stored, directory, { ...options, onBytes: both(note, onBytes) });
      } catch (error) {
        // When the volume is gone, so are all files.
        if (hasCode(error, 'bad-snapshot')) await folders.checkRoot();
        throw error;
      }
    },

    async putLayer({ folders, signal, note }, layer, directory, { onBytes }) {
      await folders.withTemporary(async (temporary, rights) => {
        const options = { mode: 0o444, durable: true, signal, onBytes: both(note, onBytes) };
        await copyLayer(layer, directory, temporary, options);
        for (const { name } of layer.files) await giveRights(join(temporary, name), rights, 0o444);
        await syncFolder(temporary);
        throwIfCancelled(signal);
        await renameStubbornly(temporary, folders.layer(layer.name));
        await orUndo(syncFolder(folders.layers), () => folders.removeLayer(layer.name));
      });
    },

    removal,
  });
}

const removal: RemovalOf<Session> = {
  async list({ folders }) {
    if (!(await folders.exist())) return { manifests: [], layers: [], debris: [] };
    await folders.make();
    const nowMs = await folders.nowMs();
    const aged = async (folder: string): Promise<{ name: string; ageMs: number }[]> => {
      const entries = await listTimes(folder);
      return entries.map(({ name, changedMs }) => ({ name, ageMs: nowMs - changedMs }));
    };
    const manifests = (await aged(folders.manifests)).flatMap(({ name, ageMs }) => {
      const number = numberOf(name);
      return number === undefined ? [] : [{ number, ageMs }];
    });
    // A layer's time is when its last file was begun: before its commit, and close enough.
    return { manifests, layers: await aged(folders.layers), debris: await aged(folders.tmp) };
  },

  async removeManifest({ folders, note }, number) {
    note();
    if (!(await folders.exist())) return;
    await removeTree(folders.manifest(number));
    await syncFolder(folders.manifests);
  },

  async removeLayer({ folders, note }, name) {
    note();
    await folders.removeLayer(name).catch(leaveBusy);
  },

  async removeDebris({ folders, note }, name) {
    note();
    if (await folders.exist()) await removeTree(join(folders.tmp, name)).catch(leaveBusy);
  },
};

/** What somebody has open on Windows at this moment is left to the next retention. */
function leaveBusy(error: unknown): void {
  const isBusy = ['EPERM', 'EBUSY', 'EACCES', 'ENOTEMPTY'].includes(systemCode(error) ?? '');
  if (process.platform !== 'win32' || !isBusy) throw error;
}

function both(note: () => void, onBytes: OnBytes | undefined): OnBytes {
  return (done) => {
    note();
    onBytes?.(done);
  };
}
