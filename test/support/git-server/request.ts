import type { IncomingMessage } from 'node:http';
import { gunzipSync } from 'node:zlib';
import { unserved, type ServedRequest } from '../http/server.ts';

/**
 * What a request is for. Protocol v2 asks for `capabilities` and then `ls-refs` where v0 asks for
 * `refs`; `fetch` is the POST that bears the pack (or, in a delta fetch, its negotiation).
 * `post-probe` is git's empty POST before a chunked one.
 */
export type RequestKind =
  'capabilities' | 'refs' | 'ls-refs' | 'fetch' | 'post-probe' | 'receive-refs' | 'push' | 'other';

export interface GitRequest extends ServedRequest {
  readonly method: string;
  /** With the query. */
  readonly path: string;
  /** `owner/name`, without a `.git` suffix; empty where the path names none. */
  readonly repository: string;
  /** The part of the path after the repository, with the query. */
  readonly service: string;
  readonly kind: RequestKind;
  readonly gitProtocol: string;
  readonly hasAuthorization: boolean;
  readonly wants: number;
  readonly haves: number;
  /** The client has something already: this is no clone. */
  readonly hasHaves: boolean;
  /** Fetch without haves that said `done`: the answer is a whole clone. */
  readonly isClone: boolean;
  /** The fetch's other lines: `thin-pack`, `deepen 1`, `filter blob:none`… */
  readonly options: readonly string[];
  /** 0 until the answer starts, and for ever if the server hung up instead. */
  status: number;
}

const pathPattern =
  /^\/(.+?)(?:\.git)?(\/(?:info\/refs|git-upload-pack|git-receive-pack|HEAD|objects\/[^?]*)(?:\?.*)?)$/;

/** `body` is that of a POST to git-upload-pack, and empty for any other request. */
export function describeRequest(message: IncomingMessage, body: Buffer): GitRequest {
  const path = message.url ?? '/';
  const [, repository = '', service = ''] = pathPattern.exec(path) ?? [];
  const gitProtocol = String(message.headers['git-protocol'] ?? '');
  const isGzipped = message.headers['content-encoding'] === 'gzip';
  const lines = packetLines(isGzipped ? gunzipSync(body) : body);
  const count = (prefix: string): number => lines.filter((line) => line.startsWith(prefix)).length;
  const kind = kindOf(message.method ?? 'GET', service, gitProtocol, lines);
  const haves = count('have ');
  return {
    method: message.method ?? 'GET',
    path,
    repository,
    service,
    kind,
    gitProtocol,
    hasAuthorization: message.headers.authorization !== undefined,
    wants: count('want '),
    haves,
    hasHaves: haves > 0,
    isClone: kind === 'fetch' && haves === 0 && lines.includes('done'),
    options: kind === 'fetch' ? lines.filter((line) => !/^(want|have|command=) ?/.test(line)) : [],
    status: 0,
    ...unserved(),
    bytesReceived: body.length,
  };
}

function kindOf(
  method: string,
  service: string,
  gitProtocol: string,
  lines: readonly string[],
): RequestKind {
  if (service.startsWith('/info/refs')) {
    if (service.includes('service=git-receive-pack')) return 'receive-refs';
    if (!service.includes('service=git-upload-pack')) return 'other';
    return gitProtocol.includes('version=2') ? 'capabilities' : 'refs';
  }
  if (method !== 'POST') return 'other';
  if (service === '/git-receive-pack') return 'push';
  if (service !== '/git-upload-pack') return 'other';
  if (lines.includes('command=ls-refs')) return 'ls-refs';
  if (lines.some((line) => line === 'command=fetch' || line.startsWith('want '))) return 'fetch';
  return lines.length === 0 ? 'post-probe' : 'other';
}

/** The text of each pkt-line; flush and delimiter packets, and what is no pkt-line, are left out. */
function packetLines(body: Buffer): string[] {
  const lines: string[] = [];
  for (let offset = 0; offset + 4 <= body.length;) {
    const bytes = Number.parseInt(body.toString('latin1', offset, offset + 4), 16);
    if (Number.isNaN(bytes)) break;
    if (bytes > 4) lines.push(body.toString('utf8', offset + 4, offset + bytes).trimEnd());
    offset += Math.max(bytes, 4);
  }
  return lines;
}
