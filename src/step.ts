/** What main and post have in common: from settings to a job, and the runner's cancel. */
import { join } from 'node:path';
import { openGit } from './git/git.ts';
import { actionsLog } from './actions-log.ts';
import { Account, type Job } from './job.ts';
import { createMachineLock } from './lock/machine.ts';
import type { Settings } from './settings.ts';
import { openStore } from './store/open-store.ts';

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

export async function openJob(settings: Settings, signal: AbortSignal): Promise<Job> {
  const { url, token, refspecs } = settings.upstream;
  const log = actionsLog;
  const store = await openStore(settings.store);
  const git = await openGit({
    environment: settings.environment,
    workingDirectory: settings.runner.temporaryFolder,
    signal,
    log,
  });
  return {
    git,
    upstream: { access: { url, token }, refspecs },
    store,
    account: new Account(log),
    log,
    signal,
    lockOf: (path) => createMachineLock(`${path}.lock`),
  };
}

/** The mirror's place on this machine. */
export function placeOf({ mirrorPath, runner }: Settings, key: string): string {
  return mirrorPath ?? join(runner.mirrorsFolder, `${key}.git`);
}
