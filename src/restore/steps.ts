/**
 * What each state of the life cycle does, alone at the mirror's place. A restored or cloned mirror stays
 * in its staging directory until its fetch has succeeded, so the mirror at the place has always had a
 * successful fetch.
 */
import type { Job } from '../job/job.ts';
import { createDeadline } from '../lib/deadline.ts';
import { MirrorError, throwIfCancelled } from '../lib/errors.ts';
import { countFolderBytes, isPresent, removeTree } from '../lib/files.ts';
import {
  beginClone,
  bringUpToDate,
  openMirror,
  tidyCandidate,
  type Candidate,
  type UpToDate,
} from '../mirror/candidate.ts';
import { adopt, createStaging, hasRoomForCopy, sweep, wipe } from '../mirror/directory.ts';
import { inspectPlace } from '../mirror/occupant.ts';
import type { Place } from '../mirror/place.ts';
import { contend, type Work } from './clone-claim.ts';
import type { End, Event, State } from './lifecycle.ts';
import {
  describeSource,
  judgeNext,
  unpackFound,
  type SnapshotInStore,
  type SnapshotSource,
} from './snapshot-source.ts';
import { startProbe, upstreamOf, type UpstreamProbe } from './upstream-probe.ts';
import { packDirectory } from '../mirror/packs.ts';

/** One round at a place, and what its steps have made so far. */
export interface Round extends Readonly<Work> {
  /** Ends when the place's lock is lost, too. */
  readonly job: Job;
  readonly place: Place;
  readonly source: SnapshotSource;
  /** Ids of snapshots that were found bad: they are to be replaced, whatever they hold. */
  readonly rejected: Set<string>;
  probe: UpstreamProbe;
  /** The snapshot that was looked up last. */
  found: SnapshotInStore | undefined;
  candidate: Candidate | undefined;
  /** After the fetch. */
  upToDate: UpToDate | undefined;
  /** Where the candidate is until it is adopted. */
  staging: string | undefined;
}

/** Does what a state asks for. Throws what went wrong. */
export function perform(round: Round, state: Exclude<State, End>): Promise<Event> {
  switch (state.name) {
    case 'inspecting':
      return inspect(round);
    case 'looking-up':
      return lookUp(round);
    case 'restoring':
      return restore(round);
    case 'fetching':
      return fetchInto(round, state.attempt);
    case 'claiming':
      return contend(round, round.source.fence);
    case 'cloning':
      return clone(round, state.recloned);
  }
}

async function inspect(round: Round): Promise<Event> {
  const { job, identity, place } = round;
  const { path } = place;
  const occupant = await inspectPlace(path, identity.key, identity.spec.url);
  await sweep(path, job.log);
  if (occupant.is === 'absent') return { name: 'mirror-absent' };
  // The existing mirror is neither checked nor wiped before upstream has answered.
  const upstream = await round.probe.answer;
  if (occupant.is === 'unusable') return discard(round, occupant.reason);
  for (const id of occupant.record.rejected) round.rejected.add(id);
  try {
    round.candidate = await job.account.measure('check', () =>
      openMirror(job.git, path, occupant.record, upstream, identity.spec.depth),
    );
  } catch (error) {
    if (!(error instanceof MirrorError) || error.code !== 'corrupt-mirror') throw error;
    return discard(round, error.message);
  }
  return { name: 'mirror-valid' };
}

async function discard({ job, place }: Round, reason: string): Promise<Event> {
  // Another job may be changing it.
  throwIfCancelled(job.signal);
  job.account.fallBack(`The mirror at ${place.path} is not used: ${reason}`, 'unusable-mirror');
  await wipe(place.path);
  return { name: 'mirror-invalid' };
}

