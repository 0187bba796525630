import type { CheckoutGit } from './git.ts';

/** What a checkout is asked for: what the event tells, or what the workflow says instead. */
export interface CheckoutWish {
  ref?: string | undefined;
  sha?: string | undefined;
  fetchTags?: boolean;
}

type Kind = 'none' | 'branch' | 'tag' | 'pull' | 'short' | 'other';

const ALL_TAGS = '+refs/tags/*:refs/tags/*';
const NAMESPACES: [string, Kind][] = [
  ['refs/heads/', 'branch'],
  ['refs/tags/', 'tag'],
  ['refs/pull/', 'pull'],
  ['refs/', 'other'],
  ['', 'short'],
];

/** The kind of a ref, and its name without what says so. */
function parse(ref = ''): { ref: string; kind: Kind; name: string } {
  const lower = ref.toLowerCase();
  const [prefix, kind] = NAMESPACES.find(([each]) => lower.startsWith(each)) ?? ['', 'short'];
  return { ref, kind: ref === '' ? 'none' : kind, name: ref.slice(prefix.length) };
}

/** What is fetched: everything, or as little as the wish allows. */
export function chooseRefspecs(wish: CheckoutWish, everything: boolean): string[] {
  const { ref, kind, name } = parse(wish.ref);
  const source = wish.sha ?? ref;
  const pull = `+${source}:refs/remotes/pull/${name}`;
  if (everything) {
    const all = ['+refs/heads/*:refs/remotes/origin/*', ALL_TAGS];
    return kind === 'pull' ? [...all, pull] : all;
  }
  const tags = wish.fetchTags ? [ALL_TAGS] : [];
  switch (kind) {
    case 'branch':
      return [...tags, `+${source}:refs/remotes/origin/${name}`];
    case 'pull':
      return [...tags, pull];
    case 'tag':
      return wish.fetchTags ? tags : [`+${ref}:${ref}`];
    case 'none':
      return [...tags, source];
    case 'short':
    case 'other':
      break;
  }
  if (wish.sha !== undefined) return [...tags, wish.sha];
  if (kind === 'other') return [...tags, `+${ref}:${ref}`];
  const branches = `+refs/heads/${ref}*:refs/remotes/origin/${ref}*`;
  return wish.fetchTags ? [...tags, branches] : [branches, `+refs/tags/${ref}*:refs/tags/${ref}*`];
}

/** Whether the fetch has brought the commit that the event is about. */
export async function isExpected(git: CheckoutGit, { ref, sha }: CheckoutWish): Promise<boolean> {
  if (sha === undefined) return true;
  const { kind, name } = parse(ref);
  switch (kind) {
    case 'none':
      return git.succeeds('rev-parse', '--verify', '--quiet', `${sha}^{object}`);
    case 'branch':
      return (
        (await hasBranch(git, name)) &&
        (await git.run('rev-parse', `refs/remotes/origin/${name}`)) === sha
      );
    case 'tag':
      return (await hasTag(git, name)) && (await git.run('rev-parse', `${ref}^{commit}`)) === sha;
    case 'pull':
    case 'short':
    case 'other':
      return true;
  }
}

/** What HEAD is put at; with a start point, `name` is a local branch that is made there. */
export async function chooseTarget(
  git: CheckoutGit,
  wish: CheckoutWish,
): Promise<{ name: string; startPoint?: string }> {
  const { ref, kind, name } = parse(wish.ref);
  switch (kind) {
    case 'none':
      return { name: wish.sha ?? '' };
    case 'branch':
      return { name, startPoint: `refs/remotes/origin/${name}` };
    case 'pull':
      return { name: `refs/remotes/pull/${name}` };
    case 'tag':
      return { name: ref };
    case 'other':
      return { name: wish.sha ?? ref };
    case 'short':
      break;
  }
  if (await hasBranch(git, ref)) return { name: ref, startPoint: `refs/remotes/origin/${ref}` };
  if (await hasTag(git, ref)) return { name: `refs/tags/${ref}` };
  throw new Error(`there is no branch or tag ${ref}`);
}

async function hasBranch(git: CheckoutGit, name: string): Promise<boolean> {
  return (await git.lines('branch', '--list', '--remote', `origin/${name}`)).length > 0;
}

async function hasTag(git: CheckoutGit, name: string): Promise<boolean> {
  return (await git.lines('tag', '--list', name)).length > 0;
}
