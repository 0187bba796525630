/** The key: what identifies "this upstream with these settings" in a store. Pure. */
import { createHash } from 'node:crypto';
import type { Depth, ObjectFormat } from '../mirror/refs.ts';

export interface KeyIngredients {
  /** Without credentials. */
  upstream: string;
  refspecs: readonly string[];
  objectFormat: ObjectFormat;
  depth: Depth;
  /** The user's own addition, `cache-key`. */
  cacheKey: string;
}

/** 128 bits: two keys are never equal by accident. */
const DIGEST_CHARACTERS = 32;
const READABLE_CHARACTERS = 80;

/**
 * A readable part for people, and a digest, which alone distinguishes keys: readable parts can be equal. At most 113
 * characters of `[A-Za-z0-9._-]`, the first one no dot.
 */
export function deriveKey({
  upstream,
  refspecs,
  objectFormat,
  depth,
  cacheKey,
}: KeyIngredients): string {
  return nameOf(upstream, [upstream, refspecs, objectFormat, depth, cacheKey]);
}

/** Of upstream's LFS objects: mirrors of any refs and depth share them. */
export function deriveLfsKey(upstream: string, cacheKey: string): string {
  return `lfs-${nameOf(upstream, ['lfs-objects', upstream, cacheKey])}`;
}

function nameOf(upstream: string, ingredients: readonly unknown[]): string {
  const text = JSON.stringify(ingredients);
  const digest = createHash('sha256').update(text).digest('hex').slice(0, DIGEST_CHARACTERS);
  const readable = upstream
    .replace(/^[a-z]+:\/\//, '')
    .replace(/[^A-Za-z0-9._-]+/g, '_')
    .replace(/^\./, '_')
    .slice(0, READABLE_CHARACTERS);
  return `${readable}-${digest}`;
}
