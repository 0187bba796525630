/** The stores of the contest: each keeps what was saved the day before and forgets later saves. */
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { JobOptions } from '../test/support/action-runner.ts';
import type { S3Server } from '../test/support/s3/servers.ts';
import { S3Stores } from '../test/support/s3/stores.ts';
import { readWhole } from './disk.ts';
import type { Servers } from './servers.ts';
import { restoreAlone, saveAlone } from './toolkit.ts';

export interface BenchStore {
  name: string;
  /** Options of a job that uses this store. */
  options(): Promise<Partial<JobOptions>>;
  /** Protects the current content from `forget`. */
  keep(): Promise<void>;
  /** Removes what was added since. */
  forget(): Promise<void>;
  /** Saves the files of a folder with nothing but the platform's own toolkit, by way of a folder `work`. */
  saveAlone?(folder: string, work: string): Promise<void>;
  /** Restores them so; milliseconds. */
  restoreAlone?(work: string): Promise<number>;
  /** Reads the content into the page cache, where the store allows that. */
  warmUp?(): Promise<void>;
}

const PREFIX = 'store';

export class DiskStore implements BenchStore {
  readonly name = 'a disk';
  readonly path: string;
  #kept = new Set<string>();

  constructor(path: string) {
    this.path = path;
  }

  async options(): Promise<Partial<JobOptions>> {
    await mkdir(this.path, { recursive: true });
    return { inputs: { 'disk-path': this.path } };
  }

  async keep(): Promise<void> {
    this.#kept = new Set(await readdir(this.path, { recursive: true }));
  }

  async forget(): Promise<void> {
    for (const name of await readdir(this.path, { recursive: true })) {
      if (!this.#kept.has(name)) await rm(join(this.path, name), { recursive: true, force: true });
    }
  }

  async warmUp(): Promise<void> {
    await readWhole(this.path);
  }
}

/** The tests' cache service, used by the platform's own toolkit. */
export class ActionsCache implements BenchStore {
  readonly name = 'the Actions cache';
  readonly #servers: Servers;

  constructor(servers: Servers) {
    this.#servers = servers;
  }

  async options(): Promise<Partial<JobOptions>> {
    return {
      ref: 'refs/heads/main',
      event: { name: 'push', payload: { repository: { default_branch: 'main' } } },
      // Only github.com has this cache.
      serverUrl: 'https://github.com',
      inputs: { 'github-server-url': await this.#servers.ask('url') },
      environment: await this.#servers.ask('cacheEnvironment'),
    };
  }

  async saveAlone(folder: string, work: string): Promise<void> {
    await saveAlone(await this.#servers.ask('cacheEnvironment'), folder, work);
  }

  async restoreAlone(work: string): Promise<number> {
    return restoreAlone(await this.#servers.ask('cacheEnvironment'), work);
  }

  async keep(): Promise<void> {
    await this.#servers.ask('keepEntries');
  }

  async forget(): Promise<void> {
    await this.#servers.ask('forgetNewer');
  }
}

export class S3Store implements BenchStore {
  readonly name = 'S3 (Ceph)';
  readonly #server: S3Server;
  readonly #folder: string;
  readonly #stores: S3Stores;
  #kept = new Set<string>();

  constructor(server: S3Server, folder: string) {
    this.#server = server;
    this.#folder = folder;
    this.#stores = new S3Stores(server, folder);
  }

  options(): Promise<Partial<JobOptions>> {
    const { accessKeyId, secretAccessKey, bucket, endpoint, region } = this.#server;
    return Promise.resolve({
      inputs: {
        's3-bucket': bucket,
        's3-prefix': `${this.#folder}/${PREFIX}`,
        's3-endpoint': endpoint,
        's3-region': region,
        's3-force-path-style': 'true',
      },
      environment: { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey },
    });
  }

  async keep(): Promise<void> {
    this.#kept = new Set(await this.#stores.list(PREFIX));
  }

  async forget(): Promise<void> {
    const { bucket } = this.#stores.open(PREFIX);
    const { signal } = new AbortController();
    for (const name of await this.#stores.list(PREFIX)) {
      if (!this.#kept.has(name)) await bucket.remove(name, signal);
    }
  }
}
