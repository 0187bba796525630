/**
 * What the tests of checkouts share: an upstream with all kinds of files, the same checkout in a
 * workspace that was primed and in one that was not, and ways to look at what came of it.
 */
import { appendFile, readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { expect } from '@jest/globals';
import type { Job, JobOptions } from '../../support/action-runner.ts';
import { checkout, type Checkout, type CheckoutOptions } from '../../support/checkout/checkout.ts';
import { fixtureEpochSeconds, git } from '../../support/git.ts';
import type { GitRequest } from '../../support/git-server/request.ts';
import { deleteBranch, moveTag } from '../../support/repository-change.ts';
import {
  addCommits,
  createRepository,
  repositorySizes,
  type RepositoryOptions,
} from '../../support/repository-fixture.ts';
import { succeed, verdict, type Scenario, type Scenarios } from './scenario.ts';

/** 2 MB of history, 1 MB of which is what is checked out; nothing of it compresses. */
const OPTIONS: RepositoryOptions = {
  ...{ commits: 20, files: 32, fileBytes: 30_000, content: 'random' },
  ...{ branches: 3, annotatedTags: 2, lightTags: 2 },
};

export const TOKEN = 'canary-token-of-the-checkout';

/** More than a checkout of an unchanged repository takes if it was primed, with all requests. */
export const SMALL_BYTES = 64 * 1024;

/** An upstream as GitHub serves them, which wants a token. */
export async function createUpstream(
  scenarios: Scenarios,
  objectFormat: 'sha1' | 'sha256' = 'sha1',
): Promise<Scenario> {
  const scenario = await scenarios.create({ ...OPTIONS, objectFormat });
  await addFiles(scenario.upstream, ALL_KINDS);
  const { server } = scenarios;
  server.token = TOKEN;
  server.configuration['uploadpack.allowFilter'] = 'true';
  server.configuration['http.receivepack'] = 'true';
  return scenario;
}

export interface FileToAdd {
  path: string;
  /** Of a submodule: its commit. */
  content: string;
  /** As git has it; of a plain file by default. `removed` for one that is to go. */
  mode?: string;
}

const ALL_KINDS: FileToAdd[] = [
  { path: 'run.sh', content: '#!/bin/sh\necho run\n', mode: '100755' },
  { path: 'link', content: 'folder-1/file-1', mode: '120000' },
  { path: '.gitattributes', content: '*.crlf text eol=crlf\n' },
  { path: '.gitignore', content: '*.tmp\n/build/\n' },
  { path: 'lines.crlf', content: 'one\ntwo\n' },
  { path: 'empty', content: '' },
  { path: 'größe/ä file', content: 'not ASCII\n' },
  { path: 'folder-1/below/deep', content: 'deep\n' },
];

/** One commit more on a branch of a bare repository; gives it. */
export async function addFiles(
  directory: string,
  files: readonly FileToAdd[],
  branch = 'main',
): Promise<string> {
  const head = await git(directory, ['rev-parse', `refs/heads/${branch}`]);
  const person = `Ada Fixture <ada@example.test> ${fixtureEpochSeconds + 1_000_000} +0000`;
  const stream = [
    `commit refs/heads/${branch}\ncommitter ${person}\ndata 5\nfiles\nfrom ${head}\n`,
    ...files.map(({ path, content, mode = '100644' }) => {
      if (mode === 'removed') return `D ${path}\n`;
      if (mode === '160000') return `M ${mode} ${content} ${path}\n`;
      return `M ${mode} inline ${path}\ndata ${Buffer.byteLength(content)}\n${content}\n`;
    }),
    'done\n',
  ];
  const command = ['-c', 'fastimport.unpackLimit=1', 'fast-import', '--quiet', '--done'];
  await git(directory, command, { input: stream.join('') });
  return git(directory, ['rev-parse', `refs/heads/${branch}`]);
}

/**
 * Gives upstream a submodule `deps/outer`, named as its neighbour, and that one another, `inner`,
 * named by SSH as people do who work on it.
 */
export async function addSubmodules(scenario: Scenario): Promise<void> {
  const { root, repository, server, upstream } = scenario;
  const create = async (name: string): Promise<string> => {
    const directory = join(root, `${name}.git`);
    await createRepository(directory, { ...repositorySizes.tiny, seed: name.length });
    server.repositories[`${repository}-${name}`] = directory;
    return directory;
  };
  const link = async (
    directory: string,
    path: string,
    url: string,
    target: string,
  ): Promise<void> => {
    const content = await git(target, ['rev-parse', 'main']);
    await addFiles(directory, [
      { path: '.gitmodules', content: `[submodule "${path}"]\n\tpath = ${path}\n\turl = ${url}\n` },
      { path, content, mode: '160000' },
    ]);
  };
  const [outer, inner] = [await create('outer'), await create('inner')];
  await link(outer, 'inner', `git@127.0.0.1:${repository}-inner.git`, inner);
  await link(upstream, 'deps/outer', `../${basename(repository)}-outer`, outer);
}

/** One workspace after its checkout. */
export interface Site {
  job: Job;
  checkout: Checkout;
  folder: string;
  /** Of the checkout: all that went over the wire, both ways, without headers. */
  bytes: number;
  requests: readonly GitRequest[];
}

export interface Pair {
  primed: Site;
  unprimed: Site;
}

export type Wish = Partial<CheckoutOptions>;
type Inputs = Record<string, string>;

export interface PairOptions {
  /** What becomes of the primed repository. */
  found?: Checkout['found'];
  /** Of the action. */
  inputs?: Inputs;
  /** Of jobs that keep snapshots in some store: a first one saves, and the workspace is primed from that. */
  store?: Partial<JobOptions> | undefined;
}

/**
 * Primes a workspace, does what there is to do in between, which may say what to check out, and
 * then checks that out there and in a workspace where nothing has been.
 */
export async function checkOutBoth(
  scenario: Scenario,
  wish: Wish = {},
  between: () => Promise<Wish> = () => Promise.resolve({}),
  { found = 'kept', inputs = {}, store }: PairOptions = {},
): Promise<Pair> {
  if (store !== undefined) {
    const all = { ...store.inputs, ...inputs };
    const { post } = await scenario.run({ token: TOKEN, ...store, inputs: all });
    expect(verdict(post)).toMatch(/^Saved snapshot 1-/);
  }
  const primedJob = await prime(scenario, wish, scenario.newMachine(), inputs, store);
  const unprimedJob = scenario.job();
  const options = { ...(await eventOf(scenario)), ...wish, ...(await between()) };
  const unprimed = await checkOutAt(scenario, unprimedJob, options);
  const primed = await checkOutAt(scenario, primedJob, options);
  expect(unprimed.checkout.found).toBe('nothing');
  expect(primed.checkout.found).toBe(found);
  return { primed, unprimed };
}

/** A push to a branch, as it is now. */
export async function eventOf(
  { upstream }: Pick<Scenario, 'upstream'>,
  branch = 'main',
): Promise<Wish> {
  const ref = `refs/heads/${branch}`;
  return { ref, sha: await git(upstream, ['rev-parse', ref]) };
}

/** As GitHub makes it: a commit that no branch has, behind a ref that no mirror asks for. */
async function openPullRequest({ upstream }: Scenario): Promise<Wish> {
  await git(upstream, ['branch', 'topic', 'main']);
  const { head } = await addCommits(upstream, { branch: 'topic', commits: 2 });
  await git(upstream, ['update-ref', 'refs/pull/7/head', head]);
  const tree = `${head}^{tree}`;
  const parents = ['-p', 'main', '-p', head];
  const sha = await git(upstream, ['commit-tree', ...parents, '-m', 'Merge', tree]);
  await git(upstream, ['update-ref', 'refs/pull/7/merge', sha]);
  await deleteBranch(upstream, 'topic');
  return { ref: 'refs/pull/7/merge', sha };
}

/** A commit on the default branch, without the last ones before it. */
export async function forcePush({ upstream }: Scenario, from: string): Promise<Wish> {
  await addCommits(upstream, { from });
  return eventOf({ upstream });
}

/** A new commit with a new tag that names it. */
export async function pushTag({ upstream }: Scenario): Promise<Wish> {
  const { head } = await addCommits(upstream);
  await moveTag(upstream, 'v2', head, 'a release');
  return { ref: 'refs/tags/v2', sha: head };
}

/** What happens upstream, and the event that a checkout is then about. */
export type Change = [name: string, happen: (scenario: Scenario) => Promise<Wish>];

/** Pushes to the default branch, and a pull request. */
export const PUSHES: readonly Change[] = [
  ['a pull request', openPullRequest],
  [
    'a push',
    async (scenario) => {
      await addCommits(scenario.upstream, { commits: 3 });
      return eventOf(scenario);
    },
  ],
  [
    'a push that others have followed',
    async (scenario) => {
      await addCommits(scenario.upstream);
      const event = await eventOf(scenario);
      await addCommits(scenario.upstream, { commits: 2 });
      return event;
    },
  ],
];

/** A job whose main step has primed its workspace. */
export async function prime(
  scenario: Scenario,
  wish: Wish = {},
  root = scenario.newMachine(),
  inputs: Inputs = {},
  store?: Partial<JobOptions>,
): Promise<Job> {
  const { path, serverUrl = scenario.server.url } = wish;
  const all = { ...store?.inputs, ...inputs, ...(path !== undefined && { path }) };
  const { sha } = { ...(await eventOf(scenario)), ...wish };
  // Submodules are those of the job's commit.
  const event = sha === undefined || inputs['submodules'] === undefined ? {} : { sha };
  const job = scenario.job({ root, token: TOKEN, serverUrl, ...store, inputs: all, ...event });
  // A primed checkout writes files in parallel, by default from a hundred on.
  await appendFile(join(job.home, '.gitconfig'), '[checkout]\n\tthresholdForParallelism = 1\n');
  const { outputs } = await succeed(job.main());
  if (store !== undefined) expect(outputs['provenance']).toBe('restored');
  expect(await readdir(join(job.workspace, path ?? '.'))).toEqual(['.git']);
  return job;
}

export async function checkOutAt(scenario: Scenario, job: Job, wish: Wish): Promise<Site> {
  const { server, repository } = scenario;
  const before = server.requests.length;
  const options = { repository, serverUrl: server.url, token: TOKEN, ...wish };
  const done = await checkout(job, options);
  const requests = server.requests.slice(before);
  const bytes = requests.reduce((sum, each) => sum + each.bytesSent + each.bytesReceived, 0);
  return { job, checkout: done, folder: done.folder, bytes, requests };
}
