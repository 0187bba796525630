/**
 * A small world in which jobs run while things go wrong at random: an upstream that changes, a store,
 * machines that stay or are new each time. After each step the invariants are looked at.
 */
import { statSync } from 'node:fs';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import {
  Scenario,
  endClaims,
  listManifests,
  readTree,
  type StoredFile,
} from '../jobs/scenarios/scenario.ts';
import type { Job, RunningStep, StepResult } from '../support/action-runner.ts';
import { flipBit, randomOffset, remove, truncate } from '../support/corruption.ts';
import type { Fault, FaultBehaviour, FaultTarget } from '../support/git-server/fault.ts';
import { startGitServer, type GitServer } from '../support/git-server/server.ts';
import { resumeProcess, waitUntil } from '../support/processes.ts';
import type { Random } from '../support/random.ts';
import {
  createBranch,
  deleteBranch,
  moveTag,
  readRefs,
  renameBranch,
  renameDefaultBranch,
} from '../support/repository-change.ts';
import { addCommits, createRepository, repositorySizes } from '../support/repository-fixture.ts';
import {
  checkSnapshot,
  digestFiles,
  filesThatTell,
  readNumbers,
  stateOf,
  Violation,
} from './invariants.ts';
import {
  CALLS_OF,
  PHASES_OF,
  type PhaseSignal,
  type StepFault,
  type StepFaults,
  type Weakness,
} from './step-faults.ts';

/** A step takes seconds; with all deadlines and retries on its way not half of this. */
const LONGEST_STEP_MS = 90_000;
const TOKEN = 'ghs_canary0123456789abcdefghijklmnop';
const projectPath = fileURLToPath(new URL('../..', import.meta.url));
/** Otherwise each step compiles the sources again, which takes longer than what it does. */
const compileCache = join(projectPath, 'node_modules', '.cache', 'mirror-action');
const preload = pathToFileURL(fileURLToPath(new URL('failpoints.ts', import.meta.url))).href;

/** One that nothing has run on, or one of two that keep their disks. */
type Machine = 'fresh' | 'a' | 'b';

type Publish = 'post' | 'early';

/** Chosen at random unless they are given. */
interface Inputs {
  publish?: Publish;
  verify?: 'standard' | 'tip' | 'full';
}

/** What may go wrong in a job, besides what its machine and the store are like. */
export interface Trouble {
  steps: StepFaults;
  upstream?: Fault;
}

/** Where a job stands still, and whether others then take its claim for that of a dead one. */
interface Standstill extends Omit<PhaseSignal, 'signal'> {
  step: 'main' | 'post';
  publish: Publish;
  isTakenForDead: boolean;
}

const CHEAPEST = { verify: 'standard' } as const;

/** Whether jobs come to it only where the store is empty. */
export function isCold(phase: PhaseSignal['phase']): boolean {
  return phase === 'clone' || phase === 'claim';
}

/** Everything a run of the harness is made of. End it with `close`. */
export class World {
  /** What happened, to understand a violation. */
  readonly story: string[] = [];
  readonly #scenario: Scenario;
  readonly #server: GitServer;
  readonly #random: Random;
  readonly #weakness: Weakness | undefined;
  /** States that upstream has had. */
  readonly #states = new Set<string>();
  /** Manifests by their numbers, as they were published; undefined for those we have damaged. */
  readonly #published = new Map<number, string | undefined>();
  readonly #damagedLayers = new Set<string>();
  /** Machines whose mirror we have damaged. */
  readonly #damagedMachines = new Set<string>();
  #jobs = 0;

  private constructor(
    scenario: Scenario,
    server: GitServer,
    random: Random,
    weakness: Weakness | undefined,
  ) {
    this.#scenario = scenario;
    this.#server = server;
    this.#random = random;
    this.#weakness = weakness;
  }

  static async create(root: string, random: Random, weakness?: Weakness): Promise<World> {
    const server = await startGitServer({ root: join(root, 'upstream'), token: TOKEN });
    const repository = 'owner/name';
    const upstream = join(root, 'upstream', `${repository}.git`);
    await createRepository(upstream, { ...repositorySizes.tiny, seed: random.integer(1_000) });
    const scenario = new Scenario(root, repository, upstream, server);
    await mkdir(scenario.store);
    await mkdir(join(root, 'home'));
    await writeFile(join(root, 'home', 'sentinel'), 'nobody touches this\n');
    await makeAction(join(root, 'action'));
    const world = new World(scenario, server, random, weakness);
    await world.#noteState();
    return world;
  }

  async close(): Promise<void> {
    await this.#server.stop();
  }

