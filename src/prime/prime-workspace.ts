/**
 * Use case: gives the job's workspace a `.git` made from the mirror, as actions/checkout would have
 * left it but for how many processes write the files, so that the checkout that follows transfers only
 * the delta.
 *
 * It needs nothing of the mirror afterwards: packs are hard links or copies, never borrowed. A
 * borrowed object is lost where the workspace is mounted elsewhere, as container steps do, and when
 * a later job replaces the mirror.
 */
import { appendFile, link, mkdir, mkdtemp, rename, rmdir, stat, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { copyPlainFile } from '../lib/copy.ts';
import { describeError } from '../lib/errors.ts';
import { isPresent, removeTree } from '../lib/files.ts';
import type { Job } from '../job/job.ts';
import { packDirectory } from '../mirror/directory.ts';
import { formatPackedRefs, type Head, type Ref } from '../mirror/refs.ts';
import type { RestoredMirror } from '../restore/session.ts';
import { listPackFiles } from '../snapshot/layers.ts';

export type PrimeResult =
  | {
      result: 'primed';
      path: string;
      /** Of all packs, linked or copied. */
      bytes: number;
      copiedBytes: number;
    }
  /** There was nothing to do, or nothing to do it with. */
  | { result: 'skipped'; reason: string }
  /** The workspace is as it was. */
  | { result: 'failed'; reason: string };

/** What priming needs to know of a mirror. */
export type PrimeSource = Pick<RestoredMirror, 'identity' | 'path' | 'head' | 'refs'>;

const STAGING = '.mirror-action-priming-';

/**
 * Primes a folder, which need not exist yet, from a mirror whose lock is held. Never throws: what
 * goes wrong is a fallback, for it costs the job speed and nothing else.
 */
export async function primeWorkspace(
  job: Job,
  mirror: PrimeSource,
  folder: string | undefined,
): Promise<PrimeResult> {
  if (folder === undefined) {
    return { result: 'skipped', reason: 'neither `prime` nor `path` asks for it' };
  }
  try {
    const gitDirectory = join(folder, '.git');
    if (await isPresent(gitDirectory)) return skip(job, `${gitDirectory} is there already`);
    const tracking = toTrackingRefs(mirror.refs);
    if (tracking.length === 0) return skip(job, 'neither branches nor tags are mirrored');
    return await job.account.measure(
      'prime',
      () => prime(job, mirror, tracking, folder),
      ({ copiedBytes }) => copiedBytes,
    );
  } catch (error) {
    const reason = describeError(error);
    job.account.fallBack(
      `${folder} could not be primed, and a checkout there will fetch everything: ${reason}`,
    );
    return { result: 'failed', reason };
  }
}

function skip({ log }: Job, reason: string): PrimeResult {
  log.info(`The workspace is not primed: ${reason}`);
  return { result: 'skipped', reason };
}

async function prime(job: Job, mirror: PrimeSource, tracking: readonly Ref[], folder: string) {
  const created = await mkdir(folder, { recursive: true });
  let staging: string | undefined;
  try {
    // Beside its place, so that a rename puts it there, and in a folder that is no repository.
    staging = await mkdtemp(join(folder, STAGING));
    const gitDirectory = join(staging, '.git');
    await initialize(job, mirror, gitDirectory);
    const packs = await takePacks(mirror.path, gitDirectory, job.signal);
    await writeRefs(gitDirectory, mirror.head, tracking);
    await detachHead(job, gitDirectory);
    await rename(gitDirectory, join(folder, '.git'));
    await removeTree(staging);
    return { result: 'primed' as const, path: folder, ...packs };
  } catch (error) {
    if (staging !== undefined) await removeTree(staging);
    if (created !== undefined) await removeEmptyFolders(folder, created);
    throw error;
  }
}

/**
 * An empty repository made by the git that will use it: file modes, links and case as this file
 * system has them, and the templates of the machine's owner, as in a checkout that nobody primed.
 */
async function initialize(job: Job, mirror: PrimeSource, gitDirectory: string): Promise<void> {
  const workTree = `--work-tree=${dirname(gitDirectory)}`;
  const format = `--object-format=${mirror.identity.objectFormat}`;
  await job.git.read(
    { gitDirectory, args: [workTree, 'init', '--quiet', format] },
    `making ${gitDirectory}`,
  );
  const workers = await chooseWorkers(job, gitDirectory);
  // Behind what `git init` has written; each `git config` would be a process more.
  await appendFile(join(gitDirectory, 'config'), formatConfig(mirror.identity.spec.url, workers));
}

/**
 * How many processes write the files of a checkout: as many as there are processors for this one, where
 * nobody has set that for the machine. 4,000 files of 74 MB took 1.0 s by one and 0.3 s by two of them, in
 * the median of seven rounds. Undefined for git's own choice, which is one.
 */
async function chooseWorkers(job: Job, gitDirectory: string): Promise<number | undefined> {
  // Not git's own way to say so, 0: it counts the processors that the machine has, and not those that
  // a container may use.
  const workers = Math.min(availableParallelism(), MAX_WORKERS);
  const args = ['config', '--get', 'checkout.workers'];
  const isSet = (await job.git.run({ gitDirectory, args })).exitCode === 0;
  return isSet || workers === 1 ? undefined : workers;
}

/** More wait for the same disk. */
const MAX_WORKERS = 16;

function formatConfig(url: string, workers: number | undefined): string {
  const quoted = `"${url.replaceAll(/["\\]/g, String.raw`\$&`)}"`;
  return [
    // The last line of a template need not have an end.
    '',
    '[remote "origin"]',
    `\turl = ${quoted}`,
    `\tfetch = +${BRANCHES}*:${REMOTE_BRANCHES}*`,
    ...(workers === undefined ? [] : ['[checkout]', `\tworkers = ${String(workers)}`]),
    '',
  ].join('\n');
}

/** Hard links where the file system has them, else copies: sharing blocks where it can do that. */
async function takePacks(mirror: string, gitDirectory: string, signal: AbortSignal) {
  const from = packDirectory(mirror);
  const to = packDirectory(gitDirectory);
  const taken = { bytes: 0, copiedBytes: 0 };
  await mkdir(to, { recursive: true });
  for (const name of await listPackFiles(from)) {
    const source = join(from, name);
    const { size } = await stat(source);
    if (!(await linkFile(source, join(to, name)))) {
      await copyPlainFile(source, join(to, name), size, { mode: 0o444, durable: false, signal });
      taken.copiedBytes += size;
    }
    taken.bytes += size;
  }
  return taken;
}

async function linkFile(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch {
    // Another file system, one without links, too many of them, another's file: copying works, or
    // says better why it does not.
    return false;
  }
}

const BRANCHES = 'refs/heads/';
const TAGS = 'refs/tags/';
const REMOTE_BRANCHES = 'refs/remotes/origin/';
const REMOTE_HEAD = `${REMOTE_BRANCHES}HEAD`;

async function writeRefs(
  gitDirectory: string,
  head: Head | undefined,
  tracking: readonly Ref[],
): Promise<void> {
  const content = Buffer.from(formatPackedRefs(tracking), 'latin1');
  await writeFile(join(gitDirectory, 'packed-refs'), content);
  const target = findRemoteHead(head, tracking);
  if (target === undefined) return;
  // packed-refs cannot hold a symbolic ref.
  await mkdir(join(gitDirectory, dirname(REMOTE_HEAD)), { recursive: true });
  await writeFile(join(gitDirectory, REMOTE_HEAD), Buffer.from(`ref: ${target}\n`, 'latin1'));
}

/**
 * Puts HEAD at a commit of no files, which is of this workspace alone. actions/checkout deletes a
 * repository where `git reset --hard HEAD` fails, so HEAD has to be at something; and at a commit of
 * upstream's that reset would write all its files, before a sparse checkout is set, and before the
 * filters and credentials of LFS are: it would fail, or leave pointers that no checkout replaces.
 *
 * The commit is as young as can be: git looks whether a ref has it when it is left, and ends that
 * walk at commits that are older.
 */
async function detachHead({ git }: Job, gitDirectory: string): Promise<void> {
  const what = `setting HEAD of ${gitDirectory}`;
  const run = async (...args: string[]): Promise<string> => {
    const output = await git.read({ gitDirectory, args }, what);
    return output.toString('latin1').trim();
  };
  const tree = await run('mktree');
  const commit = await run(...AUTHOR, 'commit-tree', '-m', 'Nothing is checked out yet', tree);
  await writeFile(join(gitDirectory, 'HEAD'), `${commit}\n`);
}

const AUTHOR = ['-c', 'user.name=mirror-action', '-c', 'user.email=mirror-action@localhost'];

/**
 * Branches become the remote's, tags stay, and everything else, as pull requests, is left out. They
 * are sorted as before: all of one kind begin alike, and `refs/remotes` comes before `refs/tags`.
 */
function toTrackingRefs(refs: readonly Ref[]): Ref[] {
  const branches = refs.filter(({ name }) => name.startsWith(BRANCHES));
  const tracking = branches.map((ref) => ({ ...ref, name: toTrackingName(ref.name) }));
  return tracking.concat(refs.filter(({ name }) => name.startsWith(TAGS)));
}

function toTrackingName(branch: string): string {
  return REMOTE_BRANCHES + branch.slice(BRANCHES.length);
}

/** The branch that `refs/remotes/origin/HEAD` names, unless a branch of upstream has that name. */
function findRemoteHead(head: Head | undefined, tracking: readonly Ref[]): string | undefined {
  if (head === undefined || !('ref' in head) || !head.ref.startsWith(BRANCHES)) return undefined;
  const isTaken = tracking.some(
    ({ name }) => name === REMOTE_HEAD || name.startsWith(`${REMOTE_HEAD}/`),
  );
  const target = toTrackingName(head.ref);
  return !isTaken && tracking.some(({ name }) => name === target) ? target : undefined;
}

/** Removes a folder and those above it, up to the outermost that was made for it. */
async function removeEmptyFolders(folder: string, outermost: string): Promise<void> {
  for (let path = folder; path.length >= outermost.length; path = dirname(path)) {
    // What somebody else has put there meanwhile keeps it.
    const isGone = await rmdir(path).then(
      () => true,
      () => false,
    );
    if (!isGone) return;
  }
}
