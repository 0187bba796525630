import { createHash, randomBytes } from 'node:crypto';
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { counted, readAll, sendBody } from '../http/body.ts';
import { CutConnection, bodyFault, damaged, shortened, silence } from '../http/damage.ts';
import { endToEnd, passOn } from '../http/pass-on.ts';
import { FaultyServer, type Described, type Exchange } from '../http/server.ts';
import { hasHungUp } from '../peer.ts';
import { isFor, s3Error, webPage, type S3Fault, type S3Reply } from './fault.ts';
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
export class S3Proxy extends FaultyServer<S3Request, S3Fault> {
  /** That clients have opened. */
  connections = 0;
  /** How far the server's clock is ahead of what it really says, in milliseconds, as clients see it. */
  clockShiftMs = 0;
  readonly #behind: S3Server;
  readonly #upstream: URL;

  constructor(behind: S3Server, endpoint: string) {
    super();
    this.#behind = behind;
    this.#upstream = new URL(endpoint);
    if (this.#upstream.protocol !== 'http:') throw new Error(`no proxy for ${endpoint}: not http`);
    // Whether a body is wanted is for the server to say.
    this.http.on('checkContinue', (message: IncomingMessage, response: ServerResponse) => {
      this.serve(message, response);
    });
    this.http.on('connection', () => {
      this.connections++;
    });
  }

  get endpoint(): string {
    return this.url;
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

  override resetCounters(): void {
    super.resetCounters();
    this.connections = 0;
  }

  protected override describe(message: IncomingMessage): Described<S3Request> {
    const request = describeS3Request(message);
    return { request, body: counted(message as AsyncIterable<Buffer>, request) };
  }

  protected override async answer(exchange: Exchange<S3Request>): Promise<void> {
    const { socket } = exchange.message;
    const gone = new AbortController();
    const signal = AbortSignal.any([gone.signal, exchange.signal]);
    // While nothing is read from the client, as in an upload that stalls.
    const watch = setInterval(() => {
      if (socket.isPaused() && hasHungUp(socket)) gone.abort();
    }, 100);
    try {
      await this.#answer({ ...exchange, signal });
    } finally {
      clearInterval(watch);
    }
  }

  async #answer({ request, message, response, signal, ...rest }: Exchange<S3Request>) {
    const fault = this.faults.take((each) => isFor(each, request));
    if (fault && !fault.afterwards && (await replaced(fault, request, response, signal))) {
      message.resume();
      return;
    }
    if (fault?.behave.kind === 'drop') {
      const received = await readAll(rest.body);
      const ETag = `"${createHash('md5').update(received).digest('hex')}"`;
      reply({ status: 200, headers: { ETag }, body: '' }, request, response);
      return;
    }
    const isUpload = ['PUT', 'POST'].includes(request.method) && !fault?.afterwards;
    const behave = bodyFault(fault?.behave);
    let { body } = rest;
    let headersSent = this.#headersOf(message, fault);
    if (fault?.behave.kind === 'damage') {
      const content = await readAll(body);
      content.writeUInt8(content.readUInt8(content.length >> 1) ^ 1, content.length >> 1);
      body = Readable.from([content]);
      headersSent = this.#signAgain(message, { 'x-amz-content-sha256': digestBody(content) });
    }
    const asked = endToEnd(headersSent);
    const cut = isUpload ? shortened(message.headers['content-length'], behave) : undefined;
    if (cut !== undefined) asked['content-length'] = cut;
    const answer = await passOn(isUpload ? damaged(body, behave, signal) : body, {
      host: this.#upstream.hostname,
      port: this.#upstream.port,
      method: message.method,
      path: message.url ?? '/',
      headers: asked,
      signal,
      onContinue: () => {
        response.writeContinue();
      },
    });
    request.serverStatus = answer.statusCode ?? 0;
    const isLost = fault?.afterwards && behave === undefined;
    // Its end is the proof that the server is done.
    const content = isLost ? [await readAll(answer as AsyncIterable<Buffer>)] : answer;
    if (isLost && (await replaced(fault, request, response, signal))) return;
    const headers = endToEnd(answer.headers);
    this.#shiftDate(headers);
    if (fault?.behave.kind === 'other-etag')
      headers['etag'] = `"${randomBytes(16).toString('hex')}"`;
    const length = isUpload ? undefined : shortened(answer.headers['content-length'], behave);
    if (length !== undefined) headers['content-length'] = length;
    request.status = request.serverStatus;
    response.writeHead(request.status, headers);
    response.flushHeaders();
    const damage = isUpload ? undefined : behave;
    await sendBody(request, response, damaged(Readable.from(content), damage, signal));
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
