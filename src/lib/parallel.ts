/** Parallel work with a limit. */
import { throwIfCancelled } from './errors.ts';

/**
 * Works on all items, at most `width` at a time, and returns the results in the items' order. The first failure
 * aborts the others and is thrown when all have ended. Throws `cancelled` if the signal fires.
 */
export async function mapEachOf<T, R>(
  items: readonly T[],
  width: number,
  signal: AbortSignal,
  work: (item: T, signal: AbortSignal) => Promise<R>,
): Promise<R[]> {
  const stop = new AbortController();
  const bounded = AbortSignal.any([signal, stop.signal]);
  const queue = items.entries();
  const results: R[] = [];
  const failures: unknown[] = [];
  const take = async (): Promise<void> => {
    for (const [index, item] of queue) {
      if (bounded.aborted) return;
      results[index] = await work(item, bounded);
    }
  };
  await Promise.all(
    Array.from({ length: width }, () =>
      take().catch((error: unknown) => {
        failures.push(error);
        stop.abort();
      }),
    ),
  );
  throwIfCancelled(signal);
  if (failures.length > 0) throw failures[0];
  return results;
}

/** Limits how much work runs at a time, across callers. */
export class Slots {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(count: number) {
    this.#free = count;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free += 1;
      else next();
    }
  }
}
