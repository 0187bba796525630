import { randomUUID } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join, posix, relative } from 'node:path';
import { escapePattern, type CheckoutGit, type CheckoutJob } from './git.ts';

const FILE_PATTERN = /git-credentials-[0-9a-f-]+\.config$/i;
const KEYS = String.raw`^includeIf\.gitdir:`;

/**
 * The token of a checkout: in a file under RUNNER_TEMP that the repository's configuration includes
 * by conditions, for paths on the machine and for those that containers see.
 */
export class CheckoutCredentials {
  readonly #git: CheckoutGit;
  readonly #job: CheckoutJob;
  readonly #origin: string;
  readonly #headerKey: string;
  readonly #file: string;

  constructor(git: CheckoutGit, job: CheckoutJob, serverUrl: string) {
    this.#git = git;
    this.#job = job;
    this.#origin = new URL(serverUrl).origin;
    this.#headerKey = `http.${this.#origin}/.extraheader`;
    this.#file = join(job.temp, `git-credentials-${randomUUID()}.config`);
  }

  async configure(token: string): Promise<void> {
    await this.remove();
    await this.#write(token);
    const gitDirectory = slashes(join(this.#git.folder, '.git'));
    const inContainer = this.#pathInContainer(gitDirectory);
    await this.#include(gitDirectory, this.#file);
    await this.#include(`${gitDirectory}/worktrees/*`, this.#file);
    await this.#include(inContainer, this.#fileInContainer);
    await this.#include(`${inContainer}/worktrees/*`, this.#fileInContainer);
  }

  /** For `git submodule update`, whose repositories are not there yet: in the temporary HOME. */
  async configureGlobally(token: string): Promise<void> {
    await this.#write(token);
    await this.#git.run('config', '--global', 'include.path', this.#file);
    await this.#git.ask('config', '--global', '--unset-all', this.#insteadOfKey);
    await this.#git.run('config', '--global', '--add', this.#insteadOfKey, this.#insteadOf);
  }

  async configureSubmodules(recursive: boolean): Promise<void> {
    await this.#unsetInSubmodules(this.#insteadOfKey);
    for (const file of await this.#submoduleConfigurations(recursive)) {
      const gitDirectory = slashes(dirname(file));
      const target = ['--file', file];
      await this.#include(gitDirectory, this.#file, target);
      await this.#include(this.#pathInContainer(gitDirectory), this.#fileInContainer, target);
    }
    const add = `git config --local --add '${this.#insteadOfKey}' '${this.#insteadOf}'`;
    await this.#git.run('submodule', 'foreach', ...(recursive ? ['--recursive'] : []), add);
  }

  /** Whatever any checkout has left, here and in submodules, with the files it refers to. */
  async remove(): Promise<void> {
    for (const key of ['core.sshCommand', this.#headerKey]) {
      const pattern = escapePattern(key);
      const has = await this.#git.ask('config', '--local', '--name-only', '--get-regexp', pattern);
      if (has !== undefined) await this.#git.ask('config', '--local', '--unset-all', key);
      await this.#unsetInSubmodules(key);
    }
    const files = new Set(await this.#removeIncludes(['--local']));
    for (const submodule of await this.#submoduleConfigurations(true)) {
      for (const file of await this.#removeIncludes(['--file', submodule])) files.add(file);
    }
    for (const file of files) {
      if (file.startsWith(this.#job.temp)) await rm(file, { force: true });
    }
  }

  /** A placeholder by git, and the secret behind its back: command lines are no place for it. */
  async #write(token: string): Promise<void> {
    const placeholder = 'AUTHORIZATION: basic ***';
    await this.#git.run('config', '--file', this.#file, this.#headerKey, placeholder);
    const secret = Buffer.from(`x-access-token:${token}`).toString('base64');
    const [section, name] = [`[http "${this.#origin}/"]`, `extraheader = AUTHORIZATION: basic`];
    await writeFile(this.#file, `${section}\n\t${name} ${secret}\n`);
  }

  async #include(gitDirectory: string, file: string, target = ['--local']): Promise<void> {
    await this.#git.run('config', ...target, `includeIf.gitdir:${gitDirectory}.path`, file);
  }

  /** Gives the files that were included. */
  async #removeIncludes(target: string[]): Promise<string[]> {
    const files: string[] = [];
    const named = await this.#git.ask('config', ...target, '--name-only', '--get-regexp', KEYS);
    for (const key of named ?? []) {
      const values = (await this.#git.ask('config', ...target, '--get-all', key)) ?? [];
      for (const value of values.filter((each) => FILE_PATTERN.test(each))) {
        files.push(value);
        await this.#git.ask('config', ...target, '--unset', key, escapePattern(value));
      }
    }
    return files;
  }

  async #unsetInSubmodules(key: string): Promise<void> {
    const has = `git config --local --name-only --get-regexp '${escapePattern(key)}'`;
    const command = `sh -c "${has} && git config --local --unset-all '${key}' || :"`;
    await this.#git.run('submodule', 'foreach', '--recursive', command);
  }

  async #submoduleConfigurations(recursive: boolean): Promise<string[]> {
    const options = '--local --show-origin --name-only --get-regexp';
    const lines = await this.#git.lines(
      ...['submodule', 'foreach', ...(recursive ? ['--recursive'] : [])],
      `git config ${options} remote.origin.url`,
    );
    return lines.flatMap((line) => /^file:(.+)\tremote\.origin\.url$/.exec(line)?.[1] ?? []);
  }

  get #insteadOfKey(): string {
    return `url.${this.#origin}/.insteadOf`;
  }

  get #insteadOf(): string {
    return `git@${new URL(this.#origin).hostname}:`;
  }

  get #fileInContainer(): string {
    return posix.join('/github/runner_temp', basename(this.#file));
  }

  #pathInContainer(path: string): string {
    return posix.join('/github/workspace', slashes(relative(this.#job.workspace, path)));
  }
}

function slashes(path: string): string {
  return path.replaceAll('\\', '/');
}
