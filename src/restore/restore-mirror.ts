/**
 * Use case of the main step: a mirror that is up to date with upstream, from what is on this disk,
 * from a snapshot, or from a clone; lifecycle.ts decides which.
 *
 * A restored or cloned mirror stays in its staging directory until its fetch has succeeded, so what
 * stands at the mirror's place has always had a successful fetch.
 */
import { createDeadline } from '../lib/deadline.ts';
import { MirrorError, toMirrorError } from '../lib/errors.ts';
import { countFolderBytes, isPresent, removeTree } from '../lib/files.ts';
import { bindSignal, type Job } from '../job/job.ts';
import type { ClaimLock, ClaimOptions, Hold } from '../locks/lock.ts';
import { beginClone, bringUpToDate, openMirror, type Candidate } from '../mirror/candidate.ts';
import {
  adopt,
  countPackBytes,
  createStaging,
  hasRoomForCopy,
  layOut,
  packDirectory,
  sweep,
  wipe,
} from '../mirror/directory.ts';
import { inspectPlace } from '../mirror/occupant.ts';
import { START, advance, type Event, type Provenance, type State } from './lifecycle.ts';
import { enterPlace, type Place } from '../mirror/place.ts';
import { digestRefs, type Head, type ObjectFormat, type Ref } from '../mirror/refs.ts';
import { deriveKey } from '../snapshot/key.ts';
import { SnapshotSource } from './snapshot-source.ts';
import type { Verification } from './unpack-snapshot.ts';
import { OtherObjectFormat, UpstreamProbe } from './upstream-probe.ts';

/** What became of the cross-job claim. */
export type ClaimOutcome = 'acquired' | 'waited' | 'timed-out' | 'unavailable' | 'not-needed';

export interface RestoreOptions {
  cacheKey: string;
  /** Whether a cold clone is published before the step ends, so that waiting for one pays. */
  isPublishedEarly: boolean;
  verification: Verification;
  lockTimeoutMs: number;
  fetchTimeoutMs: number;
  /** Where the mirror of a key goes on this machine. */
  placeOf(key: string): string;
  /** Emptied by the runner after each job. */
  temporaryFolder: string;
}

export interface RestoredMirror {
  path: string;
  /** True where the mirror's own place could not be entered: this one is gone with the job. */
  isPrivate: boolean;
  key: string;
  objectFormat: ObjectFormat;
  provenance: Provenance;
  recloned: boolean;
  /** Id of the snapshot it was restored from. */
  snapshot: string | undefined;
  head: Head | undefined;
  refs: readonly Ref[];
  refsDigest: string;
  /** Of its packs: about what a clone would have moved. */
  packBytes: number;
  waitedMs: number;
  claim: ClaimOutcome;
}

/** What is done with the mirror while its lock, and the claim where there is one, are still held. */
export type Use<T> = (job: Job, mirror: RestoredMirror, claim: Hold | undefined) => Promise<T>;

export interface Restored<T> {
  mirror: RestoredMirror;
  used: T;
}

/** Throws the named failure that ended it; the mirror's place then holds what it held, or nothing. */
export async function restoreMirror<T>(
  job: Job,
  options: RestoreOptions,
  use: Use<T>,
): Promise<Restored<T>> {
  // Upstream's object format is part of the key and known only after the probe, which belongs under
  // the key's lock: guess the usual one, and begin again in the rare case that it is the other.
  return (
    (await restoreUnderKey(job, options, use, 'sha1')) ??
    (await restoreUnderKey(job, options, use, 'sha256')) ??
    Promise.reject(new MirrorError('unknown', 'upstream changes its object format all the time'))
  );
}

