import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { gitConfiguration, gitEnvironment } from '../git.ts';
import { endProcessTree } from '../processes.ts';

export interface Backend {
  child: ChildProcess;
  /** Settles when the process has ended. */
  ended: Promise<void>;
  answer(): Promise<BackendAnswer>;
}

export interface BackendAnswer {
  status: number;
  headers: Record<string, string>;
  body: AsyncIterable<Buffer>;
}

let backendPath: string | undefined;

/** By its own path: `git http-backend` would be one more process between us and what we may end. */
function findBackend(): string {
  const name = process.platform === 'win32' ? 'git-http-backend.exe' : 'git-http-backend';
  backendPath ??= join(execFileSync('git', ['--exec-path'], { encoding: 'utf8' }).trim(), name);
  return backendPath;
}

/** Starts `git http-backend` (CGI) for one request; `body` is what it reads, and ends by itself. */
export function startBackend(
  message: IncomingMessage,
  body: Readable,
  directory: string,
  service: string,
  configuration: Record<string, string>,
): Backend {
  const [path = '', query = ''] = service.split('?');
  const header = (name: string): string => String(message.headers[name] ?? '');
  const child = spawn(findBackend(), [], {
    env: gitEnvironment({
      ...gitConfiguration({ 'safe.directory': '*', ...configuration }),
      GATEWAY_INTERFACE: 'CGI/1.1',
      GIT_HTTP_EXPORT_ALL: '1',
      GIT_PROTOCOL: header('git-protocol'),
      PATH_TRANSLATED: `${directory}${path}`,
      PATH_INFO: path,
      QUERY_STRING: query,
      REMOTE_ADDR: '127.0.0.1',
      REQUEST_METHOD: message.method ?? 'GET',
      SERVER_PROTOCOL: 'HTTP/1.1',
      CONTENT_TYPE: header('content-type'),
      HTTP_CONTENT_ENCODING: header('content-encoding'),
      // A chunked body has no length: the backend then reads to the end.
      ...(header('content-length') === '' ? {} : { CONTENT_LENGTH: header('content-length') }),
    }),
    stdio: ['pipe', 'pipe', 'ignore'],
    detached: process.platform !== 'win32',
    windowsHide: true,
  });
  // It may end before it has read everything, and that is its right.
  child.stdin.on('error', () => undefined);
  body.on('error', () => {
    child.stdin.destroy();
  });
  body.pipe(child.stdin);
  const ended = new Promise<void>((resolve) => {
    child.once('close', () => {
      resolve();
    });
    child.once('error', () => {
      resolve();
    });
  });
  return { child, ended, answer: () => readAnswer(child.stdout) };
}

/** Ends it with what it has started (upload-pack, pack-objects), if it still runs. */
export function endBackend(backend: Backend): void {
  const { pid, exitCode, signalCode } = backend.child;
  if (pid !== undefined && exitCode === null && signalCode === null) endProcessTree(pid);
  // What a client that is gone has not read would keep 'close' from ever coming.
  backend.child.stdout?.destroy();
}

async function readAnswer(output: Readable): Promise<BackendAnswer> {
  const chunks = output[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  let received: Buffer = Buffer.alloc(0);
  for (;;) {
    const end = /\r?\n\r?\n/.exec(received.toString('latin1'));
    if (end !== null) {
      const rest = received.subarray(end.index + end[0].length);
      return {
        ...parseHead(received.toString('latin1', 0, end.index)),
        body: startingWith(rest, chunks),
      };
    }
    const next = await chunks.next();
    if (next.done === true)
      return { status: 500, headers: {}, body: startingWith(received, chunks) };
    received = Buffer.concat([received, next.value]);
  }
}

function parseHead(text: string): { status: number; headers: Record<string, string> } {
  const headers: Record<string, string> = {};
  let status = 200;
  for (const line of text.split(/\r?\n/)) {
    const colon = line.indexOf(':');
    const name = line.slice(0, colon);
    const value = line.slice(colon + 1).trim();
    if (name.toLowerCase() === 'status') status = Number.parseInt(value, 10);
    else headers[name] = value;
  }
  return { status, headers };
}

async function* startingWith(first: Buffer, rest: AsyncIterator<Buffer>): AsyncGenerator<Buffer> {
  try {
    if (first.length > 0) yield first;
    for (let next = await rest.next(); next.done !== true; next = await rest.next()) {
      yield next.value;
    }
  } finally {
    await rest.return?.();
  }
}
