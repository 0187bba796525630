/** A checkout of an unchanged upstream, for each way to ask for one. */
import { describe, expect, test } from '@jest/globals';
import { git, tryGit } from '../../support/git.ts';
import { moveTag } from '../../support/repository-change.ts';
import {
  countFileBytes,
  expectSameBehaviour,
  expectSameRefs,
  expectSameWorkspace,
  readFiles,
  readTrackingRefs,
} from '../scenarios/checkout-comparison.ts';
import {
  checkOutBoth,
  createUpstream,
  SMALL_BYTES,
  type Wish,
} from '../scenarios/checkout-scenario.ts';
import { chooseCases } from '../scenarios/rounds.ts';
import { useScenarios, type Scenario } from '../scenarios/scenario.ts';

const scenarios = useScenarios();

async function tagOf({ upstream }: Scenario, name: string | undefined): Promise<Wish> {
  if (name === undefined) return {};
  const sha = await git(upstream, ['rev-parse', `${name}^{commit}`]);
  return { ref: `refs/tags/${name}`, sha };
}

describe('a checkout in a primed workspace gives what it gives in an empty one, and costs next to nothing', () => {
  const cone = ['folder-1', 'folder-2', 'folder-3'];
  const patterns = ['/*', '!/folder-1/*', '/folder-1/below/'];

  const cases: [string, Wish & { tag?: string }][] = [
    ['fetch-depth: 0', { fetchDepth: 0 }],
    ['fetch-depth: 1', {}],
    ['fetch-depth: 5', { fetchDepth: 5 }],
    ['sparse-checkout', { sparseCheckout: cone }],
    ['sparse-checkout with fetch-depth: 0', { sparseCheckout: cone, fetchDepth: 0 }],
    ['sparse-checkout by patterns', { sparseCheckout: patterns, sparseCheckoutConeMode: false }],
    ['filter: blob:none', { filter: 'blob:none', fetchDepth: 0 }],
    ['filter: tree:0', { filter: 'tree:0', fetchDepth: 0 }],
    ['clean: false', { clean: false }],
    ['path', { path: 'deps/it', fetchDepth: 0 }],
    ['persist-credentials: false', { persistCredentials: false }],
    ['an annotated tag', { tag: 'annotated-1' }],
    ['a tag', { tag: 'light-1', fetchDepth: 0 }],
    ['a branch by its short name', { ref: 'branch-1', sha: undefined }],
    ['a commit', { ref: undefined }],
    ['a repository with SHA-256', { objectFormat: 'sha256', fetchDepth: 0 }],
  ];

  test.each(chooseCases(cases))('%s', async (_, { tag, ...wish }) => {
    const scenario = await createUpstream(scenarios, wish.objectFormat);
    const pair = await checkOutBoth(scenario, wish, () => tagOf(scenario, tag));
    await expectSameWorkspace(pair);
    const isShallow = wish.fetchDepth !== 0;
    await expectSameRefs(pair, isShallow ? await readTrackingRefs(scenario) : {});

    const { primed, unprimed } = pair;
    expect(primed.bytes).toBeLessThan(SMALL_BYTES);
    expect(primed.requests.filter(({ isClone }) => isClone)).toEqual([]);
    expect(unprimed.bytes).toBeGreaterThan(await countFileBytes(unprimed.folder));
    expect(unprimed.bytes).toBeGreaterThan(2 * SMALL_BYTES);

    await expectSameBehaviour(pair, scenario, wish.persistCredentials);
  });

  // Every tag becomes the end of a history, and git asks for the files of each of them again.
  test('fetch-depth: 1 with fetch-tags, which costs more', async () => {
    const scenario = await createUpstream(scenarios);
    const pair = await checkOutBoth(scenario, { fetchTags: true });
    await expectSameWorkspace(pair);
    await expectSameRefs(pair, await readTrackingRefs(scenario));
    expect(pair.primed.bytes).toBeLessThan(pair.unprimed.bytes / 2);
    await expectSameBehaviour(pair, scenario);
  });
});

describe('what a primed workspace has besides', () => {
  test('at a depth, tags of the commit: `git describe` finds them', async () => {
    const scenario = await createUpstream(scenarios);
    await moveTag(scenario.upstream, 'v1.2.3', 'main', 'a release');
    const { primed, unprimed } = await checkOutBoth(scenario);
    expect(await git(primed.folder, ['describe'])).toBe('v1.2.3');
    expect((await tryGit(unprimed.folder, ['describe'])).exitCode).toBe(128);
  });

  test('refs/remotes/origin/HEAD', async () => {
    const scenario = await createUpstream(scenarios);
    const { primed } = await checkOutBoth(scenario);
    const head = ['symbolic-ref', 'refs/remotes/origin/HEAD'];
    expect(await git(primed.folder, head)).toBe('refs/remotes/origin/main');
  });

  test('all history within reach: deepening costs next to nothing', async () => {
    const scenario = await createUpstream(scenarios);
    const { primed, unprimed } = await checkOutBoth(scenario);
    const { server } = scenario;
    const unshallow = async (folder: string): Promise<number> => {
      server.resetCounters();
      await git(folder, ['fetch', '--quiet', '--unshallow']);
      return server.bytesSent;
    };
    const bytes = await unshallow(primed.folder);
    expect(bytes).toBeLessThan(SMALL_BYTES);
    expect(await unshallow(unprimed.folder)).toBeGreaterThan(10 * SMALL_BYTES);
    const log = ['log', '--format=%H'];
    expect(await git(primed.folder, log)).toBe(await git(unprimed.folder, log));
    expect(await readFiles(primed.folder)).toEqual(await readFiles(unprimed.folder));
  });
});
