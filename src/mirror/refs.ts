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

/** What no name holds, and no component of one begins or ends with. */
const NOT_IN_NAMES =
  // eslint-disable-next-line no-control-regex -- control characters are what is refused
  /[\x00-\x20\x7f\u0100-\uffff~^:?*[\\]|\.\.|@\{|\/[./]|\.lock\/|(?:[./]|\.lock)$/;

/**
 * The rules of git check-ref-format, for full names under refs/. Characters that are no byte are
 * refused: written as one, they would become another name, or another line.
 */
export function isRefName(name: string): boolean {
  return name.startsWith('refs/') && !NOT_IN_NAMES.test(name);
}

/** Why a list of refs cannot stand in one repository, or undefined if it can. */
export function findRefsFault(refs: readonly Ref[], format: ObjectFormat): string | undefined {
  const findParent = trackNesting();
  const oids = OIDS[format];
  let previous = '';
  for (const { name, oid, peeled } of refs) {
    if (!isRefName(name)) return `${JSON.stringify(name)} is no ref name`;
    if (name <= previous) return `${name} is out of order or there twice`;
    if (!oids.test(oid)) return `${name} has no ${format} object id`;
    if (peeled !== undefined && !oids.test(peeled)) return `${name} is peeled to no object id`;
    const parent = findParent(name);
    if (parent !== undefined) return `${name} lies under ${parent}`;
    previous = name;
  }
  return undefined;
}

/** Takes names in their order; returns for each the name before it that it lies under, as `a/b` under `a`. */
function trackNesting(): (name: string) => string | undefined {
  // The names so far that the last one begins with: sorted, they are right before it.
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

/** Why HEAD cannot stand in a repository, or undefined if it can. */
export function findHeadFault(head: Head | undefined, format: ObjectFormat): string | undefined {
  if (head === undefined) return undefined;
  if (!isOid(head.oid, format)) return `HEAD has no ${format} object id`;
  return 'ref' in head && !isRefName(head.ref) ? 'HEAD points at no ref name' : undefined;
}

/**
 * Parses `git ls-remote --symref` (as a byte string). Refs come back sorted, peeled entries folded
 * into their tags. Throws SyntaxError for a line that is neither.
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
      // It follows its tag.
      const tag = refs.at(-1);
      if (tag?.name === name.slice(0, -'^{}'.length)) tag.peeled = value;
    } else {
      refs.push({ name, oid: value, peeled: undefined });
    }
  }
  const head = headOid === undefined ? undefined : toHead(headOid, headRef);
  return { head, refs: sortRefs(refs) };
}

/** Where the line ends that begins there: slices of lines that are slices themselves cost more. */
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
 * The content of packed-refs. Every tag's peeled id is there, as `fully-peeled` promises; with the
 * header and without them git would take annotated tags for light ones.
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

/** The content of HEAD. Upstream without a HEAD gets git's own default, which need not exist. */
export function formatHead(head: Head | undefined): string {
  if (head === undefined) return 'ref: refs/heads/main\n';
  return 'ref' in head ? `ref: ${head.ref}\n` : `${head.oid}\n`;
}

/** SHA-256 over HEAD and all refs, in hexadecimal: equal digests, equal mirrors. */
export function digestRefs(head: Head | undefined, refs: readonly Ref[]): string {
  return digestLines(head, refs.map(({ name, oid }) => `${oid} ${name}\n`).join(''));
}

/** The same of the content of packed-refs, of which it takes the lines that are refs. */
export function digestPackedRefs(head: Head | undefined, text: string): string {
  return digestLines(head, text.replaceAll(/^[#^][^\n]*\n/gm, ''));
}

function digestLines(head: Head | undefined, lines: string): string {
  const hash = createHash('sha256').update(`HEAD ${formatHead(head)}`, 'latin1');
  return hash.update(lines, 'latin1').digest('hex');
}

/** The commit that HEAD leads to in a mirror with these refs, or undefined where it leads nowhere. */
export function findHeadCommit(head: Head | undefined, refs: readonly Ref[]): string | undefined {
  if (head === undefined) return undefined;
  if ('ref' in head) return refs.find(({ name }) => name === head.ref)?.oid;
  return refs.find(({ oid, peeled }) => oid === head.oid || peeled === head.oid) && head.oid;
}

/** Ids that must be there, each once: a detached HEAD's commit need not be among what refs reach. */
export function listNeededOids(head: Head | undefined, refs: readonly Ref[]): string[] {
  const detached = head === undefined || 'ref' in head ? [] : [head.oid];
  return [...new Set([...refs.map(({ oid }) => oid), ...detached])];
}

/** The refs of the second list that are new or moved against the first; both are sorted. */
export function findMovedRefs(before: readonly Ref[], after: readonly Ref[]): Ref[] {
  let at = 0;
  return after.filter(({ name, oid }) => {
    while ((before[at]?.name ?? name) < name) at += 1;
    return before[at]?.name !== name || before[at]?.oid !== oid;
  });
}
