/**
 * What a checked-out tree with full history costs, by each method: on the same repository in the same run,
 * one method after the other in each round. Snapshots and other caches are a day old, and upstream has
 * new commits since.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { cp, mkdir, readdir, rename, stat } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { countFolderBytes } from '../src/lib/files.ts';
import { createJob, type Job, type JobOptions } from '../test/support/action-runner.ts';
import { git } from '../test/support/git.ts';
import { runProcess } from '../test/support/processes.ts';
import type { StepResult } from '../test/support/running-step.ts';
import { checkOut } from './checkout.ts';
import { costOf, runStep, type Cost, type Known } from './cost.ts';
import { readWhole, removeLargeFiles } from './disk.ts';
import type { Day, PastUpstream } from './history.ts';
import type { Servers } from './servers.ts';
import type { BenchStore } from './stores.ts';
import { packDirectory } from '../src/mirror/packs.ts';

export const REPOSITORY = 'bench/repository';
const TIMEOUT_MS = 3_600_000;

export const CLONE = '`git clone --mirror`';
export const DEEP = 'checkout, `fetch-depth: 0`';
export const SHALLOW = 'checkout, `fetch-depth: 1`';
export const UNPACK = 'home-made cache of `.git`: unpack';
export const HOME_CHECKOUT = `home-made cache: ${DEEP}`;
export const PACK = 'home-made cache: pack all again';
export const COPY = '`cp` of the packs';
export const DIGEST = 'SHA-256 of the packs, one thread';
export const TOOLKIT = '`@actions/cache` alone: restoring the same packs';
export const WRITE = 'writing the files of the tree';

/** `tip`: with a snapshot of the day before, and without history. */
export type Situation = 'cold' | 'warm' | 'at home' | 'tip';

/** The row of one of our steps, or of the checkout that follows. */
export function rowOf(situation: Situation, store: string, step: 'main' | 'checkout' | 'post') {
  const where = {
    cold: `cold, ${store}`,
    warm: `warm, ${store}`,
    'at home': 'on a machine that has the mirror',
    tip: `with \`fetch-depth: 1\`, ${store}`,
  }[situation];
  const checkoutRow = situation === 'tip' ? SHALLOW : DEEP;
  return `mirror-action ${where}: ${step === 'checkout' ? checkoutRow : step}`;
}

const PROVENANCES: Readonly<Record<Situation, string>> = {
  cold: 'cloned',
  warm: 'restored',
  'at home': 'existing',
  tip: 'restored',
};
const WITHOUT_HISTORY = { 'fetch-depth': '1' };

export interface ContestOptions {
  root: string;
  upstream: PastUpstream;
  yesterday: Day;
  today: Day;
  servers: Servers;
  stores: readonly BenchStore[];
  /** Measures checkouts without history and nothing else. */
  isWithoutHistory?: boolean;
}

interface JobOnMachine {
  job: Job;
  /** The folder of its machine. */
  machine: string;
}

export class Contest {
  readonly costs = new Map<string, Cost[]>();
  /** By how much one day of new commits makes a mirror's packs larger. */
  newBytes = 0;
  readonly #options: ContestOptions;
  #runs = 0;
  #folders = 0;
  readonly #made: string[] = [];
  #bytesBefore = 0;

  constructor(options: ContestOptions) {
    this.#options = options;
  }

