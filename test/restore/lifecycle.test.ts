/** Every state against every event, and every path that there is. */
import { describe, expect, test } from '@jest/globals';
import type { ErrorCode } from '../../src/lib/errors.ts';
import {
  MAX_SNAPSHOTS,
  START,
  advance,
  startAgain,
  type Event,
  type State,
} from '../../src/restore/lifecycle.ts';

/** Failures of a fetch that end the run; the others are taken for the mirror's fault. */
const CODES: Record<ErrorCode, 'ends' | 'is retried' | 'clones'> = {
  authentication: 'ends',
  'not-found': 'ends',
  moved: 'ends',
  'empty-upstream': 'ends',
  'shallow-upstream': 'ends',
  'depth-refused': 'ends',
  'no-space': 'ends',
  cancelled: 'ends',
  'lost-lock': 'ends',
  'lost-claim': 'ends',
  'git-unusable': 'ends',
  'ssh-unusable': 'ends',
  'mirror-refused': 'ends',
  timeout: 'clones',
  network: 'ends',
  'corrupt-mirror': 'is retried',
  unknown: 'is retried',
  'invalid-input': 'is retried',
  'bad-snapshot': 'is retried',
  'store-unavailable': 'is retried',
  'store-read-only': 'is retried',
};
const codes = Object.keys(CODES) as ErrorCode[];

/** An event of every kind, and a failure of every code. */
const EVENTS: readonly Event[] = [
  { name: 'mirror-valid' },
  { name: 'mirror-absent' },
  { name: 'mirror-invalid' },
  { name: 'snapshot-found' },
  { name: 'snapshot-absent' },
  { name: 'snapshot-revoked' },
  { name: 'snapshot-bad' },
  { name: 'restored' },
  { name: 'fetched' },
  { name: 'claim-settled' },
  { name: 'claim-held' },
  ...codes.map((code): Event => ({ name: 'failed', code })),
];

type Next = Partial<Record<Exclude<Event['name'], 'failed'>, State>>;

interface Row {
  state: State;
  /** Where each event leads; one that is not there cannot happen. */
  next: Next;
  /** Where a failure leads; undefined for nowhere. */
  failed: ((code: ErrorCode) => State) | undefined;
}

const fails = (code: ErrorCode): State => ({ name: 'failed', code });
const clones = (recloned: boolean): State => ({ name: 'cloning', recloned });

/** Where a search without a snapshot leads: to the claim, and after a wait for it to a clone. */
function without(recloned: boolean, waited: boolean): State {
  return { name: waited ? 'cloning' : 'claiming', recloned };
}

function inspecting(wiped: boolean, waited: boolean): Row {
  return {
    state: { name: 'inspecting', wiped, waited },
    next: {
      'mirror-valid': { name: 'fetching', provenance: 'existing', attempt: 1, waited },
      'mirror-absent': { name: 'looking-up', tried: 0, wiped, waited },
      'mirror-invalid': { name: 'looking-up', tried: 0, wiped: true, waited },
    },
    failed: fails,
  };
}

function lookingUp(tried: number, wiped: boolean, waited: boolean): Row {
  const isLast = tried + 1 >= MAX_SNAPSHOTS;
  return {
    state: { name: 'looking-up', tried, wiped, waited },
    next: {
      'snapshot-found': { name: 'restoring', tried: tried + 1, wiped, waited },
      'snapshot-absent': without(wiped, waited),
      'snapshot-revoked': without(true, waited),
      'snapshot-bad': isLast
        ? without(true, waited)
        : { name: 'looking-up', tried: tried + 1, wiped: true, waited },
    },
    failed: fails,
  };
}

function restoring(tried: number, wiped: boolean, waited: boolean): Row {
  return {
    state: { name: 'restoring', tried, wiped, waited },
    next: {
      restored: { name: 'fetching', provenance: 'restored', attempt: 1, waited },
      'snapshot-absent': without(wiped, waited),
      'snapshot-bad':
        tried >= MAX_SNAPSHOTS
          ? without(true, waited)
          : { name: 'looking-up', tried, wiped: true, waited },
    },
    failed: fails,
  };
}

function fetching(provenance: 'existing' | 'restored', attempt: 1 | 2, waited: boolean): Row {
  return {
    state: { name: 'fetching', provenance, attempt, waited },
    next: { fetched: { name: 'fetched', provenance, recloned: false } },
    failed: (code) => {
      if (CODES[code] === 'ends') return fails(code);
      if (CODES[code] === 'clones' || attempt === 2) {
        return provenance === 'existing' ? clones(true) : without(true, waited);
      }
      return { name: 'fetching', provenance, attempt: 2, waited };
    },
  };
}

