import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { waitUntil } from '../processes.ts';
import { CutConnection } from './damage.ts';
import { FaultList, type ActiveFault } from './fault-list.ts';

/** A server on the loopback interface. */
export abstract class LoopbackServer {
  protected readonly http: Server;
  /** Fires when the server stops. */
  protected readonly stopping = new AbortController();
  readonly #serving = new Set<Promise<void>>();

  constructor() {
    this.http = createServer((message, response) => {
      this.serve(message, response);
    });
    this.http.keepAliveTimeout = 60_000;
  }

  get port(): number {
    return (this.http.address() as AddressInfo).port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  async listen(port = 0): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.http.once('error', reject);
      this.http.listen(port, '127.0.0.1', resolve);
    });
  }

  /** Ends every connection. */
  async stop(): Promise<void> {
    this.stopping.abort();
    const closed = new Promise((resolve) => this.http.close(resolve));
    this.http.closeAllConnections();
    await Promise.all([closed, ...this.#serving]);
  }

  protected serve(message: IncomingMessage, response: ServerResponse): void {
    const served = this.handle(message, response).catch((error: unknown) => {
      if (error instanceof CutConnection && error.reset) response.socket?.resetAndDestroy();
      response.destroy();
    });
    this.#serving.add(served);
    void served.then(() => this.#serving.delete(served));
  }

  /** Answers a request; where it rejects, the connection ends. */
  protected abstract handle(message: IncomingMessage, response: ServerResponse): Promise<void>;
}

/** What is remembered of every request. */
export interface ServedRequest {
  /** Milliseconds since the epoch at its arrival. */
  readonly at: number;
  /** Body bytes from the client, as they came over the wire. */
  bytesReceived: number;
  /** Body bytes to the client. */
  bytesSent: number;
  /** `broken`: the connection ended before the answer did. */
  ending: 'open' | 'complete' | 'broken';
  /** From its arrival until its answer had left or broken off, in milliseconds; 0 until then. */
  durationMs: number;
}

export function unserved(): ServedRequest {
  return { at: Date.now(), bytesReceived: 0, bytesSent: 0, ending: 'open', durationMs: 0 };
}

export interface Described<Request> {
  request: Request;
  /** That of the request. */
  body: AsyncIterable<Buffer>;
}

export interface Exchange<Request> extends Described<Request> {
  message: IncomingMessage;
  response: ServerResponse;
  /** Fires when the client has gone or the server stops. */
  signal: AbortSignal;
}

/** One that remembers its requests, and makes faults. */
export abstract class FaultyServer<
  Request extends ServedRequest,
  Fault extends { times?: number },
> extends LoopbackServer {
  /** In the order of their arrival. */
  readonly requests: Request[] = [];
  protected readonly faults = new FaultList<Fault>();
  /** Rejects when the server stops. */
  readonly #stopped = new Promise<never>((_, reject) => {
    this.stopping.signal.addEventListener('abort', () => {
      reject(new CutConnection(false));
    });
  });

  constructor() {
    super();
    this.#stopped.catch(() => undefined);
  }

  resetCounters(): void {
    this.requests.length = 0;
  }

  /** The first fault added that matches a request is applied to it. */
  fault(fault: Fault): ActiveFault {
    return this.faults.add(fault);
  }

  /** For requests to come; one that stalls already goes on stalling. */
  clearFaults(): void {
    this.faults.clear();
  }

  /** The first request, past or future, that matches: to act in the middle of a fetch, say. */
  async waitForRequest(
    predicate: (request: Request) => boolean,
    timeoutMs = 10_000,
  ): Promise<Request> {
    const what = `a request to ${this.url}`;
    const found = await waitUntil(() => this.requests.find(predicate), { timeoutMs, what });
    if (found === undefined) throw new Error(what);
    return found;
  }

  protected abstract describe(
    message: IncomingMessage,
  ): Described<Request> | Promise<Described<Request>>;

  protected abstract answer(exchange: Exchange<Request>): Promise<void>;

  protected async handle(message: IncomingMessage, response: ServerResponse): Promise<void> {
    const arrivedMs = performance.now();
    const gone = new AbortController();
    response.once('close', () => {
      if (!response.writableFinished) gone.abort();
    });
    const described = await this.describe(message);
    const { request } = described;
    this.requests.push(request);
    response.once('close', () => {
      request.ending = response.writableFinished ? 'complete' : 'broken';
      request.durationMs = performance.now() - arrivedMs;
    });
    const signal = AbortSignal.any([gone.signal, this.stopping.signal]);
    try {
      // Whatever an answer waits for, it ends with the server.
      await Promise.race([this.answer({ ...described, message, response, signal }), this.#stopped]);
    } catch (error) {
      // The response says so only later, maybe after the server has stopped.
      if (!response.writableFinished) request.ending = 'broken';
      throw error;
    }
  }
}