/** Undefined if upstream has another object format than the key. */
async function restoreUnderKey<T>(
  job: Job,
  options: RestoreOptions,
  use: Use<T>,
  objectFormat: ObjectFormat,
): Promise<Restored<T> | undefined> {
  const { access, refspecs } = job.upstream;
  const { cacheKey } = options;
  const key = deriveKey({ upstream: access.url, refspecs, objectFormat, cacheKey });
  const path = options.placeOf(key);
  const place = await job.account.measure('lock', () => enter(job, options, path));
  if (place.isPrivate) {
    job.account.fallBack(`${path}: ${String(place.reason)}; this job makes a mirror of its own`);
  }
  const claim = new CloneClaim();
  const bound = bindSignal(job, place.lost);
  const probe = new UpstreamProbe(bound, options.temporaryFolder, objectFormat);
  try {
    const identity = { upstream: access.url, refspecs, objectFormat };
    const source = new SnapshotSource(bound, key, identity, options.verification);
    // Before upstream is asked: what is published later may be newer than what it tells.
    await source.open();
    probe.ask();
    const parts = { place, source, claim, probe };
    const mirror = await new Restoration(bound, options, { key, objectFormat }, parts).run();
    return { mirror, used: await use(bound, mirror, claim.hold) };
  } catch (error) {
    if (error instanceof OtherObjectFormat) return undefined;
    throw error;
  } finally {
    await probe.end();
    await claim.release();
    await place.leave();
  }
}

function enter(job: Job, options: RestoreOptions, path: string): Promise<Place> {
  return enterPlace({
    path,
    lock: job.lockOf(path),
    timeoutMs: options.lockTimeoutMs,
    temporaryFolder: options.temporaryFolder,
    signal: job.signal,
    onWait: () => {
      job.log.info(`Another job is at work on ${path}; waiting for it`);
    },
  });
}

/** The right to make a clone for everybody, held until it is published or given up. */
class CloneClaim {
  outcome: ClaimOutcome = 'not-needed';
  hold: Hold | undefined;

  /** Contends for it; true if somebody else made the snapshot meanwhile. */
  async contend(lock: ClaimLock, options: ClaimOptions): Promise<boolean> {
    const acquisition = await lock.acquire(options);
    switch (acquisition.outcome) {
      case 'acquired':
        this.hold = acquisition.hold;
        this.outcome = 'acquired';
        return false;
      case 'not-needed':
        this.outcome = 'waited';
        return true;
      case 'timed-out':
      case 'unavailable':
        this.outcome = acquisition.outcome;
        return false;
    }
  }

  async release(): Promise<void> {
    await this.hold?.release();
    this.hold = undefined;
  }
}

/** States in which upstream may not have answered yet. */
const BESIDE_PROBE: ReadonlySet<State['name']> = new Set(['inspecting', 'looking-up', 'restoring']);

/** What a restoration works with besides its job. */
interface Parts {
  place: Place;
  source: SnapshotSource;
  claim: CloneClaim;
  probe: UpstreamProbe;
}

/** One run through the life cycle, alone at the mirror's place. */
class Restoration {
  readonly #job: Job;
  readonly #options: RestoreOptions;
  readonly #key: string;
  readonly #objectFormat: ObjectFormat;
  readonly #place: Place;
  readonly #source: SnapshotSource;
  readonly #claim: CloneClaim;
  readonly #probe: UpstreamProbe;
  #candidate: Candidate | undefined;
  /** Where the candidate is while it is not adopted. */
  #staging: string | undefined;
  #failure: MirrorError | undefined;

  constructor(
    job: Job,
    options: RestoreOptions,
    { key, objectFormat }: Pick<RestoredMirror, 'key' | 'objectFormat'>,
    { place, source, claim, probe }: Parts,
  ) {
    this.#job = job;
    this.#options = options;
    this.#key = key;
    this.#objectFormat = objectFormat;
    this.#place = place;
    this.#source = source;
    this.#claim = claim;
    this.#probe = probe;
  }

  async run(): Promise<RestoredMirror> {
    let state = START;
    try {
      while (state.name !== 'fetched' && state.name !== 'failed') {
        const event = await this.#perform(state);
        const next = advance(state, event);
        this.#job.log.debug(`${state.name}: ${event.name}, so ${next.name}`);
        if (event.name === 'failed' && next.name !== 'failed') this.#explain(next);
        state = next;
      }
    } finally {
      await this.#dropStaging();
    }
    if (state.name === 'failed') throw this.#failure ?? new Error('failed without a failure');
    return this.#describe(state);
  }

