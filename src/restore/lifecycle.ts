/**
 * The life cycle of a mirror, as a pure state machine: what was learned decides what is done next.
 * The use case (restore-mirror.ts) does it and reports back; no decision is taken anywhere else.
 *
 *   inspecting -> [looking-up -> restoring]* -> fetching -> [fetching again] -> claiming -> cloning
 *                  ^                                                            |
 *                  +-- once: another job has made a snapshot meanwhile <--------+
 *
 * Upstream is asked when it begins. Only a restore, into a staging directory, goes on beside the probe:
 * what stands at the mirror's place is not touched before upstream has answered. Every path ends after
 * at most one restore for each of MAX_SNAPSHOTS snapshots and two fetches, all of that once more after a
 * wait for another job, and one clone.
 */
import type { ErrorCode } from '../lib/errors.ts';

export type Provenance = 'existing' | 'restored' | 'cloned';

interface Search {
  /** Snapshots that turned out bad. */
  tried: number;
  /** Something was there and is no more. */
  wiped: boolean;
  /** For another job, which is done once. */
  waited: boolean;
}

export type State =
  | { name: 'inspecting' }
  /** Ask the store for the newest snapshot that was not tried yet. */
  | ({ name: 'looking-up' } & Search)
  | ({ name: 'restoring' } & Search)
  /** Attempt 2 begins with removing what an interrupted fetch leaves behind, and a new probe. */
  | { name: 'fetching'; provenance: 'existing' | 'restored'; attempt: 1 | 2; waited: boolean }
  /** No snapshot is of use: become the one job that makes it, or wait for the one that does. */
  | { name: 'claiming'; recloned: boolean }
  | { name: 'cloning'; recloned: boolean }
  | { name: 'fetched'; provenance: Provenance; recloned: boolean }
  | { name: 'failed'; code: ErrorCode };

export type Event =
  | { name: 'mirror-valid' }
  | { name: 'mirror-absent' }
  /** There is one of ours, and it is not usable. */
  | { name: 'mirror-invalid' }
  | { name: 'snapshot-found' }
  /** Proven absence, or a store that fails: nothing is said against what it holds. */
  | { name: 'snapshot-absent' }
  /** The newest says that it and all older ones are not to be trusted. */
  | { name: 'snapshot-revoked' }
  | { name: 'snapshot-bad' }
  /** The clone is this job's to make, alone or beside others. */
  | { name: 'claim-settled' }
  /** While this job waited for its claim, another has published. */
  | { name: 'snapshot-made' }
  | { name: 'restored' }
  | { name: 'fetched' }
  | { name: 'failed'; code: ErrorCode };

/** Older snapshots are tried when newer ones are bad; past this a clone is the better bet. */
export const MAX_SNAPSHOTS = 3;

export const START: State = { name: 'inspecting' };

/**
 * Failures of a fetch that no other mirror would cure. Everything else, after a probe that upstream
 * answered, is taken for the mirror's fault.
 */
const FETCH_FAILURES_NOT_THE_MIRRORS: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'authentication',
  'not-found',
  'moved',
  'empty-upstream',
  'no-space',
  'cancelled',
  'git-unusable',
  'ssh-unusable',
  'mirror-refused',
]);

/** The next state. Throws for an event that cannot happen in a state: that is a defect. */
export function advance(state: State, event: Event): State {
  switch (state.name) {
    case 'inspecting':
      return afterInspection(event);
    case 'looking-up':
      return afterLookUp(state, event);
    case 'restoring':
      if (event.name === 'restored') return toFetching('restored', 1, state.waited);
      if (event.name === 'snapshot-absent') return afterSearch(state.wiped, state.waited);
      if (event.name === 'snapshot-bad') return afterBadSnapshot(state);
      break;
    case 'fetching':
      if (event.name === 'fetched') {
        return { name: 'fetched', provenance: state.provenance, recloned: false };
      }
      if (event.name === 'failed') return afterFailedFetch(state, event.code);
      break;
    case 'claiming':
      if (event.name === 'claim-settled') return { name: 'cloning', recloned: state.recloned };
      if (event.name === 'snapshot-made') {
        return { name: 'looking-up', tried: 0, wiped: state.recloned, waited: true };
      }
      break;
    case 'cloning':
      if (event.name === 'fetched') {
        return { name: 'fetched', provenance: 'cloned', recloned: state.recloned };
      }
      break;
    case 'fetched':
    case 'failed':
      throw new Error(`nothing follows ${state.name}`);
  }
  if (event.name === 'failed') return { name: 'failed', code: event.code };
  throw impossible(state, event);
}

function impossible(state: State, event: Event): Error {
  return new Error(`${event.name} cannot happen while ${state.name}`);
}

function afterInspection(event: Event): State {
  switch (event.name) {
    case 'mirror-valid':
      return toFetching('existing', 1, false);
    case 'mirror-absent':
      return { name: 'looking-up', tried: 0, wiped: false, waited: false };
    case 'mirror-invalid':
      return { name: 'looking-up', tried: 0, wiped: true, waited: false };
    case 'failed':
      return { name: 'failed', code: event.code };
    default:
      throw impossible({ name: 'inspecting' }, event);
  }
}

function afterLookUp(state: Extract<State, { name: 'looking-up' }>, event: Event): State {
  const tried = state.tried + 1;
  switch (event.name) {
    case 'snapshot-found':
      return { ...state, name: 'restoring', tried };
    case 'snapshot-bad':
      return afterBadSnapshot({ ...state, tried });
    case 'snapshot-absent':
      return afterSearch(state.wiped, state.waited);
    case 'snapshot-revoked':
      return afterSearch(true, state.waited);
    case 'failed':
      return { name: 'failed', code: event.code };
    default:
      throw impossible(state, event);
  }
}

function toFetching(provenance: 'existing' | 'restored', attempt: 1 | 2, waited: boolean): State {
  return { name: 'fetching', provenance, attempt, waited };
}

function afterBadSnapshot({ tried, waited }: Search): State {
  if (tried >= MAX_SNAPSHOTS) return afterSearch(true, waited);
  return { name: 'looking-up', tried, wiped: true, waited };
}

/** Without a snapshot there has to be a clone: of one job for all, where that can be had. */
function afterSearch(recloned: boolean, waited: boolean): State {
  return { name: waited ? 'cloning' : 'claiming', recloned };
}

function afterFailedFetch(state: Extract<State, { name: 'fetching' }>, code: ErrorCode): State {
  if (FETCH_FAILURES_NOT_THE_MIRRORS.has(code)) return { name: 'failed', code };
  const { provenance, attempt, waited } = state;
  // A deadline that has passed leaves no time for the same fetch again.
  if (attempt === 1 && code !== 'timeout') return toFetching(provenance, 2, waited);
  // Everybody who restored that snapshot is about to clone.
  return provenance === 'restored'
    ? afterSearch(true, waited)
    : { name: 'cloning', recloned: true };
}
