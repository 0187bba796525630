/**
 * Downloads LFS objects by the real git-lfs, in a throwaway repository that holds nothing but the pointers of
 * what is missing: no `.lfsconfig`, no scan of the whole tree, nothing written into the mirror, and its logs
 * are deleted.
 *
 * Its exit code proves nothing either way, and its stderr is never shown: it holds signed URLs.
 */
import { join } from 'node:path';
import type { Git } from '../git/git.ts';
import { watchRepository } from '../git/signs-of-life.ts';
import type { Job } from '../job/job.ts';
import { formatDuration } from '../lib/durations.ts';
import { MirrorError, type Concern, type ErrorCode } from '../lib/errors.ts';
import { countBytesBelow, makeFolder } from '../lib/files.ts';
import type { ChildResult } from '../lib/process.ts';
import { layOut } from '../mirror/directory.ts';
import { adoptObjects, leaveWork, workFolder } from './objects.ts';
import { formatPointer, type LfsObject } from './pointers.ts';

/** What kept objects from being downloaded. */
export type LfsFailure =
  | 'over-quota'
  | 'refused'
  | 'missing-on-server'
  | 'network'
  | 'timeout'
  | 'no-space'
  | 'git-lfs-unusable'
  | 'unknown';

export interface Failure {
  kind: LfsFailure;
  error: MirrorError;
}

export interface Download {
  /** Ids of the objects that arrived whole. */
  arrived: Set<string>;
  /** Undefined if all did. */
  failure: Failure | undefined;
}

export interface MissingObjects {
  /** Of the repository. */
  url: string;
  /** Where the objects of this machine are. */
  folder: string;
  missing: readonly LfsObject[];
  /** In milliseconds, as in the settings. */
  fetchTimeoutMs: number;
  stallTimeoutMs: number;
}

/** `git lfs fetch` takes a URL and a commit since then. */
const OLDEST_GIT_LFS = 3;

/** Downloads objects into the folder. Throws only if the job was cancelled or this disk failed. */
export async function downloadObjects(job: Job, wish: MissingObjects): Promise<Download> {
  const { folder, missing } = wish;
  const work = workFolder(folder);
  const [repository, storage] = [join(work, 'pointers.git'), join(work, 'storage')];
  try {
    for (const path of [repository, storage]) await makeFolder(path);
    await layOut(repository, 'sha1');
    const unusable = await findUnusable(job.git, repository);
    if (unusable !== undefined) {
      return { arrived: new Set(), failure: { kind: 'git-lfs-unusable', error: unusable } };
    }
    await commitPointers(job.git, repository, missing);
    const result = await fetchPointers(job, repository, storage, wish);
    const arrived = await adoptObjects(storage, folder, missing, job.signal);
    const failure = arrived.size === missing.length ? undefined : diagnose(result);
    return { arrived, failure };
  } finally {
    await leaveWork(folder, job.signal);
  }
}

async function findUnusable(git: Git, gitDirectory: string): Promise<MirrorError | undefined> {
  const { exitCode, stdout } = await git.run({ gitDirectory, args: ['lfs', 'version'] });
  const [, version, major] = /^git-lfs\/((\d+)\.\S+)/.exec(stdout.toString('latin1')) ?? [];
  if (exitCode === 0 && Number(major) >= OLDEST_GIT_LFS) return undefined;
  const what = version === undefined ? 'git-lfs is not installed' : `git-lfs ${version} is too old`;
  const cure = `install git-lfs ${String(OLDEST_GIT_LFS)} or newer`;
  return new MirrorError('git-unusable', `${what}: ${cure}`);
}

const BRANCH = 'refs/heads/pointers';

