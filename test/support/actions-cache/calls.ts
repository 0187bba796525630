import { account, type CacheBlobs } from './blobs.ts';
import type { CacheEntries } from './entries.ts';
import { callError, jsonReply, type CacheReply } from './reply.ts';
import type { CacheRequest } from './request.ts';
import { readableScopes, writableScope, type CacheGrant } from './token.ts';

/** Fields by their names in the protocol; 64 bit numbers are strings. */
interface CallBody {
  key?: string;
  version?: string;
  restore_keys?: string[];
  size_bytes?: string;
}

/** The three calls of the service, as the platform answers them. */
export class CacheCalls {
  readonly #entries: CacheEntries;
  readonly #blobs: CacheBlobs;
  readonly #port: () => number;

  /** `port` is where blobs are reached by clients. */
  constructor(entries: CacheEntries, blobs: CacheBlobs, port: () => number) {
    this.#entries = entries;
    this.#blobs = blobs;
    this.#port = port;
  }

  /** Before it is answered, so that faults can go by key. */
  describe(request: CacheRequest, body: Buffer): void {
    const { key, version, restore_keys: restoreKeys } = parse(body);
    Object.assign(request, { key, version }, restoreKeys && { restoreKeys });
  }

  async answer(request: CacheRequest, body: Buffer, grant: CacheGrant): Promise<CacheReply> {
    const call = parse(body);
    if (!call.key || !call.version) return callError(400, 'key and version are needed');
    switch (request.kind) {
      case 'create':
        return this.#create(request, call.key, call.version, grant);
      case 'finalize':
        return this.#finalize(request, call.key, call.version, grant, Number(call.size_bytes));
      case 'lookup':
        return this.#lookUp(request, [call.key, ...(call.restore_keys ?? [])], call.version, grant);
      case 'upload':
      case 'properties':
      case 'download':
      case 'unknown':
        return callError(404, 'no such call');
    }
  }

  #create(request: CacheRequest, key: string, version: string, grant: CacheGrant): CacheReply {
    const scope = writableScope(grant.scopes);
    // Not an error: this is how the platform says so, and what the toolkit goes by.
    if (scope === undefined) return refusal('cache write denied: the token is read-only');
    request.scope = scope;
    const entry = this.#entries.reserve(scope, key, version);
    if (entry === undefined) {
      return callError(409, 'cache entry with the same key, version, and scope already exists');
    }
    const url = this.#url(this.#blobs.sign(entry.blob, 'upload'), grant);
    return jsonReply(200, { ok: true, signed_upload_url: url });
  }

  async #finalize(
    request: CacheRequest,
    key: string,
    version: string,
    grant: CacheGrant,
    sizeBytes: number,
  ): Promise<CacheReply> {
    const scope = writableScope(grant.scopes);
    if (scope === undefined) return refusal('cache write denied: the token is read-only');
    request.scope = scope;
    const entry = this.#entries.reservation(scope, key, version);
    if (entry === undefined) return callError(404, 'no such reservation');
    const size = await this.#blobs.size(entry.blob);
    if (size !== sizeBytes) {
      return refusal(`${size ?? 'no'} bytes were uploaded, ${sizeBytes} are declared`);
    }
    this.#entries.complete(entry, size);
    return jsonReply(200, { ok: true, entry_id: String(entry.id) });
  }

  #lookUp(
    request: CacheRequest,
    keys: readonly string[],
    version: string,
    grant: CacheGrant,
  ): CacheReply {
    const scopes = readableScopes(grant.scopes);
    if (scopes.length === 0) return callError(403, 'cache read denied: no scope may be read');
    const entry = this.#entries.find(scopes, keys, version);
    if (entry === undefined) return jsonReply(200, { ok: false });
    Object.assign(request, { scope: entry.scope, matchedKey: entry.key });
    const url = this.#url(this.#blobs.sign(entry.blob, 'download'), grant);
    return jsonReply(200, { ok: true, signed_download_url: url, matched_key: entry.key });
  }

  #url(signed: string, { blobHost }: CacheGrant): string {
    // Azure's hosts bear the account in their name; elsewhere it leads the path.
    return blobHost === 'azure'
      ? `http://${account}.blob.core.windows.net:${this.#port()}${signed}`
      : `http://127.0.0.1:${this.#port()}/${account}${signed}`;
  }
}

function refusal(message: string): CacheReply {
  return jsonReply(200, { ok: false, message });
}

function parse(body: Buffer): CallBody {
  return JSON.parse(body.toString() || '{}') as CallBody;
}
