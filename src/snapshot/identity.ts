/** What is mirrored, and what tells its snapshots from all others. Pure. */
import type { Depth, ObjectFormat } from '../mirror/refs.ts';
import type { Refspecs } from '../mirror/refspecs.ts';
import { deriveKey } from './key.ts';

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

export function identify(spec: MirrorSpec, objectFormat: ObjectFormat): MirrorIdentity {
  const { url, refspecs, depth, cacheKey } = spec;
  return {
    spec,
    objectFormat,
    key: deriveKey({ upstream: url, refspecs, objectFormat, depth, cacheKey }),
  };
}
