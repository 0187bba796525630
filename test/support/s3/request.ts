import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { unserved, type ServedRequest } from '../http/server.ts';

export type S3Operation =
  | 'ListBuckets'
  | 'CreateBucket'
  | 'HeadBucket'
  | 'DeleteBucket'
  | 'ListObjects'
  | 'DeleteObjects'
  | 'ListMultipartUploads'
  | 'GetObject'
  | 'HeadObject'
  | 'PutObject'
  | 'CopyObject'
  | 'DeleteObject'
  | 'CreateMultipartUpload'
  | 'UploadPart'
  | 'ListParts'
  | 'CompleteMultipartUpload'
  | 'AbortMultipartUpload'
  | 'other';

/** A request with the bucket in its path; filled while it is served. */
export interface S3Request extends ServedRequest {
  readonly operation: S3Operation;
  readonly method: string;
  /** As it was sent, without the query. */
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  /** Empty where the path names none. */
  readonly bucket: string;
  readonly key: string;
  readonly headers: IncomingHttpHeaders;
  /** What the server answered; undefined as long as it has not, or was not asked. */
  serverStatus?: number;
  /** What the client was told. */
  status?: number;
}

export function describeS3Request(message: IncomingMessage): S3Request {
  const { method = '', url = '', headers } = message;
  const { pathname: path, searchParams } = new URL(url, 'http://127.0.0.1');
  const [, bucket = '', rawKey = ''] = /^\/([^/]*)\/?(.*)$/s.exec(path) ?? [];
  const key = decodeURIComponent(rawKey);
  const query = Object.fromEntries(searchParams);
  return {
    operation: operationOf(method, bucket, key, query, headers),
    method,
    path,
    query,
    bucket,
    key,
    headers,
    ...unserved(),
  };
}

const ofService: Record<string, S3Operation> = { GET: 'ListBuckets' };

const ofBucket: Record<string, S3Operation> = {
  PUT: 'CreateBucket',
  HEAD: 'HeadBucket',
  DELETE: 'DeleteBucket',
};

const ofObject: Record<string, S3Operation> = {
  GET: 'GetObject',
  HEAD: 'HeadObject',
  PUT: 'PutObject',
  DELETE: 'DeleteObject',
};

const ofUpload: Record<string, S3Operation> = {
  GET: 'ListParts',
  PUT: 'UploadPart',
  POST: 'CompleteMultipartUpload',
  DELETE: 'AbortMultipartUpload',
};

function operationOf(
  method: string,
  bucket: string,
  key: string,
  query: Record<string, string>,
  headers: IncomingHttpHeaders,
): S3Operation {
  if (bucket === '') return ofService[method] ?? 'other';
  if (key === '') {
    if (method === 'GET' && 'uploads' in query) return 'ListMultipartUploads';
    if (method === 'GET' && !('location' in query)) return 'ListObjects';
    if (method === 'POST' && 'delete' in query) return 'DeleteObjects';
    return ofBucket[method] ?? 'other';
  }
  if ('uploadId' in query) return ofUpload[method] ?? 'other';
  if (method === 'POST' && 'uploads' in query) return 'CreateMultipartUpload';
  if (method === 'PUT' && 'x-amz-copy-source' in headers) return 'CopyObject';
  return ofObject[method] ?? 'other';
}
