import { unserved, type ServedRequest } from '../http/server.ts';
import type { IncomingMessage } from 'node:http';

/** `create` reserves a key, `finalize` publishes what was uploaded, `properties` asks its size. */
export type CacheRequestKind =
  'create' | 'upload' | 'finalize' | 'lookup' | 'properties' | 'download' | 'unknown';

/** A request to the service, whether a call or to its blobs; filled while it is served. */
export interface CacheRequest extends ServedRequest {
  kind: CacheRequestKind;
  method: string;
  /** Without the query, which bears the signature. */
  path: string;
  /** The key that is meant; of a blob, that of its entry, be it evicted or not. */
  key?: string;
  version?: string;
  /** Of a look-up. */
  restoreKeys?: string[];
  /** Of a look-up that found something. */
  matchedKey?: string;
  /** Where an entry is made, or was found; of a blob, that of its entry. */
  scope?: string;
  /** Of an upload in parts: `block`, and `blocklist` that puts them together. */
  part?: string;
  /** Of a download in parts, such as `bytes=0-4194303`. */
  range?: string;
  status?: number;
}

const servicePath = '/twirp/github.actions.results.api.v1.CacheService/';

const calls: Record<string, CacheRequestKind> = {
  CreateCacheEntry: 'create',
  FinalizeCacheEntryUpload: 'finalize',
  GetCacheEntryDownloadURL: 'lookup',
};

const blobMethods: Record<string, CacheRequestKind> = {
  GET: 'download',
  HEAD: 'properties',
  PUT: 'upload',
};

export function describeCacheRequest(message: IncomingMessage): CacheRequest {
  const { method = '' } = message;
  const { pathname: path, searchParams } = new URL(message.url ?? '', 'http://127.0.0.1');
  const part = searchParams.get('comp');
  const range = message.headers['x-ms-range'] ?? message.headers.range;
  return {
    kind: kindOf(method, path),
    method,
    path,
    ...unserved(),
    ...(part !== null && { part }),
    ...(typeof range === 'string' && { range }),
  };
}

function kindOf(method: string, path: string): CacheRequestKind {
  if (!path.startsWith('/twirp/')) return blobMethods[method] ?? 'unknown';
  if (method !== 'POST' || !path.startsWith(servicePath)) return 'unknown';
  return calls[path.slice(servicePath.length)] ?? 'unknown';
}

/** A call of the service, not a blob. */
export function isCall({ kind, path }: CacheRequest): boolean {
  return ['create', 'finalize', 'lookup'].includes(kind) || path.startsWith('/twirp/');
}
