/**
 * Which refs are mirrored. A mirror holds refs as upstream has them, so both sides of a refspec
 * are the same name or pattern. Pure.
 *
 * Ref names are byte strings everywhere in this project (one character, one byte), as git has them:
 * a name need not be UTF-8, and byte order is git's sort order.
 */
import { findDefaultBranch, isRefName, type Depth, type Head } from './refs.ts';

/** Validated: `+refs/heads/*:refs/heads/*`, or `^refs/heads/tmp/*` to leave some out. */
export type Refspecs = readonly string[];

export const EVERY_REF: Refspecs = ['+refs/*:refs/*'];

/** Never mirrored: refs/replace changes what an object id delivers. */
const NEVER_MIRRORED = 'refs/replace/';

/** What is wrong with a refspec, or undefined if it can be mirrored. */
export function findRefspecFault(refspec: string): string | undefined {
  if (refspec.startsWith('^')) {
    return isPattern(refspec.slice(1)) ? undefined : 'is not ^refs/… with at most one *';
  }
  const sides = refspec.replace(/^\+/, '').split(':');
  const [source = '', target = source] = sides;
  if (sides.length > 2 || !isPattern(source)) return 'is not refs/…:refs/… with at most one *';
  if (source !== target) return 'renames refs; a mirror holds them as upstream has them';
  return undefined;
}

/** One form for one meaning, sorted, so that equal sets give equal keys. */
export function normalizeRefspecs(refspecs: readonly string[]): Refspecs {
  const full = refspecs.map((refspec) => {
    if (refspec.startsWith('^')) return refspec;
    const source = refspec.replace(/^\+/, '').split(':')[0] ?? '';
    return `+${source}:${source}`;
  });
  return [...new Set(full)].sort();
}

/** What chooses a mirror's refs. */
export interface RefChoice {
  /** A tip mirror has the default branch, whatever the refspecs say. */
  depth: Depth;
  refspecs: Refspecs;
}

/** A predicate that tells whether a ref is mirrored, where upstream's HEAD is `head`. */
export function createRefFilter(
  { depth, refspecs }: RefChoice,
  head: Head | undefined,
): (name: string) => boolean {
  const defaultBranch = depth === 'tip' ? findDefaultBranch(head) : undefined;
  const wanted = refspecs.filter((refspec) => refspec.startsWith('+'));
  const positive = wanted.map((refspec) => toMatcher(refspec.slice(1).split(':')[0] ?? ''));
  const negative = refspecs.filter((refspec) => refspec.startsWith('^'));
  const left = negative.map((refspec) => toMatcher(refspec.slice(1)));
  return (name) =>
    name === defaultBranch ||
    (!name.startsWith(NEVER_MIRRORED) &&
      positive.some((matches) => matches(name)) &&
      !left.some((matches) => matches(name)));
}

/** Why refspecs are not for a tip mirror, or undefined if they are: it has refs that are named one by one. */
export function findTipRefspecFault(refspecs: Refspecs): string | undefined {
  const pattern = refspecs.find((refspec) => refspec.startsWith('^') || refspec.includes('*'));
  return pattern === undefined ? undefined : `${pattern} is not the name of one ref`;
}

function isPattern(pattern: string): boolean {
  return pattern.startsWith('refs/') && isRefName(pattern.replace('*', 'x'));
}

function toMatcher(pattern: string): (name: string) => boolean {
  const [before = '', after] = pattern.split('*');
  if (after === undefined) return (name) => name === before;
  // As in git, * may stand for nothing: release* takes release as well.
  const shortest = before.length + after.length;
  return (name) => name.length >= shortest && name.startsWith(before) && name.endsWith(after);
}
