import { createHash, createHmac } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';

export interface SignedRequest {
  method: string;
  /** Path and query as they are sent. */
  url: string;
  headers: IncomingHttpHeaders;
}

/**
 * The headers of a request that is signed by AWS Signature Version 4, without those of `names`, and
 * with a signature that is valid for the rest. The body's digest is among them, so it stays as it is.
 */
export function signedWithout(
  { method, url, headers }: SignedRequest,
  names: readonly string[],
  secretAccessKey: string,
): IncomingHttpHeaders {
  const kept = Object.fromEntries(
    Object.entries(headers).filter(([name]) => !names.includes(name)),
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
