/** Calls of the Actions cache: each in a worker and a folder of its own, within its time. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { MirrorError, describeError, throwIfCancelled, toMirrorError } from '../../lib/errors.ts';
import { removeTree } from '../../lib/files.ts';
import { workerEnvironment } from './environment.ts';
import { countCacheBytes, withCacheFolder, type CacheFolder } from './folder.ts';
import { fateOfSave, isRateLimit, matchedKey, restoredKey, type SaveFate } from './toolkit-log.ts';
import { withWorker, type Ask, type Asking } from './worker.ts';
import { readPlainFile } from '../layer-files.ts';

/**
 * For all that a call asks, transfers of layers aside. The toolkit's own retries take 28 s where the
 * service answers with errors only.
 */
const PATIENCE_MS = 40_000;
/** For both while there is an outage: a job makes some ten calls. */
const SHORT_PATIENCE_MS = 10_000;
/** Of a transfer; twice as long where only its folder shows that it moves. */
const STANDSTILL_MS = 60_000;
const RATE_LIMIT_RETRIES = 2;
const RATE_LIMIT_PAUSE_MS = 4_000;
/** The only file of an entry that is no layer. */
const CONTENT_FILE = 'content';

export interface ActionsCacheOptions {
  /** That of the job: where the service is, and the token for it. */
  environment: NodeJS.ProcessEnv;
  /** A folder that exists, RUNNER_TEMP say; best on the mirror's disk. Nothing stays there. */
  temporaryFolder: string;
  /** How long a transfer of a layer may stand still, in milliseconds. */
  standstillMs?: number;
}

export interface Transfer {
  /** Bounded by the signal of the call, and by how long it stands still; not by the call's time. */
  isLong: boolean;
  onShare?: ((share: number) => void) | undefined;
}

const SHORT: Transfer = { isLong: false };

/** Shared by all who use the cache in a process, so that one outage is waited for once. */
export function openActionsCache(options: ActionsCacheOptions): ActionsCache {
  return new ActionsCache(options);
}

export class ActionsCache {
  readonly #options: ActionsCacheOptions;
  /** The first failure of each way, until a call of that way has succeeded. */
  readonly #outages = new Map<Way, MirrorError>();

  constructor(options: ActionsCacheOptions) {
    this.#options = options;
  }

  /** Runs a call; throws errors of the family only, and TypeError. */
  async call<T>(
    way: Way,
    what: string,
    signal: AbortSignal,
    work: (session: CacheSession) => Promise<T>,
  ): Promise<T> {
    throwIfCancelled(signal);
    const { environment, temporaryFolder, standstillMs = STANDSTILL_MS } = this.#options;
    // Calls that fail side by side are not told of one another.
    const [before] = this.#outages.values();
    const times =
      before === undefined
        ? { patienceMs: PATIENCE_MS, standstillMs }
        : {
            patienceMs: SHORT_PATIENCE_MS,
            standstillMs: Math.min(standstillMs, SHORT_PATIENCE_MS),
          };
    try {
      const result = await withCacheFolder(temporaryFolder, (folder) => {
        const options = {
          environment: workerEnvironment(environment, folder),
          workingDirectory: folder.workspace,
          signal,
        };
        return withWorker(options, (ask) => work(new CacheSession(ask, folder, times, signal)));
      });
      this.#outages.delete(way);
      return result;
    } catch (error) {
      if (error instanceof TypeError) throw error;
      throw this.#note(way, toMirrorError(error, 'store-unavailable', what), before);
    }
  }

  #note(way: Way, error: MirrorError, before: MirrorError | undefined): MirrorError {
    if (error.code !== 'store-unavailable') return error;
    if (!this.#outages.has(way)) this.#outages.set(way, error);
    if (before === undefined) return error;
    // What came first tells the cause; later calls may not have had the time to find out.
    const message = `${error.message}; before: ${describeError(before)}`;
    return new MirrorError(error.code, message, { cause: error.cause });
  }
}

/** The service may answer all that reads, and nothing that writes. */
export type Way = 'reading' | 'writing';

