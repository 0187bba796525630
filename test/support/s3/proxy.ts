import { createHash, randomBytes } from 'node:crypto';
import {
  createServer,
  request as connect,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { CutConnection, damaged, silence } from '../git-server/damage.ts';
import { hasHungUp } from '../peer.ts';
import { waitUntil } from '../processes.ts';
import {
  S3FaultList,
  bodyFault,
  s3Error,
  webPage,
  type ActiveS3Fault,
  type S3Fault,
  type S3Reply,
} from './fault.ts';
import { describeS3Request, type S3Operation, type S3Request } from './request.ts';
import type { S3Server } from './servers.ts';
import { digestBody, signAgain } from './signature.ts';

/** `endpoint` is the server's by default; of it, only http can be stood in for. */
export async function startS3Proxy(
  server: S3Server,
  endpoint: string = server.endpoint,
): Promise<S3Proxy> {
  const proxy = new S3Proxy(server, endpoint);
  await proxy.listen();
  return proxy;
}

/**
 * Between a client and an S3 server, on the loopback interface: it counts and makes faults. What is
 * signed passes as it came, the name of the host included, so that the server must take any name.
 */
export class S3Proxy {
  /** In the order of their arrival. */
  readonly requests: S3Request[] = [];
  /** That clients have opened. */
  connections = 0;
  /** How far the server's clock is ahead of what it really says, in milliseconds, as clients see it. */
  clockShiftMs = 0;
  readonly #behind: S3Server;
  readonly #upstream: URL;
  readonly #server: Server;
  readonly #faults = new S3FaultList();
  readonly #stopping = new AbortController();
  /** Rejects when the proxy stops. */
  readonly #stopped = new Promise<never>((_, reject) => {
    this.#stopping.signal.addEventListener('abort', () => {
      reject(new CutConnection(false));
    });
  });
  readonly #serving = new Set<Promise<void>>();

  constructor(behind: S3Server, endpoint: string) {
    this.#behind = behind;
    this.#upstream = new URL(endpoint);
    if (this.#upstream.protocol !== 'http:') throw new Error(`no proxy for ${endpoint}: not http`);
    const serve = (message: IncomingMessage, response: ServerResponse): void => {
      const served = this.#serve(message, response);
      this.#serving.add(served);
      void served.then(() => this.#serving.delete(served));
    };
    this.#stopped.catch(() => undefined);
    this.#server = createServer(serve);
    // Whether a body is wanted is for the server to say.
    this.#server.on('checkContinue', serve);
    this.#server.keepAliveTimeout = 60_000;
    this.#server.on('connection', () => {
      this.connections++;
    });
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** The server as it is seen through the proxy. */
  get server(): S3Server {
    const seen: S3Server = { ...this.#behind, endpoint: this.endpoint };
    // That would be a way round.
    delete seen.otherEndpoint;
    return seen;
  }

  requestsOf(operation: S3Operation, key?: string): S3Request[] {
    return this.requests.filter(
      (request) => request.operation === operation && (key === undefined || request.key === key),
    );
  }

  /** Body bytes received from clients. */
  get bytesUp(): number {
    return this.requests.reduce((sum, { bytesReceived }) => sum + bytesReceived, 0);
  }

  /** Body bytes sent to clients. */
  get bytesDown(): number {
    return this.requests.reduce((sum, { bytesSent }) => sum + bytesSent, 0);
  }

  resetCounters(): void {
    this.requests.length = 0;
    this.connections = 0;
  }

  /** The first fault added that matches a request is applied to it. */
  fault(fault: S3Fault): ActiveS3Fault {
    return this.#faults.add(fault);
  }

  /** For requests to come; one that stalls already goes on stalling. */
  clearFaults(): void {
    this.#faults.clear();
  }

  /** The first request, past or future, that matches: to act in the middle of an upload, say. */
  async waitForRequest(
    predicate: (request: S3Request) => boolean,
    timeoutMs = 10_000,
  ): Promise<S3Request> {
    const what = 'a request to the S3 server';
    const found = await waitUntil(() => this.requests.find(predicate), { timeoutMs, what });
    if (found === undefined) throw new Error(what);
    return found;
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(0, '127.0.0.1', resolve);
    });
  }

  /** Ends every connection, to either side. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await Promise.all([closed, ...this.#serving]);
  }

  async #serve(message: IncomingMessage, response: ServerResponse): Promise<void> {
    const request = describeS3Request(message);
    this.requests.push(request);
    const gone = new AbortController();
    response.once('close', () => {
      request.ending = response.writableFinished ? 'complete' : 'broken';
      if (!response.writableFinished) gone.abort();
    });
    const signal = AbortSignal.any([gone.signal, this.#stopping.signal]);
    // While nothing is read from the client, as in an upload that stalls.
    const watch = setInterval(() => {
      if (message.socket.isPaused() && hasHungUp(message.socket)) gone.abort();
    }, 100);
    try {
      // Whatever an answer waits for, it ends with the proxy.
      await Promise.race([this.#answer(request, message, response, signal), this.#stopped]);
    } catch (error) {
      request.ending = 'broken';
      if (error instanceof CutConnection && error.reset) response.socket?.resetAndDestroy();
      response.destroy();
    } finally {
      clearInterval(watch);
    }
  }

  async #answer(
    request: S3Request,
    message: IncomingMessage,
    response: ServerResponse,
    signal: AbortSignal,
  ): Promise<void> {
    const fault = this.#faults.take(request);
    if (fault && !fault.afterwards && (await replaced(fault, request, response, signal))) {
      message.resume();
      return;
    }
    if (fault?.behave.kind === 'drop') {
      const received = await readAll(counted(message, request));
      const ETag = `"${createHash('md5').update(received).digest('hex')}"`;
      reply({ status: 200, headers: { ETag }, body: '' }, request, response);
      return;
    }
    const isUpload = ['PUT', 'POST'].includes(request.method) && !fault?.afterwards;
    const behave = bodyFault(fault?.behave);
    let body: AsyncIterable<Buffer> = counted(message, request);
    let headersSent = this.#headersOf(message, fault);
    if (fault?.behave.kind === 'damage') {
      const content = await readAll(body);
      content.writeUInt8(content.readUInt8(content.length >> 1) ^ 1, content.length >> 1);
      body = Readable.from([content]);
      headersSent = this.#signAgain(message, { 'x-amz-content-sha256': digestBody(content) });
    }
    const asked = endToEnd(headersSent);
    const cut = isUpload ? shortened(message.headers['content-length'], fault) : undefined;
    if (cut !== undefined) asked['content-length'] = cut;
    const answer = await this.#ask(
      message,
      asked,
      isUpload ? damaged(body, behave, signal) : body,
      response,
      signal,
    );
    request.serverStatus = answer.statusCode ?? 0;
    const isLost = fault?.afterwards && behave === undefined;
    // Its end is the proof that the server is done.
    const content = isLost ? [await readAll(answer as AsyncIterable<Buffer>)] : answer;
    if (isLost && (await replaced(fault, request, response, signal))) return;
    const headers = endToEnd(answer.headers);
    this.#shiftDate(headers);
    if (fault?.behave.kind === 'other-etag')
      headers['etag'] = `"${randomBytes(16).toString('hex')}"`;
    const length = isUpload ? undefined : shortened(answer.headers['content-length'], fault);
    if (length !== undefined) headers['content-length'] = length;
    request.status = request.serverStatus;
    response.writeHead(request.status, headers);
    response.flushHeaders();
    const damage = isUpload ? undefined : behave;
    for await (const chunk of damaged(Readable.from(content), damage, signal)) {
      await write(response, chunk);
      request.bytesSent += chunk.length;
    }
    response.end();
  }

  #headersOf(message: IncomingMessage, fault: S3Fault | undefined): IncomingHttpHeaders {
    if (fault?.behave.kind !== 'unconditional') return message.headers;
    return this.#signAgain(message, { 'if-match': undefined, 'if-none-match': undefined });
  }

  #shiftDate(headers: Record<string, string | string[]>): void {
    const { date } = headers;
    if (typeof date !== 'string' || this.clockShiftMs === 0) return;
    headers['date'] = new Date(Date.parse(date) + this.clockShiftMs).toUTCString();
  }

  #signAgain(
    { method = '', url = '', headers }: IncomingMessage,
    changes: Record<string, string | undefined>,
  ): IncomingHttpHeaders {
    return signAgain({ method, url, headers }, changes, this.#behind.secretAccessKey);
  }

  /** Sends a request on, which may have been tampered with, and gives the answer. */
  async #ask(
    message: IncomingMessage,
    headers: Record<string, string | string[]>,
    body: AsyncIterable<Buffer>,
    response: ServerResponse,
    signal: AbortSignal,
  ): Promise<IncomingMessage> {
    const outgoing = connect({
      host: this.#upstream.hostname,
      port: this.#upstream.port,
      method: message.method,
      path: message.url,
      headers,
      // A server that ends an idle connection would look like a fault.
      agent: false,
      signal,
    });
    outgoing.once('continue', () => {
      response.writeContinue();
    });
    const answered = new Promise<IncomingMessage>((resolve, reject) => {
      outgoing.once('response', resolve);
      outgoing.once('error', reject);
    });
    const sent = pipeline(Readable.from(body), outgoing);
    // An answer that comes before the whole body was taken is the answer.
    sent.catch(() => undefined);
    return Promise.race([answered, sent.then(() => answered)]);
  }
}

