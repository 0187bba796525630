/** A long life of one upstream: after every save the store alone makes a mirror that equals it. */
import { expect, test } from '@jest/globals';
import { tierOf } from '../../../src/mirror/tiers.ts';
import { Life, summarize } from '../../support/life.ts';
import { createRandom, testSeed } from '../../support/random.ts';
import { changeAtRandom } from '../../support/random-changes.ts';
import { removeDirectory } from '../../support/temporary-directory.ts';
import { expectMirrorOf, useScenarios } from '../scenarios/scenario.ts';

const STEPS = Number(process.env['LIFE_STEPS'] ?? 8);

const scenarios = useScenarios();

const size = { commits: 30, files: 20, fileBytes: 4_000, branches: 2 };

test(
  `${STEPS} fetches, on machines that stay and new ones: equal to upstream, within the bound`,
  async () => {
    const scenario = await scenarios.create({ ...size, annotatedTags: 1, lightTags: 1 });
    const { upstream, server, repository, store } = scenario;
    const random = createRandom(testSeed());
    const life = new Life({ server, repository, store });
    const staying = scenario.newMachine();
    let last = staying;
    for (let step = 0; step <= STEPS; step++) {
      const change = step === 0 ? 'clone' : await changeAtRandom(upstream, random, step);
      const machine = random.pick([staying, last, scenario.newMachine()]);
      await expectMirrorOf(await life.save(machine, change), upstream);
      // Others have overtaken the one that stays; who restored the last snapshot has it for base.
      if (last !== staying) await removeDirectory(last);
      last = scenario.newMachine();
      const { mirror } = await life.restore(last);
      await expectMirrorOf(mirror, upstream);
    }
    const summary = summarize(life.saves);
    process.stderr.write(`${JSON.stringify(summary)}\n`);
    expect(summary.layerBytes).toBeLessThanOrEqual(summary.boundBytes);
    expect(summary.medianOfAllowed).toBeLessThanOrEqual(1);
    for (const { layers, packs, snapshotBytes } of life.saves) {
      expect(layers).toBeLessThanOrEqual(4 * (1 + tierOf(snapshotBytes)));
      expect(packs).toBe(layers);
    }
  },
  STEPS * 30_000,
);
