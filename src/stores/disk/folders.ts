/**
 * The folders of one key in a disk store:
 *
 *     <root>/v1/<key>/manifests/<number, 10 digits>.json.gz
 *     <root>/v1/<key>/layers/<layer>/<file>
 *     <root>/v1/<key>/claims/<record>        created with the first claim
 *     <root>/v1/<key>/tmp/<nonce>            unfinished work, and what is being removed
 *
 * The root itself is never created: one that is missing is a typo or a volume that is not mounted,
 * and must neither look like a store without snapshots nor be filled in the wrong place. Everything in
 * it gets the root's owner, group and mode as far as this user may give them, whatever the umask.
 */
import type { Stats } from 'node:fs';
import { mkdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { MirrorError, systemCode, throwIfCancelled } from '../../lib/errors.ts';
import { isPresent, removeTree, writeDurably } from '../../lib/files.ts';
import { digitsOf, newNonce } from '../names.ts';
import { giveRights, orUndo, publishFile, syncFolder } from './files.ts';

/** Begins the names of files that show a disk's time. */
const CLOCK = 'clock-';
const MANIFEST_NAME = /^(\d{10})\.json\.gz$/;

/** Whether it is a file of `nowMs`. */
export function isClock({ name }: { name: string }): boolean {
  return name.startsWith(CLOCK);
}

export class DiskFolders {
  readonly manifests: string;
  readonly layers: string;
  readonly claims: string;
  readonly tmp: string;
  readonly #root: string;
  readonly #key: string;

  constructor(root: string, key: string) {
    this.#root = root;
    this.#key = join(root, 'v1', key);
    this.manifests = join(this.#key, 'manifests');
    this.layers = join(this.#key, 'layers');
    this.claims = join(this.#key, 'claims');
    this.tmp = join(this.#key, 'tmp');
  }

  manifest(number: number): string {
    return join(this.manifests, `${digitsOf(number)}.json.gz`);
  }

  layer(name: string): string {
    return join(this.layers, name);
  }

  /** False only if the key is proven to have nothing: no manifests, or whatever is asked for. */
  async exist(folder = this.manifests): Promise<boolean> {
    if (await isPresent(folder)) return true;
    await this.checkRoot();
    return false;
  }

  /** Throws `store-unavailable` unless the store's own folder is there. */
  async checkRoot(): Promise<Stats> {
    const refuse = (problem: string): never => {
      const message = `${this.#root} ${problem}`;
      throw new MirrorError('store-unavailable', message, { concern: 'disk-store' });
    };
    const found = await stat(this.#root).catch((error: unknown) => {
      if (systemCode(error) !== 'ENOENT') throw error;
      return refuse('does not exist: create it, or mount the volume it is on');
    });
    return found.isDirectory() ? found : refuse('is not a folder');
  }

  /**
   * Creates the folders that are missing, one by one: `recursive` reports a disk that is read-only as a parent that is
   * missing. `manifests` comes last: its presence tells that all are there.
   */
  async make(paths = [this.tmp, this.layers, this.manifests]): Promise<Stats> {
    const root = await this.checkRoot();
    for (const path of [dirname(this.#key), this.#key, ...paths]) {
      try {
        await mkdir(path);
      } catch (error) {
        if (systemCode(error) !== 'EEXIST') throw error;
        continue;
      }
      await giveRights(path, root);
      await syncFolder(dirname(path));
    }
    return root;
  }

  /** Runs work with a new folder on the store's disk, and removes what it leaves there. */
  async withTemporary<T>(work: (temporary: string, root: Stats) => Promise<T>): Promise<T> {
    const root = await this.make();
    const temporary = this.#temporary();
    try {
      await mkdir(temporary);
      await giveRights(temporary, root);
      return await work(temporary, root);
    } finally {
      await removeTree(temporary).catch(() => undefined); // what stays is debris
    }
  }

  /** Runs work with a finished, synced file on the store's disk, which is then removed. */
  async withDraft<T>(
    content: Uint8Array,
    signal: AbortSignal,
    work: (draft: string, root: Stats) => Promise<T>,
  ): Promise<T> {
    return this.withTemporary(async (temporary, root) => {
      const draft = join(temporary, 'draft');
      await writeDurably(draft, content);
      await giveRights(draft, root);
      throwIfCancelled(signal);
      return work(draft, root);
    });
  }

  /** Creates a file, whole and durable, if there is none: true. One that exists is left alone: false. */
  async createIfAbsent(path: string, content: Uint8Array, signal: AbortSignal): Promise<boolean> {
    return this.withDraft(content, signal, async (draft, root) => {
      if (!(await publishFile(draft, path, content, root))) return false;
      await orUndo(syncFolder(dirname(path)), () => rm(path));
      return true;
    });
  }

  /**
   * Now, by the clock that stamps the store's files (on a network disk, the server's): clocks of two
   * machines are never compared. The file that shows it is empty, so that a full disk can be tidied,
   * and lies in `folder` for a moment; where the process is killed, it stays. After that a listing
   * of the folder shows what other machines have done: until an NFS client changes a folder itself, it
   * may answer from memory for a minute.
   */
  async nowMs(folder = this.tmp): Promise<number> {
    const path = join(folder, CLOCK + newNonce());
    try {
      await writeFile(path, '', { flag: 'wx' });
      return (await stat(path)).mtimeMs;
    } finally {
      await rm(path, { force: true }).catch(() => undefined);
    }
  }

  /** Moves the layer away first: a reader sees all of it or nothing. One that is gone is no error. */
  async removeLayer(name: string): Promise<void> {
    if (!(await this.exist(this.layer(name)))) return;
    await this.make();
    const away = this.#temporary();
    await rename(this.layer(name), away).catch((error: unknown) => {
      if (systemCode(error) !== 'ENOENT') throw error;
    });
    await removeTree(away);
  }

  #temporary(): string {
    return join(this.tmp, newNonce());
  }
}

/** The number of a manifest by its file's name; undefined for foreign files. */
export function numberOf(fileName: string): number | undefined {
  const number = Number(MANIFEST_NAME.exec(fileName)?.[1] ?? 0);
  return number > 0 ? number : undefined;
}
