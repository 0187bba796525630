/** What is mirrored, and the key that tells its snapshots from all others in a store. Pure. */
import { createHash } from 'node:crypto';
import type { Depth, ObjectFormat } from '../mirror/refs.ts';
import type { Refspecs } from '../mirror/refspecs.ts';

/** What to mirror. Equal specs share snapshots. */
export interface MirrorSpec {
  /** Upstream's URL, without credentials. */
  url: string;
  refspecs: Refspecs;
  depth: Depth;
  /** The user's own addition to the key. */
  cacheKey: string;
}

/** A spec and what only upstream knows: the format of its object ids. */
export interface MirrorIdentity {
  spec: MirrorSpec;
  objectFormat: ObjectFormat;
  /** Names the mirror's snapshots in a store, and its default place. */
  key: string;
}

/** 128 bits: two keys are never equal by accident. */
const DIGEST_CHARACTERS = 32;
const READABLE_CHARACTERS = 80;

export function identify(spec: MirrorSpec, objectFormat: ObjectFormat): MirrorIdentity {
  const { url, refspecs, depth, cacheKey } = spec;
  return { spec, objectFormat, key: nameOf(url, [url, refspecs, objectFormat, depth, cacheKey]) };
}

/** The key of upstream's LFS objects: mirrors of any refs and depth share them. */
export function deriveLfsKey(url: string, cacheKey: string): string {
  return `lfs-${nameOf(url, ['lfs-objects', url, cacheKey])}`;
}

/**
 * A readable part for people, and a digest, which alone distinguishes keys: readable parts can be equal. At most 113
 * characters of `[A-Za-z0-9._-]`, the first one no dot.
 */
function nameOf(url: string, ingredients: readonly unknown[]): string {
  const text = JSON.stringify(ingredients);
  const digest = createHash('sha256').update(text).digest('hex').slice(0, DIGEST_CHARACTERS);
  const readable = url
    .replace(/^[a-z]+:\/\//, '')
    .replace(/[^A-Za-z0-9._-]+/g, '_')
    .replace(/^\./, '_')
    .slice(0, READABLE_CHARACTERS);
  return `${readable}-${digest}`;
}
