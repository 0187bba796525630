/** A snapshot that no fetch succeeds into is replaced, though it has the refs that upstream has again. */
import { expect, test } from '@jest/globals';
import { git } from '../../support/git.ts';
import { addCommits } from '../../support/repository-fixture.ts';
import { newestSnapshot, succeed, useScenarios, verdict } from '../scenarios/scenario.ts';

const scenarios = useScenarios();

test('a clone after such a fetch saves a new snapshot, where post would find nothing changed', async () => {
  const scenario = await scenarios.create();
  const { server, upstream, store } = scenario;
  await scenario.run();
  const before = (await git(upstream, ['rev-parse', 'refs/heads/main'])).trim();
  await addCommits(upstream, { fileBytes: 2_000 });
  // Longer than fetch-timeout: the mirror is at fault then, and a clone is made.
  server.fault({ on: 'delta-fetch', behave: { kind: 'stall', afterBytes: 100 } });
  server.resetCounters();
  const job = scenario.job({ inputs: { 'fetch-timeout': '10s' } });
  const step = job.startMain();
  await server.waitForRequest(({ hasHaves }) => hasHaves);
  // While that fetch hangs, upstream goes back to what the snapshot holds.
  await git(upstream, ['update-ref', 'refs/heads/main', before]);
  const main = await succeed(step.finished);
  expect(main.outputs).toMatchObject({ provenance: 'cloned', recloned: 'true' });
  const first = await newestSnapshot(store);
  expect(main.outputs['refs-digest']).toBe(first.snapshot.refsDigest);
  expect(verdict(await succeed(job.post()))).toMatch(/^Saved snapshot 2-/);
});
