import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { counted, readAll } from '../http/body.ts';
import { CutConnection, bodyFault, damaged, shortened, silence } from '../http/damage.ts';
import { FaultyServer, type Described, type Exchange } from '../http/server.ts';
import { plain, send } from './answer.ts';
import { CacheBlobs } from './blobs.ts';
import { CacheCalls } from './calls.ts';
import { CacheEntries, type CacheEntry } from './entries.ts';
import { isFor, replyInstead, type CacheFault } from './fault.ts';
import { callError } from './reply.ts';
import {
  describeCacheRequest,
  isCall,
  type CacheRequest,
  type CacheRequestKind,
} from './request.ts';
import {
  createToken,
  readToken,
  scopesOf,
  type BlobHost,
  type CacheJob,
  type CacheScope,
} from './token.ts';

export async function startActionsCacheService(): Promise<ActionsCacheService> {
  const blobs = await CacheBlobs.start();
  const service = new ActionsCacheService(blobs);
  try {
    await service.listen();
  } catch (error) {
    await blobs.stop();
    throw error;
  }
  return service;
}

/**
 * The platform's cache service on the loopback interface: its calls, and Azurite for the archives
 * behind a proxy that counts and makes faults. Entries stay until they are evicted, reservations
 * until they are finalized or evicted.
 */
export class ActionsCacheService extends FaultyServer<CacheRequest, CacheFault> {
  readonly #blobs: CacheBlobs;
  readonly #calls: CacheCalls;
  readonly #entries = new CacheEntries();
  readonly #secret = randomBytes(32);

  constructor(blobs: CacheBlobs) {
    super();
    this.#blobs = blobs;
    this.#calls = new CacheCalls(this.#entries, blobs, () => this.port);
  }

  /** Of Azurite. */
  get pid(): number | undefined {
    return this.#blobs.pid;
  }

  /**
   * What the runner gives to a job, as variables to be added to its environment. With the blob host
   * `azure` (the default) the toolkit parts its downloads as on the platform; NODE_OPTIONS has to
   * get as far as the process that runs the toolkit then, since it brings that host here. With
   * `loopback` it downloads in one stream, and NODE_OPTIONS is not set.
   */
  environmentFor(
    job: CacheJob | { scopes: CacheScope[] },
    options: { blobHost?: BlobHost } = {},
  ): Record<string, string> {
    const { blobHost = 'azure' } = options;
    const scopes = 'scopes' in job ? job.scopes : scopesOf(job);
    const preload = new URL('preload.ts', import.meta.url).href;
    return {
      ACTIONS_CACHE_SERVICE_V2: 'true',
      ACTIONS_RESULTS_URL: `http://127.0.0.1:${this.port}/`,
      ACTIONS_RUNTIME_TOKEN: createToken({ scopes, blobHost }, this.#secret),
      ...(blobHost === 'azure' && { NODE_OPTIONS: `--import=${preload}` }),
    };
  }

  /** Entries that can be found, in the order they were finalized, then reservations. */
  get entries(): readonly Readonly<CacheEntry>[] {
    return this.#entries.all;
  }

  requestsOf(kind: CacheRequestKind, key?: string): CacheRequest[] {
    return this.requests.filter(
      (request) => request.kind === kind && (key === undefined || request.key === key),
    );
  }

  /** Bytes of archives received from clients, those in vain included. */
  bytesUp(key?: string): number {
    return sum(this.requestsOf('upload', key).map(({ bytesReceived }) => bytesReceived));
  }

  /** Bytes of archives sent to clients. */
  bytesDown(key?: string): number {
    return sum(this.requestsOf('download', key).map(({ bytesSent }) => bytesSent));
  }

  /** Removes entries and reservations, everything by default, and gives their keys. */
  async evict(
    predicate: string | ((entry: Readonly<CacheEntry>) => boolean) = () => true,
  ): Promise<string[]> {
    const removed = this.#entries.remove(
      typeof predicate === 'string' ? ({ key }) => key === predicate : predicate,
    );
    await Promise.all(removed.map(({ blob }) => this.#blobs.remove(blob)));
    return removed.map(({ key }) => key);
  }

  /** What has been uploaded for an entry. */
  async readArchive(key: string): Promise<Buffer> {
    return this.#blobs.read(this.#entryOf(key).blob);
  }

  /** Puts something else in its place; an entry that was evicted is there again. */
  async writeArchive(key: string, content: Buffer): Promise<void> {
    this.#entries.bringBack(key);
    await this.#blobs.write(this.#entryOf(key).blob, content);
  }

  #entryOf(key: string): Readonly<CacheEntry> {
    const entry = this.entries.find((each) => each.key === key);
    if (entry === undefined) throw new Error(`there is no entry ${key}`);
    return entry;
  }

  /** Ends every connection, and Azurite with all it holds. */
  override async stop(): Promise<void> {
    await Promise.all([super.stop(), this.#blobs.stop()]);
  }

  protected override describe(message: IncomingMessage): Described<CacheRequest> {
    const request = describeCacheRequest(message);
    return { request, body: counted(message as AsyncIterable<Buffer>, request) };
  }

  protected override async answer(exchange: Exchange<CacheRequest>): Promise<void> {
    if (isCall(exchange.request)) await this.#serveCall(exchange);
    else await this.#serveBlob(exchange);
  }

  async #serveCall(exchange: Exchange<CacheRequest>): Promise<void> {
    const { request, message, response, signal } = exchange;
    const body = await readAll(exchange.body);
    this.#calls.describe(request, body);
    const fault = this.faults.take((each) => isFor(each, request));
    if (fault && !fault.afterwards && (await this.#replace(fault, request, response, signal))) {
      return;
    }
    const grant = readToken(message.headers.authorization, this.#secret);
    const answer = grant
      ? await this.#calls.answer(request, body, grant)
      : callError(401, 'no token of this service');
    if (fault?.afterwards && (await this.#replace(fault, request, response, signal))) return;
    await send(request, response, plain(answer), fault?.behave, signal);
  }

  async #serveBlob(exchange: Exchange<CacheRequest>): Promise<void> {
    const { request, message, body, response, signal } = exchange;
    const owner = this.#entries.owner(request.path.replace(/^.*\//s, ''));
    if (owner) Object.assign(request, { key: owner.key, scope: owner.scope });
    const fault = this.faults.take((each) => isFor(each, request));
    if (fault && !fault.afterwards && (await this.#replace(fault, request, response, signal))) {
      message.resume();
      return;
    }
    const inBody = request.kind === 'upload' && !fault?.afterwards;
    const behave = bodyFault(fault?.behave);
    const declared = message.headers['content-length'];
    const answer = await this.#blobs.ask(message, inBody ? damaged(body, behave, signal) : body, {
      signal,
      length: inBody ? shortened(declared, behave) : undefined,
    });
    if (fault?.afterwards && (await this.#replace(fault, request, response, signal))) return;
    await send(request, response, answer, inBody ? undefined : behave, signal);
  }

  /** Whether there was an answer other than that of the service. */
  async #replace(
    { behave }: CacheFault,
    request: CacheRequest,
    response: ServerResponse,
    signal: AbortSignal,
  ): Promise<boolean> {
    if (behave.kind === 'close') throw new CutConnection(false);
    if (behave.kind === 'delay') await silence(behave.forMs, signal);
    const instead = replyInstead(behave, request);
    if (instead) await send(request, response, plain(instead), undefined, signal);
    return instead !== undefined;
  }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0);
}
