/** Records of claims in a disk store: a file each, in the key's folder (see folders.ts). */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { renameStubbornly } from '../../lib/files.ts';
import { MAX_RECORD_BYTES, type ClaimRecords } from '../../locks/claims/records.ts';
import { checkRecords } from '../back-end.ts';
import { readPlainFile } from '../layer-files.ts';
import { attempt } from './attempt.ts';
import { listTimes } from './files.ts';
import { DiskFolders, isClock } from './folders.ts';

/** Asking for the time takes no minute: an older file is a killed process's. */
const CLOCK_LIFE_MS = 60 * 60_000;

export interface DiskRecordsOptions {
  /** The absolute path of the store's folder, which exists. */
  path: string;
  key: string;
}

/** Records of a key, in a folder that is not touched until they are used. */
export function createDiskRecords({ path: root, key }: DiskRecordsOptions): ClaimRecords {
  const folders = new DiskFolders(root, key);
  const writing = (what: string, signal: AbortSignal) => ({ root, what, signal, isWriting: true });
  return checkRecords(key, {
    create: (name, content, signal) =>
      attempt(writing(`creating ${name}`, signal), async (bounded) => {
        await folders.make([folders.claims]);
        return folders.createIfAbsent(join(folders.claims, name), content, bounded);
      }),

    read: (name, signal) =>
      attempt({ root, what: `reading ${name}`, signal }, async () => {
        const content = await readPlainFile(join(folders.claims, name), MAX_RECORD_BYTES);
        if (content === undefined) await folders.checkRoot();
        return content;
      }),

    write: (name, content, signal) =>
      attempt(writing(`writing ${name}`, signal), async (bounded) => {
        await folders.make([folders.claims]);
        const target = join(folders.claims, name);
        // The name need not be durable: if the disk's machine fails, so do the jobs that wait for it.
        await folders.withDraft(content, bounded, (draft) => renameStubbornly(draft, target));
      }),

    list: (signal) =>
      attempt(writing('listing claims', signal), async () => {
        if (!(await folders.exist(folders.claims))) return [];
        const nowMs = await folders.nowMs(folders.claims);
        const files = await listTimes(folders.claims);
        const aged = files.map(({ name, changedMs }) => ({ name, ageMs: nowMs - changedMs }));
        for (const { name } of aged.filter((each) => isClock(each) && each.ageMs > CLOCK_LIFE_MS)) {
          await rm(join(folders.claims, name), { force: true }).catch(() => undefined);
        }
        return aged.filter((each) => !isClock(each));
      }),

    remove: (name, signal) =>
      attempt(writing(`removing ${name}`, signal), async () => {
        await folders.checkRoot();
        await rm(join(folders.claims, name), { force: true });
      }),
  });
}
