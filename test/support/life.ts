/** The life of a mirror: job after job as a runner runs them, and what each save cost. */
import { sumBytes } from '../../src/lib/bytes.ts';
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { countFolderBytes } from '../../src/lib/files.ts';
import { parseManifest, type Snapshot } from '../../src/snapshot/manifest.ts';
import { createJob, type Job, type StepResult } from './action-runner.ts';
import type { GitServer } from './git-server/server.ts';
import { storedBound } from './stored-bound.ts';

/**
 * `delta`: the layers of the snapshot before, and perhaps one more. `merge`: some of them are in the
 * new one. `everything`: a single new layer.
 */
export type SaveKind = 'delta' | 'merge' | 'everything' | 'nothing';

export interface LifeSave {
  label: string;
  /** How the mirror came to its machine. */
  provenance: string;
  kind: SaveKind;
  /** Body bytes of upstream's answers that bear packs. */
  wireBytes: number;
  /** By which the fetch made the packs grow, with indexes and the bases of deltas. */
  fetchedBytes: number;
  /** Bytes of layers that the store did not have, and of the manifest. */
  layerBytes: number;
  manifestBytes: number;
  /** Of the snapshot that is newest then. */
  layers: number;
  packs: number;
  snapshotBytes: number;
}

export interface LifeOptions {
  server: GitServer;
  /** `owner/name`. */
  repository: string;
  /** Folder of a disk store. */
  store: string;
  inputs?: Record<string, string>;
}

interface Stored {
  snapshot: Snapshot;
  manifestBytes: number;
}

/** All machines of a life share its store. */
export class Life {
  readonly saves: LifeSave[] = [];
  readonly #options: LifeOptions;
  /** By machine, once it has one. */
  readonly #mirrors = new Map<string, string>();
  readonly #layers = new Set<string>();
  #newest: Stored | undefined;

  constructor(options: LifeOptions) {
    this.#options = options;
  }

  /** Main and post on a machine; returns its mirror. Throws the log of a step that failed. */
  async save(root: string, label: string): Promise<string> {
    const { server } = this.#options;
    const before = await this.#bytesBefore(root);
    server.resetCounters();
    const job = this.#job(root);
    const main = await succeed(job.main());
    const mirror = main.outputs['mirror-path'] ?? '';
    const fetchedBytes = (await countFolderBytes(join(mirror, 'objects', 'pack'))) - before;
    const wireBytes = countPackBytes(server);
    const post = await succeed(job.post());
    if (main.outputs['recloned'] !== 'false') throw new Error(`cloned again:\n${main.log}`);
    this.#mirrors.set(root, mirror);
    const provenance = main.outputs['provenance'] ?? '';
    const cost = await this.#account();
    if (cost.kind === 'nothing' && !post.log.includes('Nothing saved: nothing changed')) {
      throw new Error(`not saved:\n${post.log}`);
    }
    this.saves.push({ label, provenance, wireBytes, fetchedBytes, ...cost });
    return mirror;
  }

  /**
   * Main alone, on a new machine, while upstream is as it was saved. Throws unless the snapshot alone
   * made the mirror. Returns it and how long the restore took, in milliseconds.
   */
  async restore(root: string): Promise<{ mirror: string; restoreMs: number }> {
    const { server } = this.#options;
    server.resetCounters();
    const main = await succeed(this.#job(root).main());
    const { provenance, recloned, 'mirror-path': mirror = '' } = main.outputs;
    if (provenance !== 'restored' || recloned !== 'false' || countPackBytes(server) > 0) {
      throw new Error(`not restored from the snapshot alone:\n${main.log}`);
    }
    this.#mirrors.set(root, mirror);
    return { mirror, restoreMs: restoreTime(main) };
  }

  #job(root: string): Job {
    const { server, repository, store, inputs } = this.#options;
    return createJob({
      ...{ root, repository, serverUrl: server.url },
      inputs: { store: 'disk', 'disk-path': store, ...inputs },
    });
  }

