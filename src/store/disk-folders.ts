/**
 * The folders of one key in a disk store:
 *
 *     <root>/v1/<key>/manifests/<number, 10 digits>.json.gz
 *     <root>/v1/<key>/layers/<layer>/<file>
 *     <root>/v1/<key>/tmp/<nonce>            unfinished work, and what is being removed
 *
 * The root itself is never created: one that is missing is a typo or a volume that is not mounted,
 * and must neither look like a store without snapshots nor be filled in the wrong place.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { MirrorError, systemCode } from '../errors.ts';
import { isPresent, removeTree } from '../files.ts';
import { syncParents } from './disk-files.ts';

const MANIFEST_NAME = /^(\d{10})\.json\.gz$/;

export class DiskFolders {
  readonly manifests: string;
  readonly layers: string;
  readonly tmp: string;
  readonly #root: string;

  constructor(root: string, key: string) {
    this.#root = root;
    this.manifests = join(root, 'v1', key, 'manifests');
    this.layers = join(root, 'v1', key, 'layers');
    this.tmp = join(root, 'v1', key, 'tmp');
  }

  manifest(number: number): string {
    return join(this.manifests, `${String(number).padStart(10, '0')}.json.gz`);
  }

  layer(name: string): string {
    return join(this.layers, name);
  }

  /** False only if the key is proven to have nothing. */
  async exist(): Promise<boolean> {
    if (await isPresent(this.manifests)) return true;
    await this.checkRoot();
    return false;
  }

  /** Throws `store-unavailable` unless the store's own folder is there. */
  async checkRoot(): Promise<void> {
    const found = await stat(this.#root).catch((error: unknown) => {
      if (systemCode(error) !== 'ENOENT') throw error;
      const advice = 'create it, or mount the volume it lies on';
      throw new MirrorError('store-unavailable', `${this.#root} does not exist: ${advice}`);
    });
    if (!found.isDirectory()) {
      throw new MirrorError('store-unavailable', `${this.#root} is not a folder`);
    }
  }

  async make(): Promise<void> {
    await this.checkRoot();
    // `manifests` comes last: it tells that all are there.
    for (const path of [this.tmp, this.layers, this.manifests]) {
      if ((await mkdir(path, { recursive: true })) !== undefined) {
        await syncParents(path, this.#root);
      }
    }
  }

  /** Numbers of the manifests, ascending. */
  async manifestNumbers(): Promise<number[]> {
    if (!(await this.exist())) return [];
    const names = await readdir(this.manifests);
    return names.flatMap((name) => numberOf(name) ?? []).sort((one, other) => one - other);
  }

  /** Runs work with a new folder on the store's disk, and removes what it leaves there. */
  async withTemporary<T>(work: (temporary: string) => Promise<T>): Promise<T> {
    await this.make();
    const temporary = this.#temporary();
    try {
      await mkdir(temporary);
      return await work(temporary);
    } finally {
      await removeTree(temporary).catch(() => undefined); // it is debris, then
    }
  }

  /**
   * Now, by the clock that stamps the store's files (on a network disk, the server's): clocks of two
   * machines are never compared. An empty file takes no space, so that a full disk can be tidied.
   */
  async nowMs(): Promise<number> {
    const path = this.#temporary();
    try {
      const file = await open(path, 'wx');
      await file.close();
      return (await stat(path)).mtimeMs;
    } finally {
      await rm(path, { force: true }).catch(() => undefined);
    }
  }

  /** Moves the layer away first: a reader sees all of it or nothing. */
  async removeLayer(name: string): Promise<void> {
    const away = this.#temporary();
    try {
      await rename(this.layer(name), away);
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return;
      throw error;
    }
    await removeTree(away);
  }

  #temporary(): string {
    return join(this.tmp, randomBytes(12).toString('hex'));
  }
}

/** The number of a manifest by its file's name; undefined for files that are none of ours. */
export function numberOf(fileName: string): number | undefined {
  const number = Number(MANIFEST_NAME.exec(fileName)?.[1] ?? 0);
  return number > 0 ? number : undefined;
}
