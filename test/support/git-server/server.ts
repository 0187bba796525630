import { existsSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { endBackend, startBackend, type Backend } from './backend.ts';
import { CutConnection, damaged, silence } from './damage.ts';
import { isFor, replyInstead, unauthorized, type Fault, type Reply } from './fault.ts';
import { FaultList, type ActiveFault } from '../fault-list.ts';
import { describeRequest, type GitRequest } from './request.ts';
import { waitUntil } from '../processes.ts';

export interface GitServerOptions {
  /** Folder that holds `owner/name` or `owner/name.git`, bare or not. */
  root?: string;
  /** Or the paths by `owner/name`; may be changed at run time. */
  repositories?: Record<string, string>;
  /** Where given, Basic authentication as `x-access-token` with this password is needed. */
  token?: string;
  port?: number;
  /** git configuration of the serving side, such as `uploadpack.allowFilter`. */
  configuration?: Record<string, string>;
}

export async function startGitServer(options: GitServerOptions): Promise<GitServer> {
  const server = new GitServer(options);
  await server.listen();
  return server;
}

/**
 * Smart HTTP on the loopback interface: real `git http-backend` behind Node's server, which counts,
 * asks for a token and makes faults. Like GitHub, it does not speak the dumb protocol.
 */
export class GitServer {
  /** In the order of their arrival. */
  readonly requests: GitRequest[] = [];
  readonly repositories: Record<string, string>;
  /** git configuration of the serving side; may be changed at run time. */
  readonly configuration: Record<string, string>;
  /** Needed from now on; undefined lets everybody in. */
  token: string | undefined;
  readonly #options: GitServerOptions;
  readonly #server: Server;
  readonly #backends = new Set<Backend>();
  readonly #stopping = new AbortController();
  readonly #faults = new FaultList<Fault>();

  constructor(options: GitServerOptions) {
    this.#options = options;
    this.repositories = { ...options.repositories };
    this.configuration = {
      'http.getanyfile': 'false',
      // By default wants and haves beyond 10 MB are refused.
      'http.maxRequestBuffer': '200m',
      'http.receivepack': 'false',
      ...options.configuration,
    };
    this.token = options.token;
    this.#server = createServer((message, response) => {
      void this.#serve(message, response);
    });
    this.#server.keepAliveTimeout = 60_000;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  repositoryUrl(repository: string): string {
    return `${this.url}/${repository}`;
  }

  /** Body bytes sent to clients. */
  get bytesSent(): number {
    return this.requests.reduce((sum, request) => sum + request.bytesSent, 0);
  }

  /** Requests for everything by a client that has nothing. */
  get clones(): number {
    return this.requests.filter((request) => request.isClone).length;
  }

  /** Of the processes that serve a request right now. */
  get backendPids(): number[] {
    return [...this.#backends].flatMap(({ child }) => child.pid ?? []);
  }

  /** Whether a request bears the token, if one is needed. */
  isAuthorized(message: IncomingMessage): boolean {
    if (this.token === undefined) return true;
    const [scheme = '', credentials = ''] = (message.headers.authorization ?? '').split(' ');
    const expected = Buffer.from(`x-access-token:${this.token}`).toString('base64');
    return scheme.toLowerCase() === 'basic' && credentials === expected;
  }

  resetCounters(): void {
    this.requests.length = 0;
  }

  /** The first fault added that matches a request is applied to it. */
  fault(fault: Fault): ActiveFault {
    return this.#faults.add(fault);
  }

  /** For requests to come; one that stalls already goes on stalling. */
  clearFaults(): void {
    this.#faults.clear();
  }

  /** The first request, past or future, that matches: to act in the middle of a fetch, say. */
  async waitForRequest(
    predicate: (request: GitRequest) => boolean,
    timeoutMs = 10_000,
  ): Promise<GitRequest> {
    const what = 'a request to the git server';
    const found = await waitUntil(() => this.requests.find(predicate), { timeoutMs, what });
    if (found === undefined) throw new Error(what);
    return found;
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(this.#options.port ?? 0, '127.0.0.1', resolve);
    });
  }

  /** Ends every connection and every process that serves one. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    const backends = [...this.#backends];
    backends.forEach(endBackend);
    await Promise.all([closed, ...backends.map((backend) => backend.ended)]);
  }

  async #serve(message: IncomingMessage, response: ServerResponse): Promise<void> {
    const arrivedMs = performance.now();
    const gone = new AbortController();
    let request: GitRequest | undefined;
    response.once('close', () => {
      if (request) {
        request.ending = response.writableFinished ? 'complete' : 'broken';
        request.durationMs = performance.now() - arrivedMs;
      }
      if (!response.writableFinished) gone.abort();
    });
    try {
      // What a client wants is small; only what it pushes is worth streaming.
      const isUploadPack = (message.url ?? '').endsWith('/git-upload-pack');
      const body = isUploadPack ? await readAll(message) : Buffer.alloc(0);
      request = describeRequest(message, body);
      this.requests.push(request);
      const signal = AbortSignal.any([gone.signal, this.#stopping.signal]);
      const input = isUploadPack ? Readable.from([body]) : message.pipe(counting(request));
      await this.#answer(request, message, input, response, signal);
    } catch (error) {
      if (error instanceof CutConnection && error.reset) response.socket?.resetAndDestroy();
      response.destroy();
    }
  }

  async #answer(
    request: GitRequest,
    message: IncomingMessage,
    input: Readable,
    response: ServerResponse,
    signal: AbortSignal,
  ): Promise<void> {
    if (!this.isAuthorized(message)) {
      reply(request, response, unauthorized);
      return;
    }
    const url = this.repositoryUrl(request.repository);
    const behave = this.#faults.take((fault) => isFor(fault, request, url))?.behave;
    const instead = behave && replyInstead(behave, request.service);
    if (instead) {
      reply(request, response, instead);
      return;
    }
    if (behave?.kind === 'close') throw new CutConnection(false);
    if (behave?.kind === 'delay') await silence(behave.forMs, signal);
    const directory = this.#locate(request.repository);
    if (directory === undefined) {
      reply(request, response, { status: 404, headers: {}, body: 'Not Found\n' });
      return;
    }
    const { service } = request;
    const backend = startBackend(message, input, directory, service, this.configuration);
    this.#backends.add(backend);
    void backend.ended.then(() => this.#backends.delete(backend));
    signal.addEventListener('abort', () => {
      endBackend(backend);
    });
    const answer = await backend.answer();
    request.status = answer.status;
    response.writeHead(answer.status, answer.headers);
    response.flushHeaders();
    for await (const chunk of damaged(answer.body, behave, signal)) {
      await write(response, chunk);
      request.bytesSent += chunk.length;
    }
    response.end();
  }

  #locate(repository: string): string | undefined {
    if (repository === '' || repository.split('/').includes('..')) return undefined;
    const named = this.repositories[repository];
    if (named !== undefined) return named;
    const { root } = this.#options;
    if (root === undefined) return undefined;
    return [join(root, repository), join(root, `${repository}.git`)].find((path) =>
      existsSync(path),
    );
  }
}

function reply(
  request: GitRequest,
  response: ServerResponse,
  { status, headers, body }: Reply,
): void {
  request.status = status;
  request.bytesSent = Buffer.byteLength(body);
  response.writeHead(status, { 'Content-Length': Buffer.byteLength(body), ...headers });
  response.end(body);
}

function counting(request: GitRequest): Transform {
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      request.bytesReceived += chunk.length;
      done(null, chunk);
    },
  });
}

async function readAll(message: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of message) chunks.push(chunk as Buffer);
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