  /** What a job needs to find so that it comes to a phase: nothing, a snapshot or a mirror. */
  async prepareFor(phase: PhaseSignal['phase']): Promise<void> {
    if (isCold(phase)) return;
    await this.runJob({ steps: {} }, 'a');
    // The fourth small layer is one with those before it.
    for (let save = 0; phase === 'repack' && save < 2; save++) {
      await this.changeUpstream('commit');
      await this.runJob({ steps: {} }, 'a');
    }
  }

  /** A job, mostly with new commits, that gets a signal at a point which it comes to. */
  async runJobWhere(step: 'main' | 'post', signal: PhaseSignal): Promise<void> {
    const { phase } = signal;
    const needsMirror = phase === 'check' || phase === 'repack';
    if (!isCold(phase)) await this.changeUpstream('commit');
    const before = this.story.length;
    await this.runJob({ steps: { [step]: { signal } } }, needsMirror ? 'a' : 'fresh', {
      publish: 'early',
    });
    if (!this.story.slice(before).some((line) => line.startsWith('failpoint: '))) {
      throw new Error(`the job never came to ${phase} of ${step}`);
    }
  }

  /** One random event. */
  async happen(): Promise<void> {
    const things: [weight: number, thing: () => Promise<unknown>][] = [
      [1, () => this.changeUpstream()],
      [6, () => this.#runAnyJob()],
      [3, () => this.overlap()],
      [2, () => this.damageStore()],
      [1, () => this.#damageMirror()],
    ];
    await this.#random.pick(
      things.flatMap(([weight, thing]) => Array.from({ length: weight }, () => thing)),
    )();
  }

  /** When everything goes well again, one job is enough to heal: the newest snapshot is upstream's state. */
  async heal(): Promise<void> {
    await endClaims(this.#scenario.store);
    const wanted = await stateOf(this.#scenario.upstream);
    await this.runJob({ steps: {} }, 'fresh', CHEAPEST);
    const newest = (await listManifests(this.#scenario.store)).at(-1);
    const state = newest && (await this.#checkNewest(newest));
    if (state !== wanted) throw new Violation(2, 'the newest snapshot is not what upstream has');
  }

  /** After that, the next job that starts on a new machine restores it; and nothing has leaked. */
  async recover(): Promise<void> {
    await this.heal();
    await this.checkEnd();
  }

  async checkEnd(): Promise<void> {
    const last = await this.runJob({ steps: {} }, 'fresh', CHEAPEST);
    const { provenance, recloned } = last.outputs;
    if (provenance !== 'restored' || recloned !== 'false') {
      throw new Violation(2, `a job that nothing happened to did not heal: ${String(provenance)}`);
    }
    const telling = await filesThatTell(this.#scenario.root, TOKEN);
    if (telling.length > 0) throw new Violation(3, `the token is in ${telling.join(', ')}`);
    const home = await readTree(join(this.#scenario.root, 'home'));
    if (Object.keys(home).join() !== 'sentinel') {
      throw new Violation(5, `the home folder holds ${Object.keys(home).join(', ')}`);
    }
  }

  /** Mostly one with new commits, so that there is something to fetch and to save. */
  async #runAnyJob(): Promise<void> {
    if (this.#random.next() < 0.7) await this.changeUpstream();
    await this.runJob(this.#anyTrouble());
  }

  async #checkNewest(newest: StoredFile): Promise<string | undefined> {
    try {
      return await checkSnapshot(newest, () => false);
    } catch (cause) {
      throw new Violation(2, 'the newest snapshot is still damaged', { cause });
    }
  }

  #anyTrouble(): Trouble {
    const random = this.#random;
    const steps: StepFaults = {};
    const kind = random.pick(['none', 'signal', 'store', 'store', 'upstream', 'both'] as const);
    const step = random.pick(['main', 'post'] as const);
    if (kind === 'signal') steps[step] = { signal: this.#anySignal(step) };
    if (kind === 'store' || kind === 'both') steps[step] = this.#anyStoreFault(step);
    if (kind !== 'upstream' && kind !== 'both') return { steps };
    return { steps, upstream: this.#anyUpstreamFault() };
  }

  #anySignal(step: 'main' | 'post'): PhaseSignal {
    const random = this.#random;
    return {
      phase: random.pick(PHASES_OF[step]),
      when: random.pick(['before', 'after']),
      signal: random.pick(['SIGKILL', 'SIGINT', 'SIGTERM']),
    };
  }

  #anyStoreFault(step: 'main' | 'post'): StepFault {
    const random = this.#random;
    const method = random.pick(CALLS_OF[step]);
    const kind = random.pick(['fail', 'late', 'lost-reply', 'cut'] as const);
    return { store: { method, kind, times: random.pick([1, 1, 1_000]) } };
  }

  #anyUpstreamFault(): Fault {
    const random = this.#random;
    const afterBytes = random.integer(4_000);
    const behave = random.pick<FaultBehaviour>([
      { kind: 'status', status: random.pick([401, 403, 404, 429, 500, 503]) },
      { kind: 'empty' },
      { kind: 'html' },
      { kind: 'close' },
      { kind: 'delay', forMs: 500 },
      { kind: 'stall', afterBytes, forMs: 500 },
      { kind: 'cut', afterBytes, reset: random.next() < 0.5 },
      { kind: 'shorten', afterBytes },
      { kind: 'garbage-pack', afterBytes },
      { kind: 'garbage-stream', afterBytes },
    ]);
    const on = random.pick<FaultTarget>(['probe', 'fetch', 'clone', 'delta-fetch']);
    return { on, behave, times: random.pick([1, 1, 2, 1_000]) };
  }

  async changeUpstream(kind?: string): Promise<void> {
    const { upstream } = this.#scenario;
    const random = this.#random;
    const refs = await readRefs(upstream);
    const branches = [...refs.keys()].flatMap((name) => /^refs\/heads\/(.*)/.exec(name)?.[1] ?? []);
    const seed = random.integer(1_000_000);
    const branch = random.pick(branches);
    const changes: Record<string, () => Promise<unknown>> = {
      commit: () => addCommits(upstream, { branch, seed, commits: 1 + random.integer(3) }),
      'forced push': () => addCommits(upstream, { branch, seed, from: 'HEAD~2' }),
      'new branch': () => createBranch(upstream, `new-${String(seed)}`, branch),
      'branch gone': async () => {
        const head = (await readFile(join(upstream, 'HEAD'), 'utf8')).trim();
        if (!head.endsWith(`/${branch}`)) await deleteBranch(upstream, branch);
      },
      'branch into a folder': async () => {
        const head = (await readFile(join(upstream, 'HEAD'), 'utf8')).trim();
        if (!head.endsWith(`/${branch}`)) await renameBranch(upstream, branch, `${branch}/below`);
      },
      'default branch renamed': () => renameDefaultBranch(upstream, `main-${String(seed)}`),
      'tag moved': () => moveTag(upstream, 'light-1', branch),
      'annotated tag moved': () => moveTag(upstream, 'annotated-1', branch, `of ${String(seed)}`),
    };
    const what = kind ?? random.pick(Object.keys(changes));
    this.story.push(`upstream: ${what} (${branch})`);
    await changes[what]?.();
    await this.#noteState();
  }

  async #noteState(): Promise<void> {
    this.#states.add(await stateOf(this.#scenario.upstream));
  }

  /** Main and post of a job. Gives main's result. */
  async runJob(trouble: Trouble, chosen?: Machine, inputs: Inputs = {}): Promise<StepResult> {
    const { machine, job } = this.#newJob(trouble.steps, chosen, inputs);
    const { upstream } = trouble;
    this.story.push(`job on ${machine}: ${describe(trouble)}`);
    if (upstream !== undefined) this.#server.fault(upstream);
    const main = await this.#finish(job.startMain());
    await this.#checkMain(main, machine, trouble, await stateOf(this.#scenario.upstream));
    await this.#checkPost(await this.#finish(job.startPost()), trouble);
    this.#server.clearFaults();
    return main;
  }

  /**
   * A job that stands still at some point while another one runs, perhaps on the same machine, after
   * upstream has moved, and with the claims of the first counted as dead.
   */
  async overlap(
    { step, phase, when, publish, isTakenForDead }: Standstill = this.#anyStandstill(),
  ): Promise<void> {
    const signal = { phase, when, signal: 'SIGSTOP' as const };
    const first = this.#newJob({ [step]: { signal } }, undefined, { publish });
    this.story.push(
      `job on ${first.machine} stands still ${signal.when} ${signal.phase} of ${step}`,
    );
    const trouble = { steps: { [step]: { signal } } };
    const before = await stateOf(this.#scenario.upstream);
    let running = first.job.startMain();
    if (step === 'post') {
      const main = await this.#finish(running);
      await this.#checkMain(main, first.machine, trouble, before);
      running = first.job.startPost();
    }
    try {
      await this.#untilItStands(running);
      await this.changeUpstream('commit');
      if (isTakenForDead) await endClaims(this.#scenario.store);
      await this.runJob({ steps: {} }, 'fresh');
    } finally {
      this.story.push('it goes on');
      resumeProcess(running.pid);
    }
    const result = await this.#finish(running);
    if (step === 'post') return this.#checkPost(result, trouble);
    await this.#checkMain(result, first.machine, trouble, undefined);
    await this.#checkPost(await this.#finish(first.job.startPost()), trouble);
  }

  #anyStandstill(): Standstill {
    const step = this.#random.pick(['main', 'post'] as const);
    const publish = this.#random.pick<Publish>(['post', 'early']);
    return { step, ...this.#anySignal(step), publish, isTakenForDead: this.#random.next() < 0.8 };
  }

  async #untilItStands(step: RunningStep): Promise<void> {
    let isOver = false;
    void step.finished.then(() => (isOver = true));
    await waitUntil(() => isOver || step.lines.some((line) => line.startsWith('failpoint: ')), {
      timeoutMs: LONGEST_STEP_MS,
      what: 'a step that stands still or ends',
    });
  }

  #newJob(
    faults: StepFaults,
    chosen?: Machine,
    { publish, verify }: Inputs = {},
  ): { machine: string; job: Job } {
    const random = this.#random;
    const number = ++this.#jobs;
    const kind = chosen ?? random.pick<Machine>(['fresh', 'a', 'b']);
    const machine = kind === 'fresh' ? `fresh-${String(number)}` : kind;
    const job = this.#scenario.job({
      root: join(this.#scenario.root, 'machines', machine),
      workspace: `workspace-${String(number)}`,
      home: join(this.#scenario.root, 'home'),
      actionPath: join(this.#scenario.root, 'action'),
      token: TOKEN,
      runId: String(number),
      inputs: {
        'lock-timeout': '2s',
        'fetch-timeout': '20s',
        publish: publish ?? random.pick(['post', 'early']),
        verify: verify ?? random.pick(['standard', 'standard', 'tip', 'full']),
      },
      environment: {
        NODE_OPTIONS: `--import=${preload}`,
        NODE_COMPILE_CACHE: compileCache,
        MIRROR_TEST_FAULTS: JSON.stringify({ ...faults, weakness: this.#weakness }),
      },
    });
    return { machine, job };
  }

  async #finish(step: RunningStep): Promise<StepResult> {
    const timer = setTimeout(() => {
      step.kill();
    }, LONGEST_STEP_MS);
    const result = await step.finished;
    clearTimeout(timer);
    this.story.push(...result.log.split('\n').filter((line) => line.startsWith('failpoint: ')));
    if (result.durationMs >= LONGEST_STEP_MS) {
      throw new Violation(4, `a step took ${result.durationMs.toFixed(0)} ms\n${result.log}`);
    }
    if (result.log.includes(TOKEN)) throw new Violation(3, `the token is in a log\n${result.log}`);
    return result;
  }

  /** `state` is what upstream was all the time; undefined where it moved. */
  async #checkMain(
    main: StepResult,
    machine: string,
    { steps, upstream }: Trouble,
    state: string | undefined,
  ): Promise<void> {
    const signal = steps.main?.signal?.signal;
    if (main.signal !== null && signal !== undefined) return;
    if (main.exitCode !== 0) {
      const mayFail = upstream !== undefined || signal === 'SIGINT' || signal === 'SIGTERM';
      const isSaid = main.annotations.some(({ level }) => level === 'error');
      if (!mayFail || !isSaid) throw new Violation(1, `main failed:\n${main.log}`);
      return;
    }
    const mirror = main.outputs['mirror-path'] ?? '';
    const found = await stateOf(mirror);
    this.story.push(`main: ${main.outputs['provenance'] ?? ''}`);
    if (state === undefined ? !this.#states.has(found) : found !== state) {
      throw new Violation(1, `the mirror is not what upstream has:\n${found}\n${main.log}`);
    }
    if (state === undefined) return;
    let files: string;
    try {
      files = await digestFiles(mirror);
    } catch (cause) {
      // Damage in old objects of a mirror that stays is git's to find; never another content.
      if (this.#damagedMachines.has(machine)) return;
      throw new Violation(1, `the mirror's files cannot be read\n${main.log}`, { cause });
    }
    if (files !== (await digestFiles(this.#scenario.upstream))) {
      throw new Violation(1, `the mirror's files are others than upstream's\n${main.log}`);
    }
  }

  async #checkPost(post: StepResult, { steps }: Trouble): Promise<void> {
    if (post.exitCode !== 0 && !(post.signal !== null && steps.post?.signal !== undefined)) {
      throw new Violation(1, `post failed a job:\n${post.log}`);
    }
    this.story.push(/(?:Saved snapshot|Nothing saved)[^\n]*/.exec(post.log)?.[0] ?? 'no verdict');
    await this.#checkStore(post.log);
  }

  async #checkStore(log: string): Promise<void> {
    const { store } = this.#scenario;
    const isDamaged = (layer: string): boolean => this.#damagedLayers.has(layer);
    const manifests = new Map((await listManifests(store)).map((each) => [each.number, each]));
    for (const [number, digest] of await readNumbers(store)) {
      const known = this.#published.get(number);
      if (this.#published.has(number) && known === undefined) continue;
      if (known !== undefined && known !== digest) {
        throw new Violation(2, `manifest ${String(number)} is another one now\n${log}`);
      }
      if (known !== undefined) continue;
      this.#published.set(number, digest);
      let state: string | undefined;
      try {
        state = await checkSnapshot(manifests.get(number)!, isDamaged);
      } catch (cause) {
        throw new Violation(2, `snapshot ${String(number)} is not sound\n${log}`, { cause });
      }
      if (state !== undefined && !this.#states.has(state)) {
        throw new Violation(2, `snapshot ${String(number)} is of nothing that was:\n${state}`);
      }
    }
  }

  async damageStore(isOfPack = false): Promise<void> {
    const random = this.#random;
    const manifests = await listManifests(this.#scenario.store);
    const chosen = manifests.at(-1 - random.integer(Math.min(2, manifests.length)));
    if (chosen === undefined) return;
    const layers = await readdir(join(chosen.folder, 'layers'));
    if (layers.length === 0 || (!isOfPack && random.next() < 0.3)) {
      this.story.push(`damage: manifest ${String(chosen.number)}`);
      // Where it is gone, its number may be that of another one.
      if (this.#damage(chosen.file) === 'gone') this.#published.delete(chosen.number);
      else this.#published.set(chosen.number, undefined);
      return;
    }
    const layer = random.pick(layers);
    const folder = join(chosen.folder, 'layers', layer);
    const files = await readdir(folder);
    const file = random.pick(isOfPack ? files.filter((name) => name.endsWith('.pack')) : files);
    this.story.push(`damage: ${file} of layer ${layer.slice(0, 12)}`);
    this.#damagedLayers.add(layer);
    this.#damage(join(folder, file), isOfPack ? 'a bit in the middle' : undefined);
  }

  async #damageMirror(): Promise<void> {
    const machine = this.#random.pick(['a', 'b']);
    const root = join(this.#scenario.root, 'machines', machine);
    const names = await readdir(root, { recursive: true }).catch(() => []);
    const files = names.filter((name) =>
      /\.git[\\/](?:HEAD|packed-refs|objects[\\/]pack[\\/][^\\/]*\.(?:pack|idx))$/.test(name),
    );
    // Those of workspaces are the jobs' own.
    const own = files.filter((name) => !/[\\/]workspace-\d+[\\/]/.test(name)).sort();
    if (own.length === 0) return;
    const file = this.#random.pick(own);
    this.story.push(`damage: ${file}`);
    this.#damagedMachines.add(machine);
    this.#damage(join(root, file));
  }

  #damage(file: string, kind?: string): string {
    const random = this.#random;
    const damages: Record<string, () => void> = {
      // Between header and trailer, which other checks look at.
      'a bit in the middle': () => {
        flipBit(file, statSync(file).size >> 1);
      },
      'a bit': () => {
        flipBit(file, randomOffset(random, file), random.integer(8));
      },
      'cut off': () => {
        truncate(file, randomOffset(random, file));
      },
      gone: () => {
        remove(file);
      },
    };
    const chosen = kind ?? random.pick(Object.keys(damages));
    this.story.push(`  ${chosen}`);
    damages[chosen]?.();
    return chosen;
  }
}

function describe({ steps, upstream }: Trouble): string {
  const parts = [JSON.stringify(steps)];
  if (upstream !== undefined) parts.push(`upstream ${JSON.stringify(upstream)}`);
  return parts.join(', ');
}

/** The action with its sources in place of its bundle. */
async function makeAction(folder: string): Promise<void> {
  await mkdir(folder);
  const definition = await readFile(join(projectPath, 'action.yml'), 'utf8');
  const toSources = relative(folder, join(projectPath, 'src', 'action')).replaceAll('\\', '/');
  const changed = definition
    .replace(/dist\/main\.js/, `${toSources}/main.ts`)
    .replace(/dist\/post\.js/, `${toSources}/post.ts`);
  await writeFile(join(folder, 'action.yml'), changed);
}
