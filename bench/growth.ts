/**
 * How the time of an unchanged run grows with refs, with layers and with simultaneous jobs: main and post of
 * jobs that restore an up-to-date snapshot from a disk store.
 */
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { formatPackedRefs, sortRefs } from '../src/mirror/refs.ts';
import { listPackFiles } from '../src/mirror/packs.ts';
import { describeLayer } from '../src/snapshot/layers.ts';
import { encodeManifest, parseManifest, type Layer } from '../src/snapshot/manifest.ts';
import { createDiskStore } from '../src/stores/disk/store.ts';
import { createJob, type Job } from '../test/support/action-runner.ts';
import { git } from '../test/support/git.ts';
import { runStep } from './cost.ts';
import { inFolder, median, time } from './measure.ts';
import { Servers } from './servers.ts';

const TIMEOUT_MS = 600_000;

export interface Point {
  x: number;
  /** Medians, in milliseconds. */
  mainMs: number;
  postMs: number;
}

export interface Growth {
  what: string;
  points: Point[];
}

interface Place {
  x: number;
  repository: string;
  store: string;
}

export class GrowthBench {
  readonly #root: string;
  /** The source of the commits that refs point at. */
  readonly #repository: string;
  readonly #rounds: number;

  constructor(root: string, repository: string, rounds: number) {
    this.#root = root;
    this.#repository = repository;
    this.#rounds = rounds;
  }

