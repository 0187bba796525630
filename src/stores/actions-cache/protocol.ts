/** What the store and its worker process say to each other. */
import * as v from 'valibot';

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

/** What the toolkit or one of its children said. The level is `debug`, `info`, `notice`, `warning` or `error`. */
const LINE = v.object({ level: v.string(), text: v.string() });
/** Of a look-up or restore the matched key or null, of a save the entry's number or -1. */
const RESULT = v.nullable(v.union([v.string(), v.number()]));
const MESSAGE = v.pipe(
  v.string(),
  v.parseJson(),
  v.union([
    /** How much of the archive has moved, from 0 to 1. */
    v.object({ share: v.number() }),
    v.object({ line: LINE }),
    v.object({ result: RESULT }),
  ]),
);

export type LogLine = v.InferOutput<typeof LINE>;

/** What the worker says, as lines of JSON: a result is the last. */
export type CacheMessage = v.InferOutput<typeof MESSAGE>;

export interface CacheAnswer {
  result: v.InferOutput<typeof RESULT>;
  lines: readonly LogLine[];
}

/** Undefined for what something else wrote, such as a module that NODE_OPTIONS loads before the worker. */
export function parseMessage(line: string): CacheMessage | undefined {
  const { success, output } = v.safeParse(MESSAGE, line);
  return success ? output : undefined;
}

/** The service takes no more at once. */
export const MAX_KEYS = 10;
