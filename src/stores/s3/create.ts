/**
 * Creating an object only where there is none, by `If-None-Match: *`; and whether the server does so.
 *
 * Some servers refuse the condition, and some ignore it, which is worse. An object of its own finds
 * out, once in each process that writes: it is created if absent, which must fail where it is there.
 * So on a server with conditional writes its presence is all that is remembered, and the question
 * costs one request; a server that learns them, or a bucket that moves, needs no care.
 */
import { randomBytes } from 'node:crypto';
import { MirrorError, throwIfCancelled } from '../../lib/errors.ts';
import type { S3Bucket } from './bucket.ts';
import { PROBE } from './keys.ts';
import { backOff } from './signals.ts';

const PROBE_TEXT =
  'mirror-action: created only if absent, this shows that the server can do that.\n';
/** A conflict is over in a moment. */
const MAX_CONFLICTS = 6;

export const NO_CONDITIONAL_WRITES =
  'the server has no conditional writes (`If-None-Match: *`), which claims need';

export class S3Creation {
  readonly #bucket: S3Bucket;
  #isPossible: boolean | undefined;

  constructor(bucket: S3Bucket) {
    this.#bucket = bucket;
  }

  /** Whether the server creates an object only where there is none. */
  async isPossible(signal: AbortSignal): Promise<boolean> {
    return (this.#isPossible ??= await this.#probe(signal));
  }

  /**
   * True if this call created it, whatever became of the replies; false if the name is taken. What
   * failed, or was cancelled, may be there nevertheless, with that nonce.
   */
  async createIfAbsent(
    name: string,
    content: Uint8Array,
    nonce: string,
    signal: AbortSignal,
  ): Promise<boolean> {
    for (let conflicts = 0; conflicts < MAX_CONFLICTS; conflicts++) {
      const isCreated = await this.#try(name, content, nonce, signal);
      if (isCreated !== undefined) return isCreated;
      await backOff(conflicts, signal);
      throwIfCancelled(signal);
    }
    const message = `writing ${name} in ${this.#bucket.location}: another writer is in the way`;
    throw new MirrorError('store-unavailable', message);
  }

  /** Removes it if it was created with that nonce. */
  async removeOwn(name: string, nonce: string, signal: AbortSignal): Promise<void> {
    const found = await this.#bucket.head(name, signal);
    if (found?.nonce === nonce) await this.#bucket.remove(name, signal);
  }

  /** Undefined for a conflict that left nothing behind. */
  async #try(
    name: string,
    content: Uint8Array,
    nonce: string,
    signal: AbortSignal,
  ): Promise<boolean | undefined> {
    try {
      const outcome = await this.#bucket.putNew(name, content, nonce, signal);
      if (outcome === 'done') return true;
      if (outcome === 'unsupported') {
        const message = `writing ${name} in ${this.#bucket.location}: ${NO_CONDITIONAL_WRITES}`;
        throw new MirrorError('store-unavailable', message);
      }
      // Taken by ourselves, perhaps, in an attempt whose answer was lost.
      const found = await this.#bucket.head(name, signal);
      if (found !== undefined) return found.nonce === nonce;
      return outcome === 'exists' ? false : undefined;
    } catch (error) {
      throwIfCancelled(signal);
      const found = await this.#bucket.head(name, signal).catch(() => undefined);
      if (found?.nonce === nonce) return true;
      throw error;
    }
  }

  async #probe(signal: AbortSignal): Promise<boolean> {
    const nonce = newNonce();
    // The first may create it.
    for (let attempt = 0; attempt < 2; attempt++) {
      const outcome = await this.#bucket.putNew(PROBE, Buffer.from(PROBE_TEXT), nonce, signal);
      if (outcome !== 'done') return outcome !== 'unsupported';
    }
    return false;
  }
}

export function newNonce(): string {
  return randomBytes(12).toString('hex');
}
