import type { BodyFault } from '../http/damage.ts';
import type { GitRequest } from './request.ts';

/** What goes wrong. Bytes are counted in the body of the answer. */
export type FaultBehaviour =
  | { kind: 'status'; status: 401 | 403 | 404 | 429 | 500 | 502 | 503; retryAfterSeconds?: number }
  /** 200 with no body at all. */
  | { kind: 'empty' }
  /** 200 with a web page, as captive portals and status pages give; its lines matter to git. */
  | { kind: 'html'; page?: string }
  /** To another repository's URL; the service's path and query are added. It is not redirected. */
  | { kind: 'redirect'; status: 301 | 302 | 307; to: string }
  /** The socket is closed instead of an answer. */
  | { kind: 'close' }
  /** Silent before the answer, headers included, as while a large pack is computed. */
  | { kind: 'delay'; forMs: number }
  | BodyFault;

/**
 * Which requests: `probe` is what ls-remote needs (and a fetch begins with), `fetch` the POST that
 * bears the pack, `clone` such a POST without haves, `delta-fetch` one with haves.
 */
export type FaultTarget =
  'any' | 'probe' | 'fetch' | 'clone' | 'delta-fetch' | ((request: GitRequest) => boolean);

export interface Fault {
  on: FaultTarget;
  /** HTTP requests (not git commands) it is applied to; for ever by default. */
  times?: number;
  behave: FaultBehaviour;
}

function matches(target: FaultTarget, request: GitRequest): boolean {
  if (typeof target === 'function') return target(request);
  switch (target) {
    case 'any':
      return true;
    case 'probe':
      return ['capabilities', 'refs', 'ls-refs'].includes(request.kind);
    case 'fetch':
      return request.kind === 'fetch';
    case 'clone':
      return request.kind === 'fetch' && !request.hasHaves;
    case 'delta-fetch':
      return request.kind === 'fetch' && request.hasHaves;
  }
}

/**
 * Whether a fault is meant for a request. `url` is that of the request's repository: the goal of a
 * redirection on the same server is left alone.
 */
export function isFor({ on, behave }: Fault, request: GitRequest, url: string): boolean {
  return matches(on, request) && !(behave.kind === 'redirect' && behave.to === url);
}

export interface Reply {
  status: number;
  headers: Record<string, string>;
  body: string;
}

export const unauthorized: Reply = {
  status: 401,
  headers: { 'WWW-Authenticate': 'Basic realm="GitHub"' },
  body: '',
};

/** What such a fault answers instead of git; undefined where git is asked nevertheless. */
export function replyInstead(behave: FaultBehaviour, service: string): Reply | undefined {
  switch (behave.kind) {
    case 'status': {
      if (behave.status === 401) return unauthorized;
      const seconds = behave.retryAfterSeconds;
      const headers = seconds === undefined ? {} : { 'Retry-After': String(seconds) };
      return { status: behave.status, headers: { ...headers }, body: 'on purpose\n' };
    }
    case 'empty':
      return { status: 200, headers: {}, body: '' };
    case 'html':
      return {
        status: 200,
        headers: { 'Content-Type': 'text/html' },
        body: behave.page ?? '<!DOCTYPE html>\n<html>\n<body>Back soon</body>\n</html>\n',
      };
    case 'redirect':
      return { status: behave.status, headers: { Location: `${behave.to}${service}` }, body: '' };
    default:
      return undefined;
  }
}
