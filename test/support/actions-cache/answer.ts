import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { sendBody } from '../http/body.ts';
import { bodyFault, damaged, shortened } from '../http/damage.ts';
import type { CacheReply } from './reply.ts';
import type { CacheRequest } from './request.ts';

export interface Answer {
  status: number;
  headers: Record<string, string | string[]>;
  body: AsyncIterable<Buffer>;
}

/** Through the fault, if there is one that concerns the answer's body. */
export async function send(
  request: CacheRequest,
  response: ServerResponse,
  { status, headers, body }: Answer,
  behave: { kind: string } | undefined,
  signal: AbortSignal,
): Promise<void> {
  request.status = status;
  const length = shortened(headers['content-length']?.toString(), behave);
  response.writeHead(status, {
    ...headers,
    ...(length !== undefined && { 'content-length': length }),
  });
  response.flushHeaders();
  await sendBody(request, response, damaged(body, bodyFault(behave), signal));
}

export function plain({ status, headers, body }: CacheReply): Answer {
  const bytes = Buffer.from(body);
  return {
    status,
    headers: { ...headers, 'content-length': String(bytes.length) },
    body: Readable.from([bytes]),
  };
}
