import type { ClaimLock, Lock } from '../../../src/locks/lock.ts';

/** A claim on something that is never made, which is then a lock like any other. */
export function asLock(claim: ClaimLock): Lock {
  return {
    async acquire(options) {
      const isDone = () => Promise.resolve(false);
      const acquisition = await claim.acquire({ ...options, isDone });
      if (acquisition.outcome === 'not-needed') throw new Error('it was never made');
      return acquisition;
    },
  };
}