function claiming(recloned: boolean): Row {
  return {
    state: { name: 'claiming', recloned },
    next: {
      'claim-settled': clones(recloned),
      'claim-held': { name: 'waiting', recloned },
    },
    failed: fails,
  };
}

function cloning(recloned: boolean): Row {
  return {
    state: clones(recloned),
    next: { fetched: { name: 'fetched', provenance: 'cloned', recloned } },
    failed: fails,
  };
}

const booleans = [false, true];
const ROWS: readonly Row[] = [
  ...booleans.flatMap((waited) => booleans.map((wiped) => inspecting(wiped, waited))),
  ...booleans.flatMap((waited) =>
    booleans.flatMap((wiped) => [
      ...[0, 1, 2].map((tried) => lookingUp(tried, wiped, waited)),
      ...[1, 2, 3].map((tried) => restoring(tried, wiped, waited)),
    ]),
  ),
  ...booleans.flatMap((waited) => [
    fetching('restored', 1, waited),
    fetching('restored', 2, waited),
    fetching('existing', 1, waited),
    fetching('existing', 2, waited),
  ]),
  ...booleans.map(claiming),
  cloning(false),
  cloning(true),
  ...(['existing', 'restored', 'cloned'] as const).flatMap((provenance) =>
    booleans.map((recloned): Row => ({
      state: { name: 'fetched', provenance, recloned },
      next: {},
      failed: undefined,
    })),
  ),
  ...booleans.map((recloned): Row => ({
    state: { name: 'waiting', recloned },
    next: {},
    failed: undefined,
  })),
  ...codes.map((code): Row => ({ state: fails(code), next: {}, failed: undefined })),
];

function expectedNext({ next, failed }: Row, event: Event): State | undefined {
  return event.name === 'failed' ? failed?.(event.code) : next[event.name];
}

function nextOf(state: State, event: Event): State | undefined {
  try {
    return advance(state, event);
  } catch {
    return undefined;
  }
}

interface Step {
  state: State;
  event: Event;
}

interface Path {
  steps: readonly Step[];
  end: State;
}

/** One code of each kind, or there would be millions of paths; the table has every code. */
const WALKED_CODES: readonly ErrorCode[] = ['cancelled', 'timeout', 'unknown'];
const WALKED_EVENTS = EVENTS.filter(
  (event) => event.name !== 'failed' || WALKED_CODES.includes(event.code),
);

/** More than any path may have: an endless one is cut here, and seen. */
const MANY_STEPS = 40;

/** Every path from the start, over a wait for another job where there is one. */
function* walk(state: State, steps: readonly Step[]): Generator<Path> {
  if (isEnd(state) || steps.length > MANY_STEPS) {
    yield { steps, end: state };
    return;
  }
  for (const event of WALKED_EVENTS) {
    const next = nextOf(state, event);
    if (next === undefined) continue;
    const continued = next.name === 'waiting' ? startAgain(next) : next;
    yield* walk(continued, [...steps, { state, event }]);
  }
}

function isEnd({ name }: State): boolean {
  return name === 'fetched' || name === 'failed';
}

function count({ steps }: Path, name: State['name']): number {
  return within(steps, name);
}

/** Whether something that was there turned out to be no good. */
function isBad({ state, event }: Step): boolean {
  if (['mirror-invalid', 'snapshot-bad', 'snapshot-revoked'].includes(event.name)) return true;
  return state.name === 'fetching' && event.name === 'failed';
}

function describePath({ steps, end }: Path): string {
  const said = steps.map(({ state, event }) => `${state.name} (${JSON.stringify(event)})`);
  return [...said, JSON.stringify(end)].join(' -> ');
}

const paths = [...walk(START, [])];

/** Says the first path that breaks a promise. */
function expectAllPaths(keeps: (path: Path) => boolean): void {
  const broken = paths.find((path) => !keeps(path));
  expect(broken && describePath(broken)).toBeUndefined();
}

/** The steps before a wait for another job, and those after it. */
function roundsOf({ steps }: Path): readonly (readonly Step[])[] {
  const wait = steps.findIndex(({ event }) => event.name === 'claim-held');
  return wait < 0 ? [steps] : [steps.slice(0, wait + 1), steps.slice(wait + 1)];
}

function expectAllRounds(keeps: (steps: readonly Step[]) => boolean): void {
  expectAllPaths((path) => roundsOf(path).every(keeps));
}

function within(steps: readonly Step[], name: State['name']): number {
  return steps.filter(({ state }) => state.name === name).length;
}

