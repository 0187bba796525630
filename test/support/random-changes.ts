/** What happens to an upstream in a long life: everything that people do to refs, at random. */
import { git } from './git.ts';
import type { Random } from './random.ts';
import {
  createBranch,
  deleteBranch,
  moveTag,
  readRefs,
  renameBranch,
  renameDefaultBranch,
} from './repository-change.ts';
import { addCommits } from './repository-fixture.ts';

/** Makes one change, or sometimes none, and returns what it was. The same seed makes the same. */
export async function changeAtRandom(upstream: string, random: Random, step: number) {
  const names = [...(await readRefs(upstream)).keys()];
  const defaultBranch = await git(upstream, ['symbolic-ref', '--short', 'HEAD']);
  const branches = names
    .filter((name) => name.startsWith('refs/heads/'))
    .map((name) => name.slice('refs/heads/'.length))
    .filter((name) => name !== defaultBranch);
  const branch = branches.length === 0 ? undefined : random.pick(branches);
  const newCommits = () => ({
    ...{ commits: 1 + random.integer(3), files: 1 + random.integer(4), seed: step },
    fileBytes: 2 ** (7 + random.integer(9)),
    content: random.pick(['text', 'random'] as const),
  });
  const changes: Record<string, () => Promise<unknown>> = {
    commits: () => addCommits(upstream, newCommits()),
    'more commits': () => addCommits(upstream, { ...newCommits(), commits: 5 }),
    nothing: () => Promise.resolve(),
    'force push': () => addCommits(upstream, { ...newCommits(), from: 'HEAD~1' }),
    'branch made': async () => {
      await createBranch(upstream, `made-${step}`, 'HEAD~1');
      await addCommits(upstream, { ...newCommits(), branch: `made-${step}` });
    },
    'tag moved': () => moveTag(upstream, 'moving', 'HEAD', `step ${step}`),
    'light tag moved': () => moveTag(upstream, 'light-1', 'HEAD~1'),
    'default branch renamed': () => renameDefaultBranch(upstream, `trunk-${step}`),
  };
  if (branch !== undefined) {
    const further = /^(.*)\/further$/.exec(branch)?.[1];
    Object.assign(changes, {
      'branch deleted': () => deleteBranch(upstream, branch),
      'branch renamed': () => renameBranch(upstream, branch, `renamed-${step}`),
      // A name becomes a folder of names, and one again.
      'file and folder': () => renameBranch(upstream, branch, further ?? `${branch}/further`),
      'branch forced back': () => addCommits(upstream, { ...newCommits(), branch, from: 'HEAD~2' }),
      merge: () => merge(upstream, defaultBranch, branch, step),
    } satisfies typeof changes);
  }
  const name = random.pick(Object.keys(changes));
  await changes[name]?.();
  return name;
}

/** The tree is that of the branch that takes the other in. */
async function merge(upstream: string, into: string, from: string, step: number): Promise<void> {
  const parents = [`refs/heads/${into}`, `refs/heads/${from}`].flatMap((name) => ['-p', name]);
  const tree = `refs/heads/${into}^{tree}`;
  const commit = await git(upstream, ['commit-tree', tree, ...parents, '-m', `step ${step}`]);
  await git(upstream, ['update-ref', `refs/heads/${into}`, commit]);
}
