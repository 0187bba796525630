/**
 * Use case of the main step: a mirror that is up to date with upstream, from the one on this disk, from a
 * snapshot, or from a clone; lifecycle.ts decides which.
 */
import { bindSignal, type Job } from '../job/job.ts';
import { MirrorError, hasCode, systemCode, toMirrorError } from '../lib/errors.ts';
import { enterPlace, makePrivatePlace, type Place } from '../mirror/place.ts';
import type { ObjectFormat } from '../mirror/refs.ts';
import { identify, type MirrorIdentity, type MirrorSpec } from '../snapshot/identity.ts';
import { waitForClaim, type Work } from './clone-claim.ts';
import {
  START,
  advance,
  isEnd,
  startAgain,
  type End,
  type Event,
  type State,
} from './lifecycle.ts';
import type { MirrorSession, RestoredMirror, RestoreOptions } from './session.ts';
import { openSource } from './snapshot-source.ts';
import { dropStaging, perform, type Round } from './steps.ts';
import { OtherObjectFormat, startProbe } from './upstream-probe.ts';

/**
 * Opens a mirror that is up to date. Throws the named failure that ended it; the mirror's place then holds
 * what it held before, or nothing.
 */
export async function restoreMirror(
  job: Job,
  spec: MirrorSpec,
  options: RestoreOptions,
): Promise<MirrorSession> {
  // Upstream's object format is part of the key and known only after the probe, which belongs under the
  // key's lock: assume the usual one, and start again in the rare case that it is the other.
  let objectFormat: ObjectFormat = 'sha1';
  for (let tries = 1; ; tries++) {
    try {
      return await openSession(job, identify(spec, objectFormat), options);
    } catch (error) {
      if (!(error instanceof OtherObjectFormat)) throw error;
      if (tries > 1) {
        throw new MirrorError('unknown', "upstream's object format changed between two probes");
      }
      objectFormat = error.objectFormat;
    }
  }
}

async function openSession(
  job: Job,
  identity: MirrorIdentity,
  options: RestoreOptions,
): Promise<MirrorSession> {
  const work: Work = {
    ...{ job, identity, options },
    claim: { outcome: 'not-needed', hold: undefined },
  };
  try {
    const first = await runRound(work, START);
    if ('mirror' in first) return first;
    await waitForClaim(work, first.fence);
    const second = await runRound(work, startAgain(first.end));
    if ('mirror' in second) return second;
    throw new Error('the second round waits for nobody');
  } catch (error) {
    await work.claim.hold?.release();
    throw error;
  }
}

/** Why a round ended without a session, and the fence that it worked under. */
interface Waiting {
  end: Extract<End, { name: 'waiting' }>;
  fence: number | null;
}

/**
 * Runs the life cycle once. Where this user may not write, or the default place holds something that is not this
 * job's to replace (another user's mirror, one of a newer version), the job makes a private mirror: nobody
 * chose that place, so nobody would know what to change.
 */
async function runRound(work: Work, start: State): Promise<MirrorSession | Waiting> {
  const { job, options, identity } = work;
  const place = await enter(job, options, identity.key);
  try {
    return await runAt(place, work, start);
  } catch (error) {
    if (!hasCode(error, 'mirror-refused') || place.isPrivate) throw error;
    if (options.isPlaceChosen && !isDenied(error.cause)) throw error;
    goPrivate(job, error);
    return runAt(await makePrivatePlace(place.path, job.temporaryFolder), work, start);
  }
}

/** Leaves the place at the end, unless it gives a session. */
async function runAt(place: Place, work: Work, start: State): Promise<MirrorSession | Waiting> {
  let round: Round | undefined;
  try {
    round = await openRound(place, work);
    const end = await runToEnd(round, start);
    await round.probe.end();
    if (end.name === 'fetched') return openedBy(round, await describe(round, end));
    await place.leave();
    return { end, fence: round.source.fence };
  } catch (error) {
    await round?.probe.end();
    await place.leave();
    throw error;
  }
}

async function enter(job: Job, options: RestoreOptions, key: string): Promise<Place> {
  const path = options.placeOf(key);
  const place = await job.account.measure('lock', () =>
    enterPlace({
      path,
      lock: job.lockOf(path),
      timeoutMs: options.lockTimeoutMs,
      temporaryFolder: job.temporaryFolder,
      signal: job.signal,
      onWait: () => {
        job.log.info(`Another job is working on ${path}; waiting for it`);
      },
    }),
  );
  if (place.obstacle !== undefined) goPrivate(job, place.obstacle);
  return place;
}

