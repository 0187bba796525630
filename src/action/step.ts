/** What main and post have in common: from settings to a job, and the runner's cancel. */
import { join } from 'node:path';
import type { UpstreamAccess } from '../git/environment.ts';
import { openGit } from '../git/git.ts';
import { openSsh, sweepSsh, type Ssh } from '../git/ssh.ts';
import { Account } from '../job/account.ts';
import type { Job } from '../job/job.ts';
import { describeError } from '../lib/errors.ts';
import { createMachineLock } from '../locks/machine.ts';
import type { RestoreOptions } from '../restore/session.ts';
import type { MirrorSpec } from '../snapshot/identity.ts';
import { openStore } from '../stores/open.ts';
import { originOf } from '../submodules/url.ts';
import { findTemporaryFolder } from './inputs/runner.ts';
import type { Settings } from './inputs/settings.ts';
import { actionsLog } from './log.ts';
import { describeConcern } from './report/advice.ts';
import { describeStores } from './report/outcome.ts';
import { isPublishedEarly } from './save-policy.ts';

/**
 * Fires when the runner cancels the job: SIGINT, SIGTERM 7.5 s later, the end 2.5 s after that.
 * Both mean the same here: stop git, remove what is unfinished, release the lock.
 */
export function listenForCancel(): AbortSignal {
  const controller = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      controller.abort();
    });
  }
  return controller.signal;
}

/** The files of `ssh-key`, if it is set. Disposal removes them, or warns and leaves that to post. */
export async function openKey(
  settings: Settings,
): Promise<(AsyncDisposable & Pick<Ssh, 'command'>) | undefined> {
  const { environment, runner, upstream } = settings;
  if (upstream.ssh === undefined) return undefined;
  const { temporaryFolder, home } = runner;
  const ssh = await openSsh(upstream.ssh, { temporaryFolder, home, environment });
  return { command: ssh.command, [Symbol.asyncDispose]: () => ssh.close().catch(warnOfKey) };
}

/** Removes the key's files that a killed main left, whatever else it left. */
export async function sweepKeys(): Promise<void> {
  const folder = findTemporaryFolder();
  if (folder === undefined) return;
  const count = await sweepSsh(folder).catch(warnOfKey);
  if (count) actionsLog.info('Removed the SSH key that a killed step left behind');
}

function warnOfKey(error: unknown): void {
  actionsLog.warning(`The file of \`ssh-key\` could not be removed: ${describeError(error)}`);
}

/**
 * The job; with an `sshCommand`, git reaches upstream by it. To be disposed of after its last use, or the
 * process may never end.
 */
export async function openJob(
  settings: Settings,
  signal: AbortSignal,
  sshCommand?: string,
): Promise<Job & AsyncDisposable> {
  const log = actionsLog;
  const { environment, contenders, run: holder } = settings;
  const { temporaryFolder } = settings.runner;
  const surroundings = { holder, contenders, environment, temporaryFolder };
  const opened = await openStore(settings.store, surroundings);
  const git = await openGit({ environment, workingDirectory: temporaryFolder, signal, log });
  log.info(`Store: ${describeStores(opened)}`);
  return {
    ...opened,
    git,
    log,
    signal,
    temporaryFolder,
    account: new Account(log, describeConcern),
    accessOf: (url) => accessOf(settings, url, sshCommand),
    lockOf: (path) => createMachineLock(`${path}.lock`),
    [Symbol.asyncDispose]: () => opened.close(),
  };
}

/** Credentials go to the server that they were given for, and nowhere else. */
function accessOf(
  { upstream }: Settings,
  url: string,
  sshCommand: string | undefined,
): UpstreamAccess {
  if (originOf(url) !== originOf(upstream.url)) return { url, token: '' };
  const { token } = upstream;
  return sshCommand === undefined ? { url, token } : { url, token, sshCommand };
}

export function specOf({ upstream, cacheKey }: Settings): MirrorSpec {
  return { url: upstream.url, refspecs: upstream.refspecs, depth: upstream.depth, cacheKey };
}

export function restoreOptionsOf(settings: Settings): RestoreOptions {
  const { verification, lockTimeoutMs, fetchTimeoutMs, stallTimeoutMs } = settings;
  const { mirrorPath, runner } = settings;
  return {
    verification,
    lockTimeoutMs,
    fetchTimeoutMs,
    stallTimeoutMs,
    isPublishedEarly: isPublishedEarly(settings),
    isPlaceChosen: mirrorPath !== undefined,
    placeOf: (key) => mirrorPath ?? join(runner.mirrorsFolder, `${key}.git`),
  };
}