  async byRefs(counts: readonly number[]): Promise<Growth> {
    const commits = (await git(this.#repository, ['rev-list', 'HEAD'])).split('\n');
    const paths: Record<string, string> = {};
    for (const count of counts) {
      const path = join(this.#root, `refs-${String(count)}.git`);
      await git(this.#root, ['clone', '--quiet', '--bare', '--shared', this.#repository, path]);
      const [head = ''] = commits;
      const refs = Array.from({ length: count - 1 }, (_, index) => ({
        name: `refs/heads/topic/${String(index % 97)}/of-${String(index)}`,
        oid: commits[index % commits.length] ?? head,
      }));
      const all = sortRefs([{ name: 'refs/heads/main', oid: head }, ...refs]);
      await writeFile(join(path, 'packed-refs'), formatPackedRefs(all), 'latin1');
      paths[`bench/refs-${String(count)}`] = path;
    }
    return this.#serve(paths, async (servers) => {
      const places: Place[] = [];
      for (const x of counts) {
        const repository = `bench/refs-${String(x)}`;
        const store = join(this.#root, `store-of-refs-${String(x)}`);
        await this.#save(servers, { x, repository, store });
        places.push({ x, repository, store });
      }
      return { what: 'refs', points: await this.#rival(servers, places) };
    });
  }

  async byLayers(counts: readonly number[]): Promise<Growth> {
    const repository = 'bench/layers';
    return this.#serve({ [repository]: this.#repository }, async (servers) => {
      const store = join(this.#root, 'store-of-one-layer');
      const mirror = await this.#save(servers, { x: 1, repository, store });
      const places: Place[] = [];
      for (const x of counts) {
        const split = join(this.#root, `store-of-${String(x)}-layers`);
        await splitLayers(store, mirror, split, x);
        places.push({ x, repository, store: split });
      }
      return { what: 'layers', points: await this.#rival(servers, places) };
    });
  }

  /** Each has folders of its own, but all share the processors. */
  async byJobs(counts: readonly number[]): Promise<Growth> {
    const repository = 'bench/jobs';
    return this.#serve({ [repository]: this.#repository }, async (servers) => {
      const place = { x: 1, repository, store: join(this.#root, 'store-of-jobs') };
      await this.#save(servers, place);
      const points: Point[] = [];
      for (const x of counts) {
        const rounds: { mainMs: number; postMs: number }[] = [];
        for (let round = 0; round < Math.min(3, this.#rounds); round++) {
          rounds.push(await this.#together(servers, place, x));
        }
        points.push({ x, ...medians(rounds) });
      }
      return { what: 'jobs at once', points };
    });
  }

  async #together(servers: Servers, place: Place, count: number) {
    return inFolder(async (folder) => {
      const jobs: Job[] = [];
      for (let index = 0; index < count; index++) {
        jobs.push(await newJob(servers, join(folder, String(index)), place));
      }
      const mainMs = await time(() => Promise.all(jobs.map((job) => runRestore(job))));
      const postMs = await time(() => Promise.all(jobs.map((job) => runStep(job.startPost()))));
      return { mainMs, postMs };
    });
  }

  /** Measures places in turn, so that other load on the machine affects all. */
  async #rival(servers: Servers, places: readonly Place[]): Promise<Point[]> {
    const rounds = places.map((): { mainMs: number; postMs: number }[] => []);
    for (let round = 0; round < this.#rounds; round++) {
      for (const [index, place] of places.entries()) {
        rounds[index]?.push(await this.#together(servers, place, 1));
      }
    }
    return places.map(({ x }, index) => ({ x, ...medians(rounds[index] ?? []) }));
  }

  /** Clones and saves; returns the mirror. */
  async #save(servers: Servers, place: Place): Promise<string> {
    const job = await newJob(servers, join(this.#root, `saver-${place.store.slice(-12)}`), place);
    const { result } = await runStep(job.startMain());
    await runStep(job.startPost());
    return result.outputs['mirror-path'] ?? '';
  }

  async #serve<T>(paths: Record<string, string>, work: (servers: Servers) => Promise<T>) {
    const servers = await Servers.start(paths);
    try {
      return await work(servers);
    } finally {
      await servers.stop();
    }
  }
}

async function newJob(servers: Servers, root: string, { repository, store }: Place): Promise<Job> {
  await mkdir(store, { recursive: true });
  const serverUrl = await servers.ask('url');
  return createJob({ root, repository, serverUrl, inputs: { 'disk-path': store } });
}

async function runRestore(job: Job): Promise<void> {
  const { result } = await runStep(job.startMain());
  if (result.outputs['provenance'] !== 'restored') throw new Error(`not restored:\n${result.log}`);
}

function medians(rounds: readonly { mainMs: number; postMs: number }[]) {
  return {
    mainMs: median(rounds.map(({ mainMs }) => mainMs)),
    postMs: median(rounds.map(({ postMs }) => postMs)),
  };
}

/** Publishes a store's snapshot in another store, with its objects in `count` layers of one pack each. */
async function splitLayers(from: string, mirror: string, to: string, count: number): Promise<void> {
  const { signal } = new AbortController();
  const [key = ''] = await readdir(join(from, 'v1'));
  const stored = await createDiskStore({ path: from }).findManifest(key, { signal });
  if (stored === undefined) throw new Error('nothing is stored');
  const manifest = await parseManifest(stored.content, stored.number);
  if (manifest.kind !== 'repository') throw new Error('no snapshot');
  const { objectFormat } = manifest;
  await mkdir(to, { recursive: true });
  const store = createDiskStore({ path: to });
  const walk = ['rev-list', '--objects', '--all', '--no-object-names'];
  const objects = (await git(mirror, walk, { timeoutMs: TIMEOUT_MS })).split('\n');
  const layers: Layer[] = [];
  for (let index = 0; index < count; index++) {
    await inFolder(async (folder) => {
      const [start, end] = [index, index + 1].map((at) => (objects.length * at) / count);
      const input = `${objects.slice(start, end).join('\n')}\n`;
      const pack = ['pack-objects', '--quiet', join(folder, 'pack')];
      await git(mirror, pack, { input, timeoutMs: TIMEOUT_MS });
      const names = await listPackFiles(folder);
      const layer = await describeLayer(folder, names, objectFormat, {
        signal: new AbortController().signal,
      });
      await store.putLayer(key, layer, folder, { signal });
      layers.push(layer);
    });
  }
  const content = await encodeManifest({ ...manifest, layers });
  await store.createManifest(key, stored.number, content, signal);
}
