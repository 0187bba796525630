/** An answer that is not passed on. */
export interface CacheReply {
  status: number;
  headers: Record<string, string>;
  body: string;
}

/** The names of statuses in the protocol of calls. */
const callCodes: Record<number, string> = {
  400: 'invalid_argument',
  401: 'unauthenticated',
  403: 'permission_denied',
  404: 'not_found',
  409: 'already_exists',
  429: 'resource_exhausted',
  500: 'internal',
  502: 'unavailable',
  503: 'unavailable',
};

export function jsonReply(status: number, content: object): CacheReply {
  return {
    status,
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(content),
  };
}

/** An error of a call. */
export function callError(status: number, message: string): CacheReply {
  return jsonReply(status, { code: callCodes[status] ?? 'unknown', msg: message });
}

/** An error of a blob's host. */
export function blobError(status: number, message: string): CacheReply {
  const code = status === 503 ? 'ServerBusy' : status === 404 ? 'BlobNotFound' : 'InternalError';
  return {
    status,
    headers: { 'Content-Type': 'application/xml', 'x-ms-error-code': code },
    body: `<?xml version="1.0" encoding="utf-8"?><Error><Code>${code}</Code><Message>${message}</Message></Error>`,
  };
}
