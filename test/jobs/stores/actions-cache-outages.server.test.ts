/**
 * Jobs whose Actions cache fails, in each kind of request by each kind of failure. A run takes some of
 * them: OUTAGES says how many, TEST_SEED repeats the choice.
 */
import { describe, expect, jest, test } from '@jest/globals';
import type { CacheFaultBehaviour } from '../../support/actions-cache/fault.ts';
import { createRandom, testSeed } from '../../support/random.ts';
import { addCommits, repositorySizes } from '../../support/repository-fixture.ts';
import { expectNothingLeft, inCache, useCacheService } from '../scenarios/cache-scenario.ts';
import {
  expectMirrorOf,
  useScenarios,
  verdict,
  type Run,
  type Scenario,
} from '../scenarios/scenario.ts';

// The toolkit tries again for half a minute where it is told to.
jest.setTimeout(400_000);

const scenarios = useScenarios();
const cache = useCacheService();

const COUNT = Number(process.env['OUTAGES'] ?? 2);
const REQUESTS = ['lookup', 'properties', 'download', 'create', 'upload', 'finalize'] as const;
const BEHAVIOURS = {
  'status 500': { kind: 'status', status: 500 },
  'status 429': { kind: 'status', status: 429, retryAfterSeconds: 1 },
  'status 403': { kind: 'status', status: 403 },
  'a refusal': { kind: 'refuse', message: 'on purpose' },
  'a closed connection': { kind: 'close' },
  'a reset in the middle': { kind: 'cut', afterBytes: 50, reset: true },
  'a truncated body': { kind: 'shorten', afterBytes: 50 },
  'wrong bytes': { kind: 'garbage-stream', afterBytes: 0 },
  'a slow line': { kind: 'slow', bytesPerSecond: 500_000 },
} as const satisfies Record<string, CacheFaultBehaviour>;

type Outage = [(typeof REQUESTS)[number], keyof typeof BEHAVIOURS];

function chooseOutages(): Outage[] {
  const kinds = Object.keys(BEHAVIOURS) as (keyof typeof BEHAVIOURS)[];
  const all = REQUESTS.flatMap((request) => kinds.map((kind): Outage => [request, kind])).filter(
    // That is how the service says that there is none.
    ([request, kind]) => !(request === 'lookup' && kind === 'a refusal'),
  );
  const random = createRandom(testSeed());
  const chosen = new Set<Outage>();
  while (chosen.size < Math.min(COUNT, all.length)) chosen.add(random.pick(all));
  return [...chosen];
}

async function run(scenario: Scenario): Promise<Run> {
  const done = await scenario.run(inCache(cache(), scenario.server.url));
  await expectMirrorOf(done.mirror, scenario.upstream);
  await expectNothingLeft(done.job);
  return done;
}

describe('a job does its work, says what failed, and leaves nothing bad', () => {
  test.each(chooseOutages())('where each %s meets %s', async (request, kind) => {
    const scenario = await scenarios.create(repositorySizes.small);
    await run(scenario);
    await addCommits(scenario.upstream);
    const fault = cache().fault({ on: request, behave: BEHAVIOURS[kind] });
    const { main, post } = await run(scenario);
    const { provenance } = main.outputs;
    // Nothing is missed in silence.
    const warnings = main.annotations.filter(({ level }) => level === 'warning');
    expect({ provenance, isSaid: warnings.length > 0 }).toEqual({
      provenance,
      isSaid: provenance !== 'restored',
    });
    expect(verdict(post)).not.toContain('no verdict');
    cache().clearFaults();

    await addCommits(scenario.upstream);
    const next = await run(scenario);
    const last = await run(scenario);
    expect(last.main.outputs['provenance']).toBe('restored');
    // Numbers that a failed save had begun are passed over.
    if (next.main.outputs['provenance'] === 'restored') {
      expect(verdict(next.post)).toMatch(/^Saved snapshot/);
    }
    // One that met nothing would have shown nothing; only Azure is asked for properties.
    if (kind !== 'a slow line') expect(fault.applied).toBeGreaterThan(0);
  });
});
