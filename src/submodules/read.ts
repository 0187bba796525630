/** Reads the submodules of a commit. What it says comes from whoever can push. */
import { MirrorError } from '../lib/errors.ts';
import type { Git } from '../git/git.ts';
import type { JobCommit } from '../restore/job-commit.ts';
import { chooseSubmodules, parseSections, type Choice } from './choose.ts';
import type { Server } from './url.ts';

/** An honest one of a thousand submodules has 100 KB. */
const MOST_BYTES = 1024 * 1024;
const MOST_SUBMODULES = 1_000;
/** Fewer than fill a command line, even on Windows. */
const PATHS_AT_ONCE = 25;
const LONGEST_PATH = 1_000;

type Place = Pick<JobCommit, 'gitDirectory' | 'oid'>;

const NONE: Choice = { served: [], left: [] };

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
  const entry = (await listEntries(git, commit, ['.gitmodules'], ['-l']))[0];
  if (entry === undefined) return NONE;
  const [mode = '', , oid = '', size = ''] = entry.facts;
  if (!mode.startsWith('100')) throw unreadable('is not a plain file');
  if (Number(size) > MOST_BYTES) throw unreadable(`has ${size} bytes`);
  // Without `--no-includes`, an `include.path` would read files of this machine.
  const args = ['config', '--no-includes', '--blob', oid, '--list', '-z'];
  const listing = await git.read(
    { gitDirectory: commit.gitDirectory, args },
    'reading .gitmodules',
  );
  const sections = parseSections(listing.toString('utf8'));
  if (sections.length > MOST_SUBMODULES) {
    throw unreadable(`has ${String(sections.length)} submodules`);
  }
  const paths = sections.map(({ values }) => values.get('path') ?? '');
  return chooseSubmodules(sections, await readGitlinks(git, commit, paths), url, server);
}

function unreadable(what: string): MirrorError {
  return new MirrorError('unknown', `.gitmodules ${what}, so no submodule is primed`);
}

async function readGitlinks(
  git: Git,
  commit: Place,
  paths: readonly string[],
): Promise<Map<string, string>> {
  const gitlinks = new Map<string, string>();
  const possible = paths.filter(isPlainPath);
  for (let at = 0; at < possible.length; at += PATHS_AT_ONCE) {
    const entries = await listEntries(git, commit, possible.slice(at, at + PATHS_AT_ONCE));
    for (const { path, facts } of entries) {
      const [mode, , oid] = facts;
      if (mode === '160000' && oid !== undefined) gitlinks.set(path, oid);
    }
  }
  return gitlinks;
}

/** git fails over a path that leads out of the work tree. */
function isPlainPath(path: string): boolean {
  const isPart = (part: string): boolean => !/^\.{0,2}$/.test(part);
  return path.length <= LONGEST_PATH && path.split('/').every(isPart);
}

async function listEntries(
  git: Git,
  { gitDirectory, oid }: Place,
  paths: readonly string[],
  options: readonly string[] = [],
): Promise<{ path: string; facts: string[] }[]> {
  const args = ['--literal-pathspecs', 'ls-tree', '-z', ...options, oid, '--', ...paths];
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
