/**
 * Refs: what upstream advertises, what packed-refs holds, and the digest that makes mirrors
 * comparable. Pure. Names are byte strings (see refspecs.ts).
 */
import { createHash } from 'node:crypto';

export interface Ref {
  name: string;
  oid: string;
  /** What an annotated tag points at in the end. */
  peeled?: string | undefined;
}

/** Where HEAD points: at a ref (which need not be mirrored), or at a commit when it is detached. */
export type Head = { ref: string; oid: string } | { oid: string };

export type ObjectFormat = 'sha1' | 'sha256';

/** How much history a mirror has: all that its refs reach, or none but the commits that they point at. */
export type Depth = 'full' | 'tip';

/** What upstream has, as one probe saw it. Refs are sorted by their bytes. */
export interface UpstreamRefs {
  objectFormat: ObjectFormat;
  head: Head | undefined;
  refs: readonly Ref[];
}

const OIDS: Record<ObjectFormat, RegExp> = { sha1: /^[0-9a-f]{40}$/, sha256: /^[0-9a-f]{64}$/ };

export function isOid(text: string, format: ObjectFormat): boolean {
  return OIDS[format].test(text);
}

/** What a name must not contain, and what none of its components may begin or end with. */
const NOT_IN_NAMES =
  // eslint-disable-next-line no-control-regex -- control characters are what is refused
  /[\x00-\x20\x7f\u0100-\uffff~^:?*[\\]|\.\.|@\{|\/[./]|\.lock\/|(?:[./]|\.lock)$/;

/**
 * The rules of git check-ref-format, for full names under refs/. Characters above U+00FF are refused: written as one
 * byte, they would become another name, or another line.
 */
export function isRefName(name: string): boolean {
  return name.startsWith('refs/') && !NOT_IN_NAMES.test(name);
}

/** Why one repository can't hold a list of refs, or undefined if it can. */
export function findRefsFault(refs: readonly Ref[], format: ObjectFormat): string | undefined {
  const findParent = trackNesting();
  const oids = OIDS[format];
  let previous = '';
  for (const { name, oid, peeled } of refs) {
    if (!isRefName(name)) return `${JSON.stringify(name)} is not a valid ref name`;
    if (name <= previous) return `${name} is out of order or a duplicate`;
    if (!oids.test(oid)) return `${name} has no ${format} object id`;
    if (peeled !== undefined && !oids.test(peeled)) return `${name} has an invalid peeled id`;
    const parent = findParent(name);
    if (parent !== undefined) return `${name} lies under ${parent}`;
    previous = name;
  }
  return undefined;
}

/** Takes sorted names. Returns for each the earlier name that it lies under, as `a/b` under `a`. */
function trackNesting(): (name: string) => string | undefined {
  // The previous names that the current one begins with.
  const beginnings: string[] = [];
  return (name) => {
    while (!name.startsWith(beginnings.at(-1) ?? '')) beginnings.pop();
    const parent = beginnings.find(({ length }) => name[length] === '/');
    beginnings.push(name);
    return parent;
  };
}

export interface SeparatedRefs {
  /** No ref lies under another one. */
  kept: readonly Ref[];
  /** Pairs that no repository can hold: the ref that is left out, and the one that is kept. */
  conflicts: readonly { omitted: string; kept: string }[];
}

/**
 * Leaves out refs that lie under another ref, as `a/b` under `a`. HEAD's branch is always kept: what it lies
 * under is left out.
 */
export function separateNested(refs: readonly Ref[], head: Head | undefined): SeparatedRefs {
  const branch = head !== undefined && 'ref' in head ? head.ref : '';
  const isMirrored = refs.some(({ name }) => name === branch);
  const findParent = trackNesting();
  const conflicts: { omitted: string; kept: string }[] = [];
  const kept = refs.filter(({ name }) => {
    const rival = isMirrored && branch.startsWith(`${name}/`) ? branch : findParent(name);
    if (rival !== undefined) conflicts.push({ omitted: name, kept: rival });
    return rival === undefined;
  });
  return { kept: conflicts.length === 0 ? refs : kept, conflicts };
}

/** Why a repository can't have this HEAD, or undefined if it can. */
export function findHeadFault(head: Head | undefined, format: ObjectFormat): string | undefined {
  if (head === undefined) return undefined;
  if (!isOid(head.oid, format)) return `HEAD has no ${format} object id`;
  return 'ref' in head && !isRefName(head.ref) ? 'HEAD does not point at a valid ref' : undefined;
}

/**
 * Parses the output of `git ls-remote --symref` (a byte string). Returns sorted refs, with peeled entries as part of
 * their tags. Throws SyntaxError for any other line.
 */
export function parseAdvertisement(text: string): { head: Head | undefined; refs: Ref[] } {
  const refs: Ref[] = [];
  let headRef: string | undefined;
  let headOid: string | undefined;
  for (let at = 0, end: number; at < text.length; at = end + 1) {
    end = indexOfEnd(text, at);
    if (end === at) continue;
    const tab = text.indexOf('\t', at);
    if (tab < 0 || tab > end) {
      throw new SyntaxError(`not a line of ls-remote: ${text.slice(at, Math.min(end, at + 80))}`);
    }
    const value = text.slice(at, tab);
    const name = text.slice(tab + 1, end);
    if (value.startsWith('ref: ')) {
      if (name === 'HEAD') headRef = value.slice('ref: '.length);
    } else if (name === 'HEAD') {
      headOid = value;
    } else if (name.endsWith('^{}')) {
      // A peeled entry follows its tag.
      const tag = refs.at(-1);
      if (tag?.name === name.slice(0, -'^{}'.length)) tag.peeled = value;
    } else {
      refs.push({ name, oid: value, peeled: undefined });
    }
  }
  const head = headOid === undefined ? undefined : toHead(headOid, headRef);
  return { head, refs: sortRefs(refs) };
}

/** The end of the line that begins at a position. Slices of slices would cost more. */
function indexOfEnd(text: string, at: number): number {
  const end = text.indexOf('\n', at);
  return end < 0 ? text.length : end;
}

function toHead(oid: string, ref: string | undefined): Head {
  return ref === undefined ? { oid } : { ref, oid };
}

/** Sorted by bytes, as git wants packed-refs. */
export function sortRefs(refs: Ref[]): Ref[] {
  return refs.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
}

/**
 * The content of packed-refs. It has every tag's peeled id, as `fully-peeled` promises: with that header and without
 * these ids, git would mistake annotated tags for lightweight ones.
 */
export function formatPackedRefs(refs: readonly Ref[]): string {
  const lines = ['# pack-refs with: peeled fully-peeled sorted '];
  for (const { name, oid, peeled } of refs) {
    lines.push(`${oid} ${name}`);
    if (peeled !== undefined) lines.push(`^${peeled}`);
  }
  return `${lines.join('\n')}\n`;
}

/** Parses what formatPackedRefs wrote. Throws SyntaxError. */
export function parsePackedRefs(text: string): Ref[] {
  const refs: Ref[] = [];
  for (let at = 0, end: number; at < text.length; at = end + 1) {
    end = indexOfEnd(text, at);
    if (end === at || text[at] === '#') continue;
    if (text[at] === '^') {
      const tag = refs.at(-1);
      if (tag === undefined) throw new SyntaxError('packed-refs begins with a peeled id');
      tag.peeled = text.slice(at + 1, end);
      continue;
    }
    const space = text.indexOf(' ', at);
    if (space < 0 || space > end) {
      throw new SyntaxError(`not a line of packed-refs: ${text.slice(at, Math.min(end, at + 80))}`);
    }
    const name = text.slice(space + 1, end);
    refs.push({ name, oid: text.slice(at, space), peeled: undefined });
  }
  return refs;
}

/** The content of HEAD. If upstream has no HEAD, it is git's default, which may not exist. */
export function formatHead(head: Head | undefined): string {
  if (head === undefined) return 'ref: refs/heads/main\n';
  return 'ref' in head ? `ref: ${head.ref}\n` : `${head.oid}\n`;
}

/** SHA-256 over HEAD and all refs, in hexadecimal: equal digests, equal mirrors. */
export function digestRefs(head: Head | undefined, refs: readonly Ref[]): string {
  return digestLines(head, refs.map(({ name, oid }) => `${oid} ${name}\n`).join(''));
}

/** The same digest, computed from the content of packed-refs. */
export function digestPackedRefs(head: Head | undefined, text: string): string {
  return digestLines(head, text.replaceAll(/^[#^][^\n]*\n/gm, ''));
}

function digestLines(head: Head | undefined, lines: string): string {
  const hash = createHash('sha256').update(`HEAD ${formatHead(head)}`, 'latin1');
  return hash.update(lines, 'latin1').digest('hex');
}

/** The commit that HEAD points at in a mirror with these refs, or undefined if there is none. */
export function findHeadCommit(head: Head | undefined, refs: readonly Ref[]): string | undefined {
  if (head === undefined) return undefined;
  if ('ref' in head) return refs.find(({ name }) => name === head.ref)?.oid;
  return refs.find(({ oid, peeled }) => oid === head.oid || peeled === head.oid) && head.oid;
}

/** The branch that a tip mirror always has: the default branch, undefined where HEAD names none. */
export function findDefaultBranch(head: Head | undefined): string | undefined {
  return head !== undefined && 'ref' in head && head.ref.startsWith('refs/heads/')
    ? head.ref
    : undefined;
}

/** Ids that must exist, without duplicates. The commit of a detached HEAD may not be reachable from refs. */
export function listNeededOids(head: Head | undefined, refs: readonly Ref[]): string[] {
  const detached = head === undefined || 'ref' in head ? [] : [head.oid];
  return [...new Set([...refs.map(({ oid }) => oid), ...detached])];
}

/** The refs of the second list that are new or changed compared with the first. Both are sorted. */
export function findMovedRefs(before: readonly Ref[], after: readonly Ref[]): Ref[] {
  let at = 0;
  return after.filter(({ name, oid }) => {
    while ((before[at]?.name ?? name) < name) at += 1;
    return before[at]?.name !== name || before[at]?.oid !== oid;
  });
}
