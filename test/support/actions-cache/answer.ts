import type { IncomingMessage, ServerResponse } from 'node:http';
import { bodyFault, type CacheFault } from './fault.ts';
import type { ProxiedAnswer } from './proxy.ts';
import type { CacheReply } from './reply.ts';
import type { CacheRequest } from './request.ts';
import { damaged } from '../git-server/damage.ts';

/** Through the fault, if there is one that concerns the answer's body. */
export async function send(
  request: CacheRequest,
  response: ServerResponse,
  answer: ProxiedAnswer,
  fault: CacheFault | undefined,
  signal: AbortSignal,
): Promise<void> {
  request.status = answer.status;
  const length = shortened(answer.headers['content-length']?.toString(), fault);
  if (length !== undefined) answer.headers['content-length'] = String(length);
  response.writeHead(answer.status, answer.headers);
  response.flushHeaders();
  for await (const chunk of damaged(answer.body, bodyFault(fault?.behave), signal)) {
    await write(response, chunk);
    request.bytesSent += chunk.length;
  }
  response.end();
}

/** What is declared has to be true even of a body that is cut short, or the client would wait. */
export function shortened(
  declared: string | undefined,
  fault: CacheFault | undefined,
): number | undefined {
  if (declared === undefined || fault?.behave.kind !== 'shorten') return undefined;
  return Math.min(Number(declared), fault.behave.afterBytes);
}

export function plain({ status, headers, body }: CacheReply): ProxiedAnswer {
  const bytes = Buffer.from(body);
  return {
    status,
    headers: { ...headers, 'content-length': String(bytes.length) },
    body: (async function* () {
      yield bytes;
    })(),
  };
}

export async function* counted(
  message: IncomingMessage,
  request: CacheRequest,
): AsyncGenerator<Buffer> {
  for await (const chunk of message as AsyncIterable<Buffer>) {
    request.bytesReceived += chunk.length;
    yield chunk;
  }
}

export async function readAll(body: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Resolves when the bytes have left for the kernel, so that a cut comes after them. */
function write(response: ServerResponse, chunk: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    response.write(chunk, (error) => {
      if (error) reject(error);
      else resolve();
    });
  });
}
