import { createHmac, timingSafeEqual } from 'node:crypto';

/** As in the token's `ac` claim: 1 reads, 2 writes, 3 does both. */
export interface CacheScope {
  Scope: string;
  Permission: 1 | 2 | 3;
}

/** How the client reaches blobs; it is the host's name that makes the toolkit part its download. */
export type BlobHost = 'azure' | 'loopback';

/** What a token says of the job it was made for. */
export interface CacheGrant {
  /** In the order of look-ups. */
  scopes: CacheScope[];
  blobHost: BlobHost;
}

/** A job as the platform sees it. */
export interface CacheJob {
  /** `refs/heads/x`, or `refs/pull/1/merge` for a pull request. */
  ref: string;
  /** Full name; `refs/heads/main` by default. */
  defaultBranch?: string;
  /** Full name of the branch a pull request goes to. */
  baseBranch?: string;
  /** On its own ref: `write` (the default) reads as well; `none` grants no scope at all. */
  permission?: 'write' | 'read' | 'write-only' | 'none';
}

/** The job's own ref first, then what it may read besides: the base branch, the default branch. */
export function scopesOf(job: CacheJob): CacheScope[] {
  const { ref, baseBranch, defaultBranch = 'refs/heads/main', permission = 'write' } = job;
  if (permission === 'none') return [];
  if (permission === 'write-only') return [{ Scope: ref, Permission: 2 }];
  const others = new Set([baseBranch, defaultBranch].filter((each) => each !== undefined));
  others.delete(ref);
  return [
    { Scope: ref, Permission: permission === 'read' ? 1 : 3 },
    ...[...others].map((Scope) => ({ Scope, Permission: 1 as const })),
  ];
}

export function createToken(grant: CacheGrant, secret: Buffer): string {
  // The claim is JSON in a string, as the platform writes it.
  const claims = { ac: JSON.stringify(grant.scopes), blobHost: grant.blobHost };
  const unsigned = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode(claims)}`;
  return `${unsigned}.${sign(unsigned, secret).toString('base64url')}`;
}

/** Undefined where the header bears no token of this service. */
export function readToken(
  authorization: string | undefined,
  secret: Buffer,
): CacheGrant | undefined {
  const [, token] = /^Bearer (\S+)$/.exec(authorization ?? '') ?? [];
  const [header = '', payload = '', signature = ''] = token?.split('.') ?? [];
  const expected = sign(`${header}.${payload}`, secret);
  const given = Buffer.from(signature, 'base64url');
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) return undefined;
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as {
    ac: string;
    blobHost: BlobHost;
  };
  return { scopes: JSON.parse(claims.ac) as CacheScope[], blobHost: claims.blobHost };
}

export function readableScopes(scopes: readonly CacheScope[]): string[] {
  return scopes.filter(({ Permission }) => Permission !== 2).map(({ Scope }) => Scope);
}

/** Where entries are made. */
export function writableScope(scopes: readonly CacheScope[]): string | undefined {
  return scopes.find(({ Permission }) => Permission !== 1)?.Scope;
}

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

function sign(text: string, secret: Buffer): Buffer {
  return createHmac('sha256', secret).update(text).digest();
}