  /** Makes the snapshots and caches of the day before. */
  async prepare(): Promise<void> {
    const { root, upstream, yesterday, today, stores } = this.#options;
    await upstream.moveTo(yesterday);
    // Servers pack their repositories, with bitmaps.
    const repack = ['repack', '-a', '-d', '--quiet', '--write-bitmap-index'];
    await git(upstream.directory, repack, { timeoutMs: TIMEOUT_MS });
    for (const [index, store] of stores.entries()) {
      const folder = join(root, `yesterday-${String(index)}`);
      if (!this.#options.isWithoutHistory) {
        const { job } = await this.#job(folder, store);
        const { result } = await runStep(job.startMain());
        await runStep(job.startPost());
        this.#bytesBefore = await countPacks(result);
        const packs = packDirectory(result.outputs['mirror-path'] ?? '');
        await store.saveAlone?.(packs, join(root, 'toolkit'));
      }
      const { job: tip } = await this.#job(`${folder}-tip`, store, WITHOUT_HISTORY);
      await runStep(tip.startMain());
      await runStep(tip.startPost());
      await store.keep();
    }
    if (this.#options.isWithoutHistory) {
      await upstream.moveTo(today);
      return;
    }
    const { workspace } = await this.#checkOut(join(root, 'cached'), 0);
    await archive(workspace, this.#archive);
    await upstream.moveTo(today);
  }

  /** Each method once, in a folder of its own. */
  async round(): Promise<void> {
    await this.#alone(SHALLOW, (folder) => this.#checkOut(folder, 1));
    for (const store of this.#options.stores) {
      await this.#inFolder((folder) => this.#withoutHistory(folder, store));
      await store.forget();
    }
    if (!this.#options.isWithoutHistory) await this.#withHistory();
    for (const folder of this.#made.splice(0)) await removeLargeFiles(folder);
  }

  async #withHistory(): Promise<void> {
    await this.#alone(CLONE, async (folder) => {
      const url = `${await this.#options.servers.ask('url')}/${REPOSITORY}`;
      await git(folder, ['clone', '--quiet', '--mirror', url, 'mirror'], { timeoutMs: TIMEOUT_MS });
    });
    await this.#alone(DEEP, (folder) => this.#checkOut(folder, 0));
    await this.#inFolder((folder) => this.#homeMade(folder));
    for (const store of this.#options.stores) {
      await this.#inFolder((folder) => this.#ours(folder, store));
      await store.forget();
    }
    await this.#inFolder((folder) => this.#limits(folder));
  }

  /** As workflows do with actions/cache: all of `.git` in one archive. */
  async #homeMade(folder: string): Promise<void> {
    const { workspace } = createJob({ root: folder, repository: REPOSITORY });
    await readWhole(this.#archive);
    await this.#note(UNPACK, async () => {
      await runOrThrow('tar', ['--zstd', '-xf', this.#archive, '-C', workspace]);
      return { storeBytes: (await stat(this.#archive)).size };
    });
    await this.#time(HOME_CHECKOUT, () => this.#checkOut(folder, 0));
    await this.#note(PACK, async () => {
      const again = join(folder, 'again.tar.zst');
      await archive(workspace, again);
      return { storeBytes: (await stat(again)).size };
    });
  }

  async #ours(folder: string, store: BenchStore): Promise<void> {
    const machine = join(folder, 'machine');
    // No snapshot has that key.
    const unknown = { 'cache-key': 'nobody-has-it' };
    await this.#steps('cold', store, await this.#job(join(folder, 'cold'), store, unknown));
    if (store.restoreAlone !== undefined) {
      const alone = join(folder, 'toolkit');
      await this.#note(TOOLKIT, async () => ({ ms: (await store.restoreAlone?.(alone)) ?? NaN }));
    }
    await store.warmUp?.();
    await this.#steps('warm', store, await this.#job(machine, store));
    if (store !== this.#options.stores[0]) return;
    const atHome = await this.#job(machine, store);
    // Without the files that the previous job checked out.
    await rename(atHome.job.workspace, join(folder, 'checked-out-before'));
    await mkdir(atHome.job.workspace);
    await this.#steps('at home', store, atHome);
  }

  async #withoutHistory(folder: string, store: BenchStore): Promise<void> {
    await store.warmUp?.();
    const job = await this.#job(join(folder, 'machine'), store, WITHOUT_HISTORY);
    await this.#steps('tip', store, job);
  }

