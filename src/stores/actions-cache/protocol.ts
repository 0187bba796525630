/** What the store and its worker process say to each other, as lines of JSON. */

export type CacheRequest =
  /** Up to MAX_KEYS keys: the first that an entry has, or that the newest entry's key begins with. */
  | { do: 'look-up'; keys: readonly string[] }
  /** Brings the entry of that key, or of the newest that begins with it, into the folder `entry`. */
  | { do: 'restore'; key: string }
  /** Saves the folder `entry`. */
  | { do: 'save'; key: string };

export interface CacheAnswer {
  /** Of a look-up or restore the matched key or null, of a save the entry's number or -1. */
  result: string | number | null;
  /** What the toolkit and its children said, in their order. */
  words: readonly CacheWord[];
}

export interface CacheWord {
  /** `debug`, `info`, `notice`, `warning` or `error`. */
  level: string;
  text: string;
}

/** Comes before an answer, now and then. */
export interface CacheProgress {
  /** How much of the archive has moved, from 0 to 1. */
  share: number;
}

/** The service takes no more at once. */
export const MAX_KEYS = 10;