async function commitPointers(
  git: Git,
  gitDirectory: string,
  objects: readonly LfsObject[],
): Promise<void> {
  const files = objects.map((object) => {
    const pointer = formatPointer(object);
    return `M 100644 inline ${object.oid}\ndata ${String(pointer.length)}\n${pointer}\n`;
  });
  const head = `commit ${BRANCH}\ncommitter mirror-action <mirror-action@localhost> 0 +0000\ndata 0\n`;
  // Without deltas: git-lfs would read each through a chain of them.
  const args = ['fast-import', '--quiet', '--depth=0', '--done'];
  const stdin = `${head}${files.join('')}done\n`;
  await git.read({ gitDirectory, args, stdin }, 'writing the pointers of missing LFS objects');
}

async function fetchPointers(
  job: Job,
  gitDirectory: string,
  storage: string,
  { url, fetchTimeoutMs: timeoutMs, stallTimeoutMs: stallMs }: MissingObjects,
): Promise<ChildResult> {
  const access = job.accessOf(url);
  const watch = await watchRepository(gitDirectory);
  return job.git.run({
    gitDirectory,
    args: ['lfs', 'fetch', access.url, BRANCH],
    access,
    timeoutMs,
    stallMs,
    lfsStorage: storage,
    signsOfLife: async (pid) => {
      const read = await watch(pid);
      return read === 'done' ? read : read + (await countBytesBelow(storage));
    },
  });
}

interface Rule {
  kind: LfsFailure;
  code: ErrorCode;
  message: string;
  pattern: RegExp;
  concern?: Concern;
}

/** An error answer with a text of the server's, which git-lfs shows instead of the status. */
const REFUSED_BATCH = /^batch response: (?!Fatal error|Unable to parse|.*(?:\w+ ")?https?:)/im;

/** In order: the first rule that matches names the failure. */
const RULES: readonly Rule[] = [
  {
    kind: 'no-space',
    code: 'no-space',
    message: 'no space is left on the disk',
    pattern: /no space left on device|disk quota exceeded|not enough space on the disk/i,
    concern: 'mirror-place',
  },
  {
    kind: 'over-quota',
    code: 'authentication',
    message: 'the LFS server says that the quota for storage or bandwidth is used up',
    pattern:
      /over (?:its|the|your) (?:data )?quota|quota (?:is )?exceeded|exceeded its LFS budget|bandwidth limit exceeded|insufficient server storage/i,
  },
  {
    kind: 'network',
    code: 'network',
    message: 'the LFS server limits the number of requests (status 429)',
    pattern: /rate limit|too many requests/i,
  },
  {
    kind: 'refused',
    code: 'authentication',
    message: 'the LFS server refused the credentials',
    pattern: /authentication required|authorization error|credentials|permission denied/i,
    concern: 'token',
  },
  {
    kind: 'missing-on-server',
    code: 'not-found',
    message: 'they are missing on the LFS server',
    pattern: /\[404\]|\[410\]|does not exist|not found/i,
  },
  {
    kind: 'refused',
    code: 'authentication',
    message: 'the LFS server refused the request',
    pattern: REFUSED_BATCH,
    concern: 'token',
  },
];

/** If no rule matches. */
const UNREACHABLE: Omit<Rule, 'pattern'> = {
  kind: 'network',
  code: 'network',
  message: 'the LFS server could not be reached, answered with an error, or broke off',
};

/** Names why objects did not arrive. Pure. */
function diagnose({ ended, stderr, durationMs, stallMs }: ChildResult): Failure {
  if (ended === 'timeout') {
    const message = `git-lfs did not end within ${formatDuration(durationMs)}`;
    const error = new MirrorError('timeout', message, { concern: 'fetch-timeout' });
    return { kind: 'timeout', error };
  }
  if (ended === 'stalled') {
    const message = `the LFS server showed no sign of life for ${formatDuration(stallMs ?? 0)}`;
    const error = new MirrorError('network', message, { concern: 'stall-timeout' });
    return { kind: 'timeout', error };
  }
  const rule = RULES.find(({ pattern }) => pattern.test(stderr)) ?? UNREACHABLE;
  const { kind, code, message, concern } = rule;
  return { kind, error: new MirrorError(code, message, { concern }) };
}
