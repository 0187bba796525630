/**
 * Machines in simulated time: each with a clock of its own rate, which may be stopped, suspended or
 * killed at any moment, and a network to one store that is slow, loses replies and fails. What they
 * run is real; only time and the network are not. A seed gives the same run again.
 */
import { setImmediate as turn } from 'node:timers/promises';
import { MirrorError } from '../../../src/lib/errors.ts';
import type { ClaimRecords } from '../../../src/locks/claims/records.ts';
import type { Clock } from '../../../src/locks/clock.ts';
import type { Random } from '../random.ts';

interface Event {
  atMs: number;
  order: number;
  action: () => void;
}

/** Simulated time: what is to happen, in its order. */
export class World {
  nowMs = 0;
  readonly #events: Event[] = [];
  #order = 0;
  #busy = 0;

  after(delayMs: number, action: () => void): void {
    const event = { atMs: this.nowMs + Math.max(0, delayMs), order: this.#order++, action };
    let place = this.#events.length;
    while (place > 0 && isBefore(event, this.#events[place - 1]!)) place--;
    this.#events.splice(place, 0, event);
  }

  /** Real work that takes no simulated time. */
  async perform<T>(work: () => Promise<T>): Promise<T> {
    this.#busy++;
    return work().finally(() => this.#busy--);
  }

  /** Until the condition holds, or the time has come. */
  async run(untilMs: number, isEnough: () => boolean = () => false): Promise<void> {
    for (;;) {
      await this.#settle();
      const [next] = this.#events;
      if (isEnough() || next === undefined || next.atMs > untilMs) return;
      this.#events.shift();
      this.nowMs = next.atMs;
      next.action();
    }
  }

  /** All promises have had their consequences, which may have begun further work. */
  async #settle(): Promise<void> {
    do await turn();
    while (this.#busy > 0);
    await turn();
  }
}

function isBefore(one: Event, other: Event): boolean {
  return one.atMs < other.atMs || (one.atMs === other.atMs && one.order < other.order);
}

export interface Network {
  /** Of 1; what else happens to a request is chosen among the rest. */
  failures: number;
  lostReplies: number;
  /** The server carries a request out twice and answers the second time. */
  repeats: number;
  slow: number;
  isDown: boolean;
}

type State = 'running' | 'stopped' | 'suspended' | 'dead';

export class Machine {
  readonly clock: Clock;
  readonly records: ClaimRecords;
  state: State = 'running';
  /** How many times as fast as the world's its clock runs. */
  readonly rate: number;
  readonly #world: World;
  readonly #random: Random;
  readonly #network: Network;
  readonly #offsetMs: number;
  #backlog: (() => void)[] = [];
  #suspendedMs = 0;
  #suspendedAt = 0;
  readonly #onState: (state: State) => void;

  constructor(
    world: World,
    random: Random,
    network: Network,
    store: ClaimRecords,
    onState: (state: State) => void,
  ) {
    this.#world = world;
    this.#random = random;
    this.#network = network;
    this.#onState = onState;
    // The slowest and the fastest differ by less than the factor 2.
    this.rate = 0.75 + random.next() * 0.65;
    this.#offsetMs = random.next() * 1e7;
    this.clock = {
      now: () => this.#now(),
      pause: (durationMs, signal) => this.#pause(durationMs, signal),
    };
    this.records = this.#connect(store);
  }

  /** Does nothing for a while; suspended, its clock stands still as well. */
  halt(how: 'stopped' | 'suspended', durationMs: number): void {
    if (this.state !== 'running') return;
    this.#enter(how);
    this.#suspendedAt = this.#world.nowMs;
    this.#world.after(durationMs, () => {
      this.resume();
    });
  }

  resume(): void {
    if (this.state !== 'stopped' && this.state !== 'suspended') return;
    if (this.state === 'suspended') this.#suspendedMs += this.#world.nowMs - this.#suspendedAt;
    this.#enter('running');
    // Each in a turn of its own, as an event loop takes them.
    for (const action of this.#backlog.splice(0))
      this.#world.after(0, () => {
        this.#deliver(action);
      });
  }

  kill(): void {
    this.#enter('dead');
    this.#backlog = [];
  }

  #enter(state: State): void {
    this.state = state;
    this.#onState(state);
  }

  #now(): number {
    const stillMs = this.state === 'suspended' ? this.#world.nowMs - this.#suspendedAt : 0;
    return this.#offsetMs + (this.#world.nowMs - this.#suspendedMs - stillMs) * this.rate;
  }

  #deliver(action: () => void): void {
    if (this.state === 'running') action();
    else if (this.state !== 'dead') this.#backlog.push(action);
  }

  async #pause(durationMs: number, signal: AbortSignal): Promise<void> {
    const dueMs = this.#now() + durationMs;
    const { promise, resolve } = Promise.withResolvers<undefined>();
    const end = (): void => {
      resolve(undefined);
    };
    const arm = (): void => {
      // As timers do: never early, and never in no time. A suspended clock has to catch up.
      const leftMs = dueMs - this.#now();
      if (signal.aborted || leftMs <= 0) end();
      else
        this.#world.after(Math.max(leftMs / this.rate, 0.01), () => {
          this.#deliver(arm);
        });
    };
    arm();
    signal.addEventListener('abort', end);
    await promise;
    signal.removeEventListener('abort', end);
  }

  #connect(store: ClaimRecords): ClaimRecords {
    const none = new AbortController().signal;
    return {
      create: (name, content, signal) =>
        this.#request(signal, () => store.create(name, content, none)),
      read: (name, signal) => this.#request(signal, () => store.read(name, none)),
      write: (name, content, signal) =>
        this.#request(signal, () => store.write(name, content, none)),
      list: (signal) => this.#request(signal, () => store.list(none)),
      remove: (name, signal) => this.#request(signal, () => store.remove(name, none)),
    };
  }

  async #request<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const cancel = (): void => {
      reject(new MirrorError('cancelled', 'the job was cancelled'));
    };
    const answer = (settle: () => void): void => {
      this.#world.after(this.#latencyMs(), () => {
        this.#deliver(settle);
      });
    };
    const fail = (): void => {
      answer(() => {
        reject(new MirrorError('store-unavailable', 'a simulated failure'));
      });
    };
    const arrive = async (): Promise<void> => {
      const { failures, lostReplies, repeats, isDown } = this.#network;
      const fate = this.#random.next();
      if (isDown || fate < failures) {
        fail();
        return;
      }
      let result = await this.#world.perform(work);
      if (fate > 1 - repeats) result = await this.#world.perform(work);
      if (fate < failures + lostReplies) {
        fail();
        return;
      }
      answer(() => {
        resolve(result);
      });
    };
    const send = (): void => {
      this.#world.after(this.#latencyMs(), () => void arrive());
    };
    if (signal.aborted) cancel();
    signal.addEventListener('abort', cancel);
    // A machine may be halted between what it knows and what it does about it.
    this.#world.after(this.#random.next() * 20, () => {
      this.#deliver(send);
    });
    return promise.finally(() => {
      signal.removeEventListener('abort', cancel);
    });
  }

  #latencyMs(): number {
    const isSlow = this.#random.next() < this.#network.slow;
    return this.#random.next() * (isSlow ? 20_000 : 100);
  }
}
