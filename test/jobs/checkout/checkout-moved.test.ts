/** A primed workspace is mounted at other paths and read by other users: so do container steps. */
import { afterEach, describe, expect, test } from '@jest/globals';
import { chmod, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { git, gitEnvironment } from '../../support/git.ts';
import { runProcess } from '../../support/processes.ts';
import { addCommits } from '../../support/repository-fixture.ts';
import { temporaryDirectories } from '../../support/temporary-directory.ts';
import { checkOutAt, createUpstream, eventOf, prime } from '../scenarios/checkout-scenario.ts';
import { chooseCases } from '../scenarios/rounds.ts';
import { useScenarios, type Scenario } from '../scenarios/scenario.ts';

const scenarios = useScenarios();
const DEPTHS = chooseCases([0, 1]);
const directories = temporaryDirectories();

afterEach(() => directories.removeAll());

type Git = (...gitArguments: string[]) => Promise<string>;

/** The workspace at another path after its checkout; neither the old one nor the mirror is left. */
async function moveWorkspace(scenario: Scenario, fetchDepth: number): Promise<string> {
  const root = scenario.newMachine();
  const job = await prime(scenario, {}, root);
  const wish = { ...(await eventOf(scenario)), fetchDepth, persistCredentials: false };
  const { checkout } = await checkOutAt(scenario, job, wish);
  expect(checkout.found).toBe('kept');
  const folder = await directories.create('moved');
  await chmod(folder, 0o755);
  await rename(job.workspace, join(folder, 'workspace'));
  await rm(root, { recursive: true });
  return join(folder, 'workspace');
}

async function expectReadable(read: Git, depth: number): Promise<void> {
  expect(await read('status', '--porcelain')).toBe('');
  const commits = (await read('log', '--format=%H')).split('\n');
  expect(commits.length).toBe(depth === 0 ? 21 : depth);
  expect(await read('fsck', '--full', '--no-dangling', '--no-progress')).toBe('');
}

async function expectToFetch(fetch: Git, scenario: Scenario): Promise<void> {
  scenario.server.token = undefined;
  const { head } = await addCommits(scenario.upstream);
  await fetch('fetch', '--quiet');
  expect(await fetch('rev-parse', 'refs/remotes/origin/main')).toBe(head);
}

describe.each(DEPTHS)('a primed workspace, checked out with fetch-depth: %s', (depth) => {
  test('works at another path, when the mirror is gone', async () => {
    const scenario = await createUpstream(scenarios);
    const workspace = await moveWorkspace(scenario, depth);
    const run: Git = (...words) => git(workspace, words);
    await expectReadable(run, depth);
    await expectToFetch(run, scenario);
    await expectReadable(run, depth);
  });

  const isRoot = process.platform === 'linux' && process.getuid?.() === 0;
  const named = isRoot ? '' : ' (skipped: needs Linux, as root)';

  (isRoot ? test : test.skip)(`works for another user${named}`, async () => {
    const scenario = await createUpstream(scenarios);
    const workspace = await moveWorkspace(scenario, depth);
    const configuration = join(workspace, '..', 'gitconfig');
    await writeFile(configuration, `[safe]\n\tdirectory = ${workspace}\n`);
    const run: Git = async (...words) => {
      const user = ['--reuid=65534', '--regid=65534', '--clear-groups'];
      const result = await runProcess('setpriv', [...user, 'git', ...words], {
        cwd: workspace,
        environment: gitEnvironment({ GIT_CONFIG_GLOBAL: configuration }),
      });
      expect(result).toMatchObject({ exitCode: 0, stderr: '' });
      return result.stdout.trim();
    };
    expect(await run('config', '--get', 'safe.directory')).toBe(workspace);
    await expectReadable(run, depth);
    await openForAll(join(workspace, '.git'));
    await expectToFetch(run, scenario);
    await expectReadable(run, depth);
  });
});

/** Lets everybody write, but for packs: those nobody has to. */
async function openForAll(folder: string): Promise<void> {
  await chmod(folder, 0o777);
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) await openForAll(path);
    else if (!path.includes('pack-')) await chmod(path, 0o666);
  }
}
