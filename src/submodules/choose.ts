/** Which submodules of a commit are primed, and why the others are left to the checkout. Pure. */
import { locateUpstream, resolveUrl, type Server } from './url.ts';

/** A section of `.gitmodules`. */
export interface Section {
  name: string;
  /** Of the keys that are set once. A key without a value is left out. */
  values: ReadonlyMap<string, string>;
  /** Of the keys that are set to different values. */
  ambiguous: ReadonlySet<string>;
}

/** A submodule that a mirror can serve. */
export interface Submodule {
  /** In the work tree of the repository that has it. */
  path: string;
  name: string;
  /** As `git submodule init` resolves it. */
  remoteUrl: string;
  /** The address of its mirror's upstream. */
  upstream: string;
  commit: string;
}

export interface Choice {
  served: readonly Submodule[];
  /** `reason` is a clause that follows "it". */
  left: readonly { path: string; reason: string }[];
}

/** Parses the output of `git config --list -z` of a `.gitmodules` file. */
export function parseSections(listing: string): Section[] {
  const sections = new Map<string, { values: Map<string, string>; ambiguous: Set<string> }>();
  for (const entry of listing.split('\0')) {
    const [, name, key, value] = /^submodule\.(.*)\.([a-z0-9-]+)\n(.*)$/s.exec(entry) ?? [];
    if (name === undefined || key === undefined || value === undefined) continue;
    const section = sections.get(name) ?? { values: new Map(), ambiguous: new Set() };
    sections.set(name, section);
    if ((section.values.get(key) ?? value) !== value) section.ambiguous.add(key);
    section.values.set(key, value);
  }
  return [...sections].map(([name, section]) => ({ name, ...section }));
}

/** `gitlinks` are the commits by path; a section without one is of a submodule that was removed. */
export function chooseSubmodules(
  sections: readonly Section[],
  gitlinks: ReadonlyMap<string, string>,
  parentUrl: string,
  server: Server,
): Choice {
  const served: Submodule[] = [];
  const left: { path: string; reason: string }[] = [];
  const linked = sections.filter(({ values }) => gitlinks.has(values.get('path') ?? ''));
  const clashing = findClashes(linked.map(({ name }) => name));
  const byPath = Map.groupBy(linked, ({ values }) => values.get('path') ?? '');
  for (const { name, values, ambiguous } of linked) {
    const path = values.get('path') ?? '';
    const commit = gitlinks.get(path) ?? '';
    const fault =
      findNameFault(name) ??
      (clashing.has(name) ? `has a name that clashes with another one's: ${name}` : undefined) ??
      (byPath.get(path)?.length === 1 ? undefined : 'is configured twice') ??
      findConfigurationFault(values, ambiguous);
    const remoteUrl = resolveUrl(parentUrl, values.get('url') ?? '') ?? '';
    const located = locateUpstream(remoteUrl, server);
    if (fault !== undefined) left.push({ path, reason: fault });
    else if ('reason' in located) left.push({ path, reason: located.reason });
    else served.push({ path, name, remoteUrl, upstream: located.url, commit });
  }
  return { served, left };
}

function findConfigurationFault(
  values: Section['values'],
  ambiguous: Section['ambiguous'],
): string | undefined {
  if (['path', 'url', 'update'].some((key) => ambiguous.has(key))) {
    return 'is configured twice';
  }
  if (!values.has('url')) return 'has no URL';
  const update = values.get('update') ?? 'checkout';
  if (update === 'none') return 'has `update = none`';
  return /^(?:checkout|rebase|merge)$/.test(update) ? undefined : 'has an unknown `update`';
}

/** The name becomes a path below `.git/modules`, on any file system. */
function findNameFault(name: string): string | undefined {
  const isPart = (part: string): boolean =>
    part !== '' && !/^\.{1,2}$|[. ]$/.test(part) && part.toLowerCase() !== '.git';
  // eslint-disable-next-line no-control-regex -- finding them is the purpose
  const isSafe = !/[\x00-\x1f\x7f\\:*?"<>|\ufffd]/.test(name) && name.split('/').every(isPart);
  return isSafe ? undefined : `has a name that is no safe path: ${JSON.stringify(name)}`;
}

/** Names that would share a folder, also where case and the form of accents make no difference. */
function findClashes(names: readonly string[]): ReadonlySet<string> {
  const folded = names.map((name) => `${name.normalize('NFC').toLowerCase()}/`);
  const clashes = (one: string, index: number): boolean =>
    folded.some((other, at) => at !== index && (one.startsWith(other) || other.startsWith(one)));
  return new Set(names.filter((_, index) => clashes(folded[index] ?? '', index)));
}
