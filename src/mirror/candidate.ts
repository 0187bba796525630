/**
 * A candidate: a directory that is to become, or again be, the mirror. It is made from what stands
 * at the mirror's place, from a snapshot (snapshot/unpack.ts), or empty for a clone; after
 * `bringUpToDate` it is what upstream has.
 */
import type { Deadline } from '../lib/deadline.ts';
import { MirrorError, describeError } from '../lib/errors.ts';
import type { Git } from '../git/git.ts';
import {
  countPackBytes,
  layOut,
  listPacks,
  parseRefs,
  readPackedRefs,
  tidyPacks,
  writeHead,
  writePackedRefs,
} from './directory.ts';
import { packLooseObjects, removePacks } from './maintenance.ts';
import { checkTree, peelRefs } from './objects.ts';
import { writeRecord, type MirrorRecord } from './record.ts';
import {
  digestPackedRefs,
  findHeadCommit,
  findMovedRefs,
  formatPackedRefs,
  listNeededOids,
  type ObjectFormat,
  type Ref,
  type UpstreamRefs,
} from './refs.ts';
import { fetchObjects, type Asking } from './upstream.ts';

export interface Candidate {
  directory: string;
  /** Peeled by git, which has found what they point at. */
  refs: readonly Ref[];
  /** The content of packed-refs, where that holds just these. */
  packedRefs?: string | undefined;
  /** Of HEAD and these, since it was brought up to date. */
  refsDigest?: string;
  base: MirrorRecord['base'];
  /** Ids of snapshots that were found bad since the mirror was saved last. */
  rejected: readonly string[];
  walkedRefsDigest: string | null;
}

/** What the record says of whose mirror it is. */
export type Ownership = Pick<MirrorRecord, 'key' | 'upstream' | 'fence' | 'rejected'>;

/**
 * Opens the mirror that stands at its place: what is foreign is removed, then git is asked whether
 * everything that refs point at and HEAD's whole tree are there. Throws `corrupt-mirror`.
 */
export async function openMirror(
  git: Git,
  directory: string,
  record: MirrorRecord,
  { objectFormat, refs: probed }: UpstreamRefs,
): Promise<Candidate> {
  await layOut(directory, objectFormat);
  const read = await readRefsOrThrow(directory, objectFormat, probed);
  const refs = await peelRefs(git, directory, read.refs);
  const packedRefs = refs === read.refs ? read.packedRefs : undefined;
  const commit = findHeadCommit(record.head ?? undefined, refs);
  if (commit !== undefined) await checkTree(git, directory, commit);
  const { base, rejected, walkedRefsDigest } = record;
  return { directory, refs, packedRefs, base, rejected, walkedRefsDigest };
}

/** The very refs of the probe, which need no other look, where packed-refs holds just these. */
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

/** Makes an empty directory the beginning of a clone. */
export async function beginClone(
  directory: string,
  objectFormat: ObjectFormat,
): Promise<Candidate> {
  await layOut(directory, objectFormat);
  return { directory, refs: [], base: null, rejected: [], walkedRefsDigest: null };
}

/**
 * Fetches what the probe saw and the candidate lacks, then puts the probe's refs in place and
 * writes the record. Returns the bytes of the new packs. After a failed fetch, refs and packs are as before.
 */
export async function bringUpToDate(
  asking: Asking,
  candidate: Candidate,
  { refs: probed, head }: UpstreamRefs,
  ownership: Ownership,
  deadline: Deadline,
): Promise<number> {
  const { directory } = candidate;
  const packsBefore = await listPacks(directory);
  const bytesBefore = await countPackBytes(directory);
  // A detached HEAD's commit need not be among what refs reach, and git takes HEAD for a ref.
  const isDetached = head !== undefined && !('ref' in head);
  const isMoved = findMovedRefs(candidate.refs, probed).length > 0;
  const isSame = !isMoved && candidate.refs.length === probed.length;
  if (isDetached || isMoved) {
    // All ids and not only the new ones: git then knows at once what both sides have. With 20,000
    // refs that made 16 haves in one round of what were 20,000 haves in five.
    try {
      await fetchObjects(asking, directory, listNeededOids(head, probed), deadline);
      await packLooseObjects(asking.git, directory);
    } catch (error) {
      // Packs that arrived although the fetch failed need not be connected to anything.
      await removePacks(directory, packsBefore);
      throw error;
    } finally {
      // An interrupted attempt leaves its temporary pack, even if the next one succeeds.
      await tidyPacks(directory);
    }
  }
  // A fetch that succeeded proves little; that what refs point at is there is cheap to see.
  const refs = isSame ? candidate.refs : await peelRefs(asking.git, directory, probed);
  const packedRefs = (isSame ? candidate.packedRefs : undefined) ?? formatPackedRefs(refs);
  if (packedRefs !== candidate.packedRefs) await writePackedRefs(directory, packedRefs);
  await writeHead(directory, head);
  const refsDigest = digestPackedRefs(head, packedRefs);
  await writeRecord(directory, {
    version: 1,
    ...ownership,
    head: head ?? null,
    refsDigest,
    // That git fetch exited with 0 proves nothing: the save walks what this brought.
    walkedRefsDigest: candidate.walkedRefsDigest,
    base: candidate.base,
  });
  Object.assign(candidate, { refs, packedRefs, refsDigest } satisfies Partial<Candidate>);
  return (await countPackBytes(directory)) - bytesBefore;
}
