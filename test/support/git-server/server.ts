import { existsSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { counted, readAll, sendBody } from '../http/body.ts';
import { CutConnection, bodyFault, damaged, silence } from '../http/damage.ts';
import { FaultyServer, type Described, type Exchange } from '../http/server.ts';
import { endBackend, startBackend, type Backend } from './backend.ts';
import { isFor, replyInstead, unauthorized, type Fault, type Reply } from './fault.ts';
import { describeRequest, type GitRequest } from './request.ts';

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
  await server.listen(options.port);
  return server;
}

/**
 * Smart HTTP on the loopback interface: real `git http-backend` behind Node's server, which counts,
 * asks for a token and makes faults. Like GitHub, it does not speak the dumb protocol.
 */
export class GitServer extends FaultyServer<GitRequest, Fault> {
  readonly repositories: Record<string, string>;
  /** git configuration of the serving side; may be changed at run time. */
  readonly configuration: Record<string, string>;
  /** Needed from now on; undefined lets everybody in. */
  token: string | undefined;
  readonly #options: GitServerOptions;
  readonly #backends = new Set<Backend>();

  constructor(options: GitServerOptions) {
    super();
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

  /** Ends every connection and every process that serves one. */
  override async stop(): Promise<void> {
    const stopped = super.stop();
    const backends = [...this.#backends];
    backends.forEach(endBackend);
    await Promise.all([stopped, ...backends.map((backend) => backend.ended)]);
  }

  // What a client wants is small, and tells what it is; only what it pushes is worth streaming.
  protected override async describe(message: IncomingMessage): Promise<Described<GitRequest>> {
    const incoming = message as AsyncIterable<Buffer>;
    if (!(message.url ?? '').endsWith('/git-upload-pack')) {
      const request = describeRequest(message, Buffer.alloc(0));
      return { request, body: counted(incoming, request) };
    }
    const wanted = await readAll(incoming);
    return { request: describeRequest(message, wanted), body: Readable.from([wanted]) };
  }

  protected override async answer(exchange: Exchange<GitRequest>): Promise<void> {
    const { request, message, body, response, signal } = exchange;
    if (!this.isAuthorized(message)) {
      reply(request, response, unauthorized);
      return;
    }
    const url = this.repositoryUrl(request.repository);
    const behave = this.faults.take((fault) => isFor(fault, request, url))?.behave;
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
    const input = Readable.from(body);
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
    await sendBody(request, response, damaged(answer.body, bodyFault(behave), signal));
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