async function lookUp(round: Round): Promise<Event> {
  const { job, source, identity } = round;
  const judgement = await judgeNext(job, source, identity);
  if ('id' in judgement) round.rejected.add(judgement.id);
  if (judgement.name === 'snapshot-found') {
    round.found = judgement.found;
    return { name: judgement.name };
  }
  // Only a restore runs in parallel with the probe.
  await round.probe.answer;
  const places = describeSource(source);
  if (judgement.name === 'snapshot-absent' && places !== '')
    job.log.info(`No snapshot in ${places}`);
  return { name: judgement.name };
}

async function restore(round: Round): Promise<Event> {
  const { job, identity, options, probe, found } = round;
  if (found === undefined) throw new Error('no snapshot was found');
  const target = {
    key: identity.key,
    verification: options.verification,
    directory: await newStaging(round),
    stopped: probe.failed,
  };
  const unpacked = await unpackFound(job, found, target);
  // Before the fetch, whose failures are taken for the mirror's.
  await probe.answer;
  if (typeof unpacked !== 'string') {
    round.candidate = unpacked;
    return { name: 'restored' };
  }
  if (unpacked === 'snapshot-bad') round.rejected.add(found.snapshot.id);
  await dropStaging(round);
  return { name: unpacked };
}

async function fetchInto(round: Round, attempt: 1 | 2): Promise<Event> {
  const { candidate, identity, job } = round;
  if (candidate === undefined) throw new Error('there is nothing to fetch into');
  if (attempt === 2) {
    // Locks and temporary packs of the first attempt; refs that moved upstream since.
    await tidyCandidate(job.git, candidate, identity.objectFormat, identity.spec.depth);
    await askAgain(round);
  }
  return update(round, 'fetch', candidate);
}

async function clone(round: Round, isRepeated: boolean): Promise<Event> {
  const { job, identity, place } = round;
  await dropStaging(round);
  if (isRepeated) await askAgain(round);
  await makeRoom(place.path);
  const candidate = await beginClone(await newStaging(round), identity.objectFormat);
  job.log.info(`Cloning ${identity.spec.url} to ${place.path}`);
  return update(round, 'clone', candidate);
}

/** Fetches, then adopts. */
async function update(
  round: Round,
  phase: 'fetch' | 'clone',
  candidate: Candidate,
): Promise<Event> {
  round.candidate = candidate;
  round.upToDate = await round.job.account.measure(
    phase,
    () => fetchAndAdopt(round, candidate),
    ({ fetchedBytes }) => fetchedBytes,
  );
  return { name: 'fetched' };
}

async function fetchAndAdopt(round: Round, candidate: Candidate): Promise<UpToDate> {
  const { job, identity, place, source, options } = round;
  const { spec, key } = identity;
  const asking = { ...job, upstream: upstreamOf(job, spec) };
  const rejected = [...round.rejected];
  const ownership = { key, upstream: spec.url, fence: source.fence, rejected };
  const upstream = await round.probe.answer;
  const deadline = createDeadline(options.fetchTimeoutMs, options.stallTimeoutMs);
  const upToDate = await bringUpToDate(asking, candidate, upstream, ownership, deadline);
  if (round.staging !== undefined) {
    throwIfCancelled(job.signal);
    await adopt(round.staging, place.path);
    round.staging = undefined;
  }
  return upToDate;
}

/** A mirror at fault stays until the clone that replaces it is whole, where the disk has room for both. */
async function makeRoom(path: string): Promise<void> {
  // The place may hold an empty folder.
  if (!(await isPresent(packDirectory(path)))) return;
  const bytes = await countFolderBytes(packDirectory(path));
  if (!(await hasRoomForCopy(path, bytes))) await wipe(path);
}

async function askAgain(round: Round): Promise<void> {
  await round.probe.end();
  round.probe = startProbe(round.job, round.identity, round.options);
  await round.probe.answer;
}

async function newStaging(round: Round): Promise<string> {
  round.staging = await createStaging(round.place.path);
  return round.staging;
}

/** What cannot be removed is left to the next sweep. */
export async function dropStaging(round: Round): Promise<void> {
  if (round.staging !== undefined) await removeTree(round.staging).catch(() => undefined);
  round.staging = undefined;
}
