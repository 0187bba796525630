import { Writable, type Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { MirrorError } from '../../lib/errors.ts';

const MAX_WAITING_BYTES = 512 * 1024;

/** An answer that didn't arrive to its end: another request may bring the rest. */
export class BrokenOffError extends MirrorError {
  /** Whether the server was silent for too long. */
  readonly isSilence: boolean;

  constructor(message: string, options: { isSilence?: boolean; cause?: unknown } = {}) {
    const { isSilence = false, cause } = options;
    super('store-unavailable', message, { cause, ...(isSilence && { concern: 's3-endpoint' }) });
    this.isSilence = isSilence;
  }
}

/**
 * Passes a body on as it arrives. Pieces that arrive while `take` works are passed on together: writing them one by one takes
 * a third more CPU time. At most MAX_WAITING_BYTES wait; then the sender is slowed down. Throws what `take` throws, and
 * BrokenOffError for everything else, once `take` has ended. `what` is for its message.
 */
export async function passOn(
  what: string,
  body: Readable,
  take: (pieces: readonly Buffer[], bytes: number) => Promise<void>,
): Promise<void> {
  let taking = Promise.resolve();
  let failure: Error | undefined;
  const sink = new Writable({
    highWaterMark: MAX_WAITING_BYTES,
    writev(chunks, done) {
      const pieces = chunks.map(({ chunk }) => chunk as Buffer);
      const bytes = pieces.reduce((sum, { length }) => sum + length, 0);
      taking = take(pieces, bytes).catch((error: unknown) => {
        failure = error as Error;
      });
      void taking.then(() => {
        done(failure);
      });
    },
  });
  try {
    // To the end of the body, or the connection isn't used again.
    await pipeline(body, sink);
  } catch (cause) {
    await taking;
    throw failure ?? new BrokenOffError(`${what} broke off`, { cause });
  }
}
