/** What lies in a primed workspace before its checkout, and what later steps of the job do there. */
import { describe, expect, test } from '@jest/globals';
import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Job } from '../../support/action-runner.ts';
import { git } from '../../support/git.ts';
import { addCommits } from '../../support/repository-fixture.ts';
import {
  expectSameRefs,
  expectSameWorkspace,
  readFiles,
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
import { succeed, useScenarios } from '../scenarios/scenario.ts';
import { chooseCases } from '../scenarios/rounds.ts';

const scenarios = useScenarios();

/** What earlier steps may have left next to, and in place of, what will be checked out. */
async function leaveFiles({ workspace }: Job): Promise<void> {
  await mkdir(join(workspace, 'folder-1', 'file-1'), { recursive: true });
  await mkdir(join(workspace, 'build', 'empty'), { recursive: true });
  await writeFile(join(workspace, 'folder-1', 'file-1', 'in-its-place'), 'stray');
  await writeFile(join(workspace, 'build', 'ignored'), 'stray');
  await writeFile(join(workspace, 'run.sh'), 'stray');
  await writeFile(join(workspace, 'stray'), 'stray');
  await git(workspace, ['init', '--quiet', 'repository']);
  await writeFile(join(workspace, 'repository', 'stray'), 'stray');
}

describe('files that earlier steps have left in the workspace', () => {
  test('are gone after the checkout, primed or not', async () => {
    const scenario = await createUpstream(scenarios);
    const [primedJob, unprimedJob] = [await prime(scenario), scenario.job()];
    for (const job of [primedJob, unprimedJob]) await leaveFiles(job);
    const event = await eventOf(scenario);
    const unprimed = await checkOutAt(scenario, unprimedJob, event);
    const primed = await checkOutAt(scenario, primedJob, event);
    expect(primed.checkout.found).toBe('kept');
    await expectSameWorkspace({ primed, unprimed });
  });

  test('stay in a primed one with `clean: false`, where an unprimed one is emptied', async () => {
    const scenario = await createUpstream(scenarios);
    const [primedJob, unprimedJob] = [await prime(scenario), scenario.job()];
    for (const job of [primedJob, unprimedJob]) await leaveFiles(job);
    const wish = { ...(await eventOf(scenario)), clean: false };
    const unprimed = await checkOutAt(scenario, unprimedJob, wish);
    const primed = await checkOutAt(scenario, primedJob, wish);
    expect(primed.checkout.found).toBe('kept');
    expect(await git(unprimed.folder, ['status', '--porcelain', '--ignored'])).toBe('');
    const strays = ['?? repository/', '?? stray', '!! build/'];
    expect(await git(primed.folder, ['status', '--porcelain', '--ignored'])).toBe(
      strays.join('\n'),
    );
    // What is upstream's is upstream's nevertheless.
    expect(await readFiles(primed.folder)).toMatchObject(await readFiles(unprimed.folder));
  });
});

test('locks that a killed git has left do not hinder the checkout', async () => {
  const scenario = await createUpstream(scenarios);
  const job = await prime(scenario);
  for (const name of ['index.lock', 'shallow.lock']) {
    await writeFile(join(job.workspace, '.git', name), '');
  }
  const primed = await checkOutAt(scenario, job, await eventOf(scenario));
  const unprimed = await checkOutAt(scenario, scenario.job(), await eventOf(scenario));
  expect(primed.checkout.found).toBe('kept');
  await expectSameWorkspace({ primed, unprimed });
});

describe('a second checkout in the same job', () => {
  test.each(
    chooseCases<[string, Wish, Wish]>([
      ['of everything after one commit', {}, { fetchDepth: 0 }],
      ['of one commit after everything', { fetchDepth: 0 }, {}],
      ['of everything after a part', { sparseCheckout: ['folder-1'] }, { filter: 'blob:none' }],
    ]),
  )('%s', async (_, first, second) => {
    const scenario = await createUpstream(scenarios);
    const before = await checkOutBoth(scenario, first);
    const jobs = [before.primed.job, before.unprimed.job] as const;
    for (const { workspace } of jobs) await work(workspace);
    const mirrored = await readTrackingRefs(scenario);
    await addCommits(scenario.upstream, { branch: 'branch-1' });
    const wish = { ...second, ...(await eventOf(scenario, 'branch-1')) };
    const [primed, unprimed] = [
      await checkOutAt(scenario, jobs[0], wish),
      await checkOutAt(scenario, jobs[1], wish),
    ];
    expect([primed, unprimed].map(({ checkout }) => checkout.found)).toEqual(['kept', 'kept']);
    await expectSameWorkspace({ primed, unprimed });
    await expectSameRefs({ primed, unprimed }, second.fetchDepth === 0 ? {} : mirrored);
  });
});

describe('a second checkout at a path below the first', () => {
  const path = 'deps/it';

  test('profits where it is primed after the first', async () => {
    const scenario = await createUpstream(scenarios);
    const event = await eventOf(scenario);
    const root = scenario.newMachine();
    const above = await checkOutAt(scenario, await prime(scenario, {}, root), event);
    const job = await prime(scenario, { path }, root);
    const below = await checkOutAt(scenario, job, { ...event, path });
    expect([above, below].map(({ checkout }) => checkout.found)).toEqual(['kept', 'kept']);
    expect(above.bytes + below.bytes).toBeLessThan(SMALL_BYTES);
    expect(await git(below.folder, ['status', '--porcelain'])).toBe('');
  });

  // `git clean -ffdx` of the first takes repositories for files that nobody knows.
  test('does not where it was primed before the first', async () => {
    const scenario = await createUpstream(scenarios);
    const event = await eventOf(scenario);
    const root = scenario.newMachine();
    await prime(scenario, { path }, root);
    // Primes the workspace itself as well, and leaves what lies in it.
    const job = scenario.job({ root, token: TOKEN });
    await succeed(job.main());
    const above = await checkOutAt(scenario, job, event);
    const below = await checkOutAt(scenario, job, { ...event, path });
    expect([above, below].map(({ checkout }) => checkout.found)).toEqual(['kept', 'nothing']);
    expect(await git(below.folder, ['status', '--porcelain'])).toBe('');
  });
});

describe('the token', () => {
  test('is nowhere after the checkout and its post, and git knows of none', async () => {
    const scenario = await createUpstream(scenarios);
    const pair = await checkOutBoth(scenario, { fetchDepth: 0 });
    const { primed, unprimed } = pair;
    for (const { checkout, folder, job } of [primed, unprimed]) {
      // Until then jobs may push (see expectSameBehaviour), and its file lies where none is saved.
      expect((await readdir(job.temp)).join()).toContain('git-credentials-');
      await checkout.post();
      expect((await readdir(job.temp)).join()).not.toContain('git-credentials-');
      const configuration = await readFile(join(folder, '.git', 'config'), 'utf8');
      expect(configuration).not.toMatch(/includeIf|extraheader|insteadOf/i);
      expect(await filesWith(folder, TOKEN)).toEqual([]);
    }
    await expectSameWorkspace(pair);
  });

  test('is gone with the main step already with `persist-credentials: false`', async () => {
    const scenario = await createUpstream(scenarios);
    const { primed, unprimed } = await checkOutBoth(scenario, { persistCredentials: false });
    for (const { folder, job } of [primed, unprimed]) {
      expect((await readdir(job.temp)).join()).not.toContain('git-credentials-');
      expect(await filesWith(folder, TOKEN)).toEqual([]);
    }
  });
});

/** As builds and bots do: other content, new files, a commit, and a branch that is checked out. */
async function work(workspace: string): Promise<void> {
  await writeFile(join(workspace, 'folder-1', 'file-1'), 'changed');
  await mkdir(join(workspace, 'build'));
  await writeFile(join(workspace, 'build', 'output'), 'built');
  await git(workspace, ['checkout', '--quiet', '-b', 'of-the-job']);
  await git(workspace, ['commit', '--quiet', '--all', '--message', 'by the job']);
}

/** Files of a folder that hold the text, as it is or as it goes over the wire. */
async function filesWith(folder: string, text: string): Promise<string[]> {
  const sent = Buffer.from(`x-access-token:${text}`).toString('base64');
  const found: string[] = [];
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  for (const entry of entries.filter((each) => each.isFile())) {
    const path = join(entry.parentPath, entry.name);
    const content = await readFile(path);
    if (content.includes(text) || content.includes(sent)) found.push(path);
  }
  return found;
}
