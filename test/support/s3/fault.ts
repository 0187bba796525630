import type { BodyFault } from '../http/damage.ts';
import type { S3Operation, S3Request } from './request.ts';

/**
 * What goes wrong. Bytes are counted in the body: that of the request if it may bear one (PUT and
 * POST), else that of the answer.
 */
export type S3FaultBehaviour =
  | {
      kind: 'status';
      status: 304 | 400 | 401 | 403 | 404 | 405 | 409 | 412 | 429 | 500 | 501 | 502 | 503;
      /** As S3 says it; by default what goes with the status, such as `SlowDown`. */
      code?: string;
      retryAfterSeconds?: number;
    }
  /** The socket is closed instead of an answer; with `reset`, by a TCP reset. */
  | { kind: 'close'; reset?: boolean }
  /** Silent before the server is asked. */
  | { kind: 'delay'; forMs: number }
  /** Silent until then, before the server is asked. */
  | { kind: 'hold'; until: Promise<unknown> }
  /** The server is asked without the conditions, as if it were one of those that ignore them. */
  | { kind: 'unconditional' }
  /** 200, with the ETag of what was sent; the server is not asked. */
  | { kind: 'drop' }
  /** The server is sent other bytes, signed as if they were those of the client. */
  | { kind: 'damage' }
  /** The ETag of the answer is no digest of the bytes. */
  | { kind: 'other-etag' }
  /** A web page, as of a console or a captive portal; the server is not asked. */
  | { kind: 'html'; status?: 200 | 302 | 403 | 404 }
  | BodyFault;

export interface S3Fault {
  on: S3Operation | 'any' | ((request: S3Request) => boolean);
  /** HTTP requests it is applied to; for ever by default. */
  times?: number;
  /**
   * The server is asked, and has answered, and only then the fault comes: a lost answer, say. A body
   * is then that of the answer.
   */
  afterwards?: boolean;
  behave: S3FaultBehaviour;
}

/** Whether a fault is meant for a request. */
export function isFor({ on }: S3Fault, request: S3Request): boolean {
  if (typeof on === 'function') return on(request);
  return on === 'any' || on === request.operation;
}

export interface S3Reply {
  status: number;
  headers: Record<string, string>;
  body: string;
}

const codes: Record<number, string> = {
  304: 'NotModified',
  405: 'MethodNotAllowed',
  400: 'InvalidRequest',
  401: 'AccessDenied',
  403: 'AccessDenied',
  404: 'NoSuchKey',
  409: 'ConditionalRequestConflict',
  412: 'PreconditionFailed',
  429: 'TooManyRequests',
  500: 'InternalError',
  501: 'NotImplemented',
  502: 'BadGateway',
  503: 'SlowDown',
};

/** An answer as S3 gives it where it says no. */
export function s3Error(behave: Extract<S3FaultBehaviour, { kind: 'status' }>): S3Reply {
  const { status, code = codes[status] ?? '', retryAfterSeconds: seconds } = behave;
  return {
    status,
    headers: {
      'Content-Type': 'application/xml',
      ...(seconds !== undefined && { 'Retry-After': String(seconds) }),
    },
    body:
      '<?xml version="1.0" encoding="UTF-8"?>\n' +
      `<Error><Code>${code}</Code><Message>on purpose</Message></Error>`,
  };
}

/** A page that no S3 server gives. */
export function webPage({ status = 200 }: Extract<S3FaultBehaviour, { kind: 'html' }>): S3Reply {
  return {
    status,
    headers: {
      'Content-Type': 'text/html; charset=utf-8',
      ...(status === 302 && { Location: 'http://127.0.0.1:9/sign-on' }),
    },
    body: '<!DOCTYPE html>\n<html><body>Please sign on</body></html>\n',
  };
}
