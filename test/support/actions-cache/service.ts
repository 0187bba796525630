import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { counted, plain, readAll, send, shortened } from './answer.ts';
import { CacheBlobs } from './blobs.ts';
import { CacheCalls } from './calls.ts';
import { CacheEntries, type CacheEntry } from './entries.ts';
import { isFor, bodyFault, replyInstead, type CacheFault } from './fault.ts';
import { FaultList, type ActiveFault } from '../fault-list.ts';
import { passOn } from './proxy.ts';
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
import { CutConnection, damaged, silence } from '../git-server/damage.ts';
import { waitUntil } from '../processes.ts';

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
export class ActionsCacheService {
  /** In the order of their arrival. */
  readonly requests: CacheRequest[] = [];
  readonly #blobs: CacheBlobs;
  readonly #calls: CacheCalls;
  readonly #entries = new CacheEntries();
  readonly #faults = new FaultList<CacheFault>();
  readonly #secret = randomBytes(32);
  readonly #server: Server;
  readonly #stopping = new AbortController();

  constructor(blobs: CacheBlobs) {
    this.#blobs = blobs;
    this.#calls = new CacheCalls(this.#entries, blobs, () => this.port);
    this.#server = createServer((message, response) => {
      void this.#serve(message, response);
    });
    this.#server.keepAliveTimeout = 60_000;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
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

  resetCounters(): void {
    this.requests.length = 0;
  }

  /** The first fault added that matches a request is applied to it. */
  fault(fault: CacheFault): ActiveFault {
    return this.#faults.add(fault);
  }

  /** For requests to come; one that stalls already goes on stalling. */
  clearFaults(): void {
    this.#faults.clear();
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

  /** The first request, past or future, that matches: to act in the middle of an upload, say. */
  async waitForRequest(
    predicate: (request: CacheRequest) => boolean,
    timeoutMs = 10_000,
  ): Promise<CacheRequest> {
    const what = 'a request to the cache service';
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

  /** Ends every connection, and Azurite with all it holds. */
  async close(): Promise<void> {
    this.#stopping.abort();
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await Promise.all([closed, this.#blobs.stop()]);
  }

  async #serve(message: IncomingMessage, response: ServerResponse): Promise<void> {
    const request = describeCacheRequest(message);
    this.requests.push(request);
    const gone = new AbortController();
    response.once('close', () => {
      request.ending = response.writableFinished ? 'complete' : 'broken';
      if (!response.writableFinished) gone.abort();
    });
    const signal = AbortSignal.any([gone.signal, this.#stopping.signal]);
    try {
      if (isCall(request)) await this.#serveCall(request, message, response, signal);
      else await this.#serveBlob(request, message, response, signal);
    } catch (error) {
      if (error instanceof CutConnection && error.reset) response.socket?.resetAndDestroy();
      response.destroy();
    }
  }

  async #serveCall(
    request: CacheRequest,
    message: IncomingMessage,
    response: ServerResponse,
    signal: AbortSignal,
  ): Promise<void> {
    const body = await readAll(counted(message, request));
    this.#calls.describe(request, body);
    const fault = this.#faults.take((each) => isFor(each, request));
    if (fault && !fault.afterwards && (await this.#replace(fault, request, response, signal))) {
      return;
    }
    const grant = readToken(message.headers.authorization, this.#secret);
    const answer = grant
      ? await this.#calls.answer(request, body, grant)
      : callError(401, 'no token of this service');
    if (fault?.afterwards && (await this.#replace(fault, request, response, signal))) return;
    await send(request, response, plain(answer), fault, signal);
  }

  async #serveBlob(
    request: CacheRequest,
    message: IncomingMessage,
    response: ServerResponse,
    signal: AbortSignal,
  ): Promise<void> {
    const owner = this.#entries.owner(request.path.replace(/^.*\//s, ''));
    if (owner) Object.assign(request, { key: owner.key, scope: owner.scope });
    const fault = this.#faults.take((each) => isFor(each, request));
    if (fault && !fault.afterwards && (await this.#replace(fault, request, response, signal))) {
      message.resume();
      return;
    }
    const inBody = request.kind === 'upload' && !fault?.afterwards;
    const behave = bodyFault(fault?.behave);
    const body = counted(message, request);
    const answer = await passOn(message, inBody ? damaged(body, behave, signal) : body, {
      port: this.#blobs.port,
      signal,
      length: inBody ? shortened(message.headers['content-length'], fault) : undefined,
    });
    if (fault?.afterwards && (await this.#replace(fault, request, response, signal))) return;
    await send(request, response, answer, inBody ? undefined : fault, signal);
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
