/**
 * What actions/checkout v7 does with a workspace: the same git commands in the same order, with the
 * same decisions, so that tests see what it makes of a workspace that was primed. Left out are its
 * questions to GitHub's API, SSH keys, and its second and third try of a fetch.
 */
import { appendFile, mkdir, readdir, rm, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { CheckoutCredentials } from './credentials.ts';
import { CheckoutGit, type CheckoutJob } from './git.ts';
import { chooseTarget, chooseRefspecs, isExpected } from './refs.ts';

/** Its inputs, with its defaults; `ref` and `sha` are the event's. */
export interface CheckoutOptions {
  repository: string;
  serverUrl: string;
  token?: string;
  /** Full name, as of an event, or a short one, as a workflow may give it. */
  ref?: string | undefined;
  sha?: string | undefined;
  /** 0: everything. */
  fetchDepth?: number;
  fetchTags?: boolean;
  filter?: string;
  sparseCheckout?: string[];
  sparseCheckoutConeMode?: boolean;
  submodules?: boolean | 'recursive';
  lfs?: boolean;
  clean?: boolean;
  persistCredentials?: boolean;
  path?: string;
  /** It asks the API. */
  objectFormat?: 'sha1' | 'sha256';
}

export interface Checkout {
  folder: string;
  commit: string;
  /** What became of the `.git` it found. */
  found: 'nothing' | 'kept' | 'deleted';
  /** Arguments of each git that it ran. */
  commands: readonly string[][];
  /** Its post step. */
  post(): Promise<void>;
}

/** Its main step; throws where that fails. */
export async function checkout(job: CheckoutJob, options: CheckoutOptions): Promise<Checkout> {
  const replay = new Replay(job, options);
  return replay.main();
}

class Replay {
  readonly #job: CheckoutJob;
  readonly #options: CheckoutOptions;
  readonly #folder: string;
  readonly #git: CheckoutGit;
  readonly #credentials: CheckoutCredentials;

  constructor(job: CheckoutJob, options: CheckoutOptions) {
    this.#job = job;
    this.#options = options;
    this.#folder = resolve(job.workspace, options.path ?? '.');
    this.#git = new CheckoutGit(job, this.#folder, options.lfs ?? false);
    this.#credentials = new CheckoutCredentials(this.#git, job, options.serverUrl);
  }

  async main(): Promise<Checkout> {
    const kind = await kindOf(this.#folder);
    if (kind === 'file') await rm(this.#folder);
    if (kind !== 'folder') await mkdir(this.#folder, { recursive: true });
    await this.#git.run('version');
    if (this.#options.lfs) await this.#git.run('lfs', 'version');
    return this.#git.withTemporaryHome(async () => {
      const found = kind === 'folder' ? await this.#prepareFolder() : 'nothing';
      if (found !== 'kept') await this.#initialize();
      await this.#git.ask('config', '--local', 'gc.auto', '0');
      await this.#credentials.configure(this.#token);
      try {
        const commit = await this.#checkOut();
        const { commands } = this.#git;
        return { folder: this.#folder, commit, found, commands, post: () => this.#post() };
      } finally {
        if (!this.#persists) await this.#credentials.remove();
      }
    });
  }

  get #url(): string {
    return `${new URL(this.#options.serverUrl).origin}/${this.#options.repository}`;
  }

  get #token(): string {
    return this.#options.token ?? '';
  }

  get #persists(): boolean {
    return this.#options.persistCredentials ?? true;
  }

  /** Of a folder that is there: its `.git` is kept if it is right, else all of it is deleted. */
  async #prepareFolder(): Promise<Checkout['found']> {
    const gitDirectory = join(this.#folder, '.git');
    const hasRepository = (await kindOf(gitDirectory)) === 'folder';
    if (hasRepository && (await this.#isUsable())) return 'kept';
    for (const name of await readdir(this.#folder)) {
      await rm(join(this.#folder, name), { recursive: true });
    }
    return hasRepository ? 'deleted' : 'nothing';
  }

  async #isUsable(): Promise<boolean> {
    const urls = await this.#git.ask('config', '--local', '--get', 'remote.origin.url');
    if (urls?.length !== 1 || urls[0] !== this.#url) return false;
    for (const name of ['index.lock', 'shallow.lock']) {
      await rm(join(this.#folder, '.git', name), { recursive: true, force: true });
    }
    try {
      await this.#removeRefs();
      let isUsable = await this.#git.succeeds('submodule', 'status');
      if (this.#options.clean ?? true) {
        const isClean = await this.#git.succeeds('clean', '-ffdx');
        if (!isClean || !(await this.#git.succeeds('reset', '--hard', 'HEAD'))) isUsable = false;
      }
      return isUsable;
    } catch {
      return false;
    }
  }

  /** Local branches, and those of upstream that can't exist together with the wanted one. */
  async #removeRefs(): Promise<void> {
    const git = this.#git;
    const head = ['rev-parse', '--symbolic-full-name', '--verify', '--quiet', 'HEAD'];
    const [name = ''] = (await git.ask(...head)) ?? [];
    if (name.startsWith('refs/heads/')) await git.run('checkout', '--detach');
    for (const branch of await git.lines('rev-parse', '--symbolic-full-name', '--branches')) {
      await git.run('branch', '--delete', '--force', branch.replace('refs/heads/', ''));
    }
    const { ref = '' } = this.#options;
    const wanted = /^(?:refs\/heads\/|(?!refs\/))(.+)/.exec(ref)?.[1]?.toUpperCase();
    if (wanted === undefined) return;
    const remote = '--remotes=origin';
    for (const branch of await git.lines('rev-parse', '--symbolic-full-name', remote)) {
      const other = branch.replace('refs/remotes/origin/', '').toUpperCase();
      if (!wanted.startsWith(`${other}/`) && !other.startsWith(`${wanted}/`)) continue;
      const short = branch.replace('refs/remotes/', '');
      await git.run('branch', '--delete', '--force', '--remote', short);
    }
  }

  async #initialize(): Promise<void> {
    const isNewFormat = this.#options.objectFormat === 'sha256';
    const format = isNewFormat ? ['--object-format=sha256'] : [];
    await this.#git.run('init', ...format, this.#folder);
    await this.#git.run('remote', 'add', 'origin', this.#url);
  }

  async #checkOut(): Promise<string> {
    const { lfs = false, sparseCheckout, submodules = false } = this.#options;
    if (lfs) await this.#git.run('lfs', 'install', '--local');
    await this.#fetch();
    const { name, startPoint } = await chooseTarget(this.#git, this.#options);
    if (lfs && sparseCheckout === undefined) {
      await this.#git.run('lfs', 'fetch', 'origin', startPoint ?? name);
    }
    await this.#setSparseness();
    const target = startPoint === undefined ? [name] : ['-B', name, startPoint];
    await this.#git.run('checkout', '--progress', '--force', ...target);
    if (submodules !== false) await this.#updateSubmodules(submodules === 'recursive');
    await this.#git.run('log', '-1');
    return this.#git.run('log', '-1', '--format=%H');
  }

  async #fetch(): Promise<void> {
    const { fetchDepth = 1 } = this.#options;
    await this.#fetchRefspecs(chooseRefspecs(this.#options, fetchDepth === 0));
    if (await isExpected(this.#git, this.#options)) return;
    if (fetchDepth === 0) {
      // The branch has moved on since the event: its commit is fetched by its own name.
      await this.#fetchRefspecs(chooseRefspecs({ ...this.#options, fetchTags: false }, false));
      if (await isExpected(this.#git, this.#options)) return;
    }
    throw new Error(`${this.#options.ref} is not at ${this.#options.sha}`);
  }

  async #fetchRefspecs(refspecs: string[]): Promise<void> {
    const { fetchDepth = 1, sparseCheckout } = this.#options;
    const filter = this.#options.filter ?? (sparseCheckout ? 'blob:none' : undefined);
    const isShallow = (await kindOf(join(this.#folder, '.git', 'shallow'))) === 'file';
    await this.#git.run(
      ...['-c', 'protocol.version=2', 'fetch'],
      ...['--no-tags', '--prune', '--no-recurse-submodules'],
      ...(filter === undefined ? [] : [`--filter=${filter}`]),
      ...(fetchDepth > 0 ? [`--depth=${fetchDepth}`] : []),
      ...(fetchDepth === 0 && isShallow ? ['--unshallow'] : []),
      'origin',
      ...refspecs,
    );
  }

  async #setSparseness(): Promise<void> {
    const { sparseCheckout: patterns, sparseCheckoutConeMode: isCone = true } = this.#options;
    if (patterns === undefined) {
      await this.#git.run('sparse-checkout', 'disable');
      await this.#git.ask('config', '--local', '--unset-all', 'extensions.worktreeConfig');
    } else if (isCone) {
      await this.#git.run('sparse-checkout', 'set', ...patterns);
    } else {
      await this.#git.run('config', 'core.sparseCheckout', 'true');
      const file = await this.#git.run('rev-parse', '--git-path', 'info/sparse-checkout');
      await appendFile(join(this.#folder, file), `\n${patterns.join('\n')}\n`);
    }
  }

  async #updateSubmodules(recursive: boolean): Promise<void> {
    const git = this.#git;
    const { fetchDepth = 1 } = this.#options;
    const nested = recursive ? ['--recursive'] : [];
    const depth = fetchDepth > 0 ? [`--depth=${fetchDepth}`] : [];
    await this.#credentials.configureGlobally(this.#token);
    await git.run('submodule', 'sync', ...nested);
    const update = ['submodule', 'update', '--init', '--force', ...depth, ...nested];
    await git.run('-c', 'protocol.version=2', ...update);
    await git.run('submodule', 'foreach', ...nested, 'git config --local gc.auto 0');
    if (this.#persists) await this.#credentials.configureSubmodules(recursive);
  }

  async #post(): Promise<void> {
    if ((await kindOf(join(this.#folder, '.git', 'config'))) !== 'file') return;
    const git = new CheckoutGit(this.#job, this.#folder, false);
    await git.run('version');
    const credentials = new CheckoutCredentials(git, this.#job, this.#options.serverUrl);
    await git.withTemporaryHome(() => credentials.remove());
    this.#git.commands.push(...git.commands);
  }
}

async function kindOf(path: string): Promise<'file' | 'folder' | undefined> {
  const status = await stat(path).catch(() => undefined);
  if (status === undefined) return undefined;
  return status.isDirectory() ? 'folder' : 'file';
}
