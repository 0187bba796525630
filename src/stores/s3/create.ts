/**
 * Creates an object only if it is absent, by `If-None-Match: *`, and tests whether the server can do that.
 *
 * Some servers refuse the condition, and some ignore it, which is worse. Each process that writes tests this once, on an
 * object of its own: a second creation must be refused. On a server with conditional writes that object stays, so the
 * test costs one request.
 */
import { MirrorError, throwIfCancelled } from '../../lib/errors.ts';
import { backOff, pause } from '../../lib/retry.ts';
import { newNonce } from '../names.ts';
import type { S3Bucket } from './bucket.ts';
import { BACK_OFF } from './connection.ts';
import { isRefusal } from './errors.ts';
import { PROBE } from './keys.ts';

const PROBE_CONTENT = Buffer.from(
  'mirror-action: created only if absent, this shows that the server can do that.\n',
);
/** A conflict is over in a moment. */
const MAX_CONFLICTS = 6;

export class S3Creation {
  readonly #bucket: S3Bucket;
  #isPossible: boolean | undefined;

  constructor(bucket: S3Bucket) {
    this.#bucket = bucket;
  }

  /** Whether the server has conditional writes. */
  async isPossible(signal: AbortSignal): Promise<boolean> {
    return (this.#isPossible ??= await this.#probe(signal));
  }

  /**
   * True if this call created it, even if answers were lost; false if the name is taken. After a failure or a cancel the
   * object may exist, with that nonce.
   */
  async createIfAbsent(
    name: string,
    content: Uint8Array,
    nonce: string,
    signal: AbortSignal,
  ): Promise<boolean> {
    for (let conflicts = 1; conflicts <= MAX_CONFLICTS; conflicts++) {
      try {
        if (await this.#bucket.putNew(name, content, nonce, signal)) return true;
      } catch (error) {
        throwIfCancelled(signal);
        const found = await this.#bucket.head(name, signal).catch(() => undefined);
        if (found?.nonce === nonce) return true;
        throw error;
      }
      // An earlier attempt of ours may have created it, and its answer was lost.
      const found = await this.#bucket.head(name, signal);
      if (found !== undefined) return found.nonce === nonce;
      await pause(backOff(conflicts, BACK_OFF), signal);
    }
    const what = `writing ${name} in ${this.#bucket.location}`;
    const message = `${what}: the server refuses to create it as if it existed, but does not have it`;
    throw new MirrorError('store-unavailable', message, { concern: 's3-endpoint' });
  }

  /** Removes it if it was written with that nonce. */
  async removeOwn(name: string, nonce: string, signal: AbortSignal): Promise<void> {
    const found = await this.#bucket.head(name, signal);
    if (found?.nonce === nonce) await this.#bucket.remove(name, signal);
  }

  async #probe(signal: AbortSignal): Promise<boolean> {
    const create = (): Promise<boolean> =>
      this.#bucket.putNew(PROBE, PROBE_CONTENT, newNonce(), signal);
    try {
      // The first attempt may create it.
      return !(await create()) || !(await create());
    } catch (error) {
      if (!isRefusal(error)) throw error;
      // If this fails too, the server didn't refuse because of the condition.
      await this.#bucket.put(PROBE, PROBE_CONTENT, signal);
      return false;
    }
  }
}
