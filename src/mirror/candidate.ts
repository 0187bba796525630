/**
 * A candidate: a directory that may become, or stay, the mirror. It is the existing mirror at its place, or made from a
 * snapshot (restore/unpack-snapshot.ts), or empty for a clone. After `bringUpToDate` it has what upstream has.
 */
import type { Deadline } from '../lib/deadline.ts';
import { MirrorError, describeError } from '../lib/errors.ts';
import type { Git } from '../git/git.ts';
import { layOut, parseRefs, readPackedRefs, writeHead, writePackedRefs } from './directory.ts';
import { orAsBefore, packLooseObjects } from './maintenance.ts';
import { checkTrees, peelRefs } from './objects.ts';
import { writeRecord, type MirrorRecord } from './record.ts';
import {
  digestPackedRefs,
  findHeadCommit,
  findMovedRefs,
  formatPackedRefs,
  listNeededOids,
  type Depth,
  type Head,
  type ObjectFormat,
  type Ref,
  type UpstreamRefs,
} from './refs.ts';
import { limitHistory } from './shallow.ts';
import { fetchObjects, type Asking } from './upstream.ts';
import { countPackBytes } from './packs.ts';

export interface Candidate {
  directory: string;
  /** As git peeled them, so the objects that they point at exist. */
  refs: readonly Ref[];
  /** The content of packed-refs, if it has exactly these refs. */
  packedRefs?: string | undefined;
  base: MirrorRecord['base'];
  walkedRefsDigest: string | null;
}

/** The fields of the record that say whose mirror it is. */
export type Ownership = Pick<MirrorRecord, 'key' | 'upstream' | 'fence' | 'rejected'>;

/**
 * Opens the existing mirror at its place: removes foreign files, then checks with git that every object that a ref points
 * at, and HEAD's whole tree, exist. Throws `corrupt-mirror`.
 */
export async function openMirror(
  git: Git,
  directory: string,
  record: MirrorRecord,
  { objectFormat, refs: probed }: UpstreamRefs,
  depth: Depth,
): Promise<Candidate> {
  await layOut(directory, objectFormat, depth);
  const read = await readRefsOrThrow(directory, objectFormat, probed);
  const refs = await peelRefs(git, directory, read.refs);
  const packedRefs = refs === read.refs ? read.packedRefs : undefined;
  await checkFiles(git, directory, depth, record.head ?? undefined, refs);
  const { base, walkedRefsDigest } = record;
  return { directory, refs, packedRefs, base, walkedRefsDigest };
}

/**
 * Checks that the files are there which a checkout is likely to need: those of HEAD, and in a tip mirror of every
 * ref, which is all it has. Throws `corrupt-mirror`.
 */
export async function checkFiles(
  git: Git,
  directory: string,
  depth: Depth,
  head: Head | undefined,
  refs: readonly Ref[],
): Promise<void> {
  const commit = findHeadCommit(head, refs);
  const needed =
    depth === 'tip' ? refs.map(({ oid }) => oid) : commit === undefined ? [] : [commit];
  await limitHistory(git, directory, depth, needed);
  if (needed.length > 0) await checkTrees(git, directory, needed);
}

/** Removes what an interrupted fetch left: locks, temporary packs, and commits that are not there in `shallow`. */
export async function tidyCandidate(
  git: Git,
  { directory, refs }: Candidate,
  objectFormat: ObjectFormat,
  depth: Depth,
): Promise<void> {
  await layOut(directory, objectFormat, depth);
  await limitHistory(
    git,
    directory,
    depth,
    refs.map(({ oid }) => oid),
  );
}

/** The probe's refs, without reading them again, if packed-refs has exactly these. */
async function readRefsOrThrow(
  directory: string,
  objectFormat: ObjectFormat,
  probed: readonly Ref[],
): Promise<Pick<Candidate, 'refs' | 'packedRefs'>> {
  try {
    const packedRefs = await readPackedRefs(directory);
    if (packedRefs === formatPackedRefs(probed)) return { refs: probed, packedRefs };
    return { refs: parseRefs(packedRefs, objectFormat) };
  } catch (error) {
    const message = `the mirror's refs cannot be read: ${describeError(error)}`;
    throw new MirrorError('corrupt-mirror', message, { cause: error });
  }
}

/** Prepares an empty directory for a clone. */
export async function beginClone(
  directory: string,
  objectFormat: ObjectFormat,
): Promise<Candidate> {
  await layOut(directory, objectFormat);
  return { directory, refs: [], base: null, walkedRefsDigest: null };
}

export interface UpToDate {
  /** Of HEAD and the refs. */
  refsDigest: string;
  /** Of all packs. */
  packBytes: number;
  /** How many of them the fetch brought. */
  fetchedBytes: number;
}

/**
 * Fetches the objects that the probe named and the candidate lacks, then replaces the refs by the probe's and writes the
 * record. After a failed fetch, refs and packs are as before.
 */
export async function bringUpToDate(
  asking: Asking,
  candidate: Candidate,
  { refs: probed, head }: UpstreamRefs,
  ownership: Ownership,
  deadline: Deadline,
): Promise<UpToDate> {
  const { directory } = candidate;
  const { depth } = asking.upstream;
  const bytesBefore = await countPackBytes(directory);
  // The commit of a detached HEAD may not be reachable from refs, and git treats HEAD as a ref.
  const isDetached = head !== undefined && !('ref' in head);
  const isMoved = findMovedRefs(candidate.refs, probed).length > 0;
  const isSame = !isMoved && candidate.refs.length === probed.length;
  if (isDetached || isMoved)
    await fetchMissing(asking, directory, { head, refs: probed }, deadline);
  // A successful fetch proves little. Whether the objects that refs point at exist is cheap to check.
  const refs = isSame ? candidate.refs : await peelRefs(asking.git, directory, probed);
  const oids = refs.map(({ oid }) => oid);
  // All that a tip mirror has, so a hole would be in the workspace and not in some old commit.
  if (depth === 'tip' && !isSame) await checkTrees(asking.git, directory, oids);
  const packedRefs = (isSame ? candidate.packedRefs : undefined) ?? formatPackedRefs(refs);
  if (packedRefs !== candidate.packedRefs) await writePackedRefs(directory, packedRefs);
  await writeHead(directory, head);
  // git kept the commits that were there before the fetch.
  if (!isSame) await limitHistory(asking.git, directory, depth, oids);
  const refsDigest = digestPackedRefs(head, packedRefs);
  await writeRecord(directory, {
    version: 1,
    ...ownership,
    head: head ?? null,
    refsDigest,
    // Exit code 0 of git fetch proves nothing, so the save walks what the fetch brought.
    walkedRefsDigest: candidate.walkedRefsDigest,
    base: candidate.base,
  });
  Object.assign(candidate, { refs, packedRefs } satisfies Partial<Candidate>);
  const packBytes = await countPackBytes(directory);
  return { refsDigest, packBytes, fetchedBytes: packBytes - bytesBefore };
}

async function fetchMissing(
  asking: Asking,
  directory: string,
  { head, refs: probed }: Pick<UpstreamRefs, 'head' | 'refs'>,
  deadline: Deadline,
): Promise<void> {
  await orAsBefore(directory, asking.signal, async () => {
    // All ids and not only the new ones: git then knows at once what both sides have. With 20,000 refs, git sent 16
    // haves in one round instead of 20,000 in five.
    await fetchObjects(asking, directory, listNeededOids(head, probed), deadline);
    await packLooseObjects(asking.git, directory);
  });
}
