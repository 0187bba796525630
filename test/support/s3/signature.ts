import { createHash, createHmac } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';

export interface SignedRequest {
  method: string;
  /** Path and query as they are sent. */
  url: string;
  headers: IncomingHttpHeaders;
}

/** For a body that was signed for. */
export function digestBody(body: Buffer): string {
  return createHash('sha256').update(body).digest('hex');
}

/**
 * The headers of a request that is signed by AWS Signature Version 4, with some changed (undefined:
 * removed), and with a signature that is valid for the result.
 */
export function signAgain(
  { method, url, headers }: SignedRequest,
  changes: Record<string, string | undefined>,
  secretAccessKey: string,
): IncomingHttpHeaders {
  const kept = Object.fromEntries(
    Object.entries({ ...headers, ...changes }).filter(([, value]) => value !== undefined),
  ) as IncomingHttpHeaders;
  const [, scope = '', listed = ''] =
    /Credential=[^/]+\/([^,]+),\s*SignedHeaders=([^,]+),/.exec(headers.authorization ?? '') ?? [];
  const signed = listed.split(';').filter((name) => name in kept);
  const [path = '', query = ''] = url.split('?');
  const parameters = query.split('&').filter((each) => each !== '');
  const canonical = [
    method,
    path,
    parameters
      .map((each) => (each.includes('=') ? each : `${each}=`))
      .sort()
      .join('&'),
    ...signed.map((name) => `${name}:${String(kept[name]).trim()}`),
    '',
    signed.join(';'),
    String(kept['x-amz-content-sha256']),
  ].join('\n');
  const toSign = [
    'AWS4-HMAC-SHA256',
    String(kept['x-amz-date']),
    scope,
    createHash('sha256').update(canonical).digest('hex'),
  ].join('\n');
  let key: string | Buffer = `AWS4${secretAccessKey}`;
  for (const part of scope.split('/')) key = createHmac('sha256', key).update(part).digest();
  kept.authorization = (headers.authorization ?? '')
    .replace(`SignedHeaders=${listed}`, `SignedHeaders=${signed.join(';')}`)
    .replace(
      /Signature=\w+/,
      `Signature=${createHmac('sha256', key).update(toSign).digest('hex')}`,
    );
  return kept;
}
