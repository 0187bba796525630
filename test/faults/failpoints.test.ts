/**
 * Jobs that get a signal at each point of main and post where something begins or has ended. The next
 * job heals what they leave. FAILPOINT_ROUNDS=30 makes a soak of it: each signal so often at each
 * point. Otherwise a few points are chosen.
 */
import { describe, test } from '@jest/globals';
import { createRandom, testSeed } from '../support/random.ts';
import { createTemporaryDirectory, removeDirectory } from '../support/temporary-directory.ts';
import { PHASES_OF, type PhaseSignal } from './step-faults.ts';
import { isCold, World } from './world.ts';

const random = createRandom(testSeed());
const rounds = Number(process.env['FAILPOINT_ROUNDS'] ?? 0);
const SAMPLE = 2;
const TIMEOUT_MS = 600_000;
const SIGNALS = ['SIGKILL', 'SIGINT', 'SIGTERM'] as const;

const points = (['main', 'post'] as const).flatMap((step) =>
  PHASES_OF[step].flatMap((phase) =>
    (['before', 'after'] as const).flatMap((when) =>
      // What jobs come to once in a world takes one for each signal.
      (isCold(phase) || phase === 'repack' ? SIGNALS.map((signal) => [signal]) : [SIGNALS]).map(
        (signals) => ({ step, phase, when, signals }),
      ),
    ),
  ),
);
const chosen = (
  rounds > 0
    ? Array.from({ length: rounds }, () => points).flat()
    : Array.from({ length: SAMPLE }, () => random.pick(points))
).map((point) => ({ ...point, what: point.signals.join(', '), seed: random.integer(2 ** 31) }));

describe('a job that gets a signal leaves nothing that the next one cannot heal', () => {
  test.concurrent.each(chosen)('$what $when $phase of $step', inWorld, TIMEOUT_MS);
});

async function inWorld(point: (typeof chosen)[number]): Promise<void> {
  const { step, seed, signals, phase, when } = point;
  const root = await createTemporaryDirectory('failpoints');
  const world = await World.create(root, createRandom(seed));
  try {
    await world.prepareFor(phase);
    for (const signal of signals) {
      await world.runJobWhere(step, { phase, when, signal } satisfies PhaseSignal);
      await world.heal();
    }
    await world.checkEnd();
  } catch (error) {
    throw new Error(world.story.join('\n'), { cause: error });
  } finally {
    await world.close();
    await removeDirectory(root);
  }
}