function goPrivate({ account }: Job, obstacle: MirrorError): void {
  account.fallBack(`${obstacle.message}; this job makes a mirror of its own`, obstacle);
}

async function openRound(place: Place, work: Work): Promise<Round> {
  const job = bindSignal(work.job, place.lost);
  const { identity } = work;
  // Before upstream is asked: what is published later may be newer than its answer.
  const source = await openSource(job, identity.key);
  const probe = startProbe(job, identity, work.options);
  const made = { found: undefined, candidate: undefined, upToDate: undefined, staging: undefined };
  return { ...work, job, place, source, probe, rejected: new Set(), ...made };
}

/** Throws the failure that ended it. */
async function runToEnd(round: Round, start: State): Promise<Exclude<End, { name: 'failed' }>> {
  let state = start;
  try {
    for (;;) {
      if (isEnd(state)) {
        if (state.name === 'failed') throw new Error('failed without a failure');
        return state;
      }
      const { event, failure }: Outcome = await performOrFail(round, state);
      const next = advance(state, event);
      round.job.log.debug(`${state.name}: ${event.name}, so ${next.name}`);
      if (failure !== undefined) {
        if (next.name === 'failed') throw failure;
        recover(round, failure, state, next);
      }
      state = next;
    }
  } finally {
    await dropStaging(round);
  }
}

interface Outcome {
  event: Event;
  failure?: MirrorError;
}

/** States in which upstream may not have answered yet. */
const BEFORE_ANSWER: ReadonlySet<State['name']> = new Set([
  'inspecting',
  'looking-up',
  'restoring',
]);

/** A failure is an event, too. */
async function performOrFail(round: Round, state: Exclude<State, End>): Promise<Outcome> {
  try {
    return { event: await perform(round, state) };
  } catch (error) {
    const cause = BEFORE_ANSWER.has(state.name) ? await findUpstreamFault(round, error) : error;
    if (cause instanceof OtherObjectFormat) throw cause;
    const { path } = round.place;
    // Before a fetch, a folder that this user may not change; later, something that has a file open.
    const isRefused = state.name !== 'fetching' && isDenied(cause);
    const code = isRefused ? 'mirror-refused' : 'unknown';
    const failure = toMirrorError(cause, code, `the mirror at ${path} cannot be made or updated`);
    return { event: { name: 'failed', code: failure.code }, failure };
  }
}

/** Whether a file system says that this user may not do that. */
function isDenied(error: unknown): boolean {
  return ['EACCES', 'EPERM', 'EROFS'].includes(systemCode(error) ?? '');
}

/** An upstream failure takes precedence over whatever else failed. */
function findUpstreamFault({ probe }: Round, other: unknown): Promise<unknown> {
  return probe.answer.then(
    () => other,
    (fault: unknown) => fault,
  );
}

function recover(round: Round, failure: MirrorError, failed: State, next: State): void {
  const { account } = round.job;
  if (next.name === 'fetching') {
    account.recover(`${failure.message}; cleaning up and trying again`, failure);
    return;
  }
  // A snapshot that no fetch succeeds into must be replaced, even by one with the same refs.
  const isOfSnapshot = failed.name === 'fetching' && failed.provenance === 'restored';
  if (isOfSnapshot && round.found !== undefined) round.rejected.add(round.found.snapshot.id);
  account.fallBack(`${failure.message}; cloning from scratch`, failure);
}

async function describe(
  { identity, place, candidate, upToDate, claim, probe }: Round,
  { provenance, recloned }: Extract<End, { name: 'fetched' }>,
): Promise<RestoredMirror> {
  if (candidate === undefined || upToDate === undefined) {
    throw new Error('fetched without a mirror');
  }
  const { head } = await probe.answer;
  const { path, isPrivate, waitedMs } = place;
  const { refs, base } = candidate;
  const { refsDigest, packBytes } = upToDate;
  return {
    ...{ identity, path, isPrivate, provenance, recloned, head, refs, refsDigest, packBytes },
    ...{ waitedMs, claim: claim.outcome },
    snapshot: provenance === 'restored' ? base?.id : undefined,
  };
}

function openedBy({ job, place, claim }: Round, mirror: RestoredMirror): MirrorSession {
  return {
    mirror,
    job,
    claim: claim.hold,
    [Symbol.asyncDispose]: async () => {
      await claim.hold?.release();
      await place.leave();
    },
  };
}
