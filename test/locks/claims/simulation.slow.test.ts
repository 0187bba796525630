/**
 * Claims among simulated machines, to which everything happens that can, at random. A soak runs more
 * rounds: CLAIM_ROUNDS=500; TEST_SEED repeats a run.
 */
import { afterEach, expect, test } from '@jest/globals';
import { createClaimLock } from '../../../src/locks/claims/claims.ts';
import { DEFAULT_TIMES, lateAfterMs } from '../../../src/locks/claims/times.ts';
import type { Acquisition, Hold } from '../../../src/locks/lock.ts';
import { createMemoryRecords } from '../../support/memory/records.ts';
import { createRandom, testSeed, type Random } from '../../support/random.ts';
import { Machine, World, type Network } from '../../support/locks/simulated-machines.ts';

const ROUNDS = Number(process.env['CLAIM_ROUNDS'] ?? 3);
const ROUND_TIMEOUT_MS = 200_000;
const MACHINES = { atLeast: 8, atMost: 32 };
const MINUTE_MS = 60_000;
const ROUND_MS = 40 * MINUTE_MS;
const NEVER = new AbortController().signal;

const RELIABLE: Network = { failures: 0, lostReplies: 0, repeats: 0, slow: 0, isDown: false };
const UNRELIABLE = { failures: 0.02, lostReplies: 0.03, repeats: 0.02, slow: 0.03 };

/** A time in which a machine was at work on a number: awake, and not told that it has lost. */
interface Span {
  machine: number;
  number: number;
  fromMs: number;
  toMs: number;
  /** What its claim promises about an overlap that begins in it. */
  allowedMs: number;
}

class Contest {
  readonly world = new World();
  readonly network = { ...RELIABLE };
  readonly spans: Span[] = [];
  readonly events: Record<Acquisition['outcome'] | 'lost' | 'died' | 'made', number> = {
    acquired: 0,
    'not-needed': 0,
    'timed-out': 0,
    unavailable: 0,
    lost: 0,
    died: 0,
    made: 0,
  };
  readonly #store = createMemoryRecords(new Map(), () => this.world.nowMs);
  readonly #random: Random;
  readonly #machines: Machine[] = [];
  #newest = 0;
  #isOver = false;
  #started = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  async run(): Promise<void> {
    const { atLeast, atMost } = MACHINES;
    const machines = atLeast + this.#random.integer(atMost - atLeast + 1);
    for (let place = 0; place < machines; place++) this.#start(place);
    Object.assign(this.network, UNRELIABLE);
    this.#disturb();
    await this.world.run(ROUND_MS);
  }

  /** With all machines awake and a network that works, a job that comes now gets its turn. */
  async settle(): Promise<Acquisition | undefined> {
    this.#isOver = true;
    Object.assign(this.network, RELIABLE);
    for (const machine of this.#machines) machine.resume();
    const machine = new Machine(this.world, this.#random, this.network, this.#store, () => {});
    let result: Acquisition | undefined;
    const acquiring = this.#lockOf(machine, 'the last', this.#newest + 1).acquire({
      timeoutMs: 2 * ROUND_MS,
      signal: NEVER,
    });
    void acquiring.then((acquisition) => (result = acquisition));
    await this.world.run(this.world.nowMs + 4 * ROUND_MS, () => result !== undefined);
    return result;
  }

  #start(place: number): void {
    const id = ++this.#started;
    let span: Span | undefined;
    let hasClockStood = false;
    let number: number | undefined;
    const open = (): void => {
      if (number === undefined || machine.state !== 'running') return;
      const allowedMs = hasClockStood ? lateAfterMs(DEFAULT_TIMES) / machine.rate : 0;
      span = { machine: id, number, fromMs: this.world.nowMs, toMs: Infinity, allowedMs };
      this.spans.push(span);
    };
    const close = (): void => {
      if (span !== undefined) span.toMs = this.world.nowMs;
      span = undefined;
    };
    const onState = (): void => {
      close();
      if (machine.state === 'suspended') hasClockStood = true;
      open();
    };
    const machine = new Machine(this.world, this.#random, this.network, this.#store, onState);
    this.#machines[place] = machine;
    const work = async (hold: Hold, claimed: number): Promise<void> => {
      number = claimed;
      open();
      const end = (): void => {
        close();
        number = undefined;
      };
      if (hold.lost.aborted) end();
      hold.lost.addEventListener('abort', end);
      await machine.clock.pause(this.#random.integer(3 * MINUTE_MS), hold.lost);
      if (hold.lost.aborted) this.events.lost++;
      else if (this.#random.next() < 0.3 && this.#newest < claimed) {
        this.#newest = claimed;
        this.events.made++;
      }
      end();
      await hold.release();
    };
    // From before it is acquired: what a machine learnt before it was suspended is old when it wakes up.
    const begin = (): void => {
      hasClockStood = false;
    };
    void this.#contend(machine, id, begin, work);
  }

  async #contend(
    machine: Machine,
    id: number,
    begin: () => void,
    work: (hold: Hold, number: number) => Promise<void>,
  ): Promise<void> {
    while (!this.#isOver) {
      const number = this.#newest + 1;
      begin();
      const acquisition = await this.#lockOf(machine, `machine ${id}`, number).acquire({
        timeoutMs: this.#random.integer(10 * MINUTE_MS),
        signal: NEVER,
      });
      this.events[acquisition.outcome]++;
      if (acquisition.outcome === 'acquired') await work(acquisition.hold, number);
      await machine.clock.pause(this.#random.integer(MINUTE_MS / 2), NEVER);
    }
  }

  #lockOf(machine: Machine, holder: string, number: number) {
    // The last job has to get the claim, whatever the others have made.
    const isMade = () => Promise.resolve(!this.#isOver && this.#newest >= number);
    return createClaimLock(machine.records, { number, holder, isMade, clock: machine.clock });
  }

  /** Something happens to somebody, again and again. */
  #disturb(): void {
    if (this.#isOver) return;
    const place = this.#random.integer(this.#machines.length);
    const machine = this.#machines[place]!;
    const durationMs = this.#random.integer(4 * MINUTE_MS);
    switch (this.#random.integer(5)) {
      case 0:
      case 1:
        machine.halt('stopped', durationMs);
        break;
      case 2:
        machine.halt('suspended', durationMs);
        break;
      case 3:
        this.events.died++;
        machine.kill();
        this.#start(place);
        break;
      default:
        this.network.isDown = true;
        this.world.after(durationMs / 3, () => (this.network.isDown = false));
    }
    this.world.after(this.#random.integer(MINUTE_MS), () => {
      this.#disturb();
    });
  }
}

