/** Checkouts with submodules: the mirror has none of theirs, and priming must not hinder them. */
import { describe, expect, test } from '@jest/globals';
import { join } from 'node:path';
import { git } from '../../support/git.ts';
import {
  expectSameBehaviour,
  expectSameRefs,
  expectSameWorkspace,
  expectSound,
  readFiles,
  readRefsOf,
  readTrackingRefs,
} from '../scenarios/checkout-comparison.ts';
import {
  addSubmodules,
  checkOutAt,
  checkOutBoth,
  createUpstream,
  eventOf,
  type Wish,
} from '../scenarios/checkout-scenario.ts';
import { useScenarios } from '../scenarios/scenario.ts';
import { chooseCases } from '../scenarios/rounds.ts';

const scenarios = useScenarios();

const OUTER = join('deps', 'outer');
const INNER = join(OUTER, 'inner');

describe('submodules', () => {
  test.each(
    chooseCases<[string, Wish, string[]]>([
      ['submodules: true', { submodules: true }, [OUTER]],
      ['submodules: recursive', { submodules: 'recursive', fetchDepth: 0 }, [OUTER, INNER]],
      [
        'submodules: recursive, persist-credentials: false',
        { submodules: 'recursive', persistCredentials: false },
        [OUTER, INNER],
      ],
    ]),
  )('%s', async (_, wish, populated) => {
    const scenario = await createUpstream(scenarios);
    await addSubmodules(scenario);
    const pair = await checkOutBoth(scenario, wish);
    const { primed, unprimed } = pair;
    await expectSameWorkspace(pair);
    await expectSameRefs(pair, wish.fetchDepth === 0 ? {} : await readTrackingRefs(scenario));
    for (const path of populated) {
      const [one, other] = [join(primed.folder, path), join(unprimed.folder, path)];
      expect(Object.keys(await readFiles(one)).length).toBeGreaterThan(5);
      expect(await readRefsOf(one)).toEqual(await readRefsOf(other));
      expect(await git(one, ['rev-parse', 'HEAD'])).toBe(await git(other, ['rev-parse', 'HEAD']));
      await expectSound(one);
    }
    const status = ['submodule', 'status', '--recursive'];
    expect(await git(primed.folder, status)).toBe(await git(unprimed.folder, status));
    // Theirs are fetched as they are without priming; only the superproject's own are spared.
    const fetchesOf = ({ requests }: typeof primed): string[] =>
      requests.filter((each) => each.repository !== scenario.repository).map(({ kind }) => kind);
    expect(fetchesOf(primed)).toEqual(fetchesOf(unprimed));
    await expectSameBehaviour(pair, scenario, wish.persistCredentials);
  });

  test('are the same after a second checkout', async () => {
    const scenario = await createUpstream(scenarios);
    await addSubmodules(scenario);
    const wish: Wish = { submodules: 'recursive' };
    const { primed, unprimed } = await checkOutBoth(scenario, wish);
    const event = { ...wish, ...(await eventOf(scenario)) };
    const again = {
      primed: await checkOutAt(scenario, primed.job, event),
      unprimed: await checkOutAt(scenario, unprimed.job, event),
    };
    expect(again.primed.checkout.found).toBe('kept');
    await expectSameWorkspace(again);
  });
});
