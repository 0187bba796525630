/** What the store and its worker process say to each other. */

/** A request and the folder that it works in, as a line of JSON. */
export type CacheOrder = CacheRequest & { workspace: string };

/** What the worker is asked. */
export type CacheRequest =
  /** Up to MAX_KEYS keys: the first that an entry has, or that the newest entry's key begins with. */
  | { do: 'look-up'; keys: readonly string[] }
  /** Brings the entry of that key, or of the newest that begins with it, into the folder `entry`. */
  | { do: 'restore'; key: string }
  /** Saves the folder `entry`. */
  | { do: 'save'; key: string };

/** What the worker says, as lines of JSON: a result is the last. */
export type CacheMessage =
  /** How much of the archive has moved, from 0 to 1. */
  | { share: number }
  /** What the toolkit or one of its children said. */
  | { word: CacheWord }
  /** Of a look-up or restore the matched key or null, of a save the entry's number or -1. */
  | { result: string | number | null };

export interface CacheWord {
  /** `debug`, `info`, `notice`, `warning` or `error`. */
  level: string;
  text: string;
}

export interface CacheAnswer {
  result: string | number | null;
  words: readonly CacheWord[];
}

/** The service takes no more at once. */
export const MAX_KEYS = 10;
