/**
 * Use case of the main step: primes the submodules of a primed workspace, each from a mirror of its own. They
 * are ordinary mirrors, opened one by one while no other place is held, so jobs that share repositories never
 * wait for each other in a circle. A submodule that fails is left to the checkout.
 */
import type { UpstreamAccess } from '../git/environment.ts';
import type { Account } from '../job/account.ts';
import { nameJob, type Job } from '../job/job.ts';
import { MirrorError, describeError, throwIfCancelled } from '../lib/errors.ts';
import { mapEachOf } from '../lib/parallel.ts';
import { primeModule } from '../prime/prime-module.ts';
import { openCommit, type JobCommit } from '../restore/job-commit.ts';
import { restoreMirror } from '../restore/restore-mirror.ts';
import type { MirrorSession, RestoredMirror, RestoreOptions } from '../restore/session.ts';
import type { MirrorSpec } from '../snapshot/identity.ts';
import type { Choice, Submodule } from './choose.ts';
import { MOST_SUBMODULES, readSubmodules } from './read.ts';
import type { Server } from './url.ts';

export interface SubmoduleOptions {
  /** The primed workspace. */
  folder: string;
  isRecursive: boolean;
  server: Server;
  restore: RestoreOptions;
  specOf(url: string): MirrorSpec;
  /** Why this upstream is asked without credentials: a clause. Undefined where it is asked with them. */
  findAnonymousReason(url: string): string | undefined;
  /** Called with each mirror while it is open, before anything is primed from it. */
  onOpen(session: MirrorSession, path: string): Promise<void>;
}

export interface SubmoduleResult {
  /** In the workspace. */
  path: string;
  /** Undefined if it was left to the checkout before a mirror was up to date. */
  mirror: RestoredMirror | undefined;
  /** Of its mirror; undefined if none was tried. */
  account: Account | undefined;
  /** Why it is left to the checkout, a clause that follows "it"; undefined if it is primed. */
  reason: string | undefined;
}

/** More at a time would wait for the same disk and processors. */
const WIDTH = 8;
const MOST_LEVELS = 10;

/** A submodule of the workspace or of one of its submodules. */
interface Node extends Submodule {
  /** The names that lead to it, its own last. */
  names: readonly string[];
}

/** Submodules of one repository, with their paths in the workspace. */
interface Level {
  nodes: readonly Node[];
  left: Choice['left'];
}

/** What became of a submodule, and those that it has itself. */
interface Outcome {
  result: SubmoduleResult;
  below?: Level | undefined;
}

/** Never throws, unless the job is cancelled. */
export async function restoreSubmodules(
  job: Job,
  top: Choice,
  options: SubmoduleOptions,
): Promise<SubmoduleResult[]> {
  return job.account.measure('submodules', async () => {
    const results: SubmoduleResult[] = [];
    let levels = [toLevel(top)];
    for (let depth = 1; levels.length > 0; depth++) {
      const nodes = levels.flatMap((level) => level.nodes);
      const room = depth > MOST_LEVELS ? 0 : Math.max(0, MOST_SUBMODULES - results.length);
      const over = nodes.slice(room).map(({ path }) => ({ path, reason: 'is one of too many' }));
      const left = [...levels.flatMap((level) => level.left), ...over];
      results.push(...left.map((each) => leave(job, each)));
      // A repository may be there under several names: its mirror is opened once for all of a level.
      const groups = Map.groupBy(nodes.slice(0, room), ({ upstream }) => upstream);
      const restored = await mapEachOf([...groups], WIDTH, job.signal, ([upstream, group]) =>
        restoreGroup(job, upstream, group, options),
      );
      const outcomes = restored.flat();
      results.push(...outcomes.map(({ result }) => result));
      levels = outcomes.map(({ below }) => below).filter((below) => below !== undefined);
    }
    return results;
  });
}

function toLevel({ served, left }: Choice, parent?: Node): Level {
  const join = (path: string) => (parent === undefined ? path : `${parent.path}/${path}`);
  const names = parent?.names ?? [];
  return {
    nodes: served.map((each) => ({
      ...each,
      path: join(each.path),
      names: [...names, each.name],
    })),
    left: left.map((each) => ({ ...each, path: join(each.path) })),
  };
}

function leave({ log }: Job, { path, reason }: Choice['left'][number]): SubmoduleResult {
  log.info(`${path}: left to the checkout, because it ${reason}`);
  return { path, mirror: undefined, account: undefined, reason };
}

/** Restores one mirror, and primes from it all submodules that are of its repository. */
async function restoreGroup(
  job: Job,
  upstream: string,
  nodes: readonly Node[],
  options: SubmoduleOptions,
): Promise<Outcome[]> {
  const [path = upstream] = nodes.map((node) => node.path);
  const named = nameJob(job, path);
  const { account } = named;
  const leaveAll = (reason: string): Outcome[] =>
    nodes.map((node) => ({ result: { path: node.path, mirror: undefined, account, reason } }));
  const anonymousReason = options.findAnonymousReason(upstream);
  const asking = anonymousReason === undefined ? named : { ...named, accessOf: askAnonymously };
  try {
    await using session = await restoreMirror(asking, options.specOf(upstream), options.restore);
    await options.onOpen(session, path);
    const outcomes: Outcome[] = [];
    for (const node of nodes) outcomes.push(await primeNode(session, node, options));
    return outcomes;
  } catch (error) {
    throwIfCancelled(job.signal);
    if (anonymousReason !== undefined && isRefusal(error)) {
      named.log.info(`left to the checkout, because it ${anonymousReason}`);
      return leaveAll(anonymousReason);
    }
    const reason = describeError(error);
    account.fallBack(`left to the checkout: ${reason}`, error);
    return leaveAll(`failed: ${reason}`);
  }
}

/** SSH has no such access. */
function askAnonymously(url: string): UpstreamAccess {
  if (/^https?:/.test(url)) return { url, token: '' };
  throw new MirrorError('authentication', `${url} cannot be read without a key`);
}

/** GitHub answers that a repository does not exist if it may not be read. */
function isRefusal(error: unknown): boolean {
  return error instanceof MirrorError && /^(?:authentication|not-found)$/.test(error.code);
}

/** Primes one submodule, and finds those that it has itself. */
async function primeNode(
  { job, mirror }: MirrorSession,
  node: Node,
  { folder, isRecursive, server, restore }: SubmoduleOptions,
): Promise<Outcome> {
  const { path, names, remoteUrl } = node;
  const result = { path, mirror, account: job.account };
  try {
    await using commit = await openCommit(job, mirror, node.commit, restore);
    await primeModule(job, mirror, { folder, names, remoteUrl, commit });
    const below = isRecursive ? await readBelow(job, commit, node, server) : undefined;
    return { result: { ...result, reason: undefined }, below };
  } catch (error) {
    const what = 'left to the checkout, because it could not be primed';
    const reason = `could not be primed: ${note(job, what, error)}`;
    return { result: { ...result, reason } };
  }
}

async function readBelow(
  job: Job,
  commit: JobCommit,
  node: Node,
  server: Server,
): Promise<Level | undefined> {
  try {
    return toLevel(await readSubmodules(job.git, commit, node.remoteUrl, server), node);
  } catch (error) {
    note(job, 'its own submodules are left to the checkout', error);
    return undefined;
  }
}

/** Says what a failure led to, and returns why. Throws if the job was cancelled. */
function note({ signal, account }: Job, what: string, error: unknown): string {
  throwIfCancelled(signal);
  const reason = describeError(error);
  account.fallBack(`${what}: ${reason}`, error);
  return reason;
}
