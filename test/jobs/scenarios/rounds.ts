/**
 * Cases that take whole jobs, and damage at random positions: CORRUPTIONS says how often, and makes a run a soak,
 * which tries every case. TEST_SEED repeats a choice.
 */
import { createHash } from 'node:crypto';
import { createRandom, testSeed, type Random } from '../../support/random.ts';

const asked = process.env['CORRUPTIONS'];
export const ROUNDS = Number(asked ?? 1);
/** Not a soak, which tries all there is. */
export const IS_SAMPLE = asked === undefined;

/** All cases in a soak; otherwise a quarter of them at random, because each takes whole jobs. */
export function chooseCases<const T>(cases: readonly T[]): T[] {
  if (!IS_SAMPLE) return [...cases];
  const random = createRandom(testSeed());
  const left = cases.map((_, index) => index);
  while (left.length > Math.ceil(cases.length / 4)) left.splice(random.integer(left.length), 1);
  return cases.filter((_, index) => left.includes(index));
}

/** Runs a kind's rounds, each with numbers of its own, and names the one that failed. */
export async function inRounds(
  kind: string,
  work: (random: Random, round: number) => Promise<void>,
): Promise<void> {
  for (let round = 1; round <= roundsOf(kind); round += 1) {
    const mixed = createHash('sha256').update(`${testSeed()} ${kind} ${round}`).digest();
    try {
      await work(createRandom(mixed.readUInt32LE()), round);
    } catch (error) {
      throw new Error(`${kind}, round ${round} of TEST_SEED=${testSeed()}`, { cause: error });
    }
  }
}

/** Those that hit a random position are worth more than one round. */
function roundsOf(kind: string): number {
  return /\b(?:emptied|missing)\b/.test(kind) ? 1 : ROUNDS;
}
