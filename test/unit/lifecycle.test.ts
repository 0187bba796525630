/** Every state against every event, and every path that there is. */
import { describe, expect, test } from '@jest/globals';
import type { ErrorCode } from '../../src/errors.ts';
import {
  MAX_SNAPSHOTS,
  START,
  advance,
  type Event,
  type State,
} from '../../src/mirror/lifecycle.ts';

/** Failures of a fetch that end the run; the others are taken for the mirror's fault. */
const CODES: Record<ErrorCode, 'ends' | 'is retried' | 'clones'> = {
  authentication: 'ends',
  'not-found': 'ends',
  moved: 'ends',
  'empty-upstream': 'ends',
  'no-space': 'ends',
  cancelled: 'ends',
  'git-unusable': 'ends',
  'ssh-unusable': 'ends',
  'mirror-refused': 'ends',
  timeout: 'clones',
  network: 'is retried',
  'corrupt-mirror': 'is retried',
  unknown: 'is retried',
  'invalid-input': 'is retried',
  'bad-snapshot': 'is retried',
  'store-unavailable': 'is retried',
};
const codes = Object.keys(CODES) as ErrorCode[];

const SNAPSHOT = 7;

/** An event of every kind, and a failure of every code. */
const EVENTS: readonly Event[] = [
  { name: 'mirror-valid' },
  { name: 'mirror-absent' },
  { name: 'mirror-invalid' },
  { name: 'snapshot-found', snapshot: SNAPSHOT },
  { name: 'snapshot-absent' },
  { name: 'snapshot-revoked' },
  { name: 'snapshot-bad', snapshot: SNAPSHOT },
  { name: 'restored' },
  { name: 'fetched' },
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

function lookingUp(tried: number, wiped: boolean): Row {
  const isLast = tried + 1 >= MAX_SNAPSHOTS;
  return {
    state: { name: 'looking-up', tried, wiped, ...(tried > 0 ? { below: SNAPSHOT + 1 } : {}) },
    next: {
      'snapshot-found': { name: 'restoring', snapshot: SNAPSHOT, tried: tried + 1, wiped },
      'snapshot-absent': clones(wiped),
      'snapshot-revoked': clones(true),
      'snapshot-bad': isLast
        ? clones(true)
        : { name: 'looking-up', below: SNAPSHOT, tried: tried + 1, wiped: true },
    },
    failed: fails,
  };
}

function restoring(tried: number, wiped: boolean): Row {
  return {
    state: { name: 'restoring', snapshot: SNAPSHOT, tried, wiped },
    next: {
      restored: { name: 'fetching', provenance: 'restored', attempt: 1 },
      'snapshot-absent': clones(wiped),
      'snapshot-bad':
        tried >= MAX_SNAPSHOTS
          ? clones(true)
          : { name: 'looking-up', below: SNAPSHOT, tried, wiped: true },
    },
    failed: fails,
  };
}

function fetching(provenance: 'existing' | 'restored', attempt: 1 | 2): Row {
  return {
    state: { name: 'fetching', provenance, attempt },
    next: { fetched: { name: 'fetched', provenance, recloned: false } },
    failed: (code) => {
      if (CODES[code] === 'ends') return fails(code);
      if (CODES[code] === 'clones' || attempt === 2) return clones(true);
      return { name: 'fetching', provenance, attempt: 2 };
    },
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
  {
    state: { name: 'inspecting' },
    next: {
      'mirror-valid': { name: 'fetching', provenance: 'existing', attempt: 1 },
      'mirror-absent': { name: 'looking-up', tried: 0, wiped: false },
      'mirror-invalid': { name: 'looking-up', tried: 0, wiped: true },
    },
    failed: fails,
  },
  ...booleans.flatMap((wiped) => [0, 1, 2].map((tried) => lookingUp(tried, wiped))),
  ...booleans.flatMap((wiped) => [1, 2, 3].map((tried) => restoring(tried, wiped))),
  fetching('existing', 1),
  fetching('existing', 2),
  fetching('restored', 1),
  fetching('restored', 2),
  cloning(false),
  cloning(true),
  ...(['existing', 'restored', 'cloned'] as const).flatMap((provenance) =>
    booleans.map((recloned): Row => ({
      state: { name: 'fetched', provenance, recloned },
      next: {},
      failed: undefined,
    })),
  ),
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

/** More than any path may have: an endless one is cut here, and seen. */
const MANY_STEPS = 30;

/** Every path from the start; the store's numbers fall as it is asked for older snapshots. */
function* walk(state: State, steps: readonly Step[]): Generator<Path> {
  if (isEnd(state) || steps.length > MANY_STEPS) {
    yield { steps, end: state };
    return;
  }
  for (const template of EVENTS) {
    const event = 'snapshot' in template ? { ...template, snapshot: snapshotFor(state) } : template;
    const next = nextOf(state, event);
    if (next !== undefined) yield* walk(next, [...steps, { state, event }]);
  }
}

function snapshotFor(state: State): number {
  if (state.name === 'restoring') return state.snapshot;
  return state.name === 'looking-up' ? (state.below ?? 100) - 1 : 0;
}

function isEnd({ name }: State): boolean {
  return name === 'fetched' || name === 'failed';
}

function count(path: Path, name: State['name']): number {
  return path.steps.filter(({ state }) => state.name === name).length;
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

/** A state without its snapshots' numbers. */
function shapeOf(state: State): string {
  const told = Object.entries(state).filter(([name]) => !['snapshot', 'below'].includes(name));
  return JSON.stringify(told.sort());
}

describe('every path from the start', () => {
  test('there are many, and all have been walked', () => {
    expect(paths.length).toBeGreaterThan(10_000);
    const ends = new Set(paths.map(({ end }) => end.name));
    expect([...ends].sort()).toEqual(['failed', 'fetched']);
  });

  test('it ends, after at most three look-ups and restores, two fetches and a clone', () => {
    expectAllPaths(({ steps, end }) => isEnd(end) && steps.length <= 1 + 2 * MAX_SNAPSHOTS + 2 + 1);
  });

  test('there is at most one clone, and nothing but the end comes after it', () => {
    expectAllPaths((path) => count(path, 'cloning') <= 1);
    expectAllPaths(({ steps }) =>
      steps.slice(0, -1).every(({ state }) => state.name !== 'cloning'),
    );
  });

  test('there are at most two fetches, and no restore after the first', () => {
    expectAllPaths((path) => count(path, 'fetching') <= 2);
    expectAllPaths(({ steps }) => {
      const first = steps.findIndex(({ state }) => state.name === 'fetching');
      const after = first < 0 ? [] : steps.slice(first);
      return after.every(({ state }) => !['looking-up', 'restoring'].includes(state.name));
    });
  });

  test('there are at most three restores, each of an older snapshot', () => {
    expect(MAX_SNAPSHOTS).toBe(3);
    expectAllPaths((path) => count(path, 'restoring') <= 3 && count(path, 'looking-up') <= 3);
    expectAllPaths(({ steps }) => {
      const numbers = steps.flatMap(({ state }) =>
        state.name === 'restoring' ? [state.snapshot] : [],
      );
      return numbers.every((number, index) => index === 0 || number < Number(numbers[index - 1]));
    });
  });

  test('a bad snapshot is never looked up again', () => {
    expectAllPaths(({ steps }) =>
      steps.every(({ event }, index) => {
        const next = steps[index + 1]?.state;
        if (event.name !== 'snapshot-bad' || next?.name !== 'looking-up') return true;
        return next.below === event.snapshot;
      }),
    );
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

  test.each([
    'authentication',
    'not-found',
    'moved',
    'empty-upstream',
    'no-space',
    'cancelled',
  ] as const)('a fetch that failed by %s never leads to a clone', (code) => {
    expectAllPaths((path) => {
      const failed = path.steps.some(
        ({ state, event }) =>
          state.name === 'fetching' && event.name === 'failed' && event.code === code,
      );
      return !failed || count(path, 'cloning') === 0;
    });
  });

  test('a fetch that ran into its deadline is not tried again', () => {
    expectAllPaths(({ steps }) =>
      steps.every(({ state, event }, index) => {
        const isTimeout = event.name === 'failed' && event.code === 'timeout';
        return (
          !isTimeout || state.name !== 'fetching' || steps[index + 1]?.state.name === 'cloning'
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
      const hasRestored = path.steps.some(({ event }) => event.name === 'restored');
      return path.end.provenance === (hasCloned ? 'cloned' : hasRestored ? 'restored' : 'existing');
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