  async #steps(
    situation: Situation,
    store: BenchStore,
    { job, machine }: JobOnMachine,
  ): Promise<void> {
    const nameOf = (step: 'main' | 'checkout' | 'post') => rowOf(situation, store.name, step);
    await this.#note(nameOf('main'), async () => {
      const { result, ...known } = await runStep(job.startMain());
      if (result.outputs['provenance'] !== PROVENANCES[situation])
        throw new Error(`unexpected outcome:\n${result.log}`);
      if (situation === 'warm') this.newBytes = (await countPacks(result)) - this.#bytesBefore;
      return known;
    });
    const depth = situation === 'tip' ? 1 : 0;
    await this.#time(nameOf('checkout'), () => this.#checkOut(machine, depth));
    await this.#note(nameOf('post'), async () => {
      const { result, ...known } = await runStep(job.startPost());
      const isSaved = result.log.includes('Saved snapshot');
      if (isSaved !== (situation !== 'at home'))
        throw new Error(`unexpected outcome:\n${result.log}`);
      return known;
    });
  }

  /** Lower limits of every method. */
  async #limits(folder: string): Promise<void> {
    const { directory } = this.#options.upstream;
    const packs = (await readdir(packDirectory(directory)))
      .filter((name) => name.endsWith('.pack'))
      .map((name) => join(packDirectory(directory), name));
    await this.#time(COPY, async () => {
      for (const [index, pack] of packs.entries()) await cp(pack, join(folder, String(index)));
    });
    await this.#time(DIGEST, async () => {
      for (const pack of packs) await pipeline(createReadStream(pack), createHash('sha256'));
    });
    await git(folder, ['clone', '--quiet', '--shared', '--no-checkout', directory, 'workspace']);
    await this.#time(WRITE, async () => {
      const workers = `checkout.workers=${String(availableParallelism())}`;
      const command = ['-c', workers, 'checkout', '--quiet', 'HEAD'];
      await git(join(folder, 'workspace'), command, { timeoutMs: TIMEOUT_MS });
    });
  }

  /**
   * Keeps a method's files until the round is over, and small ones until all rounds are. Otherwise the next
   * method would have an advantage: a virtual machine pays for memory that it touches for the first time
   * (4 s for each GB on one), but not for memory that was just released. It would also have a disadvantage:
   * ext4 skips the inodes of recently deleted files, which made a checkout of 6,000 files take 5 s instead
   * of 1 s.
   */
  async #inFolder(work: (folder: string) => Promise<void>): Promise<void> {
    const folder = join(this.#options.root, `method-${String(++this.#folders)}`);
    await mkdir(folder);
    await readWhole(packDirectory(this.#options.upstream.directory));
    await work(folder);
    this.#made.push(folder);
  }

  async #alone(name: string, work: (folder: string) => Promise<unknown>): Promise<void> {
    await this.#inFolder((folder) => this.#time(name, () => work(folder)));
  }

  async #time(name: string, work: () => Promise<unknown>): Promise<void> {
    await this.#note(name, async () => {
      await work();
      return {};
    });
  }

  async #note(name: string, work: () => Promise<Known>): Promise<void> {
    const cost = await costOf(() => this.#options.servers.ask('bytesSent'), work);
    this.costs.set(name, [...(this.costs.get(name) ?? []), cost]);
  }

  async #checkOut(machine: string, fetchDepth: number): Promise<Job> {
    const { directory } = this.#options.upstream;
    const ref = await git(directory, ['symbolic-ref', 'HEAD']);
    const sha = await git(directory, ['rev-parse', 'HEAD']);
    const serverUrl = await this.#options.servers.ask('url');
    return checkOut(machine, { repository: REPOSITORY, serverUrl, ref, sha, fetchDepth });
  }

  async #job(
    machine: string,
    store: BenchStore,
    inputs: Record<string, string> = {},
  ): Promise<JobOnMachine> {
    const options: Partial<JobOptions> = await store.options();
    this.#runs += 1;
    const job = createJob({
      root: machine,
      repository: REPOSITORY,
      serverUrl: await this.#options.servers.ask('url'),
      runId: String(this.#runs),
      ...options,
      inputs: { prime: 'true', ...options.inputs, ...inputs },
    });
    return { job, machine };
  }

  get #archive(): string {
    return join(this.#options.root, 'cached.tar.zst');
  }
}

/** Bytes of a mirror's packs and their indexes. */
async function countPacks({ outputs }: StepResult): Promise<number> {
  return countFolderBytes(packDirectory(outputs['mirror-path'] ?? ''));
}

/** As actions/cache archives it, with all threads. */
export async function archive(workspace: string, file: string): Promise<void> {
  const compress = ['--use-compress-program', 'zstd -T0'];
  await runOrThrow('tar', [...compress, '-cf', file, '-C', workspace, '.git']);
}

async function runOrThrow(command: string, commandArguments: string[]): Promise<void> {
  const { exitCode, stderr } = await runProcess(command, commandArguments, {
    timeoutMs: TIMEOUT_MS,
  });
  if (exitCode !== 0) throw new Error(`${command} failed: ${stderr}`);
}
