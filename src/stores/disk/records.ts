/** Records of claims in a disk store: a file each, in the key's folder (see disk-folders.ts). */
import { readdir, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { throwIfCancelled, toMirrorError } from '../../lib/errors.ts';
import { renameStubbornly } from '../../lib/files.ts';
import { MAX_RECORD_BYTES, type ClaimRecords } from '../../locks/claims/records.ts';
import { readPlainFile } from '../layer-files.ts';
import { endSoon, writeNewFile } from './files.ts';
import { DiskFolders } from './folders.ts';
import { assertNames, assertPrefix, assertRecordSize, isSafeName } from '../names.ts';

export interface DiskRecordsOptions {
  /** The store's folder, which exists. */
  path: string;
  key: string;
}

/** Records of a key, in a folder that is not touched until they are used. */
export function createDiskRecords({ path, key }: DiskRecordsOptions): ClaimRecords {
  assertNames('key', key);
  return new DiskRecords(resolve(path), key);
}

class DiskRecords implements ClaimRecords {
  readonly #location: string;
  readonly #folders: DiskFolders;

  constructor(location: string, key: string) {
    this.#location = location;
    this.#folders = new DiskFolders(location, key);
  }

  async create(name: string, content: Uint8Array, signal: AbortSignal): Promise<boolean> {
    const path = this.#path(name);
    assertRecordSize(content);
    const copy = Uint8Array.from(content);
    return this.#attempt(`creating ${name}`, signal, async () => {
      await this.#folders.makeClaims();
      return this.#folders.createIfAbsent(path, copy, signal);
    });
  }

  async read(name: string, signal: AbortSignal): Promise<Uint8Array | undefined> {
    const path = this.#path(name);
    return this.#attempt(`reading ${name}`, signal, async () => {
      const content = await readPlainFile(path, MAX_RECORD_BYTES);
      if (content === undefined) await this.#folders.checkRoot();
      return content;
    });
  }

  async write(name: string, content: Uint8Array, signal: AbortSignal): Promise<void> {
    const path = this.#path(name);
    assertRecordSize(content);
    const copy = Uint8Array.from(content);
    await this.#attempt(`writing ${name}`, signal, async () => {
      await this.#folders.makeClaims();
      await this.#folders.withTemporary(async (temporary) => {
        const draft = join(temporary, 'draft');
        await writeNewFile(draft, copy);
        throwIfCancelled(signal);
        // The name need not be durable: where the disk's machine fails, so do those who wait for it.
        await renameStubbornly(draft, path);
      });
    });
  }

  async list(prefix: string, signal: AbortSignal): Promise<string[]> {
    assertPrefix(prefix);
    return this.#attempt('listing claims', signal, async () => {
      if (!(await this.#folders.exist(this.#folders.claims))) return [];
      await this.#folders.touchClaims();
      const names = await readdir(this.#folders.claims);
      return names.filter((name) => isSafeName(name) && name.startsWith(prefix));
    });
  }

  async remove(name: string, signal: AbortSignal): Promise<void> {
    const path = this.#path(name);
    await this.#attempt(`removing ${name}`, signal, async () => {
      await this.#folders.checkRoot();
      await rm(path, { force: true });
    });
  }

  #path(name: string): string {
    assertNames('record', name);
    return join(this.#folders.claims, name);
  }

  async #attempt<T>(what: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    throwIfCancelled(signal);
    try {
      return await endSoon(work(), signal);
    } catch (error) {
      const where = `${what} in the disk store ${this.#location}`;
      throw toMirrorError(error, 'store-unavailable', where);
    }
  }
}
