import { createHash, randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { buffer, json } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { FaultList, type ActiveFault } from '../http/fault-list.ts';
import { endToEnd, passOn } from '../http/pass-on.ts';
import { LoopbackServer } from '../http/server.ts';
import type { GitServer } from './server.ts';

export interface LfsRequest {
  readonly kind: 'batch' | 'download' | 'upload' | 'other';
  readonly hasAuthorization: boolean;
  /** Of a download or upload. */
  readonly oid: string;
  status: number;
}

/** What goes wrong with requests of a kind; of one object, or of all. */
export interface LfsFault {
  on: 'batch' | 'download';
  oid?: string;
  /** For ever by default. */
  times?: number;
  behave:
    | { kind: 'status'; status: number; message?: string; headers?: Record<string, string> }
    /** The socket is closed after so many bytes. */
    | { kind: 'cut'; afterBytes: number }
    /** Silent and open for ever after so many bytes. */
    | { kind: 'stall'; afterBytes: number }
    /** Other bytes, as many. */
    | { kind: 'garbage' };
}

interface BatchRequest {
  operation: 'download' | 'upload';
  objects: { oid: string; size: number }[];
}

const BATCH = /^\/[^?]+\.git\/info\/lfs\/objects\/batch$/;
const OTHER = /^\/[^?]+\.git\/info\/lfs\//;
const OBJECT = /^\/lfs-objects\/([0-9a-f]{64})\?key=(.+)$/;
const MEDIA_TYPE = 'application/vnd.git-lfs+json';

/** Stands in front of a git server, whose repositories then have LFS objects, as on GitHub. */
export async function startGitLfsServer(git: GitServer): Promise<GitLfsServer> {
  const server = new GitLfsServer(git);
  await server.listen();
  return server;
}

/**
 * The batch API asks for the git server's token; the URLs that it gives need none, but a key that
 * is in them. What is no matter of LFS goes to the git server and back as it is.
 */
export class GitLfsServer extends LoopbackServer {
  /** By the SHA-256 that names them; of all repositories. */
  readonly objects = new Map<string, Uint8Array>();
  readonly requests: LfsRequest[] = [];
  readonly #faults = new FaultList<LfsFault>();
  readonly #keys = new Set<string>();
  readonly #git: GitServer;

  constructor(git: GitServer) {
    super();
    this.#git = git;
  }

  /** Keeps an object, and gives the file that stands for it in a repository. */
  add(content: Uint8Array): string {
    const oid = createHash('sha256').update(content).digest('hex');
    this.objects.set(oid, content);
    return `version https://git-lfs.github.com/spec/v1\noid sha256:${oid}\nsize ${content.length}\n`;
  }

  /** How often each object was downloaded as a whole. */
  get downloads(): Record<string, number> {
    const done = this.requests.filter(({ kind, status }) => kind === 'download' && status === 200);
    const counts: Record<string, number> = {};
    for (const { oid } of done) counts[oid] = (counts[oid] ?? 0) + 1;
    return counts;
  }

  /** The first fault added that matches a request is applied to it. */
  fault(fault: LfsFault): ActiveFault {
    return this.#faults.add(fault);
  }

  clearFaults(): void {
    this.#faults.clear();
  }

  /** Whether a fault was applied instead of an answer. */
  #fail(
    kind: LfsFault['on'],
    oid: string,
    message: IncomingMessage,
    response: ServerResponse,
  ): boolean {
    const fault = this.#faults.take((each) => each.on === kind && (each.oid ?? oid) === oid);
    const behave = fault?.behave;
    if (behave === undefined) return false;
    const content = this.objects.get(oid) ?? Buffer.alloc(0);
    if (behave.kind === 'status') {
      for (const [name, value] of Object.entries(behave.headers ?? {})) {
        response.setHeader(name, value);
      }
      const { status, message: text } = behave;
      if (text !== undefined) {
        this.#reply(kind, message, response, status, { message: text }, oid);
        return true;
      }
      this.#note(kind, message, status, oid);
      response.writeHead(status, { 'Content-Type': 'text/plain' }).end('on purpose');
    } else if (behave.kind === 'garbage') {
      this.#note(kind, message, 200, oid);
      response.end(Buffer.alloc(content.length, 'x'));
    } else {
      this.#note(kind, message, 0, oid);
      // An answer to a batch is never begun.
      if (kind === 'batch') {
        if (behave.kind === 'cut') response.destroy();
        return true;
      }
      response.writeHead(200, { 'Content-Length': content.length });
      response.write(content.subarray(0, behave.afterBytes), () => {
        if (behave.kind === 'cut') response.destroy();
      });
    }
    return true;
  }

  protected override async handle(message: IncomingMessage, response: ServerResponse) {
    const path = message.url ?? '/';
    const [, oid = '', key = ''] = OBJECT.exec(path) ?? [];
    if (BATCH.test(path) && this.#fail('batch', '', message, response)) return;
    if (oid !== '' && message.method === 'GET' && this.#fail('download', oid, message, response)) {
      return;
    }
    if (BATCH.test(path)) await this.#answerBatch(message, response);
    else if (OTHER.test(path)) this.#reply('other', message, response, 404, {});
    else if (oid === '') await this.#handOn(message, response);
    else if (!this.#keys.has(key)) this.#reply('other', message, response, 403, {});
    else if (message.method === 'PUT') await this.#take(oid, message, response);
    else this.#give(oid, message, response);
  }

  async #answerBatch(message: IncomingMessage, response: ServerResponse): Promise<void> {
    if (!this.#git.isAuthorized(message)) {
      response.setHeader('WWW-Authenticate', 'Basic realm="GitHub"');
      this.#reply('batch', message, response, 401, { message: 'Credentials needed' });
      return;
    }
    const { operation, objects } = (await json(message)) as BatchRequest;
    const key = randomUUID();
    // As the client names this server: there may be a link in between.
    const origin = `http://${message.headers.host ?? ''}`;
    this.#keys.add(key);
    const answers = objects.map(({ oid, size }) => {
      const isThere = this.objects.has(oid);
      const action = { [operation]: { href: `${origin}/lfs-objects/${oid}?key=${key}` } };
      if (operation === 'upload') return { oid, size, ...(isThere ? {} : { actions: action }) };
      const error = { code: 404, message: 'no such object' };
      return { oid, size, ...(isThere ? { actions: action } : { error }) };
    });
    this.#reply('batch', message, response, 200, { transfer: 'basic', objects: answers });
  }

  async #take(oid: string, message: IncomingMessage, response: ServerResponse): Promise<void> {
    const content = await buffer(message);
    const isRight = createHash('sha256').update(content).digest('hex') === oid;
    if (isRight) this.objects.set(oid, content);
    this.#reply('upload', message, response, isRight ? 200 : 422, {}, oid);
  }

  #give(oid: string, message: IncomingMessage, response: ServerResponse): void {
    const content = this.objects.get(oid);
    const status = content === undefined ? 404 : 200;
    this.#note('download', message, status, oid);
    response.writeHead(status, { 'Content-Length': content?.length ?? 0 });
    response.end(content);
  }

  async #handOn(message: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method, url = '/' } = message;
    const answer = await passOn(message as AsyncIterable<Buffer>, {
      method,
      port: this.#git.port,
      path: url,
      headers: endToEnd(message.headers),
      signal: this.stopping.signal,
    });
    response.writeHead(answer.statusCode ?? 502, answer.headers);
    await pipeline(answer, response);
  }

  #reply(
    kind: LfsRequest['kind'],
    message: IncomingMessage,
    response: ServerResponse,
    status: number,
    body: object,
    oid = '',
  ): void {
    this.#note(kind, message, status, oid);
    response.writeHead(status, { 'Content-Type': MEDIA_TYPE });
    response.end(JSON.stringify(body));
  }

  #note(kind: LfsRequest['kind'], { headers }: IncomingMessage, status: number, oid: string): void {
    const hasAuthorization = headers.authorization !== undefined;
    this.requests.push({ kind, status, hasAuthorization, oid });
  }
}
