/** A repository's own history as an upstream that gets new commits day by day. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { git } from '../test/support/git.ts';

export interface Day {
  date: string;
  /** The last commit of that day on the default branch. */
  commit: string;
}

/** The last days on which the default branch (HEAD) got commits, oldest first. */
export async function listDays(repository: string, count: number): Promise<Day[]> {
  const log = ['log', '--first-parent', '--format=%H %cs', 'HEAD'];
  const days: Day[] = [];
  for (const line of (await git(repository, log)).split('\n')) {
    const [commit = '', date = ''] = line.split(' ');
    if (days.at(-1)?.date !== date) days.push({ commit, date });
    if (days.length > count) break;
  }
  return days.slice(0, count).reverse();
}

interface Tag {
  name: string;
  oid: string;
  /** That it leads to. */
  commit: string;
}

/** Has the default branch as it was on a day, and the tags that it reached then. */
export class PastUpstream {
  readonly directory: string;
  readonly #branch: string;
  readonly #tags: readonly Tag[];
  #now = '';

  private constructor(directory: string, branch: string, tags: readonly Tag[]) {
    this.directory = directory;
    this.#branch = branch;
    this.#tags = tags;
  }

  /** In `directory`, which borrows the objects of `repository`. */
  static async create(repository: string, directory: string): Promise<PastUpstream> {
    const branch = await git(repository, ['symbolic-ref', 'HEAD']);
    const initial = `--initial-branch=${branch.replace('refs/heads/', '')}`;
    await git(repository, ['init', '--quiet', '--bare', '--template=', initial, directory]);
    const objects = resolve(
      repository,
      await git(repository, ['rev-parse', '--git-path', 'objects']),
    );
    await mkdir(join(directory, 'objects', 'info'), { recursive: true });
    await writeFile(join(directory, 'objects', 'info', 'alternates'), `${objects}\n`);
    const format = '--format=%(refname) %(objectname) %(*objectname)';
    const lines = (await git(repository, ['for-each-ref', format, 'refs/tags'])).split('\n');
    const tags = lines.map((line) => {
      const [name = '', oid = '', peeled = ''] = line.split(' ');
      return { name, oid, commit: peeled === '' ? oid : peeled };
    });
    return new PastUpstream(directory, branch, tags);
  }

  /** Returns the ids of objects that its refs reach now and didn't before. */
  async moveTo({ commit }: Day): Promise<string[]> {
    const not = this.#now === '' ? [] : [`^${this.#now}`];
    const commits = new Set((await git(this.directory, ['rev-list', commit, ...not])).split('\n'));
    const tags = this.#tags.filter((tag) => commits.has(tag.commit));
    const lines = tags.map(({ name, oid }) => `create ${name} ${oid}\n`);
    const input = [...lines, `update ${this.#branch} ${commit}\n`].join('');
    await git(this.directory, ['update-ref', '--stdin'], { input });
    await git(this.directory, ['pack-refs', '--all']);
    const tips = [commit, ...tags.map(({ oid }) => oid), ...not];
    const walk = ['rev-list', '--objects', '--no-object-names', '--stdin'];
    const walked = await git(this.directory, walk, { input: `${tips.join('\n')}\n` });
    this.#now = commit;
    return walked.split('\n').filter((oid) => oid !== '');
  }
}

/** Every ref with its object, peeled where it is a tag, and where HEAD points. */
export async function describeRefs(repository: string): Promise<string> {
  const format = '--format=%(objectname) %(*objectname) %(refname)';
  const refs = await git(repository, ['for-each-ref', format]);
  return `${refs}\n${(await readFile(join(repository, 'HEAD'), 'utf8')).trim()}`;
}
