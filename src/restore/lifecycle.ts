/**
 * The life cycle of a mirror, as a pure state machine: what was learned decides what is done next.
 * Steps (steps.ts) do it and report back; no decision is taken anywhere else.
 *
 *   inspecting -> [looking-up -> restoring]* -> fetching -> [fetching again] -> claiming -> cloning
 *                                                                                  |
 *                                                                                  +-> waiting
 *
 * `waiting` ends a round: another job makes the snapshot, so this one leaves the mirror's place, waits,
 * and starts a second round, which never waits again. Each round ends after at most one restore for each
 * of MAX_SNAPSHOTS snapshots, two fetches and one clone.
 *
 * Upstream is asked when a round begins. Only a restore, into a staging directory, runs in parallel with
 * the probe: the mirror's place is not touched before upstream has answered.
 */
import type { ErrorCode } from '../lib/errors.ts';

export type Provenance = 'existing' | 'restored' | 'cloned';

interface Search {
  /** Snapshots that turned out bad. */
  tried: number;
  /** Something existed and turned out unusable. */
  wiped: boolean;
  /** This is the second round, after a wait for another job. */
  waited: boolean;
}

export type State =
  | { name: 'inspecting'; wiped: boolean; waited: boolean }
  /** Ask the stores for the newest snapshot that was not tried yet. */
  | ({ name: 'looking-up' } & Search)
  | ({ name: 'restoring' } & Search)
  /** Attempt 2 begins with removing what an interrupted fetch leaves behind, and a new probe. */
  | { name: 'fetching'; provenance: 'existing' | 'restored'; attempt: 1 | 2; waited: boolean }
  /** No snapshot is usable: become the one job that makes it, or find the one that does. */
  | { name: 'claiming'; recloned: boolean }
  | { name: 'cloning'; recloned: boolean }
  | End;

export type End =
  | { name: 'fetched'; provenance: Provenance; recloned: boolean }
  | { name: 'waiting'; recloned: boolean }
  | { name: 'failed'; code: ErrorCode };

export type Event =
  | { name: 'mirror-valid' }
  | { name: 'mirror-absent' }
  /** There is one of ours, and it is unusable. */
  | { name: 'mirror-invalid' }
  | { name: 'snapshot-found' }
  /** Proven absence, or a store that fails: this says nothing about what it holds. */
  | { name: 'snapshot-absent' }
  /** The newest says that it and all older ones are not to be trusted. */
  | { name: 'snapshot-revoked' }
  | { name: 'snapshot-bad' }
  /** This job may clone: it has the claim, or the store has none. */
  | { name: 'claim-settled' }
  /** Another job has the claim. */
  | { name: 'claim-held' }
  | { name: 'restored' }
  | { name: 'fetched' }
  | { name: 'failed'; code: ErrorCode };

/** Older snapshots are tried when newer ones are bad; past this a clone is the better bet. */
export const MAX_SNAPSHOTS = 3;

export const START: State = { name: 'inspecting', wiped: false, waited: false };

/** The start of the round after a wait. */
export function startAgain({ recloned }: Extract<End, { name: 'waiting' }>): State {
  return { name: 'inspecting', wiped: recloned, waited: true };
}

/**
 * Failures of a fetch that no other mirror would cure: a line that was cut several times would be cut in a
 * clone, which moves more. Everything else, after a probe that upstream answered, is taken for the mirror's
 * fault.
 */
const FETCH_FAILURES_NOT_THE_MIRRORS: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'authentication',
  'not-found',
  'moved',
  'network',
  'empty-upstream',
  'shallow-upstream',
  'depth-refused',
  'no-space',
  'cancelled',
  'lost-lock',
  'lost-claim',
  'git-unusable',
  'ssh-unusable',
  'mirror-refused',
]);

export function isEnd(state: State): state is End {
  return state.name === 'fetched' || state.name === 'waiting' || state.name === 'failed';
}

/** The next state. Throws for an event that cannot happen in a state: that is a defect. */
export function advance(state: State, event: Event): State {
  if (isEnd(state)) throw new Error(`nothing follows ${state.name}`);
  if (event.name === 'failed') {
    return state.name === 'fetching'
      ? afterFailedFetch(state, event.code)
      : { name: 'failed', code: event.code };
  }
  const next = follow(state, event.name);
  if (next === undefined) throw new Error(`${event.name} cannot happen while ${state.name}`);
  return next;
}

function follow(
  state: Exclude<State, End>,
  event: Exclude<Event['name'], 'failed'>,
): State | undefined {
  switch (state.name) {
    case 'inspecting':
      return afterInspection(state, event);
    case 'looking-up':
      return afterLookUp({ ...state, tried: state.tried + 1 }, event);
    case 'restoring':
      if (event === 'restored') return toFetching('restored', 1, state.waited);
      if (event === 'snapshot-absent') return afterSearch(state.wiped, state.waited);
      return event === 'snapshot-bad' ? afterBadSnapshot(state) : undefined;
    case 'fetching':
      if (event !== 'fetched') return undefined;
      return { name: 'fetched', provenance: state.provenance, recloned: false };
    case 'claiming':
      if (event === 'claim-held') return { name: 'waiting', recloned: state.recloned };
      return event === 'claim-settled' ? { name: 'cloning', recloned: state.recloned } : undefined;
    case 'cloning':
      if (event !== 'fetched') return undefined;
      return { name: 'fetched', provenance: 'cloned', recloned: state.recloned };
  }
}

function afterInspection(
  { wiped, waited }: Extract<State, { name: 'inspecting' }>,
  event: Event['name'],
): State | undefined {
  switch (event) {
    case 'mirror-valid':
      return toFetching('existing', 1, waited);
    case 'mirror-absent':
      return { name: 'looking-up', tried: 0, wiped, waited };
    case 'mirror-invalid':
      return { name: 'looking-up', tried: 0, wiped: true, waited };
    default:
      return undefined;
  }
}

function afterLookUp(search: Search, event: Event['name']): State | undefined {
  const { tried, wiped, waited } = search;
  switch (event) {
    case 'snapshot-found':
      return { name: 'restoring', tried, wiped, waited };
    case 'snapshot-bad':
      return afterBadSnapshot(search);
    case 'snapshot-absent':
      return afterSearch(wiped, waited);
    case 'snapshot-revoked':
      return afterSearch(true, waited);
    default:
      return undefined;
  }
}

function toFetching(provenance: 'existing' | 'restored', attempt: 1 | 2, waited: boolean): State {
  return { name: 'fetching', provenance, attempt, waited };
}

function afterBadSnapshot({ tried, waited }: Search): State {
  if (tried >= MAX_SNAPSHOTS) return afterSearch(true, waited);
  return { name: 'looking-up', tried, wiped: true, waited };
}

/** Without a snapshot there has to be a clone: by one job for all, where claims allow that. */
function afterSearch(recloned: boolean, waited: boolean): State {
  return { name: waited ? 'cloning' : 'claiming', recloned };
}

function afterFailedFetch(state: Extract<State, { name: 'fetching' }>, code: ErrorCode): State {
  if (FETCH_FAILURES_NOT_THE_MIRRORS.has(code)) return { name: 'failed', code };
  const { provenance, attempt, waited } = state;
  // A deadline that has passed leaves no time for the same fetch again.
  if (attempt === 1 && code !== 'timeout') return toFetching(provenance, 2, waited);
  // Every job that restored that snapshot is about to clone.
  return provenance === 'restored'
    ? afterSearch(true, waited)
    : { name: 'cloning', recloned: true };
}
