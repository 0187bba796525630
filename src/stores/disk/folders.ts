/**
 * The folders of one key in a disk store:
 *
 *     <root>/v1/<key>/manifests/<number, 10 digits>.json.gz
 *     <root>/v1/<key>/layers/<layer>/<file>
 *     <root>/v1/<key>/claims/<record>        made with the first claim
 *     <root>/v1/<key>/tmp/<nonce>            unfinished work, and what is being removed
 *
 * The root itself is never created: one that is missing is a typo or a volume that is not mounted,
 * and must neither look like a store without snapshots nor be filled in the wrong place.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { MirrorError, systemCode, throwIfCancelled } from '../../lib/errors.ts';
import { isPresent, removeTree } from '../../lib/files.ts';
import { orUndo, publishFile, syncFolder, syncParents, writeNewFile } from './files.ts';

const MANIFEST_NAME = /^(\d{10})\.json\.gz$/;

export class DiskFolders {
  readonly manifests: string;
  readonly layers: string;
  readonly claims: string;
  readonly tmp: string;
  readonly #root: string;

  constructor(root: string, key: string) {
    this.#root = root;
    this.manifests = join(root, 'v1', key, 'manifests');
    this.layers = join(root, 'v1', key, 'layers');
    this.claims = join(root, 'v1', key, 'claims');
    this.tmp = join(root, 'v1', key, 'tmp');
  }

  manifest(number: number): string {
    return join(this.manifests, `${String(number).padStart(10, '0')}.json.gz`);
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
    for (const path of [this.tmp, this.layers, this.manifests]) await this.#makeFolder(path);
  }

  async makeClaims(): Promise<void> {
    await this.checkRoot();
    await this.#makeFolder(this.claims);
  }

  async #makeFolder(path: string): Promise<void> {
    const isNew = (await mkdir(path, { recursive: true })) !== undefined;
    if (isNew) await syncParents(path, this.#root);
  }

  /**
   * Lets the next listing of claims show what other machines have done. An NFS client answers from
   * what it remembers of a folder, for up to a minute, until it changes something there itself.
   */
  async touchClaims(): Promise<void> {
    const path = join(this.claims, `~${nonce()}`);
    try {
      const file = await open(path, 'wx');
      await file.close();
      await rm(path, { force: true });
    } catch {
      // Who may only read, or finds the disk full, sees what is to be seen.
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
   * Creates a file, whole and durable, if there is none: true. One that exists is left alone: false.
   */
  async createIfAbsent(path: string, content: Uint8Array, signal: AbortSignal): Promise<boolean> {
    return this.withTemporary(async (temporary) => {
      const draft = join(temporary, 'draft');
      await writeNewFile(draft, content);
      throwIfCancelled(signal);
      if (!(await publishFile(draft, path, content))) return false;
      await orUndo(syncFolder(dirname(path)), () => rm(path));
      return true;
    });
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
    return join(this.tmp, nonce());
  }
}

function nonce(): string {
  return randomBytes(12).toString('hex');
}

/** The number of a manifest by its file's name; undefined for files that are none of ours. */
export function numberOf(fileName: string): number | undefined {
  const number = Number(MANIFEST_NAME.exec(fileName)?.[1] ?? 0);
  return number > 0 ? number : undefined;
}