describe('every state against every event', () => {
  test.each(ROWS.map((row) => ({ name: JSON.stringify(row.state), row })))(
    '$name goes where it should, or refuses',
    ({ row }) => {
      for (const event of EVENTS) {
        expect({ event, next: nextOf(row.state, event) }).toEqual({
          event,
          next: expectedNext(row, event),
        });
      }
    },
  );

  test('the table has every state that can be reached', () => {
    const known = new Set(ROWS.map(({ state }) => shapeOf(state)));
    const reached = new Set(paths.flatMap(({ steps, end }) => [...steps.map((s) => s.state), end]));
    expect([...reached].map(shapeOf).filter((shape) => !known.has(shape))).toEqual([]);
  });

  test('an event that cannot happen is named with its state', () => {
    expect(() => advance(START, { name: 'fetched' })).toThrow(
      'fetched cannot happen while inspecting',
    );
    const end: State = { name: 'failed', code: 'network' };
    expect(() => advance(end, { name: 'fetched' })).toThrow('nothing follows failed');
  });
});

function shapeOf(state: State): string {
  return JSON.stringify(Object.entries(state).sort());
}

describe('every path from the start', () => {
  test('there are many, and all have been walked', () => {
    expect(paths.length).toBeGreaterThan(10_000);
    const ends = new Set(paths.map(({ end }) => end.name));
    expect([...ends].sort()).toEqual(['failed', 'fetched']);
  });

  test('it waits for another job once at most, and then looks at its place again', () => {
    expectAllPaths((path) => count(path, 'claiming') <= 1);
    expectAllPaths(({ steps }) => {
      const wait = steps.findIndex(({ event }) => event.name === 'claim-held');
      return wait < 0 || steps[wait + 1]?.state.name === 'inspecting';
    });
  });

  test('it ends, after at most three look-ups and restores and two fetches a round, and a clone', () => {
    expectAllPaths(({ end }) => isEnd(end));
    expectAllRounds((steps) => steps.length <= 1 + 2 * MAX_SNAPSHOTS + 2 + 1 + 1);
  });

  test('there is at most one clone, and nothing but the end comes after it', () => {
    expectAllPaths((path) => count(path, 'cloning') <= 1);
    expectAllPaths(({ steps }) =>
      steps.slice(0, -1).every(({ state }) => state.name !== 'cloning'),
    );
  });

  test('there are at most two fetches a round, and no restore after the first', () => {
    expectAllRounds((steps) => within(steps, 'fetching') <= 2);
    expectAllRounds((steps) => {
      const first = steps.findIndex(({ state }) => state.name === 'fetching');
      const after = first < 0 ? [] : steps.slice(first);
      return after.every(({ state }) => !['looking-up', 'restoring'].includes(state.name));
    });
  });

  test('there are at most three restores a round', () => {
    expect(MAX_SNAPSHOTS).toBe(3);
    expectAllRounds((steps) => within(steps, 'restoring') <= 3 && within(steps, 'looking-up') <= 3);
  });

  test('a failed fetch that no other mirror would cure ends the run, with its own code', () => {
    expectAllPaths(({ steps, end }) =>
      steps.every(({ state, event }, index) => {
        if (state.name !== 'fetching' || event.name !== 'failed') return true;
        if (CODES[event.code] !== 'ends') return true;
        return index === steps.length - 1 && end.name === 'failed' && end.code === event.code;
      }),
    );
  });

  test('a fetch that ran into its deadline is not tried again', () => {
    expectAllPaths(({ steps }) =>
      steps.every(({ state, event }, index) => {
        const isTimeout = event.name === 'failed' && event.code === 'timeout';
        return (
          !isTimeout || state.name !== 'fetching' || steps[index + 1]?.state.name !== 'fetching'
        );
      }),
    );
  });

  test('it ends as fetched only by a fetch or a clone that succeeded just before', () => {
    expectAllPaths(({ steps, end }) => {
      const last = steps.at(-1);
      const succeeded =
        last?.event.name === 'fetched' && ['fetching', 'cloning'].includes(last.state.name);
      return succeeded === (end.name === 'fetched');
    });
  });

  test('its provenance is the way it went', () => {
    expectAllPaths((path) => {
      if (path.end.name !== 'fetched') return true;
      const hasCloned = count(path, 'cloning') > 0;
      const hasRestored = roundsOf(path)
        .at(-1)
        ?.some(({ event }) => event.name === 'restored');
      return (
        path.end.provenance ===
        (hasCloned ? 'cloned' : hasRestored === true ? 'restored' : 'existing')
      );
    });
  });

  test('recloned is said of a clone that followed something bad, and of nothing else', () => {
    expectAllPaths(({ steps, end }) => {
      if (end.name !== 'fetched') return true;
      return end.recloned === (end.provenance === 'cloned' && steps.some(isBad));
    });
  });

  test('it fails with the code of the failure that came last', () => {
    expectAllPaths(({ steps, end }) => {
      const last = steps.at(-1)?.event;
      return end.name !== 'failed' || (last?.name === 'failed' && last.code === end.code);
    });
  });
});
