/** Claims in the Actions cache: hundreds of jobs in simulated time, and a few against a real service. */
import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { MirrorError } from '../../../src/lib/errors.ts';
import {
  createActionsCacheClaim,
  MOST_CONTENDERS,
  type ClaimEntry,
} from '../../../src/locks/claims/actions-cache.ts';
import type { Clock } from '../../../src/locks/clock.ts';
import type { Acquisition } from '../../../src/locks/lock.ts';
import { createActionsCacheClaimEntry } from '../../../src/stores/actions-cache/claims.ts';
import { claimKey } from '../../../src/stores/actions-cache/keys.ts';
import { useCaches } from '../../support/actions-cache/caches.ts';
import {
  startActionsCacheService,
  type ActionsCacheService,
} from '../../support/actions-cache/service.ts';
import type { CacheJob } from '../../support/actions-cache/token.ts';
import { createRandom, testSeed, type Random } from '../../support/random.ts';
import { World } from '../../support/locks/simulated-machines.ts';
import { temporaryDirectories } from '../../support/temporary-directory.ts';
import { outcomeOf } from '../../stores/contract/store-contract.ts';

const MINUTE_MS = 60_000;
const NEVER = new AbortController().signal;
const isMade = () => Promise.resolve(false);

/** What the service takes from a repository; of look-ups it is a bound of our own. */
const UPLOADS_A_MINUTE = 200;
/** Chance decides how many jobs claim at the same time: with 150 seeds 111 of 128 did at most, and half as many as a rule. */
const CLAIMS_A_MINUTE = 0.75 * UPLOADS_A_MINUTE;
const LOOK_UPS_A_MINUTE = 1_500;

type Request = 'look-up' | 'upload';

/** A service in simulated time: entries are reserved at once, and seen when they are finalized. */
class Service {
  readonly world = new World();
  readonly requests: { kind: Request; atMs: number }[] = [];
  /** What every request fails with. */
  failure: MirrorError | undefined;
  /** What the next creations fail with after they were carried out. */
  lostReplies = 0;
  /** When the snapshot was there. */
  madeMs = Infinity;
  readonly #random: Random;
  readonly #reserved = new Set<string>();
  readonly #visible = new Set<string>();

  constructor(random: Random) {
    this.#random = random;
  }

  readonly clock: Clock = {
    now: () => this.world.nowMs,
    pause: async (durationMs, signal) => {
      const { promise, resolve } = Promise.withResolvers<undefined>();
      const end = (): void => {
        resolve(undefined);
      };
      this.world.after(durationMs, end);
      signal.addEventListener('abort', end);
      if (signal.aborted) end();
      await promise;
      signal.removeEventListener('abort', end);
    },
  };

  entryOf(name = '7-1'): ClaimEntry {
    return {
      exists: async () => {
        await this.#request('look-up');
        return this.#visible.has(name);
      },
      create: async () => {
        await this.#request('upload');
        if (this.#reserved.has(name)) return false;
        this.#reserved.add(name);
        // The upload and its end.
        await this.#pass(1_000);
        this.#visible.add(name);
        if (this.lostReplies-- > 0) throw new MirrorError('store-unavailable', 'no reply');
        return true;
      },
    };
  }

  readonly isMade = async (): Promise<boolean> => {
    // Two look-ups and a download find a snapshot; that there is none takes one.
    await this.#request('look-up');
    if (this.world.nowMs < this.madeMs) return false;
    await this.#request('look-up');
    await this.#request('look-up');
    return true;
  };

  /** The most requests within any minute. */
  most(kind: Request): number {
    const times = this.requests.filter((each) => each.kind === kind).map(({ atMs }) => atMs);
    times.sort((one, other) => one - other);
    const within = times.map(
      (fromMs) => times.filter((atMs) => atMs >= fromMs && atMs < fromMs + MINUTE_MS).length,
    );
    return Math.max(0, ...within);
  }

  async #request(kind: Request): Promise<void> {
    // A process starts first.
    await this.#pass(1_000);
    this.requests.push({ kind, atMs: this.world.nowMs });
    if (this.failure !== undefined) throw this.failure;
    await this.#pass(200);
  }

