/** Checkouts in a workspace that was primed with `fetch-depth: 1`: one commit with its files, and no history. */
import { describe, expect, test } from '@jest/globals';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { addCommits } from '../../support/repository-fixture.ts';
import {
  expectSameBehaviour,
  expectSameRefs,
  expectSameWorkspace,
  expectSound,
  readTrackingRefs,
} from '../scenarios/checkout-comparison.ts';
import {
  checkOutAt,
  checkOutBoth,
  createUpstream,
  eventOf,
  prime,
  SMALL_BYTES,
  TOKEN,
  type Wish,
} from '../scenarios/checkout-scenario.ts';
import { succeed, useScenarios, verdict } from '../scenarios/scenario.ts';
import { TIP, describeTipReplays, mainOf } from '../scenarios/tip-replays.ts';
import { chooseCases } from '../scenarios/rounds.ts';

const scenarios = useScenarios();

describeTipReplays(scenarios);

describe('the newest commit', () => {
  test('twice in one workspace', async () => {
    const scenario = await createUpstream(scenarios);
    const { primed } = await checkOutBoth(scenario, {}, undefined, { inputs: TIP });
    const { head } = await addCommits(scenario.upstream, { commits: 2 });
    const again = await checkOutAt(scenario, primed.job, await eventOf(scenario));
    expect(again.checkout).toMatchObject({ found: 'kept', commit: head });
    expect(again.bytes).toBeLessThan(SMALL_BYTES);
    await expectSound(again.folder);
  });
});

describe('only what differs is fetched of', () => {
  test('branches and tags that `refs` names, beside the default branch', async () => {
    const scenario = await createUpstream(scenarios);
    const inputs = { ...TIP, refs: 'refs/heads/branch-1\nrefs/tags/annotated-1' };
    const event = () => eventOf(scenario, 'branch-1');
    const pair = await checkOutBoth(scenario, {}, event, { inputs });
    await expectSameWorkspace(pair);
    const all = await readTrackingRefs(scenario);
    const named = [
      'refs/remotes/origin/main',
      'refs/remotes/origin/branch-1',
      'refs/tags/annotated-1',
    ];
    await expectSameRefs(pair, Object.fromEntries(named.map((name) => [name, all[name] ?? ''])));
    expect(pair.primed.bytes).toBeLessThan(SMALL_BYTES);
  });
});

describe('a checkout that asks for more', () => {
  test.each(
    chooseCases<[string, Wish]>([
      ['fetch-depth: 0', { fetchDepth: 0 }],
      ['fetch-depth: 5', { fetchDepth: 5 }],
      ['fetch-depth: 0 after a push', { fetchDepth: 0 }],
    ]),
  )('%s gets it, whole', async (name, wish) => {
    const scenario = await createUpstream(scenarios);
    const between = async (): Promise<Wish> => {
      if (name.endsWith('push')) await addCommits(scenario.upstream, { commits: 2 });
      return eventOf(scenario);
    };
    const pair = await checkOutBoth(scenario, wish, between, { inputs: TIP });
    await expectSameWorkspace(pair);
    await expectSameRefs(pair);
    await expectSameBehaviour(pair, scenario);
    const post = await succeed(pair.primed.job.post());
    if (wish.fetchDepth === 0) {
      expect(post.log).toMatch(/whole history.*`fetch-depth: 0`/);
    } else {
      expect(post.log).not.toMatch(/whole history/);
    }
  });

  test('fetch-tags gets all tags', async () => {
    const scenario = await createUpstream(scenarios);
    const pair = await checkOutBoth(scenario, { fetchTags: true }, undefined, { inputs: TIP });
    await expectSameWorkspace(pair);
    await expectSameRefs(pair, await mainOf(scenario));
    await expectSameBehaviour(pair, scenario);
  });
});

test('a `.git` that is a file by then keeps post from nothing', async () => {
  const scenario = await createUpstream(scenarios);
  const job = await prime(scenario, {}, scenario.newMachine(), TIP);
  await rm(join(job.workspace, '.git'), { recursive: true });
  await writeFile(join(job.workspace, '.git'), 'gitdir: elsewhere\n');
  expect(verdict(await succeed(job.post()))).toMatch(/^Saved snapshot 1-/);
});

test('the workspace costs upstream what changed since the last snapshot, on any machine', async () => {
  const scenario = await createUpstream(scenarios);
  await scenario.run({ token: TOKEN, inputs: TIP });
  await addCommits(scenario.upstream, { commits: 2 });
  const { server } = scenario;
  server.resetCounters();
  const job = await prime(scenario, {}, scenario.newMachine(), TIP);
  const site = await checkOutAt(scenario, job, await eventOf(scenario));
  expect(server.bytesSent).toBeLessThan(SMALL_BYTES);
  expect(site.checkout.found).toBe('kept');
  await expectSound(site.folder);
});
