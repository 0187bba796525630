/**
 * Runs in which things go wrong at random. FAULT_RUNS says how many; a run that fails names its
 * seed, and FAULT_SEED repeats it.
 */
import { describe, expect, test } from '@jest/globals';
import { chooseCases } from '../jobs/scenarios/rounds.ts';
import { createRandom, testSeed } from '../support/random.ts';
import { createTemporaryDirectory, removeDirectory } from '../support/temporary-directory.ts';
import { Violation } from './invariants.ts';
import type { Weakness } from './step-faults.ts';
import { World } from './world.ts';

const RUNS = Number(process.env['FAULT_RUNS'] ?? 1);
const THINGS = 5;
const given = process.env['FAULT_SEED'];
const seeds =
  given === undefined
    ? Array.from({ length: RUNS }, (_, index) => (testSeed() + index) >>> 0)
    : [Number(given)];
const RUN_TIMEOUT_MS = 600_000;

type Happenings = (world: World) => Promise<unknown>;

/** Throws what was violated, with what led to it. */
async function run(seed: number, happen: Happenings, weakness?: Weakness): Promise<void> {
  const root = await createTemporaryDirectory('faults');
  const world = await World.create(root, createRandom(seed), weakness);
  try {
    await happen(world);
    await world.recover();
  } catch (error) {
    const story = world.story.map((line) => `  ${line}`).join('\n');
    const what = error instanceof Violation ? error.message : 'the harness failed';
    throw new Error(`FAULT_SEED=${String(seed)}: ${what}\n${story}`, { cause: error });
  } finally {
    if (process.env['FAULT_STORY']) process.stderr.write(`${world.story.join('\n')}\n\n`);
    await world.close();
    await removeDirectory(root);
  }
}

describe('whatever goes wrong, the invariants hold', () => {
  const byChance: Happenings = async (world) => {
    for (let index = 0; index < THINGS; index++) await world.happen();
  };
  test.concurrent.each(seeds)('seed %i', (seed) => run(seed, byChance), RUN_TIMEOUT_MS);
});

describe('a violation is seen where', () => {
  const readers: [Weakness, Happenings][] = [
    [
      'digests are not compared',
      async (world) => {
        await world.runJob({ steps: {} });
        await world.damageStore(true);
      },
    ],
    [
      'a failed fetch is only logged',
      async (world) => {
        await world.runJob({ steps: {} }, 'a');
        await world.changeUpstream('commit');
        const behave = { kind: 'status', status: 500 } as const;
        await world.runJob({ steps: {}, upstream: { on: 'delta-fetch', behave } }, 'a');
      },
    ],
  ];
  const writers: [Weakness, Happenings] = [
    'manifests are created over others',
    (world) => {
      const where = { step: 'post', phase: 'upload', when: 'before' } as const;
      return world.overlap({ ...where, publish: 'post', isTakenForDead: true });
    },
  ];

  test.each([...chooseCases(readers), writers])('%s', async (weakness, happen) => {
    await run(testSeed(), happen);
    const weakened = run(testSeed(), happen, weakness);
    await expect(weakened).rejects.toThrow(/: invariant [12]: /);
  });
});
