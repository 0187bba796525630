/** What main and post have in common: from settings to a job, and the runner's cancel. */
import { homedir } from 'node:os';
import { join } from 'node:path';
import { describeError } from '../lib/errors.ts';
import { openGit } from '../git/git.ts';
import { openSsh, sweepSsh, type Ssh } from '../git/ssh.ts';
import { Account } from '../job/account.ts';
import { actionsLog } from './log.ts';
import { describeConcern } from './report/advice.ts';
import type { Job } from '../job/job.ts';
import { createMachineLock } from '../locks/machine.ts';
import { findTemporaryFolder, type Settings } from './inputs/settings.ts';
import type { SaveOptions } from '../save/save-snapshot.ts';
import type { StepState } from './step-state.ts';
import { openStore } from '../stores/open.ts';
import { VERSION } from './version.ts';

/**
 * Fires when the runner cancels the job: SIGINT, SIGTERM 7.5 s later, the end 2.5 s after that.
 * Both mean the same here: stop git, remove what is unfinished, let go of the lock.
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

/** The key's files, where upstream is reached with one. They are to be closed, whatever happens. */
export async function openKey(settings: Settings, signal: AbortSignal): Promise<Ssh | undefined> {
  const { environment, runner, upstream } = settings;
  if (upstream.ssh === undefined) return undefined;
  const { temporaryFolder } = runner;
  return openSsh(upstream.ssh, { temporaryFolder, home: homedir(), environment, signal });
}

/** Removes the key's files; where that fails the step goes on to its end, and post tries again. */
export async function closeKey(ssh: Ssh | undefined): Promise<void> {
  await ssh?.close().catch(warnOfKey);
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

/** A job that reaches upstream over `ssh`, where that is open. */
export async function openJob(settings: Settings, signal: AbortSignal, ssh?: Ssh): Promise<Job> {
  const { url, token, refspecs } = settings.upstream;
  const access = ssh === undefined ? { url, token } : { url, token, sshCommand: ssh.command };
  const log = actionsLog;
  const opened = await openStore(settings.store, {
    holder: settings.run,
    environment: settings.environment,
    temporaryFolder: settings.runner.temporaryFolder,
  });
  const git = await openGit({
    environment: settings.environment,
    workingDirectory: settings.runner.temporaryFolder,
    signal,
    log,
  });
  return {
    git,
    upstream: { access, refspecs },
    ...opened,
    account: new Account(log, describeConcern),
    log,
    signal,
    lockOf: (path) => createMachineLock(`${path}.lock`),
  };
}

/** What is saved, by post or early by main. */
export function saveOptionsOf(
  settings: Settings,
  { otherStores }: Job,
  { path, isPrivate, key, objectFormat }: Omit<StepState, 'isClaimed'>,
): SaveOptions {
  // Where snapshots are read from other stores as well, few can read what this job saves.
  const isScoped = settings.save === 'auto' && otherStores.length > 0;
  return {
    path,
    isPrivate,
    key,
    objectFormat,
    cacheKey: settings.cacheKey,
    isForced: settings.save === 'always',
    leastAgeMs: isScoped ? DAY_MS : 0,
    maxSnapshots: settings.maxSnapshots,
    repackTimeoutMs: REPACK_TIMEOUT_MS,
    run: settings.run,
    action: VERSION,
  };
}

/** Less than `lock-timeout` is by default: other jobs wait for the mirror meanwhile. */
const REPACK_TIMEOUT_MS = 8 * 60_000;

const DAY_MS = 24 * 60 * 60_000;

/** The mirror's place on this machine. */
export function placeOf({ mirrorPath, runner }: Settings, key: string): string {
  return mirrorPath ?? join(runner.mirrorsFolder, `${key}.git`);
}
