/**
 * What the action's tests share: upstreams behind a real git server, disk stores, machines, jobs
 * that run dist/, and ways to look at what they left.
 */
import { afterAll, afterEach, beforeAll, expect } from '@jest/globals';
import { createHash } from 'node:crypto';
import {
  copyFile,
  mkdir,
  readFile,
  readdir,
  readlink,
  rm,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { DEFAULT_TIMES } from '../../../src/locks/claims/times.ts';
import { listPackFiles } from '../../../src/mirror/packs.ts';
import { describeLayer } from '../../../src/snapshot/layers.ts';
import {
  encodeManifest,
  parseManifest,
  type Layer,
  type Manifest,
  type Snapshot,
} from '../../../src/snapshot/manifest.ts';
import {
  createJob,
  type Job,
  type JobOptions,
  type StepResult,
} from '../../support/action-runner.ts';
import { git } from '../../support/git.ts';
import { startGitServer, type GitServer } from '../../support/git-server/server.ts';
import {
  createRepository,
  repositorySizes,
  type RepositoryOptions,
} from '../../support/repository-fixture.ts';
import { createTemporaryDirectory, removeDirectory } from '../../support/temporary-directory.ts';

/** One main and one post, both of which ran to their end. */
export interface Run {
  job: Job;
  main: StepResult;
  post: StepResult;
  /** The path that main put out. */
  mirror: string;
}

/** An upstream of its own, an empty disk store, and as many machines as a test needs. */
export class Scenario {
  readonly root: string;
  readonly repository: string;
  /** Its directory. */
  readonly upstream: string;
  readonly store: string;
  readonly server: GitServer;
  #machines = 0;

  constructor(root: string, repository: string, upstream: string, server: GitServer) {
    this.root = root;
    this.repository = repository;
    this.upstream = upstream;
    this.store = join(root, 'store');
    this.server = server;
  }

  get url(): string {
    return this.server.repositoryUrl(this.repository);
  }

  /** A machine where nothing has run yet. */
  newMachine(): string {
    this.#machines += 1;
    return join(this.root, `machine-${this.#machines}`);
  }

  /** A job of the upstream's own workflow, on a new machine unless `root` names one. */
  job(options: Partial<JobOptions> = {}): Job {
    return createJob({
      root: options.root ?? this.newMachine(),
      repository: this.repository,
      serverUrl: this.server.url,
      ...options,
      inputs: { 'disk-path': this.store, ...options.inputs },
    });
  }

  /** Main, which has to succeed, and post. */
  async run(options: Partial<JobOptions> = {}): Promise<Run> {
    const job = this.job(options);
    const main = await succeed(job.main());
    const post = await succeed(job.post());
    return { job, main, post, mirror: main.outputs['mirror-path'] ?? '' };
  }
}

export interface Scenarios {
  /** Of all scenarios of the file; its faults and counters are cleared after each test. */
  readonly server: GitServer;
  create(repository?: RepositoryOptions): Promise<Scenario>;
}

/** Call it once at the top of a test file: it starts the server, and tidies up. */
export function useScenarios(): Scenarios {
  let root = '';
  let server: GitServer | undefined;
  let count = 0;
  const running = (): GitServer => {
    if (server === undefined) throw new Error('the server runs only while tests do');
    return server;
  };

  beforeAll(async () => {
    root = await createTemporaryDirectory('action');
    server = await startGitServer({ root: join(root, 'upstream') });
  });

  afterEach(() => {
    running().clearFaults();
    running().resetCounters();
    running().token = undefined;
  });

  afterAll(async () => {
    await server?.stop();
    await removeDirectory(root);
  });

  return {
    get server() {
      return running();
    },
    async create(options = repositorySizes.tiny) {
      const number = ++count;
      const repository = `owner/name-${number}`;
      const upstream = join(root, 'upstream', `${repository}.git`);
      await createRepository(upstream, options);
      const scenario = new Scenario(join(root, `s${number}`), repository, upstream, running());
      await mkdir(scenario.store, { recursive: true });
      return scenario;
    },
  };
}

/** The step's result; throws its log where it failed. */
export async function succeed(step: Promise<StepResult>): Promise<StepResult> {
  const result = await step;
  if (result.exitCode === 0) return result;
  throw new Error(`the step ended with ${result.exitCode ?? result.signal}:\n${result.log}`);
}

/** Post's line that says why it saved or did not. */
export function verdict(post: StepResult): string {
  const found = /(?:Saved snapshot|Nothing saved)[^\n]*/.exec(post.log);
  return found?.[0] ?? `no verdict in: ${post.log}`;
}

/** How many steps put out which value. */
export function tally(results: readonly StepResult[], output: string): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { outputs } of results) {
    const value = outputs[output] ?? '';
    counts[value] = (counts[value] ?? 0) + 1;
  }
  return counts;
}

/** The message that a failed step shows. */
export function failureOf(step: StepResult): string {
  expect(step.exitCode).toBe(1);
  return (
    step.annotations.find(({ level }) => level === 'error')?.message ?? `no error in: ${step.log}`
  );
}

/** The outputs that say something of a mirror: a step that fails still reports on itself. */
export function outputsOfMirror(step: StepResult): Record<string, string> {
  const outputs = Object.entries(step.outputs);
  return Object.fromEntries(outputs.filter(([name]) => name !== 'summary-json'));
}

const BRANCHES_AND_TAGS = /^refs\/(?:heads|tags)\//;

/**
 * The mirror has upstream's refs, peeled tags and HEAD, and no others; it holds every object whole,
 * and refs nowhere but in packed-refs.
 */
