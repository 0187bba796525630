/** Records of claims in a disk store: a file each, in the key's folder (see folders.ts). */
import { rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { renameStubbornly } from '../../lib/files.ts';
import { MAX_RECORD_BYTES, type ClaimRecords } from '../../locks/claims/records.ts';
import { readPlainFile } from '../layer-files.ts';
import { assertNames, assertRecordSize, isSafeName } from '../names.ts';
import { attempt } from './attempt.ts';
import { listTimes } from './files.ts';
import { DiskFolders } from './folders.ts';

export interface DiskRecordsOptions {
  /** The store's folder, which exists. */
  path: string;
  key: string;
}

/** Records of a key, in a folder that is not touched until they are used. */
export function createDiskRecords({ path, key }: DiskRecordsOptions): ClaimRecords {
  assertNames('key', key);
  const root = resolve(path);
  const folders = new DiskFolders(root, key);
  const pathOf = (name: string): string => {
    assertNames('record', name);
    return join(folders.claims, name);
  };
  return {
    async create(name, content, signal) {
      const target = pathOf(name);
      assertRecordSize(content);
      const copy = Uint8Array.from(content);
      const options = { root, what: `creating ${name}`, signal, isWriting: true };
      return attempt(options, async (bounded) => {
        await folders.makeClaims();
        return folders.createIfAbsent(target, copy, bounded);
      });
    },

    async read(name, signal) {
      const source = pathOf(name);
      return attempt({ root, what: `reading ${name}`, signal }, async () => {
        const content = await readPlainFile(source, MAX_RECORD_BYTES);
        if (content === undefined) await folders.checkRoot();
        return content;
      });
    },

    async write(name, content, signal) {
      const target = pathOf(name);
      assertRecordSize(content);
      const copy = Uint8Array.from(content);
      const options = { root, what: `writing ${name}`, signal, isWriting: true };
      await attempt(options, async (bounded) => {
        await folders.makeClaims();
        // The name need not be durable: if the disk's machine fails, so do the jobs that wait for it.
        await folders.withDraft(copy, bounded, (draft) => renameStubbornly(draft, target));
      });
    },

    async list(signal) {
      return attempt({ root, what: 'listing claims', signal, isWriting: true }, async () => {
        if (!(await folders.exist(folders.claims))) return [];
        const nowMs = await folders.nowMs(folders.claims);
        const files = (await listTimes(folders.claims)).filter(({ name }) => isSafeName(name));
        return files.map(({ name, changedMs }) => ({ name, ageMs: nowMs - changedMs }));
      });
    },

    async remove(name, signal) {
      const target = pathOf(name);
      await attempt({ root, what: `removing ${name}`, signal, isWriting: true }, async () => {
        await folders.checkRoot();
        await rm(target, { force: true });
      });
    },
  };
}
