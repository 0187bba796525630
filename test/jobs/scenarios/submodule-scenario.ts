/** What the tests of primed submodules share: repositories that have each other, and what became of them. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { expect } from '@jest/globals';
import type { StepResult } from '../../support/action-runner.ts';
import { git } from '../../support/git.ts';
import { createRepository, repositorySizes } from '../../support/repository-fixture.ts';
import { expectSound, readFiles, readRefsOf } from './checkout-comparison.ts';
import { addFiles, type Pair, type Site } from './checkout-scenario.ts';
import type { Scenario } from './scenario.ts';

export interface Link {
  path: string;
  /** The path by default. */
  name?: string;
  url: string;
  commit: string;
  /** More lines of its section. */
  more?: string;
}

/** A repository that the scenario's server has as well; returns its directory. */
export async function createNeighbour(
  { root, repository, server }: Scenario,
  name: string,
  objectFormat: 'sha1' | 'sha256' = 'sha1',
): Promise<string> {
  const directory = join(root, `${name}.git`);
  const options = { ...repositorySizes.tiny, branches: 2, lightTags: 1, objectFormat };
  await createRepository(directory, { ...options, seed: name.length });
  server.repositories[`${repository}-${name}`] = directory;
  return directory;
}

/** `../name-1-x`, as its neighbours name a repository. */
export function relativeUrl({ repository }: Scenario, name: string): string {
  return `../${repository.split('/')[1] ?? ''}-${name}`;
}

export async function commitOf(directory: string, name = 'main'): Promise<string> {
  return git(directory, ['rev-parse', name]);
}

/** Makes these the submodules of a repository's main branch; `before` are those that go. */
export async function link(
  directory: string,
  links: readonly Link[],
  before: readonly Link[] = [],
): Promise<string> {
  const sections = links.map(
    ({ path, name = path, url, more = '' }) =>
      `[submodule "${name}"]\n\tpath = ${path}\n\turl = ${url}\n${more}`,
  );
  return addFiles(directory, [
    ...before.map(({ path }) => ({ path, content: '', mode: 'removed' })),
    { path: '.gitmodules', content: sections.join('') },
    ...links.map(({ path, commit }) => ({ path, content: commit, mode: '160000' })),
  ]);
}

/** Gives upstream submodules of all kinds of names and URLs, one of which has another: their paths. */
export async function linkAllKinds(
  scenario: Scenario,
  objectFormat: 'sha1' | 'sha256' = 'sha1',
): Promise<{ links: Link[]; direct: string[]; nested: string[] }> {
  const { upstream, server, repository } = scenario;
  const create = (name: string) => createNeighbour(scenario, name, objectFormat);
  const [outer, inner, spaced] = [await create('outer'), await create('inner'), await create('c')];
  const host = new URL(server.url).hostname;
  await link(outer, [
    {
      ...{ path: 'inner', url: `git@${host}:${repository}-inner.git` },
      commit: await commitOf(inner),
    },
  ]);
  const links: Link[] = [
    {
      ...{ path: 'deps/outer', url: relativeUrl(scenario, 'outer') },
      commit: await commitOf(outer),
    },
    {
      ...{ path: 'third party/c', name: 'with space/and more', more: '\tshallow = true\n' },
      ...{ url: `${server.url}/${repository}-c`, commit: await commitOf(spaced) },
    },
    // The same repository under another name, at an older commit.
    {
      ...{ path: 'again', name: 'renamed' },
      ...{ url: relativeUrl(scenario, 'c'), commit: await commitOf(spaced, 'main~1') },
    },
  ];
  await link(upstream, links);
  return { links, direct: links.map(({ path }) => path), nested: ['deps/outer/inner'] };
}

/** What a checkout asked of the server for other repositories than its own. */
export function requestsForSubmodules({ requests }: Site, { repository }: Scenario) {
  return requests.filter((each) => each.repository !== repository);
}

/** All submodules are populated, and as in the checkout that was not primed. */
export async function expectSameSubmodules(
  { primed, unprimed }: Pair,
  paths: readonly string[],
): Promise<void> {
  for (const path of paths) {
    const [one, other] = [join(primed.folder, path), join(unprimed.folder, path)];
    const found = await readModule(one, primed);
    expect(found).toEqual(await readModule(other, unprimed));
    expect(Object.keys(found.files).length).toBeGreaterThan(2);
    const [refs, expected] = [await readRefsOf(one), await readRefsOf(other)];
    // A shallow clone has one branch.
    if (await isShallow(other)) expect(refs).toMatchObject(expected);
    else expect(refs).toEqual(expected);
    await expectSound(one);
  }
  const status = ['submodule', 'status', '--recursive'];
  const describedLess = async (folder: string) =>
    (await git(folder, status)).replaceAll(/ \(.*\)$/gm, '');
  expect(await describedLess(primed.folder)).toBe(await describedLess(unprimed.folder));
}

async function readModule(folder: string, { job }: Site) {
  const configuration = (await git(folder, ['config', '--local', '--list'])).split('\n');
  const isOfOneKind = (line: string) =>
    !/^checkout\.workers=|^remote\.origin\.fetch=|^includeif\.|^core\.worktree=/i.test(line);
  const gitFile = await readFile(join(folder, '.git'), 'utf8');
  return {
    head: await git(folder, ['rev-parse', 'HEAD']),
    symbolic: await readFile(resolve(folder, await gitPath(folder, 'HEAD')), 'utf8'),
    gitFile: gitFile.replaceAll(job.workspace, ''),
    files: await readFiles(folder),
    index: await git(folder, ['ls-files', '--stage']),
    status: await git(folder, ['status', '--porcelain', '--ignored']),
    configuration: configuration.filter(isOfOneKind).sort(),
  };
}

async function isShallow(folder: string): Promise<boolean> {
  return (await git(folder, ['rev-parse', '--is-shallow-repository'])) === 'true';
}

function gitPath(folder: string, name: string): Promise<string> {
  return git(folder, ['rev-parse', '--git-path', name]);
}

/** Names of the module directories that are primed in a workspace. */
export function isPrimed(folder: string, ...names: string[]): boolean {
  const place = join(folder, '.git', ...names.flatMap((name) => ['modules', name]));
  return existsSync(join(place, 'HEAD'));
}

interface SubmoduleSummary {
  path: string;
  outcome: string;
  reason?: string;
}

/** The outcome of each submodule by its path, and of those that were left the reason too. */
export function outcomesOf(step: StepResult): Record<string, string> {
  const text = step.outputs['summary-json'] ?? /^summary-json: (.*)$/m.exec(step.log)?.[1] ?? '{}';
  const { submodules = [] } = JSON.parse(text) as { submodules?: SubmoduleSummary[] };
  return Object.fromEntries(
    submodules.map(({ path, outcome, reason }) => [
      path,
      reason === undefined ? outcome : `${outcome}: ${reason}`,
    ]),
  );
}
