/**
 * Jobs that get a signal at each point of main and post where something begins or has ended. The next
 * job heals what they leave. FAILPOINT_ROUNDS=30 makes a soak of it; otherwise a few are chosen.
 */
import { describe, test } from '@jest/globals';
import { createRandom, testSeed } from '../support/random.ts';
import { createTemporaryDirectory, removeDirectory } from '../support/temporary-directory.ts';
import { PHASES_OF, type PhaseSignal } from './step-faults.ts';
import { World } from './world.ts';

const random = createRandom(testSeed());
const rounds = Number(process.env['FAILPOINT_ROUNDS'] ?? 0);
const SAMPLE = 6;

const points = (['main', 'post'] as const).flatMap((step) =>
  PHASES_OF[step].flatMap((phase) =>
    (['before', 'after'] as const).flatMap((when) =>
      (['SIGKILL', 'SIGINT', 'SIGTERM'] as const).map((signal) => ({ step, phase, when, signal })),
    ),
  ),
);
const chosen = (
  rounds > 0
    ? Array.from({ length: rounds }, () => points).flat()
    : Array.from({ length: SAMPLE }, () => random.pick(points))
).map((point) => ({ ...point, seed: random.integer(2 ** 31) }));

describe('a job that gets a signal leaves nothing that the next one cannot heal', () => {
  test.concurrent.each(chosen)('$signal $when $phase of $step', async (point) => {
    const { step, seed, ...signal } = point;
    const root = await createTemporaryDirectory('failpoints');
    const world = await World.create(root, createRandom(seed));
    try {
      await world.runJobWhere(step, signal satisfies PhaseSignal);
      await world.recover();
    } catch (error) {
      throw new Error(world.story.join('\n'), { cause: error });
    } finally {
      await world.close();
      await removeDirectory(root);
    }
  });
});
