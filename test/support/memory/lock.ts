/** A lock among those who share a registry in one process: for tests of what works behind a lock. */
import { performance } from 'node:perf_hooks';
import { throwIfCancelled } from '../../../src/lib/errors.ts';
import type { AcquireOptions, Acquisition, Hold, Lock } from '../../../src/locks/lock.ts';

/** Locks that are held, by name, each with those who wait for it, in the order they came. */
export type MemoryLocks = Map<string, (() => void)[]>;

/** setTimeout fires at once above this (a signed 32-bit number of milliseconds, 24 days). */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** A lock named `name` in `locks`; the job that has waited longest is next. */
export function createMemoryLock(name: string, locks: MemoryLocks): Lock {
  return {
    async acquire(options): Promise<Acquisition> {
      const startedMs = performance.now();
      throwIfCancelled(options.signal);
      if (locks.has(name) && options.timeoutMs > 0) options.onWait?.();
      const isMine = await waitForTurn(name, locks, options);
      const waitedMs = performance.now() - startedMs;
      if (!isMine) {
        throwIfCancelled(options.signal);
        return { outcome: 'timed-out', waitedMs };
      }
      return { outcome: 'acquired', hold: createHold(name, locks), waitedMs };
    },
  };
}

/** Whether the lock is ours: false when waiting ended, by time or by cancellation. */
function waitForTurn(
  name: string,
  locks: MemoryLocks,
  { timeoutMs, signal }: AcquireOptions,
): Promise<boolean> {
  const queue = locks.get(name);
  if (queue === undefined) {
    locks.set(name, []);
    return Promise.resolve(true);
  }
  if (timeoutMs <= 0) return Promise.resolve(false);
  return new Promise((resolve) => {
    const end = (isMine: boolean) => {
      clearTimeout(timer);
      signal.removeEventListener('abort', giveUp);
      queue.splice(queue.indexOf(onTurn), 1);
      resolve(isMine);
    };
    const onTurn = () => {
      end(true);
    };
    const giveUp = () => {
      end(false);
    };
    const timer = setTimeout(giveUp, Math.min(timeoutMs, LONGEST_TIMER_MS));
    signal.addEventListener('abort', giveUp);
    queue.push(onTurn);
  });
}

/** It cannot be lost: `lost` never fires. */
function createHold(name: string, locks: MemoryLocks): Hold {
  let isReleased = false;
  return {
    lost: new AbortController().signal,
    staysTaken: false,
    release: () => {
      if (!isReleased) passOn(name, locks);
      isReleased = true;
      return Promise.resolve();
    },
  };
}

function passOn(name: string, locks: MemoryLocks): void {
  const next = locks.get(name)?.[0];
  if (next === undefined) locks.delete(name);
  else next();
}
