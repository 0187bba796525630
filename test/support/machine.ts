import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Account } from '../../src/job/account.ts';
import { openGit } from '../../src/git/git.ts';
import type { Job } from '../../src/job/job.ts';
import { createMachineLock } from '../../src/locks/machine.ts';
import { silentLog, type Log } from '../../src/lib/log.ts';
import { maintainMirror } from '../../src/save/maintain-mirror.ts';
import { primeWorkspace, type PrimeResult } from '../../src/prime/prime-workspace.ts';
import type { Depth } from '../../src/mirror/refs.ts';
import { restoreMirror } from '../../src/restore/restore-mirror.ts';
import type { RestoredMirror } from '../../src/restore/session.ts';
import type { SaveResult } from '../../src/save/decide.ts';
import { saveSnapshot } from '../../src/save/save-snapshot.ts';
import type { SaveOptions } from '../../src/save/save.ts';
import type { MirrorSpec } from '../../src/snapshot/identity.ts';
import { createDiskStore } from '../../src/stores/disk/store.ts';
import { gitEnvironment } from './git.ts';
import { packDirectory } from '../../src/mirror/packs.ts';

export interface MachineOptions {
  /** Its folder, made if need be. */
  root: string;
  /** Of upstream. */
  url: string;
  /** Folder of a disk store, made if need be. */
  store?: string;
  /** `full` by default. */
  depth?: Depth;
  /** Branches and tags by default; for a tip mirror none beside the default branch. */
  refspecs?: readonly string[];
  repackTimeoutMs?: number;
  log?: Log;
}

const REFSPECS: Record<Depth, readonly string[]> = {
  full: ['+refs/heads/*:refs/heads/*', '+refs/tags/*:refs/tags/*'],
  tip: [],
};

/** One whose mirror stays, with the use cases run in this process: for many jobs in a row. */
export class Machine {
  /** Where its mirror is. */
  readonly path: string;
  repackTimeoutMs: number;
  /** Of the last job. */
  account = new Account(silentLog);
  readonly #job: Omit<Job, 'account'>;
  readonly #spec: MirrorSpec;
  #mirror: RestoredMirror | undefined;

  private constructor(options: MachineOptions, job: Omit<Job, 'account'>) {
    this.path = join(options.root, 'mirror.git');
    this.repackTimeoutMs = options.repackTimeoutMs ?? 60_000;
    this.#job = job;
    const { url, depth = 'full', refspecs = REFSPECS[depth] } = options;
    this.#spec = { url, refspecs, depth, cacheKey: '' };
  }

  static async create(options: MachineOptions): Promise<Machine> {
    const { root, store, log = silentLog } = options;
    await mkdir(root, { recursive: true });
    if (store !== undefined) await mkdir(store, { recursive: true });
    const { signal } = new AbortController();
    const environment = gitEnvironment();
    const git = await openGit({ environment, workingDirectory: root, signal, log });
    return new Machine(options, {
      ...{ git, signal, log, noStoreReason: '', otherStores: [], claimOf: undefined },
      accessOf: (upstream) => ({ url: upstream, token: '' }),
      temporaryFolder: root,
      store: store === undefined ? undefined : createDiskStore({ path: store }),
      lockOf: (path) => createMachineLock(`${path}.lock`),
    });
  }

  get packs(): string {
    return packDirectory(this.path);
  }

  /** Main; with a workspace, that is primed. */
  async main(workspace?: string): Promise<{ mirror: RestoredMirror; used?: PrimeResult }> {
    this.account = new Account(silentLog);
    const options = {
      ...{ isPublishedEarly: false, verification: 'standard' as const },
      ...{ lockTimeoutMs: 60_000, fetchTimeoutMs: 60_000, stallTimeoutMs: Infinity },
      placeOf: () => this.path,
      isPlaceChosen: true,
    };
    const job = { ...this.#job, account: this.account };
    await using session = await restoreMirror(job, this.#spec, options);
    this.#mirror = session.mirror;
    if (workspace === undefined) return { mirror: session.mirror };
    const target = { folder: workspace, remoteUrl: this.#spec.url, commit: undefined };
    const used = await primeWorkspace(session.job, session.mirror, target);
    return { mirror: session.mirror, used };
  }

  /** Post: the save, and then what is left to tidy. */
  async post(): Promise<SaveResult> {
    if (this.#mirror === undefined) throw new Error('main comes first');
    this.account = new Account(silentLog);
    const job = { ...this.#job, account: this.account };
    const options: SaveOptions = {
      ...{ isForced: false, leastAgeMs: 0, maxSnapshots: 3, run: 'a test', action: '0' },
      repackTimeoutMs: this.repackTimeoutMs,
    };
    try {
      return await saveSnapshot(job, this.#mirror, options, false);
    } finally {
      await maintainMirror(job, this.#mirror, this.repackTimeoutMs);
    }
  }
}