  async #pass(meanMs: number): Promise<void> {
    await this.clock.pause(meanMs * (0.5 + this.#random.next()), NEVER);
  }
}

const unseeded = Math.random;
let service: Service;

function begin(seed = testSeed()): void {
  const random = createRandom(seed);
  Math.random = () => random.next(); // pauses and their jitter
  service = new Service(random);
}
afterEach(() => {
  Math.random = unseeded;
});

interface Job {
  startMs?: number;
  epoch?: string;
  timeoutMs?: number;
  /** How long it takes to make the snapshot; it dies if that is left out. */
  makesMs?: number;
  signal?: AbortSignal;
}

/** Runs jobs to the end of all, and gives what became of each. */
async function run(jobs: readonly Job[], contenders = MOST_CONTENDERS): Promise<Acquisition[]> {
  const results = jobs.map(async (job) => {
    const { startMs = 0, epoch, timeoutMs = 30 * MINUTE_MS, signal = NEVER } = job;
    await service.clock.pause(startMs, NEVER);
    const claim = createActionsCacheClaim(service.entryOf(epoch), {
      contenders,
      isMade: service.isMade,
      clock: service.clock,
    });
    const acquisition = await claim.acquire({ timeoutMs, signal });
    if (acquisition.outcome === 'acquired' && job.makesMs !== undefined) {
      await service.clock.pause(job.makesMs, NEVER);
      service.madeMs = service.world.nowMs;
      await acquisition.hold.release();
    }
    return acquisition;
  });
  const all = Promise.allSettled(results);
  let isOver = false;
  void all.then(() => (isOver = true));
  await service.world.run(Infinity, () => isOver);
  return Promise.all(results);
}

function count(acquisitions: readonly Acquisition[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { outcome } of acquisitions) counts[outcome] = (counts[outcome] ?? 0) + 1;
  return counts;
}

describe('256 jobs of a run', () => {
  const first = testSeed();

  test.each([
    ['at once', 0],
    ['within half a minute', MINUTE_MS / 2],
    ['within five minutes', 5 * MINUTE_MS],
  ])('that begin %s make one snapshot, and stay far inside the limits', async (_, spreadMs) => {
    for (let seed = first; seed < first + 5; seed++) {
      begin(seed);
      const starts = createRandom(seed);
      const jobs = Array.from({ length: 256 }, () => ({
        startMs: starts.next() * spreadMs,
        makesMs: 4 * MINUTE_MS,
      }));
      expect(count(await run(jobs))).toEqual({ acquired: 1, 'not-needed': 255 });
      expect(service.most('upload')).toBeLessThan(CLAIMS_A_MINUTE);
      expect(service.most('look-up')).toBeLessThan(LOOK_UPS_A_MINUTE);
    }
  });

  test('whose holder dies wait until their deadlines, and no longer', async () => {
    begin();
    const jobs = Array.from({ length: 256 }, () => ({ timeoutMs: 10 * MINUTE_MS }));
    const acquisitions = await run(jobs);
    expect(count(acquisitions)).toEqual({ acquired: 1, 'timed-out': 255 });
    expect(service.world.nowMs).toBeLessThan(10.5 * MINUTE_MS);
    expect(service.most('look-up')).toBeLessThan(LOOK_UPS_A_MINUTE);
  });

  test('that come when the claim is taken never try to upload', async () => {
    begin();
    const late = { startMs: MINUTE_MS, timeoutMs: 0 };
    const acquisitions = await run([{}, ...Array.from({ length: 255 }, () => late)]);
    expect(count(acquisitions)).toEqual({ acquired: 1, 'timed-out': 255 });
    expect(service.requests.filter(({ kind }) => kind === 'upload')).toHaveLength(1);
  });
});

describe('few jobs', () => {
  const first = testSeed();

  test('wait less than half a second before they claim, where one is alone', async () => {
    for (let seed = first; seed < first + 200; seed++) {
      begin(seed);
      const calm = service.entryOf();
      let idleMs = 0;
      const clock: Clock = {
        ...service.clock,
        pause: (durationMs, signal) => {
          idleMs += durationMs;
          return service.clock.pause(durationMs, signal);
        },
      };
      const claim = createActionsCacheClaim(calm, {
        contenders: 1,
        isMade,
        clock,
      });
      const acquiring = claim.acquire({ timeoutMs: 0, signal: NEVER });
      await service.world.run(Infinity);
      expect((await acquiring).outcome).toBe('acquired');
      expect(idleMs).toBeLessThan(500);
    }
  });

  test.each([1, 2, 4, 8])(
    'of %i that contend the others go on within a look of 2 to 3 s once the snapshot is there',
    async (jobs) => {
      for (let seed = first; seed < first + 5; seed++) {
        begin(seed);
        const makesMs = 2 * MINUTE_MS;
        const others = Array.from({ length: jobs }, () => ({ startMs: 5_000, makesMs }));
        const all = await run([{ makesMs }, ...others], jobs + 1);
        expect(count(all)).toEqual({ acquired: 1, 'not-needed': jobs });
        // A look has three requests of a second or two each.
        const madeMs = service.madeMs;
        expect(service.world.nowMs - madeMs).toBeLessThan(5_000 + 3 * 1_800);
        expect(service.most('look-up')).toBeLessThan(LOOK_UPS_A_MINUTE / 4);
      }
    },
  );

  test.each([16, 32, 64, 128])('%i at once stay inside the limits', async (jobs) => {
    begin();
    const cold = Array.from({ length: jobs }, () => ({ makesMs: 4 * MINUTE_MS }));
    expect(count(await run(cold, jobs))).toEqual({ acquired: 1, 'not-needed': jobs - 1 });
    expect(service.most('upload')).toBeLessThan(CLAIMS_A_MINUTE);
    expect(service.most('look-up')).toBeLessThan(LOOK_UPS_A_MINUTE);
  });

  test('that do not know how many they are stay inside them as well', async () => {
    begin();
    const lone = Array.from({ length: 64 }, () => ({ makesMs: 4 * MINUTE_MS }));
    expect(count(await run(lone, 1))).toEqual({ acquired: 1, 'not-needed': 63 });
    expect(service.most('upload')).toBeLessThan(CLAIMS_A_MINUTE);
    expect(service.most('look-up')).toBeLessThan(LOOK_UPS_A_MINUTE);
  });
});

describe('a claim', () => {
  test('stays taken, and says so', async () => {
    begin();
    const [acquisition] = await run([{}]);
    expect(acquisition).toMatchObject({ outcome: 'acquired', hold: { staysTaken: true } });
  });

  test('is that of a run and attempt: others have their own', async () => {
    begin();
    const acquisitions = await run([
      { epoch: '7-1' },
      { epoch: '7-2', startMs: MINUTE_MS },
      { epoch: '8-1', startMs: MINUTE_MS },
    ]);
    expect(count(acquisitions)).toEqual({ acquired: 3 });
  });

  test('is never acquired again, not even after it was released', async () => {
    begin();
    const claim = createActionsCacheClaim(service.entryOf(), {
      contenders: 1,
      isMade,
      clock: service.clock,
    });
    const trying = (async () => {
      const one = await claim.acquire({ timeoutMs: 0, signal: NEVER });
      if (one.outcome === 'acquired') await one.hold.release();
      return [one, await claim.acquire({ timeoutMs: 0, signal: NEVER })];
    })();
    await service.world.run(Infinity);
    expect(count(await trying)).toEqual({ acquired: 1, 'timed-out': 1 });
  });

  test('is not needed where the snapshot is there', async () => {
    begin();
    service.madeMs = 0;
    expect(await run([{}])).toEqual([{ outcome: 'not-needed', waitedMs: 0 }]);
    expect(service.requests.map(({ kind }) => kind)).not.toContain('upload');
  });

  test('whose reply was lost is held by nobody, and its job continues without it', async () => {
    begin();
    service.lostReplies = 1;
    const acquisitions = await run([{}, {}].map(() => ({ timeoutMs: 5 * MINUTE_MS })));
    expect(count(acquisitions)).toEqual({ unavailable: 1, 'timed-out': 1 });
  });

  test('is unavailable where the store fails, and says why', async () => {
    begin();
    service.failure = new MirrorError('store-unavailable', 'it is down');
    expect(await run([{}])).toEqual([{ outcome: 'unavailable', reason: 'it is down' }]);
  });

  test('is waited for while the store fails for a while', async () => {
    begin();
    const waiting = run([{ makesMs: 5 * MINUTE_MS }, { startMs: MINUTE_MS }]);
    service.world.after(2 * MINUTE_MS, () => {
      service.failure = new MirrorError('store-unavailable', 'it is down');
    });
    service.world.after(3 * MINUTE_MS, () => (service.failure = undefined));
    expect(count(await waiting)).toEqual({ acquired: 1, 'not-needed': 1 });
  });

  test('ends with the job that waits for it', async () => {
    begin();
    const controller = new AbortController();
    service.world.after(2 * MINUTE_MS, () => {
      controller.abort();
    });
    const running = run([{}, { startMs: MINUTE_MS, signal: controller.signal }]);
    expect(await outcomeOf(running)).toBe('cancelled');
    expect(service.world.nowMs).toBeLessThan(3 * MINUTE_MS);
  });
});

describe('against the service', () => {
  jest.setTimeout(120_000);
  const main: CacheJob = { ref: 'refs/heads/main' };
  const directories = temporaryDirectories();
  let real: ActionsCacheService;
  let temporaryFolder: string;
  const openCache = useCaches();
  beforeAll(async () => {
    real = await startActionsCacheService();
    temporaryFolder = await directories.create('runner-temp');
  });
  afterEach(async () => {
    real.clearFaults();
    await real.evict();
    real.resetCounters();
  });
  afterAll(async () => {
    await real.stop();
    await directories.removeAll();
  });

  const acquire = (epoch: string, job: CacheJob = main): Promise<Acquisition> => {
    const environment = {
      PATH: process.env['PATH'],
      ...real.environmentFor(job, { blobHost: 'loopback' }),
    };
    const entry = createActionsCacheClaimEntry(
      openCache({ environment, temporaryFolder }),
      claimKey('key', 'default', 12, epoch),
    );
    const times = { spreadMs: 20, firstPollMs: 10, longestPollMs: 50 };
    const claim = createActionsCacheClaim(entry, { contenders: 1, isMade, times });
    return claim.acquire({ timeoutMs: 0, signal: NEVER });
  };

  test('one of several jobs has it, those of another run have their own', async () => {
    const epochs = ['7-1', '7-1', '7-1', '7-1', '7-2', '8-1'];
    const acquisitions = await Promise.all(epochs.map((epoch) => acquire(epoch)));
    expect(count(acquisitions.slice(0, 4))).toEqual({ acquired: 1, 'timed-out': 3 });
    expect(count(acquisitions.slice(4))).toEqual({ acquired: 2 });
    expect(real.entries.map(({ key }) => key).sort()).toEqual(
      ['7-1', '7-2', '8-1'].map((epoch) => `mirror-action/v1/key/default/claims/02-12/${epoch}/`),
    );
  });

  test('a job that finds it taken uploads nothing', async () => {
    await acquire('7-1');
    real.resetCounters();
    expect(await acquire('7-1')).toMatchObject({ outcome: 'timed-out' });
    expect(real.requests.map(({ kind }) => kind)).toEqual(['lookup']);
  });

  test('it is ours although the reply was lost', async () => {
    real.fault({ on: 'finalize', times: 1, afterwards: true, behave: { kind: 'close' } });
    expect(await acquire('7-1')).toMatchObject({ outcome: 'acquired' });
  });

  test('it is taken where one has begun to create it and died', async () => {
    const fault = real.fault({ on: 'finalize', behave: { kind: 'status', status: 404 } });
    expect(await acquire('7-1')).toMatchObject({ outcome: 'unavailable' });
    fault.remove();
    expect(await acquire('7-1')).toMatchObject({ outcome: 'timed-out' });
  });

  test('a job that may only read cannot acquire it, and learns why', async () => {
    const acquisition = await acquire('7-1', { ...main, permission: 'read' });
    expect(acquisition).toMatchObject({ outcome: 'unavailable' });
    expect(acquisition).toHaveProperty('reason', expect.stringContaining('cache write denied'));
  });
});
