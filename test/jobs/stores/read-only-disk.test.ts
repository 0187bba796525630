/** Jobs whose disk store is mounted read-only, as docs/threat-model.md advises where strangers' code runs. */
import { afterEach, describe, expect, test } from '@jest/globals';
import { canMount, mounts } from '../../support/mounts.ts';
import { addCommits } from '../../support/repository-fixture.ts';
import { expectMirrorOf, useScenarios, verdict } from '../scenarios/scenario.ts';

const scenarios = useScenarios();
const disks = mounts();
afterEach(() => {
  disks.removeAll();
});

const testMounted = canMount('tmpfs') ? test : test.skip;

describe('a job with a read-only disk store says so once in each step, and warns of nothing', () => {
  testMounted.each([
    ['with a snapshot', 'restored', {}],
    ['with a snapshot, where it could publish early', 'restored', { publish: 'early' }],
    ['that is empty', 'cloned', {}],
    ['that is empty, where it could publish early', 'cloned', { publish: 'early' }],
  ] as const)('%s (needs mount)', async (_, provenance, more) => {
    const scenario = await scenarios.create();
    const store = disks.memory(16 * 1024 * 1024);
    const inputs = { 'disk-path': store, ...more };
    if (provenance === 'restored') await scenario.run({ inputs });
    await addCommits(scenario.upstream);
    disks.makeReadOnly(store);
    const { main, post, mirror } = await scenario.run({ inputs });
    expect(main.outputs['provenance']).toBe(provenance);
    await expectMirrorOf(mirror, scenario.upstream);
    expect(verdict(post)).toMatch(
      /^Nothing saved: the disk store \S+ can only be read by this job \(EROFS: read-only file system\)$/,
    );
    for (const step of [main, post]) {
      expect(step.annotations.filter(({ level }) => level === 'warning')).toEqual([]);
      const lines = `${step.stdout}${step.stderr}`.split('\n');
      expect(lines.filter((line) => line.includes('EROFS')).length).toBeLessThanOrEqual(1);
    }
  });
});
