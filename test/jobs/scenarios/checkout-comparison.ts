/** What has to be the same in a workspace that was primed and in one that was not. */
import { createHash } from 'node:crypto';
import { lstat, readFile, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from '@jest/globals';
import { git, tryGit } from '../../support/git.ts';
import { createBranch, moveTag } from '../../support/repository-change.ts';
import { addCommits } from '../../support/repository-fixture.ts';
import type { Pair, Site } from './checkout-scenario.ts';
import type { Scenario } from './scenario.ts';

/**
 * Work tree, index, HEAD and configuration are the same, but for how many write the files; all is whole
 * and clean.
 */
export async function expectSameWorkspace({ primed, unprimed }: Pair): Promise<void> {
  const state = await readWorkspace(primed);
  expect(state).toEqual(await readWorkspace(unprimed));
  expect(state.status).toBe('');
  expect(primed.checkout.commit).toBe(unprimed.checkout.commit);
  for (const { folder } of [primed, unprimed]) await expectSound(folder);
}

async function readWorkspace({ folder, job }: Site) {
  const places: [string, string][] = [
    [job.workspace.replaceAll('\\', '/'), '<workspace>'],
    [job.temp, '<temp>'],
  ];
  const withoutPlaces = (line: string): string =>
    places
      .reduce((text, [place, name]) => text.replaceAll(place, name), line)
      .replaceAll(/git-credentials-[0-9a-f-]+/g, '<credentials>');
  const configuration = (await git(folder, ['config', '--local', '--list'])).split('\n');
  return {
    /** The name of a branch, or a commit. */
    head: (await readFile(join(folder, '.git', 'HEAD'), 'utf8')).trim(),
    commit: await git(folder, ['rev-parse', 'HEAD']),
    index: await git(folder, ['ls-files', '--stage', '-t']),
    status: await git(folder, ['status', '--porcelain', '--ignored']),
    files: await readFiles(folder),
    configuration: configuration
      .filter((line) => !line.startsWith('checkout.workers='))
      .map(withoutPlaces)
      .sort(),
  };
}

/** Mode and content of all that lies in a work tree, without what is git's. */
export async function readFiles(folder: string): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  for (const name of await readdir(folder)) {
    if (name === '.git') continue;
    const path = join(folder, name);
    const status = await lstat(path);
    const mode = status.mode.toString(8);
    if (status.isDirectory()) {
      files[name] = mode;
      const below = Object.entries(await readFiles(path));
      for (const [inner, found] of below) files[`${name}/${inner}`] = found;
    } else {
      const content = status.isSymbolicLink() ? await readlink(path) : await readFile(path);
      files[name] = `${mode} ${createHash('sha256').update(content).digest('hex')}`;
    }
  }
  return files;
}

/** Bytes of all that lies in a work tree: no checkout gets it for less, where nothing compresses. */
export async function countFileBytes(folder: string): Promise<number> {
  let bytes = 0;
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isFile()) bytes += (await lstat(path)).size;
    else if (entry.isDirectory() && entry.name !== '.git') bytes += await countFileBytes(path);
  }
  return bytes;
}

/** A shallow fetch leaves commits dangling that it has cut off. */
const FSCK = ['fsck', '--full', '--strict', '--no-dangling', '--no-progress'];

export async function expectSound(folder: string): Promise<void> {
  const { exitCode, stdout, stderr } = await tryGit(folder, FSCK);
  expect({ exitCode, stdout, stderr }).toEqual({ exitCode: 0, stdout: '', stderr: '' });
}

export type Refs = Record<string, string>;

/** Object ids by name; without the one ref that priming always adds. */
export async function readRefsOf(folder: string): Promise<Refs> {
  const format = '--format=%(refname) %(objectname)';
  const lines = (await git(folder, ['for-each-ref', format])).split('\n');
  const refs = Object.fromEntries(lines.map((line) => line.split(' ') as [string, string]));
  delete refs['refs/remotes/origin/HEAD'];
  return refs;
}

/** Upstream's branches and tags by the names that they have in a clone. */
export async function readTrackingRefs({ upstream }: Scenario): Promise<Refs> {
  const refs = Object.entries(await readRefsOf(upstream));
  return Object.fromEntries(
    refs
      .map(([name, oid]) => [name.replace('refs/heads/', 'refs/remotes/origin/'), oid] as const)
      .filter(([name]) => /^refs\/(?:remotes\/origin|tags)\//.test(name)),
  );
}

/** The same refs; at a depth, those besides that the mirror had when the workspace was primed. */
export async function expectSameRefs(pair: Pair, added: Refs = {}): Promise<void> {
  const fetched = await readRefsOf(pair.unprimed.folder);
  expect(await readRefsOf(pair.primed.folder)).toEqual({ ...added, ...fetched });
}

/** What a job may do after its checkout: look at the history, push, and fetch what is new. */
export async function expectSameBehaviour(
  { primed, unprimed }: Pair,
  scenario: Scenario,
  persistsCredentials = true,
): Promise<void> {
  const history = await readHistory(primed.folder);
  expect(history).toEqual(await readHistory(unprimed.folder));

  const pushed = [await push(primed, scenario, 'one'), await push(unprimed, scenario, 'two')];
  expect(pushed).toEqual(persistsCredentials ? [pushed[0], pushed[0]] : ['refused', 'refused']);

  const { token } = scenario.server;
  if (!persistsCredentials) scenario.server.token = undefined;
  const { head } = await addCommits(scenario.upstream, { commits: 2, branch: 'main' });
  await createBranch(scenario.upstream, 'made-later', 'main');
  await moveTag(scenario.upstream, 'tagged-later', 'main', 'a message');
  for (const { folder } of [primed, unprimed]) await git(folder, ['fetch', '--quiet']);
  scenario.server.token = token;
  const refs = await readRefsOf(primed.folder);
  const others = await readRefsOf(unprimed.folder);
  expect(refs).toMatchObject(others);
  expect(refs).toMatchObject(await readTrackingRefs(scenario));
  expect(others['refs/remotes/origin/main']).toBe(head);
  expect(branchesOf(refs)).toEqual(branchesOf(others));
  for (const { folder } of [primed, unprimed]) await expectSound(folder);
}

async function readHistory(folder: string) {
  const described = await tryGit(folder, ['describe', '--tags']);
  return {
    commits: await git(folder, ['log', '--format=%H %D', '--decorate-refs=refs/heads/*']),
    description: described.stdout,
    isShallow: await git(folder, ['rev-parse', '--is-shallow-repository']),
    stashes: await git(folder, ['stash', 'list']),
  };
}

/** Commits something and pushes it as a branch of its own; gives its commit, or `refused`. */
async function push({ folder }: Site, scenario: Scenario, name: string): Promise<string> {
  await git(folder, ['commit', '--quiet', '--allow-empty', '--message', 'by the job']);
  const pushing = ['push', '--quiet', 'origin', `HEAD:refs/heads/pushed-${name}`];
  const { exitCode, stderr } = await tryGit(folder, pushing);
  await git(folder, ['reset', '--quiet', '--soft', 'HEAD~1']);
  if (exitCode === 0) return git(scenario.upstream, ['rev-parse', `pushed-${name}`]);
  expect(stderr).toMatch(/could not read Username/);
  return 'refused';
}

function branchesOf(refs: Refs): string[] {
  return Object.keys(refs).filter((name) => name.startsWith('refs/remotes/'));
}
