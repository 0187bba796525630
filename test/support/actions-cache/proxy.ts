import { request as connect, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { account } from './blobs.ts';

export interface ProxiedAnswer {
  status: number;
  headers: Record<string, string | string[]>;
  body: AsyncIterable<Buffer>;
}

/**
 * Sends a request for a blob on to Azurite, with a body that may have been tampered with; `signal`
 * ends both ways. `length` replaces the declared length of the body.
 */
export async function passOn(
  message: IncomingMessage,
  body: AsyncIterable<Buffer>,
  options: { port: number; signal: AbortSignal; length?: number | undefined },
): Promise<ProxiedAnswer> {
  const headers = endToEnd(message.headers);
  if (options.length !== undefined) headers['content-length'] = String(options.length);
  const outgoing = connect({
    host: '127.0.0.1',
    port: options.port,
    method: message.method,
    path: ownPath(message.url ?? ''),
    headers,
    // Azurite ends idle connections early, which would look like a fault.
    agent: false,
    signal: options.signal,
  });
  const answered = new Promise<IncomingMessage>((resolve, reject) => {
    outgoing.once('response', resolve);
    outgoing.once('error', reject);
  });
  const sent = pipeline(Readable.from(body), outgoing);
  // An answer that comes before the whole body was taken is the answer.
  sent.catch(() => undefined);
  const answer = await Promise.race([answered, sent.then(() => answered)]);
  return { status: answer.statusCode ?? 500, headers: endToEnd(answer.headers), body: answer };
}

/** Azurite takes the account from the path when it is called by address. */
function ownPath(url: string): string {
  return url.startsWith(`/${account}/`) ? url : `/${account}${url}`;
}

function endToEnd(headers: IncomingHttpHeaders): Record<string, string | string[]> {
  const kept = Object.entries(headers).filter(
    ([name, value]) =>
      value !== undefined &&
      !['host', 'connection', 'keep-alive', 'transfer-encoding'].includes(name),
  );
  return Object.fromEntries(kept) as Record<string, string | string[]>;
}
