/**
 * How entries are named, and how the highest number is found among them; pure.
 *
 *     mirror-action/v1/<key>/<scope>/manifests/<digits, two>-<number>
 *     mirror-action/v1/<key>/<scope>/claims/<digits, two>-<number>/<run>-<attempt>/
 *     mirror-action/v1/<key>/layers/<name>/
 *
 * The service finds entries by the beginnings of their keys, the newest first. So no key is the
 * beginning of another, and a number says first how many digits it has: then the numbers of any range
 * are those that begin with a few prefixes.
 */
import { createHash } from 'node:crypto';
import { MAX_KEYS } from './protocol.ts';

const ROOT = 'mirror-action/v1';
const NUMBER = /^(\d\d)-([1-9]\d{0,9})$/;
/** How many digits a number may have. */
const LENGTHS = [10, 9, 8, 7, 6, 5, 4, 3, 2, 1];
const DIGITS = [9, 8, 7, 6, 5, 4, 3, 2, 1, 0];
/** The service takes 512 characters in all. */
const MAX_SCOPE_LENGTH = 150;

export function manifestPrefix(key: string, scope: string): string {
  return `${ROOT}/${key}/${escapeScope(scope)}/manifests/`;
}

export function manifestKey(key: string, scope: string, number: number): string {
  return manifestPrefix(key, scope) + encodeNumber(number);
}

export function claimKey(key: string, scope: string, number: number, epoch: string): string {
  return `${ROOT}/${key}/${escapeScope(scope)}/claims/${encodeNumber(number)}/${epoch}/`;
}

export function layerKey(key: string, name: string): string {
  return `${ROOT}/${key}/layers/${name}/`;
}

function encodeNumber(number: number): string {
  const digits = String(number);
  return `${String(digits.length).padStart(2, '0')}-${digits}`;
}

/** Undefined for what is no number of ours. */
function decodeNumber(text: string): number | undefined {
  const [, length, digits = ''] = NUMBER.exec(text) ?? [];
  return Number(length) === digits.length ? Number(digits) : undefined;
}

/** Commas are not allowed in a key, and a ref may hold any; what is long is digested. */
function escapeScope(scope: string): string {
  const escaped = encodeURIComponent(scope.toWellFormed());
  if (escaped.length <= MAX_SCOPE_LENGTH) return escaped;
  return `sha256:${createHash('sha256').update(scope).digest('hex')}`;
}

interface Block {
  prefix: string;
  first: number;
  last: number;
}

/** The fewest prefixes that all numbers from `first` to `last` begin with, and no others; highest first. */
function coverRange(first: number, last: number): Block[] {
  const cover = (length: number, digits: string): Block[] => {
    const lowest = Number((digits || '1').padEnd(length, '0'));
    const highest = Number(digits.padEnd(length, '9'));
    if (highest < first || lowest > last) return [];
    if (lowest >= first && highest <= last) {
      const prefix = `${String(length).padStart(2, '0')}-${digits}`;
      return [{ prefix, first: lowest, last: highest }];
    }
    const next = digits === '' ? DIGITS.slice(0, -1) : DIGITS;
    return next.flatMap((digit) => cover(length, `${digits}${digit}`));
  };
  return LENGTHS.flatMap((length) => cover(length, ''));
}

/** What the newest entry is called, a number of ours, under the first of some prefixes that has one. */
export type LookUp = (prefixes: readonly string[]) => Promise<string | undefined>;

/**
 * The highest number from 1 to `limit`, undefined if there is none. One look-up proves that there is
 * none; where numbers grow one by one it takes two or three, and never more than some twenty. Throws
 * RangeError where an entry is called otherwise.
 */
export async function findHighest(limit: number, lookUp: LookUp): Promise<number | undefined> {
  let found: number | undefined;
  let blocks = coverRange(1, limit);
  while (blocks.length > 0) {
    const asked = blocks.slice(0, MAX_KEYS);
    const answer = await lookUp(asked.map(({ prefix }) => prefix));
    if (answer === undefined) {
      blocks = blocks.slice(MAX_KEYS);
      continue;
    }
    const number = decodeNumber(answer) ?? 0;
    const block = asked.find(({ first, last }) => number >= first && number <= last);
    if (block === undefined) {
      throw new RangeError(`an entry is not one of ours: ${JSON.stringify(answer)}`);
    }
    found = number;
    // What is above this block has been asked for, and is not there.
    blocks = coverRange(number + 1, block.last);
  }
  return found;
}