  async #bytesBefore(root: string): Promise<number> {
    const mirror = this.#mirrors.get(root);
    if (mirror !== undefined) return countFolderBytes(join(mirror, 'objects', 'pack'));
    return this.#newest === undefined ? 0 : sumBytes(this.#newest.snapshot.layers);
  }

  /** The newest one. */
  get snapshot(): Snapshot {
    if (this.#newest === undefined) throw new Error('nothing is saved yet');
    return this.#newest.snapshot;
  }

  async #account() {
    const old = this.#newest?.snapshot;
    const newest = await readNewest(this.#options.store);
    this.#newest = newest;
    const { snapshot } = newest;
    const isSame = old?.number === snapshot.number;
    const added = snapshot.layers.filter(({ name }) => !this.#layers.has(name));
    for (const { name } of added) this.#layers.add(name);
    const names = new Set(snapshot.layers.map(({ name }) => name));
    const isKept = old?.layers.every(({ name }) => names.has(name)) === true;
    const isWhole = added.length === snapshot.layers.length;
    const kind: SaveKind = isWhole ? 'everything' : isKept ? 'delta' : 'merge';
    return {
      kind: isSame ? ('nothing' as const) : kind,
      layerBytes: sumBytes(added),
      manifestBytes: isSame ? 0 : newest.manifestBytes,
      layers: snapshot.layers.length,
      packs: snapshot.layers.flatMap(({ files }) => files).length / 2,
      snapshotBytes: sumBytes(snapshot.layers),
    };
  }
}

export interface LifeSummary {
  /** Saves that published something after the first. */
  saves: number;
  wireBytes: number;
  fetchedBytes: number;
  layerBytes: number;
  boundBytes: number;
  /** Of what a save after the first put into the store. */
  medianUploadBytes: number;
  /** Of that as a part of 1.1 times what the fetch brought, 64 KiB and the manifest. */
  medianOfAllowed: number;
  mostLayers: number;
  mostPacks: number;
}

export function summarize(all: readonly LifeSave[]): LifeSummary {
  const later = all.slice(1).filter(({ kind }) => kind !== 'nothing');
  const total = (pick: (save: LifeSave) => number) =>
    all.reduce((sum, save) => sum + pick(save), 0);
  const most = (pick: (save: LifeSave) => number) => Math.max(...all.map(pick));
  const fetchedBytes = total((save) => save.fetchedBytes);
  const largest = most((save) => save.snapshotBytes + save.fetchedBytes);
  const uploads = later.map((save) => save.layerBytes + save.manifestBytes);
  const allowed = later.map(
    ({ fetchedBytes: bytes, manifestBytes }) => 1.1 * bytes + 64 * 1024 + manifestBytes,
  );
  return {
    saves: later.length,
    wireBytes: total((save) => save.wireBytes),
    fetchedBytes,
    layerBytes: total((save) => save.layerBytes),
    boundBytes: storedBound({ fetched: fetchedBytes, largest, saves: later.length }),
    medianUploadBytes: middle(uploads),
    medianOfAllowed: middle(uploads.map((bytes, index) => bytes / (allowed[index] ?? 0))),
    mostLayers: most(({ layers }) => layers),
    mostPacks: most(({ packs }) => packs),
  };
}

/** The higher one of two that are in the middle. */
function middle(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;
}

/** Of all keys: a life has one. */
async function readNewest(store: string): Promise<Stored> {
  const [key = ''] = await readdir(join(store, 'v1'));
  const folder = join(store, 'v1', key, 'manifests');
  const name = (await readdir(folder)).sort().at(-1) ?? '';
  const content = await readFile(join(folder, name));
  const snapshot = await parseManifest(content, Number.parseInt(name, 10));
  if (snapshot.kind !== 'repository') throw new Error(`${name} is a ${snapshot.kind}`);
  return { snapshot, manifestBytes: content.length };
}

function countPackBytes({ requests }: GitServer): number {
  return requests
    .filter(({ kind }) => kind === 'fetch')
    .reduce((sum, { bytesSent }) => sum + bytesSent, 0);
}

/** From the line of the log that says it. */
function restoreTime({ log }: StepResult): number {
  const [, number = '', unit = ''] = /^\s*Restore: ([\d.]+) (ms|s)\b/m.exec(log) ?? [];
  return Number(number) * (unit === 's' ? 1_000 : 1);
}

async function succeed(step: Promise<StepResult>): Promise<StepResult> {
  const result = await step;
  if (result.exitCode === 0) return result;
  throw new Error(`the step ended with ${result.exitCode ?? result.signal}:\n${result.log}`);
}
