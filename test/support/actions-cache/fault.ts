import { blobError, callError, jsonReply, type CacheReply } from './reply.ts';
import { isCall, type CacheRequest, type CacheRequestKind } from './request.ts';
import type { BodyFault } from '../http/damage.ts';

/** What goes wrong. Bytes are counted in the body: that of an upload's request, else the answer's. */
export type CacheFaultBehaviour =
  | {
      kind: 'status';
      status: 400 | 401 | 403 | 404 | 409 | 429 | 500 | 502 | 503;
      /** As the service says it, such as `cache write denied: …`; `on purpose` by default. */
      message?: string;
      retryAfterSeconds?: number;
    }
  /** 200 with `ok: false`, by which the service says no to a call. */
  | { kind: 'refuse'; message?: string }
  /** The socket is closed instead of an answer. */
  | { kind: 'close' }
  /** Silent before the answer, headers included. */
  | { kind: 'delay'; forMs: number }
  | BodyFault;

export interface CacheFault {
  on: Exclude<CacheRequestKind, 'unknown'> | 'any' | ((request: CacheRequest) => boolean);
  /** HTTP requests it is applied to; for ever by default. */
  times?: number;
  /**
   * What was asked for is done, and only then the fault comes: a lost answer. Of an upload, it is
   * then the answer's body that is meant, which is empty.
   */
  afterwards?: boolean;
  behave: CacheFaultBehaviour;
}

/** Whether a fault is meant for a request. */
export function isFor({ on }: CacheFault, request: CacheRequest): boolean {
  if (typeof on === 'function') return on(request);
  return on === 'any' || on === request.kind;
}

/** What such a fault answers instead; undefined where it does something else. */
export function replyInstead(
  behave: CacheFaultBehaviour,
  request: CacheRequest,
): CacheReply | undefined {
  switch (behave.kind) {
    case 'status': {
      const { status, message = 'on purpose', retryAfterSeconds: seconds } = behave;
      const reply = (isCall(request) ? callError : blobError)(status, message);
      if (seconds !== undefined) reply.headers['Retry-After'] = String(seconds);
      return reply;
    }
    case 'refuse':
      return jsonReply(200, { ok: false, message: behave.message ?? '' });
    default:
      return undefined;
  }
}
