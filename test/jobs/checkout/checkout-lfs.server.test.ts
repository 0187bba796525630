/**
 * Checkouts with `lfs: true`. They need git-lfs, so they are left out of `npm test`; where it is
 * missing they fail.
 */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startGitLfsServer, type GitLfsServer } from '../../support/git-server/lfs-server.ts';
import { git, gitEnvironment } from '../../support/git.ts';
import { runProcess } from '../../support/processes.ts';
import { createRandom } from '../../support/random.ts';
import { expectSameRefs, expectSameWorkspace } from '../scenarios/checkout-comparison.ts';
import {
  addFiles,
  checkOutAt,
  createUpstream,
  eventOf,
  prime,
  SMALL_BYTES,
  type Pair,
  type Wish,
} from '../scenarios/checkout-scenario.ts';
import { useScenarios, type Scenario } from '../scenarios/scenario.ts';

const scenarios = useScenarios();
let lfs: GitLfsServer;

beforeAll(async () => {
  const version = await runProcess('git', ['lfs', 'version'], { environment: gitEnvironment() });
  if (version.exitCode !== 0) throw new Error('tests of LFS need git-lfs: apt-get install git-lfs');
  lfs = await startGitLfsServer(scenarios.server);
});

afterAll(async () => {
  // eslint-disable-next-line @typescript-eslint/no-unnecessary-condition -- it may not have started
  await lfs?.stop();
});

const CONTENT = createRandom(7).bytes(100_000);
const OTHER = createRandom(8).bytes(100_000);

async function createLfsUpstream(): Promise<Scenario> {
  const scenario = await createUpstream(scenarios);
  await addFiles(scenario.upstream, [
    { path: '.gitattributes', content: '*.bin filter=lfs diff=lfs merge=lfs -text\n' },
    { path: 'data/one.bin', content: lfs.add(CONTENT) },
    { path: 'data/other.bin', content: lfs.add(OTHER) },
  ]);
  return scenario;
}

/** As `git lfs install` of a machine's owner leaves it; GitHub's runners have that. */
const FILTERS = `[filter "lfs"]
	clean = git-lfs clean -- %f
	smudge = git-lfs smudge -- %f
	process = git-lfs filter-process
	required = true
`;

async function checkOutBoth(scenario: Scenario, wish: Wish, isInstalled: boolean): Promise<Pair> {
  const { url: serverUrl } = lfs;
  const options = { ...(await eventOf(scenario)), serverUrl, lfs: true, ...wish };
  const [unprimedJob, primedJob] = [scenario.job(), await prime(scenario, { serverUrl })];
  const requests: number[] = [];
  const sites = [];
  for (const job of [unprimedJob, primedJob]) {
    if (isInstalled) await writeFile(join(job.home, '.gitconfig'), FILTERS);
    lfs.requests.length = 0;
    sites.push(await checkOutAt(scenario, job, options));
    requests.push(lfs.requests.length);
    expect(lfs.requests.filter(({ status }) => status !== 200)).toEqual([]);
  }
  expect(requests[1]).toBe(requests[0]);
  const [unprimed, primed] = sites as [Pair['unprimed'], Pair['primed']];
  return { unprimed, primed };
}

describe.each([
  ['where git-lfs is installed for the user', true],
  ['where git-lfs is not installed for the user', false],
])('%s', (_, isInstalled) => {
  test.each<[string, Wish]>([
    ['fetch-depth: 0', { fetchDepth: 0 }],
    ['fetch-depth: 1', {}],
    ['sparse-checkout', { sparseCheckout: ['data', 'folder-1', 'folder-2', 'folder-3'] }],
    ['another branch', { ref: 'refs/heads/branch-1' }],
  ])('lfs: true gives the content, primed or not: %s', async (_name, wish) => {
    const scenario = await createLfsUpstream();
    await git(scenario.upstream, ['update-ref', 'refs/heads/branch-1', 'refs/heads/main']);
    const pair = await checkOutBoth(scenario, wish, isInstalled);
    const { primed, unprimed } = pair;
    expect(primed.checkout.found).toBe('kept');
    for (const { folder } of [primed, unprimed]) {
      expect((await readFile(join(folder, 'data', 'one.bin'))).equals(CONTENT)).toBe(true);
      expect((await readFile(join(folder, 'data', 'other.bin'))).equals(OTHER)).toBe(true);
    }
    await expectSameWorkspace(pair);
    expect(primed.bytes).toBeLessThan(SMALL_BYTES);
  });

  test('lfs: false gives the pointers, primed or not', async () => {
    const scenario = await createLfsUpstream();
    const pair = await checkOutBoth(scenario, { lfs: false, fetchDepth: 0 }, isInstalled);
    await expectSameWorkspace(pair);
    await expectSameRefs(pair);
    const pointer = await readFile(join(pair.primed.folder, 'data', 'one.bin'), 'utf8');
    expect(pointer).toContain('https://git-lfs.github.com/spec/v1');
    expect(pair.primed.bytes).toBeLessThan(SMALL_BYTES);
  });
});

/** Enough files for git to write them with several processes, had it been told to. */
const MANY = 120;

test('.lfsconfig has its say in a primed workspace as in another', async () => {
  const scenario = await createLfsUpstream();
  await addFiles(scenario.upstream, [
    { path: '.lfsconfig', content: '[lfs]\n\tfetchexclude = ex\n' },
    { path: 'ex/no.bin', content: lfs.add(createRandom(9).bytes(100_000)) },
    ...Array.from({ length: MANY }, (_, index) => ({
      path: `many/${index}.txt`,
      content: `file ${index}\n`,
    })),
  ]);
  const pair = await checkOutBoth(scenario, { fetchDepth: 0 }, true);
  for (const { folder } of [pair.unprimed, pair.primed]) {
    expect(await readFile(join(folder, 'ex', 'no.bin'), 'utf8')).toContain('git-lfs.github.com');
    expect((await readFile(join(folder, 'data', 'one.bin'))).equals(CONTENT)).toBe(true);
  }
  await expectSameWorkspace(pair);
});

test('a job may push an object after its checkout in a primed workspace', async () => {
  const scenario = await createLfsUpstream();
  const { primed } = await checkOutBoth(scenario, { fetchDepth: 0 }, false);
  const content = createRandom(9).bytes(50_000);
  await writeFile(join(primed.folder, 'data', 'made.bin'), content);
  await git(primed.folder, ['add', '.']);
  const pointer = await git(primed.folder, ['show', ':data/made.bin']);
  await git(primed.folder, ['commit', '--quiet', '--message', 'made']);
  await git(primed.folder, ['push', '--quiet', 'origin', 'HEAD:refs/heads/made']);
  const [oid = ''] = /(?<=oid sha256:)[0-9a-f]{64}/.exec(pointer) ?? [];
  expect(lfs.objects.get(oid)?.length).toBe(content.length);
});
