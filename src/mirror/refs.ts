/**
 * Refs: what upstream advertises, what packed-refs holds, and the digest that makes mirrors
 * comparable. Pure. Names are byte strings (see refspecs.ts).
 */
import { createHash } from 'node:crypto';

export interface Ref {
  name: string;
  oid: string;
  /** What an annotated tag points at in the end. */
  peeled?: string;
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

const OID_LENGTHS: Record<ObjectFormat, number> = { sha1: 40, sha256: 64 };

export function isOid(text: string, format: ObjectFormat): boolean {
  return text.length === OID_LENGTHS[format] && /^[0-9a-f]+$/.test(text);
}

/**
 * The rules of git check-ref-format, for full names under refs/. Characters that are no byte are
 * refused: written as one, they would become another name, or another line.
 */
export function isRefName(name: string): boolean {
  // eslint-disable-next-line no-control-regex -- control characters are what is refused
  if (/[\x00-\x20\x7f\u0100-\uffff~^:?*[\\]|\.\.|@\{|\/\/|\.$|\/$/.test(name)) return false;
  const components = name.split('/');
  return (
    components.length > 1 &&
    components[0] === 'refs' &&
    components.every((part) => !part.startsWith('.') && !part.endsWith('.lock'))
  );
}

/** Why a list of refs cannot stand in one repository, or undefined if it can. */
export function findRefsFault(refs: readonly Ref[], format: ObjectFormat): string | undefined {
  const names = new Set<string>();
  let previous = '';
  for (const { name, oid, peeled } of refs) {
    if (!isRefName(name)) return `${JSON.stringify(name)} is no ref name`;
    if (name <= previous) return `${name} is out of order or there twice`;
    if (!isOid(oid, format)) return `${name} has no ${format} object id`;
    if (peeled !== undefined && !isOid(peeled, format)) return `${name} is peeled to no object id`;
    names.add(name);
    previous = name;
  }
  const clash = refs.find(({ name }) => parentsOf(name).some((parent) => names.has(parent)));
  return clash === undefined ? undefined : `${clash.name} lies under another ref`;
}

/** Why HEAD cannot stand in a repository, or undefined if it can. */
export function findHeadFault(head: Head | undefined, format: ObjectFormat): string | undefined {
  if (head === undefined) return undefined;
  if (!isOid(head.oid, format)) return `HEAD has no ${format} object id`;
  return 'ref' in head && !isRefName(head.ref) ? 'HEAD points at no ref name' : undefined;
}

function parentsOf(name: string): string[] {
  const parents: string[] = [];
  for (let at = name.indexOf('/', 5); at > 0; at = name.indexOf('/', at + 1)) {
    parents.push(name.slice(0, at));
  }
  return parents;
}

/**
 * Parses `git ls-remote --symref` (as a byte string). Refs come back sorted, peeled entries folded
 * into their tags. Throws SyntaxError for a line that is neither.
 */
export function parseAdvertisement(text: string): { head: Head | undefined; refs: Ref[] } {
  const refs = new Map<string, Ref>();
  let headRef: string | undefined;
  let headOid: string | undefined;
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const [value = '', name] = line.split('\t');
    if (name === undefined) throw new SyntaxError(`not a line of ls-remote: ${line.slice(0, 80)}`);
    if (value.startsWith('ref: ')) {
      if (name === 'HEAD') headRef = value.slice('ref: '.length);
    } else if (name === 'HEAD') {
      headOid = value;
    } else if (name.endsWith('^{}')) {
      const tag = refs.get(name.slice(0, -'^{}'.length));
      if (tag !== undefined) tag.peeled = value;
    } else {
      refs.set(name, { name, oid: value });
    }
  }
  const head = headOid === undefined ? undefined : toHead(headOid, headRef);
  return { head, refs: sortRefs([...refs.values()]) };
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
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    if (line.startsWith('^')) {
      const tag = refs.at(-1);
      if (tag === undefined) throw new SyntaxError('packed-refs begins with a peeled id');
      tag.peeled = line.slice(1);
      continue;
    }
    const space = line.indexOf(' ');
    if (space < 0) throw new SyntaxError(`not a line of packed-refs: ${line.slice(0, 80)}`);
    refs.push({ name: line.slice(space + 1), oid: line.slice(0, space) });
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
  const hash = createHash('sha256').update(`HEAD ${formatHead(head)}`, 'latin1');
  for (const { name, oid } of refs) hash.update(`${oid} ${name}\n`, 'latin1');
  return hash.digest('hex');
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

/** The refs of the second list that are new or moved against the first. */
export function findMovedRefs(before: readonly Ref[], after: readonly Ref[]): Ref[] {
  const known = new Map(before.map(({ name, oid }) => [name, oid]));
  return after.filter(({ name, oid }) => known.get(name) !== oid);
}