/** Whether there was an answer other than that of the server. */
async function replaced(
  { behave }: S3Fault,
  request: S3Request,
  response: ServerResponse,
  signal: AbortSignal,
): Promise<boolean> {
  if (behave.kind === 'close') throw new CutConnection(behave.reset ?? false);
  if (behave.kind === 'delay') await silence(behave.forMs, signal);
  if (behave.kind === 'hold') await Promise.race([behave.until, silence(undefined, signal)]);
  if (behave.kind === 'html') reply(webPage(behave), request, response);
  else if (behave.kind === 'status') reply(s3Error(behave), request, response);
  else return false;
  return true;
}

function reply(
  { status, headers, body }: S3Reply,
  request: S3Request,
  response: ServerResponse,
): void {
  // To HEAD there is an answer without a body, which tells its length nevertheless.
  const content = request.method === 'HEAD' ? '' : body;
  request.status = status;
  request.bytesSent = Buffer.byteLength(content);
  response.writeHead(status, { 'Content-Length': Buffer.byteLength(body), ...headers });
  response.end(content);
}

/** The declared length of a body that ends properly, but early. */
function shortened(length: string | undefined, fault: S3Fault | undefined): string | undefined {
  if (length === undefined || fault?.behave.kind !== 'shorten') return undefined;
  return String(Math.min(Number(length), fault.behave.afterBytes));
}

async function* counted(message: IncomingMessage, request: S3Request): AsyncGenerator<Buffer> {
  for await (const chunk of message as AsyncIterable<Buffer>) {
    request.bytesReceived += chunk.length;
    yield chunk;
  }
}

async function readAll(body: AsyncIterable<Buffer>): Promise<Buffer> {
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

function endToEnd(headers: IncomingHttpHeaders): Record<string, string | string[]> {
  const kept = Object.entries(headers).filter(
    ([name, value]) =>
      value !== undefined && !['connection', 'keep-alive', 'transfer-encoding'].includes(name),
  );
  return Object.fromEntries(kept) as Record<string, string | string[]>;
}
