/** How long bringing a snapshot from or to a store may take; retention counts on it. */
import { MirrorError } from '../lib/errors.ts';

export const TRANSFER_TIMEOUT_MS = 30 * 60_000;

/** Runs work that ends with the signal or at the transfer's deadline; then throws `timeout`. */
export async function withTransferDeadline<T>(
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const deadline = AbortSignal.timeout(TRANSFER_TIMEOUT_MS);
  try {
    return await work(AbortSignal.any([signal, deadline]));
  } catch (error) {
    if (signal.aborted || !deadline.aborted) throw error;
    throw new MirrorError('timeout', 'the store took longer than half an hour', { cause: error });
  }
}