/** Two at work at the same time for longer than their claims promise. */
function findOverlaps(spans: readonly Span[]): string[] {
  const sorted = spans.toSorted((one, other) => one.fromMs - other.fromMs);
  return sorted.flatMap((one, index) =>
    sorted
      .slice(index + 1)
      .filter((other) => other.number === one.number && other.machine !== one.machine)
      .filter((other) => {
        const overlapMs = Math.min(one.toMs, other.toMs) - other.fromMs;
        return overlapMs > Math.max(one.allowedMs, other.allowedMs) + 1e-3;
      })
      .map((other) => `${JSON.stringify(one)} and ${JSON.stringify(other)}`),
  );
}

const unseeded = Math.random;
afterEach(() => {
  Math.random = unseeded;
});

test(
  `two never work at the same time for longer than is documented, ${ROUNDS} rounds`,
  async () => {
    const first = testSeed();
    const totals: Record<string, number> = {};
    for (let seed = first; seed < first + ROUNDS; seed++) {
      const random = createRandom(seed);
      Math.random = () => random.next(); // the jitter of polls
      const contest = new Contest(random);
      await contest.run();
      expect({ seed, overlaps: findOverlaps(contest.spans) }).toEqual({ seed, overlaps: [] });
      expect(await contest.settle()).toMatchObject({ outcome: 'acquired' });
      for (const [name, count] of Object.entries(contest.events)) {
        totals[name] = (totals[name] ?? 0) + count;
      }
    }
    // Otherwise the rounds have shown nothing.
    for (const name of ['acquired', 'lost', 'died', 'made']) {
      expect({ name, isSeen: totals[name]! >= ROUNDS }).toEqual({ name, isSeen: true });
    }
  },
  ROUNDS * ROUND_TIMEOUT_MS,
);
