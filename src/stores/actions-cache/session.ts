/** Calls of the Actions cache: each with a worker for itself, in a folder of its own, within its time. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MirrorError, throwIfCancelled, toMirrorError } from '../../lib/errors.ts';
import { countBytesBelow, removeTree } from '../../lib/files.ts';
import { retry } from '../../lib/retry.ts';
import type { Call } from '../back-end.ts';
import { readPlainFile } from '../layer-files.ts';
import { MAX_MANIFEST_BYTES } from '../store.ts';
import { workerEnvironment } from './environment.ts';
import { withCacheFolder, type CacheFolder } from './folder.ts';
import { canUnpack } from './tar-check.ts';
import {
  TransientFailure,
  causeOf,
  failedToUnpack,
  parseMatchedKey,
  parseSaveResult,
  type SaveResult,
} from './toolkit-log.ts';
import type { CacheAnswer, CacheRequest } from './protocol.ts';
import { WorkerPool, type Ask } from './worker.ts';

/**
 * For everything that a call asks, transfers of layers excepted. The store only saves time, so a job waits no longer for a
 * look-up. The service may answer everything that reads, and nothing that writes.
 */
const PATIENCE_MS = { reading: 20_000, writing: 40_000 };
/** Of a transfer. */
const STANDSTILL_MS = 60_000;
/** A download that broke, or a rate limit, is tried again: a clone costs far more. */
const RETRIES = 2;
const RETRY_PAUSE_MS = 1_500;
/** The service counts uploads by the minute: waiting longer for it helps nobody. */
const LONGEST_PAUSE_MS = 60_000;
/** The only file of an entry that is no layer. */
const CONTENT_FILE = 'content';

export interface ActionsCacheOptions {
  /** That of the job: where the service is, and the token for it. */
  environment: NodeJS.ProcessEnv;
  /** A folder that exists, RUNNER_TEMP say; best on the mirror's disk. What cannot be removed from it is left to the runner. */
  temporaryFolder: string;
  /** In milliseconds; shorter ones than the defaults are for tests. */
  times?: Partial<{ patienceMs: number; standstillMs: number; retryPauseMs: number }>;
}

export interface ActionsCache {
  /** Runs a call; throws errors of the family only. */
  call<T>(call: Omit<Call, 'key'>, work: (session: CacheSession) => Promise<T>): Promise<T>;

  /** Ends the workers that calls have left. To be called after the last call. */
  close(): Promise<void>;
}

export function openActionsCache(options: ActionsCacheOptions): ActionsCache {
  const { temporaryFolder, times } = options;
  const environment = workerEnvironment(options.environment, temporaryFolder);
  const workers = new WorkerPool({ environment, workingDirectory: temporaryFolder });
  return {
    close: () => workers.close(),

    async call({ what, signal, isWriting = false }, work) {
      throwIfCancelled(signal);
      const limits = {
        patienceMs: isWriting ? PATIENCE_MS.writing : PATIENCE_MS.reading,
        standstillMs: STANDSTILL_MS,
        retryPauseMs: RETRY_PAUSE_MS,
        ...times,
      };
      try {
        return await withCacheFolder(temporaryFolder, (folder) =>
          workers.use(signal, (ask) =>
            work(new CacheSession({ ask, environment, folder, signal, ...limits })),
          ),
        );
      } catch (error) {
        throw toMirrorError(error, 'store-unavailable', `${what} in the Actions cache`);
      }
    },
  };
}

interface SessionOptions {
  ask: Ask;
  /** The worker's. */
  environment: NodeJS.ProcessEnv;
  folder: CacheFolder;
  patienceMs: number;
  standstillMs: number;
  retryPauseMs: number;
  signal: AbortSignal;
}

/** Gets the share of an archive that has moved, from 0 to 1. */
export type OnShare = (share: number) => void;

/**
 * What can be asked during one call, one after the other. Throws what the toolkit's log says. Requests share the call's
 * time, but for those with `onShare`: these are bounded by how long they stand still.
 */