interface SessionTimes {
  patienceMs: number;
  standstillMs: number;
}

/** What can be asked during one call, one after the other. Throws what the words tell. */
export class CacheSession {
  readonly folder: CacheFolder;
  readonly #ask: Ask;
  readonly #signal: AbortSignal;
  readonly #standstillMs: number;
  #leftMs: number;

  constructor(ask: Ask, folder: CacheFolder, times: SessionTimes, signal: AbortSignal) {
    this.#ask = ask;
    this.folder = folder;
    this.#leftMs = times.patienceMs;
    this.#standstillMs = times.standstillMs;
    this.#signal = signal;
  }

  /** The key of the first prefix that is one, or of the newest entry whose key begins with it. */
  async lookUp(prefixes: readonly string[]): Promise<string | undefined> {
    return matchedKey(
      await this.#timed((patienceMs) =>
        this.#ask({ do: 'look-up', keys: prefixes }, { patienceMs }),
      ),
    );
  }

  async has(key: string): Promise<boolean> {
    return (await this.lookUp([key])) === key;
  }

  /** Brings an entry into the folder, which is empty unless that succeeds. */
  async restore(key: string, transfer: Transfer): Promise<'restored' | 'missing' | 'damaged'> {
    const { entry } = this.folder;
    await removeTree(entry);
    const restored = restoredKey(
      await this.#move(transfer, (asking) => this.#ask({ do: 'restore', key }, asking)),
    );
    if (restored !== 'damaged' && restored.key === key) return 'restored';
    await removeTree(entry);
    return restored === 'damaged' ? 'damaged' : 'missing';
  }

  /** Saves what is in the folder. */
  async save(key: string, transfer: Transfer): Promise<SaveFate> {
    for (let tries = 0; ; tries++) {
      try {
        return fateOfSave(
          await this.#move(transfer, (asking) => this.#ask({ do: 'save', key }, asking)),
        );
      } catch (error) {
        if (tries >= RATE_LIMIT_RETRIES || !isRateLimit(error)) throw error;
        const jitteredMs = RATE_LIMIT_PAUSE_MS * (tries + 0.5 + Math.random());
        await sleep(jitteredMs, undefined, { signal: this.#signal }).catch(() => undefined);
        throwIfCancelled(this.#signal);
      }
    }
  }

  /**
   * Saves an entry that holds just that. True if it is there and has this content, whatever became of
   * the replies; false if the key is taken, be it by one who has died and whose entry nobody can find.
   */
  async create(key: string, content: Uint8Array): Promise<boolean> {
    const { entry } = this.folder;
    await mkdir(entry);
    await writeFile(join(entry, CONTENT_FILE), content);
    const fate = await this.save(key, SHORT);
    if (fate.is !== 'unknown') return fate.is === 'saved';
    const found = await this.read(key);
    if (found === undefined) throw fate.error;
    return Buffer.compare(found, content) === 0;
  }

  /** The content of such an entry; empty where it is damaged, undefined where there is none. */
  async read(key: string, maxBytes = Infinity): Promise<Buffer | undefined> {
    const outcome = await this.restore(key, SHORT);
    if (outcome === 'missing') return undefined;
    const file = join(this.folder.entry, CONTENT_FILE);
    return (await readPlainFile(file, maxBytes)) ?? Buffer.alloc(0);
  }

  #move<T>({ isLong, onShare }: Transfer, work: (asking: Asking) => Promise<T>): Promise<T> {
    if (!isLong) return this.#timed((patienceMs) => work({ patienceMs, onShare }));
    // The toolkit tells nothing of packing and unpacking, and not of every download.
    const gauge = () => countCacheBytes(this.folder);
    return work({ patienceMs: this.#standstillMs, gauge, onShare });
  }

  async #timed<T>(work: (patienceMs: number) => Promise<T>): Promise<T> {
    const startedMs = performance.now();
    try {
      return await work(Math.max(this.#leftMs, 1));
    } finally {
      this.#leftMs -= performance.now() - startedMs;
    }
  }
}
