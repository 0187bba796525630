/** What git says about a mirror's objects. */
import { constants } from 'node:os';
import { MirrorError, type ErrorCode } from '../lib/errors.ts';
import type { ChildResult } from '../lib/process.ts';
import { GitFailure } from '../git/failure.ts';
import { isSuccess, type Git, type GitCommand } from '../git/git.ts';
import type { Ref } from './refs.ts';

/** git/git takes 10 s, a repository a hundred times as large a quarter of an hour. */
export const WALK_TIMEOUT_MS = 30 * 60_000;

/**
 * The refs with the ids that their tags really point at; the same list if they are unchanged.
 * Throws `corrupt-mirror` if an object that a ref points at is missing.
 */
export async function peelRefs(
  git: Git,
  directory: string,
  refs: readonly Ref[],
): Promise<readonly Ref[]> {
  // Only tags are peeled, because that reads and hashes an object: six times as slow as asking for its type.
  const types = await askFor(git, directory, '%(objecttype)', refs, ({ oid }) => oid);
  const tags = refs.filter((_, index) => types[index] === 'tag');
  const targets = await askFor(git, directory, '%(objectname)', tags, ({ oid }) => `${oid}^{}`);
  let tag = 0;
  const peeledRefs = refs.map((ref, index): Ref => {
    const peeled = types[index] === 'tag' ? targets[tag++] : undefined;
    return peeled === ref.peeled ? ref : { ...ref, peeled };
  });
  return peeledRefs.every((ref, index) => ref === refs[index]) ? refs : peeledRefs;
}

/** What git prints for the object of each ref: one word. */
async function askFor(
  git: Git,
  directory: string,
  format: string,
  refs: readonly Ref[],
  objectOf: (ref: Ref) => string,
): Promise<string[]> {
  const answers = await describeObjects(git, directory, format, refs.map(objectOf));
  // `<object> missing`, or another answer that isn't one word.
  const lost = refs.find((_, index) => !/^[0-9a-z]+$/.test(answers[index] ?? ''));
  if (lost === undefined) return answers;
  const what = `${lost.name} points at ${lost.oid}`;
  throw new MirrorError('corrupt-mirror', `${what}, which is not there`);
}

/** What `git cat-file --batch-check` prints for each of these names, in that format. */
export async function describeObjects(
  git: Git,
  gitDirectory: string,
  format: string,
  names: readonly string[],
): Promise<string[]> {
  if (names.length === 0) return [];
  // Without --buffer git writes each answer separately.
  const args = ['cat-file', '--buffer', `--batch-check=${format}`];
  const command = { gitDirectory, args, stdin: toLines(names) };
  const output = await readObjects(git, command, 'looking up objects');
  return output.toString('latin1').split('\n').slice(0, -1);
}

export function toLines(texts: readonly string[]): string {
  return texts.map((text) => `${text}\n`).join('');
}

/**
 * Throws `corrupt-mirror` unless each of these commits, tags or trees is there with every folder and file it
 * has. History is not looked at (git fact 20).
 */
export async function checkTrees(
  git: Git,
  directory: string,
  oids: readonly string[],
): Promise<void> {
  await walk(git, directory, ['--no-walk', '--stdin'], oids);
}

/** Whether a commit is there, with or without its files. */
export async function hasCommit(git: Git, directory: string, oid: string): Promise<boolean> {
  const args = ['cat-file', '-e', `${oid}^{commit}`];
  return isSuccess(await git.runBrief({ gitDirectory: directory, args }));
}

/** Walks everything that refs reach; throws `corrupt-mirror` if an object is missing. */
export async function walkAll(git: Git, directory: string): Promise<void> {
  await walk(git, directory, ['--all']);
}

/** Walks everything that the given ids reach. */
export async function walkFrom(
  git: Git,
  directory: string,
  oids: readonly string[],
): Promise<void> {
  await walk(git, directory, ['--stdin'], oids);
}

/** Walks what refs reach and the given ids don't. It can't see a missing object behind those ids. */
export async function walkNew(
  git: Git,
  directory: string,
  known: readonly string[],
): Promise<void> {
  // Not `--not`: git before 2.42 takes no options from stdin.
  const lines = known.map((oid) => `^${oid}`);
  await walk(git, directory, ['--all', '--ignore-missing', '--stdin'], lines);
}

/**
 * Bytes on disk of what the given ids reach and refs do not; 0 where git can't tell. Takes about as long as a
 * walk of just these objects.
 */
export async function measureUnreached(
  git: Git,
  directory: string,
  oids: readonly string[],
): Promise<number> {
  const args = ['--ignore-missing', '--stdin', '--not', '--all'];
  return (await measure(git, directory, args, oids)) ?? 0;
}

/** Bytes on disk of all that refs reach; undefined where git can't tell. */
export function measureReached(git: Git, directory: string): Promise<number | undefined> {
  return measure(git, directory, ['--all']);
}

async function measure(
  git: Git,
  directory: string,
  args: readonly string[],
  lines: readonly string[] = [],
): Promise<number | undefined> {
  const result = await git.run(listObjects(directory, ['--disk-usage', ...args], lines));
  const bytes = Number(result.stdout.toString('latin1').trim());
  return isSuccess(result) && Number.isSafeInteger(bytes) ? bytes : undefined;
}

async function walk(
  git: Git,
  directory: string,
  args: readonly string[],
  lines: readonly string[] = [],
): Promise<void> {
  const command = listObjects(directory, ['--quiet', ...args], lines);
  await readObjects(git, command, 'checking that all objects are there');
}

function listObjects(
  gitDirectory: string,
  options: readonly string[],
  lines: readonly string[],
): GitCommand {
  const args = ['rev-list', '--objects', ...options];
  return { gitDirectory, args, stdin: toLines(lines), timeoutMs: WALK_TIMEOUT_MS };
}

/** Makes the index of the pack at that path, from its content; throws `corrupt-mirror`. */
export async function indexAgain(git: Git, directory: string, pack: string): Promise<void> {
  const args = ['index-pack', pack];
  const command = { gitDirectory: directory, args, timeoutMs: WALK_TIMEOUT_MS };
  await readObjects(git, command, `indexing ${pack}`);
}

const NOT_THE_OBJECTS: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'no-space',
  'timeout',
  'cancelled',
]);

/**
 * The stdout of a command that only reads objects. If it fails, an object is missing or unreadable, whatever git reports
 * (for an empty pack `early EOF`, as for a network): throws `corrupt-mirror`.
 */
export async function readObjects(git: Git, command: GitCommand, what: string): Promise<Buffer> {
  const result = await git.run(command);
  if (isSuccess(result)) return result.stdout;
  const failure = new GitFailure(result, what);
  if (NOT_THE_OBJECTS.has(failure.code) || wasEnded(result)) throw failure;
  throw new MirrorError('corrupt-mirror', failure.message, { cause: failure });
}

/** SIGHUP is missing: 129 is git's own code for a wrong argument. */
const ENDING_SIGNALS = ['SIGINT', 'SIGKILL', 'SIGTERM'] as const;

/** Whether the machine ended it, by a signal where memory runs out or the machine stops, or had no memory for it. */
function wasEnded({ exitCode, stderr }: ChildResult): boolean {
  const isKilled = ENDING_SIGNALS.some((name) => exitCode === 128 + constants.signals[name]);
  return isKilled || /out of memory|cannot allocate memory/i.test(stderr);
}
