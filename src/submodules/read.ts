/** Reads the submodules of a commit. Anybody who can push decides what it says. */
import { MirrorError } from '../lib/errors.ts';
import type { Git } from '../git/git.ts';
import type { JobCommit } from '../restore/job-commit.ts';
import { chooseSubmodules, parseSections, type Choice } from './choose.ts';
import type { Server } from './url.ts';

/** An honest one of a thousand submodules has 100 KB. */
const MOST_BYTES = 1024 * 1024;
export const MOST_SUBMODULES = 1_000;

type Place = Pick<JobCommit, 'gitDirectory' | 'oid'>;

/**
 * The submodules of a commit whose repository has that URL. Throws a named failure if `.gitmodules` is not a
 * plain file of a reasonable size, or cannot be read.
 */
export async function readSubmodules(
  git: Git,
  commit: Place,
  url: string,
  server: Server,
): Promise<Choice> {
  const [entry] = await listEntries(git, commit, ['-l'], ['.gitmodules']);
  if (entry === undefined) return { served: [], left: [] };
  const [mode = '', , oid = '', size = ''] = entry.facts;
  if (!mode.startsWith('100')) throw unreadable('is not a plain file');
  if (Number(size) > MOST_BYTES) throw unreadable(`has ${size} bytes`);
  // Without `--no-includes`, an `include.path` would read files of this machine.
  const args = ['config', '--no-includes', '--blob', oid, '--list', '-z'];
  const { gitDirectory } = commit;
  const listing = await git.read({ gitDirectory, args }, 'reading .gitmodules');
  const sections = parseSections(listing.toString('utf8'));
  if (sections.length > MOST_SUBMODULES) {
    throw unreadable(`has ${String(sections.length)} submodules`);
  }
  return chooseSubmodules(sections, await readGitlinks(git, commit), url, server);
}

function unreadable(what: string): MirrorError {
  return new MirrorError('unknown', `.gitmodules ${what}, so no submodule is primed`);
}

/** Commits by path. `-d` leaves out files, so that the list is short. */
async function readGitlinks(git: Git, commit: Place): Promise<Map<string, string>> {
  const entries = await listEntries(git, commit, ['-r', '-d']);
  const links = entries.filter(({ facts: [, type] }) => type === 'commit');
  return new Map(links.map(({ path, facts: [, , oid = ''] }) => [path, oid]));
}

async function listEntries(
  git: Git,
  { gitDirectory, oid }: Place,
  options: readonly string[],
  paths: readonly string[] = [],
): Promise<{ path: string; facts: string[] }[]> {
  const args = ['ls-tree', '-z', ...options, oid, '--', ...paths];
  const output = await git.read({ gitDirectory, args }, `reading commit ${oid}`);
  return output
    .toString('utf8')
    .split('\0')
    .filter((line) => line !== '')
    .map((line) => {
      const tab = line.indexOf('\t');
      return { path: line.slice(tab + 1), facts: line.slice(0, tab).split(/ +/) };
    });
}