export async function expectMirrorOf(
  mirror: string,
  upstream: string,
  isMirrored: (name: string) => boolean = (name) => BRANCHES_AND_TAGS.test(name),
): Promise<void> {
  expect(await listRefs(mirror)).toEqual((await listRefs(upstream)).filter(isMirroredLine));
  expect(await headOf(mirror)).toBe(await headOf(upstream));
  await git(mirror, [`--git-dir=${mirror}`, 'fsck', '--full', '--strict', '--no-progress']);
  const loose = await readdir(join(mirror, 'refs'), { recursive: true, withFileTypes: true });
  expect(loose.filter((entry) => entry.isFile())).toEqual([]);

  function isMirroredLine(line: string): boolean {
    return isMirrored((line.split('\t')[1] ?? '').replace(/\^\{\}$/, ''));
  }
}

/** `<oid>\t<name>` of all refs as others see them, with peeled tags; without HEAD. */
export async function listRefs(directory: string): Promise<string[]> {
  const lines = (await git(directory, ['ls-remote', directory])).split('\n');
  return lines.filter((line) => line !== '' && !line.endsWith('\tHEAD'));
}

/** The name or commit that HEAD holds. */
export async function headOf(directory: string): Promise<string> {
  return (await readFile(join(directory, 'HEAD'), 'utf8')).trim();
}

/** Paths below a folder with their content, to compare folders byte for byte. */
export async function readTree(folder: string): Promise<Record<string, string>> {
  const tree: Record<string, string> = {};
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  for (const entry of entries) {
    const path = join(entry.parentPath, entry.name);
    const name = path.slice(folder.length + 1);
    if (entry.isSymbolicLink()) tree[name] = `link to ${await readlink(path)}`;
    else if (entry.isFile()) tree[name] = sha256(await readFile(path));
    else tree[name] = entry.isDirectory() ? 'folder' : 'something else';
  }
  return tree;
}

/** The same of a disk store, without its claims: those that were released stay for a while. */
export async function readStore(store: string): Promise<Record<string, string>> {
  const tree = await readTree(store);
  return Object.fromEntries(
    Object.entries(tree).filter(([name]) => !/(?:^|[\\/])claims(?:[\\/]|$)/.test(name)),
  );
}

/** Lets the next job have what a killed one claimed, as if the claim's life had passed. */
export async function endClaims(store: string): Promise<void> {
  const past = new Date(Date.now() - DEFAULT_TIMES.lifeMs);
  for (const key of await readdir(join(store, 'v1')).catch(() => [])) {
    const claims = join(store, 'v1', key, 'claims');
    for (const name of await readdir(claims).catch(() => [])) {
      await utimes(join(claims, name), past, past);
    }
  }
}

function sha256(content: Uint8Array): string {
  return createHash('sha256').update(content).digest('hex');
}

/** A manifest in a disk store, and where it lies. */
export interface StoredFile {
  number: number;
  file: string;
  /** The folder of its key. */
  folder: string;
}

/** Manifests of all keys in a disk store, oldest number first. */
export async function listManifests(store: string): Promise<StoredFile[]> {
  const files: StoredFile[] = [];
  for (const key of await readdir(join(store, 'v1')).catch(() => [])) {
    const folder = join(store, 'v1', key);
    for (const name of await readdir(join(folder, 'manifests')).catch(() => [])) {
      files.push({
        number: Number.parseInt(name, 10),
        file: join(folder, 'manifests', name),
        folder,
      });
    }
  }
  return files.sort((one, other) => one.number - other.number);
}

/** The manifest with the highest number; throws where there is none or it is not whole. */
export async function newestManifest(store: string): Promise<StoredFile & { manifest: Manifest }> {
  const newest = (await listManifests(store)).at(-1);
  if (newest === undefined) throw new Error(`no manifest in ${store}`);
  const manifest = await parseManifest(await readFile(newest.file), newest.number);
  return { ...newest, manifest };
}

/** The same where it has to be a snapshot. */
export async function newestSnapshot(store: string): Promise<StoredFile & { snapshot: Snapshot }> {
  const { manifest, ...stored } = await newestManifest(store);
  if (manifest.kind !== 'repository') throw new Error(`a ${manifest.kind} is newest in ${store}`);
  return { ...stored, snapshot: manifest };
}

/** Paths of the packs or indexes that a snapshot names. */
export function packsOf(
  { folder, snapshot }: StoredFile & { snapshot: Snapshot },
  extension: 'pack' | 'idx' = 'pack',
): string[] {
  return snapshot.layers.flatMap((layer) =>
    layer.files
      .filter(({ name }) => name.endsWith(`.${extension}`))
      .map(({ name }) => join(folder, 'layers', layer.name, name)),
  );
}

/** Puts packs into a store under the right digests, as a bad writer might; `folder` is a key's. */
export async function storeLayer(
  folder: string,
  packs: string,
  objectFormat: 'sha1' | 'sha256' = 'sha1',
): Promise<Layer> {
  const layer = await describeLayer(packs, await listPackFiles(packs), objectFormat, {
    signal: new AbortController().signal,
  });
  const target = join(folder, 'layers', layer.name);
  await mkdir(target);
  for (const { name } of layer.files) await copyFile(join(packs, name), join(target, name));
  return layer;
}

/** Puts a manifest into a store, in the place of one that has its number, as a bad writer might. */
export async function storeManifest(
  folder: string,
  manifest: Manifest,
  number = manifest.number,
): Promise<void> {
  const file = join(folder, 'manifests', `${String(number).padStart(10, '0')}.json.gz`);
  await rm(file, { force: true });
  await writeFile(file, await encodeManifest(manifest));
}