  /** Does what a state asks for. What goes wrong is an event as well. */
  async #perform(state: Exclude<State, { name: 'fetched' | 'failed' }>): Promise<Event> {
    try {
      switch (state.name) {
        case 'inspecting':
          return await this.#inspect();
        case 'looking-up':
          return await this.#lookUp();
        case 'restoring':
          return await this.#restore();
        case 'fetching':
          return await this.#fetch(state.attempt);
        case 'claiming':
          return await this.#contend();
        case 'cloning':
          return await this.#clone(state.recloned);
      }
    } catch (error) {
      const cause = BESIDE_PROBE.has(state.name) ? await this.#upstreamFault(error) : error;
      if (cause instanceof OtherObjectFormat) throw cause;
      this.#failure = toMirrorError(cause, 'unknown', state.name);
      return { name: 'failed', code: this.#failure.code };
    }
  }

  /** What failed beside the question is of no account where upstream is at fault. */
  #upstreamFault(other: unknown): Promise<unknown> {
    return this.#probe.answer.then(
      () => other,
      (fault: unknown) => fault,
    );
  }

  #explain(next: State): void {
    const cause = String(this.#failure?.message);
    const { account } = this.#job;
    if (next.name === 'fetching') account.recover(`${cause}; cleaning up and trying once more`);
    else account.fallBack(`${cause}; cloning afresh`);
  }

  async #inspect(): Promise<Event> {
    const { path } = this.#place;
    const occupant = await inspectPlace(path, this.#key, this.#job.upstream.access.url);
    const swept = await sweep(path);
    if (swept > 0) this.#job.log.info(`Removed ${String(swept)} leftovers beside ${path}`);
    if (occupant.is === 'absent') return { name: 'mirror-absent' };
    // What stands there is neither checked nor wiped before upstream has answered.
    const upstream = await this.#probe.answer;
    if (occupant.is === 'unusable') return this.#discard(occupant.reason);
    try {
      this.#candidate = await this.#job.account.measure('check', () =>
        openMirror(this.#job.git, path, occupant.record, upstream),
      );
    } catch (error) {
      if (!(error instanceof MirrorError) || error.code !== 'corrupt-mirror') throw error;
      return this.#discard(error.message);
    }
    return { name: 'mirror-valid' };
  }

  async #discard(reason: string): Promise<Event> {
    this.#job.account.fallBack(`The mirror at ${this.#place.path} is not used: ${reason}`);
    await wipe(this.#place.path);
    return { name: 'mirror-invalid' };
  }

  /** A restore goes on beside the probe, and nothing else does. */
  async #lookUp(): Promise<Event> {
    const event = await this.#source.lookUp();
    if (event.name === 'snapshot-found') return event;
    await this.#probe.answer;
    const { places } = this.#source;
    if (event.name === 'snapshot-absent' && places !== '') {
      this.#job.log.info(`No snapshot in ${places}`);
    }
    return event;
  }

  /** Fills a staging directory, which is dropped where upstream is at fault. */
  async #restore(): Promise<Event> {
    const unpacked = await this.#source.unpack(await this.#newStaging(), this.#probe.failed);
    // Before the fetch, whose failures are taken for the mirror's.
    await this.#probe.answer;
    if ('name' in unpacked) {
      await this.#dropStaging();
      return unpacked;
    }
    this.#candidate = unpacked;
    return { name: 'restored' };
  }

  async #fetch(attempt: 1 | 2): Promise<Event> {
    const candidate = this.#current();
    if (attempt === 2) {
      // Locks and temporary packs of the first attempt; refs that upstream has moved since.
      await layOut(candidate.directory, this.#objectFormat);
      await this.#askAgain();
    }
    await this.#job.account.measure('fetch', () => this.#update(candidate), bytesOf);
    return { name: 'fetched' };
  }

  /** Waits for the job that makes the snapshot, where that one makes it soon. */
  async #contend(): Promise<Event> {
    const { claimOf, log, signal, account, store } = this.#job;
    const { fence } = this.#source;
    await this.#dropStaging();
    if (!this.#options.isPublishedEarly || claimOf === undefined || fence === null) {
      return { name: 'claim-settled' };
    }
    const isMade = await account.measure('claim', () =>
      this.#claim.contend(claimOf(this.#key, fence + 1), {
        timeoutMs: this.#options.lockTimeoutMs,
        signal,
        isDone: (bounded) => this.#source.hasNewer(bounded),
        onWait: (holder = 'another job') => {
          log.info(`Waiting for ${holder}, which makes a snapshot in ${String(store?.location)}`);
        },
      }),
    );
    if (!isMade) return { name: 'claim-settled' };
    // The snapshot may be newer than what upstream told before the wait.
    await this.#source.open();
    this.#probe.ask();
    return { name: 'snapshot-made' };
  }

  async #clone(isRepeated: boolean): Promise<Event> {
    const { path } = this.#place;
    await this.#dropStaging();
    if (isRepeated) await this.#askAgain();
    await this.#makeRoom();
    const staging = await this.#newStaging();
    const candidate = await beginClone(staging, this.#objectFormat);
    this.#job.log.info(`Cloning ${this.#job.upstream.access.url} to ${path}`);
    await this.#job.account.measure('clone', () => this.#update(candidate), bytesOf);
    return { name: 'fetched' };
  }

  async #update(candidate: Candidate): Promise<number> {
    const { path } = this.#place;
    const ownership = {
      key: this.#key,
      upstream: this.#job.upstream.access.url,
      fence: this.#source.fence,
      rejected: [...candidate.rejected, ...this.#source.rejected],
    };
    const upstream = await this.#probe.answer;
    const deadline = createDeadline(this.#options.fetchTimeoutMs);
    const bytes = await bringUpToDate(this.#job, candidate, upstream, ownership, deadline);
    if (this.#staging !== undefined) {
      await adopt(this.#staging, path);
      this.#staging = undefined;
    }
    this.#candidate = candidate;
    return bytes;
  }

  /** A mirror at fault stays until the clone that replaces it is whole, where both have room. */
  async #makeRoom(): Promise<void> {
    const { path } = this.#place;
    // An empty folder may stand there as well.
    if (!(await isPresent(packDirectory(path)))) return;
    const bytes = await countFolderBytes(packDirectory(path));
    if (!(await hasRoomForCopy(path, bytes))) await wipe(path);
  }

  async #askAgain(): Promise<void> {
    this.#probe.ask();
    await this.#probe.answer;
  }

  #current(): Candidate {
    if (this.#candidate === undefined) throw new Error('there is no candidate yet');
    return this.#candidate;
  }

  async #newStaging(): Promise<string> {
    this.#staging = await createStaging(this.#place.path);
    return this.#staging;
  }

  async #dropStaging(): Promise<void> {
    if (this.#staging !== undefined) await removeTree(this.#staging);
    this.#staging = undefined;
  }

  async #describe(state: Extract<State, { name: 'fetched' }>): Promise<RestoredMirror> {
    const candidate = this.#current();
    const { head, objectFormat } = await this.#probe.answer;
    const isRestored = state.provenance === 'restored';
    return {
      path: this.#place.path,
      isPrivate: this.#place.isPrivate,
      key: this.#key,
      objectFormat,
      provenance: state.provenance,
      recloned: state.recloned,
      snapshot: isRestored ? candidate.base?.id : undefined,
      head,
      refs: candidate.refs,
      refsDigest: candidate.refsDigest ?? digestRefs(head, candidate.refs),
      packBytes: await countPackBytes(this.#place.path),
      waitedMs: this.#place.waitedMs,
      claim: this.#claim.outcome,
    };
  }
}

function bytesOf(bytes: number): number {
  return bytes;
}
