import { request as connect, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

export type Headers = Record<string, string | string[]>;

/** Sends a request on, which may have been tampered with; `signal` ends both ways. */
export async function passOn(
  body: AsyncIterable<Buffer>,
  options: {
    method: string | undefined;
    host?: string;
    port: number | string;
    path: string;
    headers: Headers;
    signal: AbortSignal;
    /** The server wants the body. */
    onContinue?: () => void;
  },
): Promise<IncomingMessage> {
  const { onContinue, host = '127.0.0.1', ...rest } = options;
  // A server that ends an idle connection would look like a fault.
  const outgoing = connect({ ...rest, host, agent: false });
  if (onContinue) outgoing.once('continue', onContinue);
  const answered = new Promise<IncomingMessage>((resolve, reject) => {
    outgoing.once('response', resolve);
    outgoing.once('error', reject);
  });
  const sent = pipeline(Readable.from(body), outgoing);
  // An answer that comes before the whole body was taken is the answer.
  sent.catch(() => undefined);
  return Promise.race([answered, sent.then(() => answered)]);
}

/** Those that are passed on. */
export function endToEnd(headers: IncomingHttpHeaders): Headers {
  const kept = Object.entries(headers).filter(
    ([name, value]) =>
      value !== undefined && !['connection', 'keep-alive', 'transfer-encoding'].includes(name),
  );
  return Object.fromEntries(kept) as Headers;
}
