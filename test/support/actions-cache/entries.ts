import { randomUUID } from 'node:crypto';

export interface CacheEntry {
  id: number;
  scope: string;
  key: string;
  version: string;
  /** Name of the blob that holds the archive. */
  blob: string;
  /** A reservation holds its key and is found by nobody. */
  state: 'reserved' | 'ready';
  sizeBytes?: number;
}

/**
 * What the service knows of entries: immutable, one per scope, key and version. Newest is what was
 * finalized last. Nothing ends by itself here: neither entries nor reservations.
 */
export class CacheEntries {
  /** In the order they were finalized, then the reservations. */
  readonly #entries: CacheEntry[] = [];
  readonly #owners = new Map<string, CacheEntry>();
  #lastId = 0;

  get all(): readonly Readonly<CacheEntry>[] {
    return this.#entries;
  }

  /** Undefined where the key is taken, be it by an entry or by a reservation. */
  reserve(scope: string, key: string, version: string): CacheEntry | undefined {
    if (this.#get(scope, key, version) !== undefined) return undefined;
    const entry: CacheEntry = {
      id: ++this.#lastId,
      scope,
      key,
      version,
      blob: randomUUID(),
      state: 'reserved',
    };
    this.#entries.push(entry);
    this.#owners.set(entry.blob, entry);
    return entry;
  }

  reservation(scope: string, key: string, version: string): CacheEntry | undefined {
    const entry = this.#get(scope, key, version);
    return entry?.state === 'reserved' ? entry : undefined;
  }

  complete(entry: CacheEntry, sizeBytes: number): void {
    this.#drop(entry);
    entry.state = 'ready';
    entry.sizeBytes = sizeBytes;
    const reserved = this.#entries.findIndex(({ state }) => state === 'reserved');
    this.#entries.splice(reserved < 0 ? this.#entries.length : reserved, 0, entry);
  }

  /**
   * Scope after scope, in each key after key, the exact entry, else the newest by prefix: so the
   * primary key is a prefix as well.
   */
  find(
    scopes: readonly string[],
    keys: readonly string[],
    version: string,
  ): CacheEntry | undefined {
    for (const scope of scopes) {
      const candidates = this.#entries
        .filter((entry) => entry.state === 'ready' && entry.scope === scope)
        .filter((entry) => entry.version === version)
        .reverse();
      for (const key of keys) {
        const found =
          candidates.find((entry) => entry.key === key) ??
          candidates.find((entry) => entry.key.startsWith(key));
        if (found !== undefined) return found;
      }
    }
    return undefined;
  }

  /** Whose blob it is or, of a removed entry, was. */
  owner(blob: string): Readonly<CacheEntry> | undefined {
    return this.#owners.get(blob);
  }

  /** Gives what was removed, reservations included. */
  remove(predicate: (entry: Readonly<CacheEntry>) => boolean): CacheEntry[] {
    const removed = this.#entries.filter(predicate);
    removed.forEach((entry) => {
      this.#drop(entry);
    });
    return removed;
  }

  /** Has an entry again that was removed, as the newest of all. */
  bringBack(key: string): void {
    if (this.#entries.some((entry) => entry.key === key)) return;
    const removed = [...this.#owners.values()].findLast((entry) => entry.key === key);
    if (removed !== undefined) this.complete(removed, removed.sizeBytes ?? 0);
  }

  #get(scope: string, key: string, version: string): CacheEntry | undefined {
    return this.#entries.find(
      (entry) => entry.scope === scope && entry.key === key && entry.version === version,
    );
  }

  #drop(entry: CacheEntry): void {
    const at = this.#entries.indexOf(entry);
    if (at >= 0) this.#entries.splice(at, 1);
  }
}
