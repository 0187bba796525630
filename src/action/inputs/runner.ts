/** The environment that the runner gives a step. */
import { readFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { dirname, isAbsolute, join } from 'node:path';
import { MirrorError } from '../../lib/errors.ts';

export interface Runner {
  /** The job's workspace, where actions/checkout works. */
  workspace: string;
  /** Where default mirrors go: on the file system of the workspace, but outside it. */
  mirrorsFolder: string;
  /** Emptied by the runner after each job. */
  temporaryFolder: string;
  /** Undefined where the user has none, as in some containers. */
  home: string | undefined;
  /** The commit of the workflow's own repository that the job runs for. */
  commit: string | undefined;
}

export function parseRunner(environment: NodeJS.ProcessEnv): Runner {
  const temporaryFolder = findFolder(environment, 'RUNNER_TEMP');
  if (temporaryFolder === undefined) {
    throw new MirrorError(
      'invalid-input',
      'RUNNER_TEMP is not an absolute path; expected to run as a step of a workflow',
    );
  }
  const workspace = findFolder(environment, 'GITHUB_WORKSPACE') ?? process.cwd();
  // act and some self-hosted runners don't set RUNNER_WORKSPACE, the workspace's parent.
  const parent = findFolder(environment, 'RUNNER_WORKSPACE') ?? dirname(workspace);
  return {
    workspace,
    mirrorsFolder: join(parent, '_mirrors'),
    temporaryFolder,
    home: findHome(environment),
    commit: /^[0-9a-f]{40}(?:[0-9a-f]{24})?$/.exec(environment['GITHUB_SHA'] ?? '')?.[0],
  };
}

/** RUNNER_TEMP, for a step that may fail before its settings are read. */
export function findTemporaryFolder(): string | undefined {
  return findFolder(process.env, 'RUNNER_TEMP');
}

/** Whether MIRROR_ACTION_DISABLED turns the action off: true, yes, on or 1, in any case. */
export function isDisabled(environment: NodeJS.ProcessEnv = process.env): boolean {
  return /^(?:true|yes|y|on|1)$/i.test((environment['MIRROR_ACTION_DISABLED'] ?? '').trim());
}

function findFolder(environment: NodeJS.ProcessEnv, name: string): string | undefined {
  const path = environment[name] ?? '';
  return isAbsolute(path) ? path : undefined;
}

function findHome(environment: NodeJS.ProcessEnv): string | undefined {
  const given = findFolder(environment, process.platform === 'win32' ? 'USERPROFILE' : 'HOME');
  if (given !== undefined) return given;
  try {
    // From the user database. os.homedir() trusts the variable, even an empty one.
    const { homedir } = userInfo();
    return isAbsolute(homedir) ? homedir : undefined;
  } catch {
    return undefined; // A container may run under a user id that no database lists.
  }
}

/** For people: which run this is. */
export function describeRun(environment: NodeJS.ProcessEnv): string {
  const named = ['GITHUB_REPOSITORY', 'GITHUB_RUN_ID', 'GITHUB_RUN_ATTEMPT', 'GITHUB_JOB'];
  return named.map((name) => environment[name] ?? '').join('/');
}

/** Run and attempt as a name. Platforms other than GitHub may number their runs differently. */
export function formatEpoch(environment: NodeJS.ProcessEnv): string {
  const named = ['GITHUB_RUN_ID', 'GITHUB_RUN_ATTEMPT'];
  const epoch = named.map((name) => environment[name] ?? '').join('-');
  return epoch.replace(/[^A-Za-z0-9._-]/g, '_').slice(0, 100);
}

/** The event's payload; undefined where it cannot be read, and trust then assumes the worst. */
export function readEvent(environment: NodeJS.ProcessEnv): unknown {
  try {
    return JSON.parse(readFileSync(environment['GITHUB_EVENT_PATH'] ?? '', 'utf8'));
  } catch {
    return undefined;
  }
}
