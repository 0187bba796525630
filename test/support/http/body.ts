import type { ServerResponse } from 'node:http';

export async function* counted(
  body: AsyncIterable<Buffer>,
  request: { bytesReceived: number },
): AsyncGenerator<Buffer> {
  for await (const chunk of body) {
    request.bytesReceived += chunk.length;
    yield chunk;
  }
}

export async function readAll(body: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Sends the body of an answer, and ends it. */
export async function sendBody(
  request: { bytesSent: number },
  response: ServerResponse,
  body: AsyncIterable<Buffer>,
): Promise<void> {
  for await (const chunk of body) {
    await write(response, chunk);
    request.bytesSent += chunk.length;
  }
  response.end();
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