export class CacheSession {
  readonly folder: CacheFolder;
  readonly #options: SessionOptions;
  #leftMs: number;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.folder = options.folder;
    this.#leftMs = options.patienceMs;
  }

  /** The key of the first prefix that is one, or of the newest entry whose key begins with it. */
  async lookUp(prefixes: readonly string[]): Promise<string | undefined> {
    return this.#retry(async () =>
      parseMatchedKey(await this.#ask({ do: 'look-up', keys: prefixes })),
    );
  }

  async has(key: string): Promise<boolean> {
    return (await this.lookUp([key])) === key;
  }

  /** Brings an entry into the folder, which is empty unless that succeeds. */
  async restore(key: string, onShare?: OnShare): Promise<'restored' | 'missing' | 'damaged'> {
    const { entry } = this.folder;
    return this.#retry(async () => {
      await removeTree(entry);
      const answer = await this.#ask({ do: 'restore', key }, onShare);
      const isUnpacked = !failedToUnpack(answer);
      if (isUnpacked && parseMatchedKey(answer) === key) return 'restored';
      await removeTree(entry);
      if (isUnpacked) return 'missing';
      const { environment, signal } = this.#options;
      if (await canUnpack(answer, this.folder, environment, signal)) return 'damaged';
      const message = `this machine cannot unpack entries of the Actions cache, for which it needs GNU tar or bsdtar: ${causeOf(answer)}`;
      throw new MirrorError('store-unavailable', message);
    });
  }

  /** Saves what is in the folder. */
  async save(key: string, onShare?: OnShare): Promise<SaveResult> {
    return this.#retry(async () => parseSaveResult(await this.#ask({ do: 'save', key }, onShare)));
  }

  /**
   * Saves an entry that holds just that. True if it is there and has this content, whatever became of
   * the replies; false if the key is taken, perhaps by a job that died and whose entry nobody can find.
   */
  async create(key: string, content: Uint8Array): Promise<boolean> {
    const { entry } = this.folder;
    await mkdir(entry);
    await writeFile(join(entry, CONTENT_FILE), content);
    const result = await this.save(key);
    if (result.is !== 'unknown') return result.is === 'saved';
    const found = await this.read(key);
    if (found === undefined) throw result.error;
    return Buffer.compare(found, content) === 0;
  }

  /** The content of such an entry, at most MAX_MANIFEST_BYTES; empty where it is damaged, undefined where there is none. */
  async read(key: string): Promise<Buffer | undefined> {
    const outcome = await this.restore(key);
    if (outcome === 'missing') return undefined;
    const file = join(this.folder.entry, CONTENT_FILE);
    return (await readPlainFile(file, MAX_MANIFEST_BYTES)) ?? Buffer.alloc(0);
  }

  /** Tries a few times what may succeed the next time, and no longer than the call may take. */
  #retry<T>(work: () => Promise<T>): Promise<T> {
    const { retryPauseMs, signal } = this.#options;
    const pauseAfter = (error: unknown, failures: number): number | undefined => {
      if (!(error instanceof TransientFailure) || failures > RETRIES) return undefined;
      const pauseMs = error.retryAfterMs ?? retryPauseMs * (failures - 0.5 + Math.random());
      if (pauseMs > Math.min(this.#leftMs, LONGEST_PAUSE_MS)) return undefined;
      this.#leftMs -= pauseMs;
      return pauseMs;
    };
    return retry(work, { signal, pauseAfter });
  }

  async #ask(request: CacheRequest, onShare?: OnShare): Promise<CacheAnswer> {
    const { ask, standstillMs } = this.#options;
    const order = { ...request, workspace: this.folder.workspace };
    if (onShare !== undefined) {
      // The toolkit tells nothing of packing and unpacking, and not of every download.
      const gauge = () => countBytesBelow(this.folder.root);
      return ask(order, { patienceMs: standstillMs, gauge, onShare });
    }
    const startedMs = performance.now();
    try {
      return await ask(order, { patienceMs: Math.max(this.#leftMs, 1) });
    } finally {
      this.#leftMs -= performance.now() - startedMs;
    }
  }
}
