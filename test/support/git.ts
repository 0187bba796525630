import { runProcess, type ProcessOptions, type ProcessResult } from './processes.ts';

/** 14 November 2023, the birth of every fixture; commits follow minute by minute. */
export const fixtureEpochSeconds = 1_700_000_000;

/**
 * A clean environment for git in fixtures: neither the system's nor the user's configuration, fixed
 * people and dates, so that the same seed gives the same object ids everywhere.
 */
export function gitEnvironment(extra: Record<string, string> = {}): Record<string, string> {
  return {
    ...inherited(['PATH', 'TMPDIR', 'SystemRoot', 'ComSpec', 'TEMP', 'TMP', 'PATHEXT']),
    LC_ALL: 'C',
    TZ: 'UTC',
    // Git for Windows understands this name too.
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_CONFIG_SYSTEM: '/dev/null',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_TERMINAL_PROMPT: '0',
    GIT_AUTHOR_NAME: 'Ada Fixture',
    GIT_AUTHOR_EMAIL: 'ada@example.test',
    GIT_AUTHOR_DATE: `${fixtureEpochSeconds} +0000`,
    GIT_COMMITTER_NAME: 'Ada Fixture',
    GIT_COMMITTER_EMAIL: 'ada@example.test',
    GIT_COMMITTER_DATE: `${fixtureEpochSeconds} +0000`,
    ...extra,
  };
}

/** Those of our own variables that are set, by name; names are case-insensitive on Windows. */
export function inherited(names: readonly string[]): Record<string, string> {
  const found: Record<string, string> = {};
  for (const name of names) {
    const value = process.env[name];
    if (value !== undefined) found[name] = value;
  }
  return found;
}

/** Configuration for one command, passed by the environment (git 2.31 or newer). */
export function gitConfiguration(values: Record<string, string>): Record<string, string> {
  const entries = Object.entries(values);
  const environment: Record<string, string> = { GIT_CONFIG_COUNT: String(entries.length) };
  entries.forEach(([key, value], index) => {
    environment[`GIT_CONFIG_KEY_${index}`] = key;
    environment[`GIT_CONFIG_VALUE_${index}`] = value;
  });
  return environment;
}

/** Runs git and returns what it printed, without the last line end; throws its stderr. */
export async function git(
  cwd: string,
  gitArguments: readonly string[],
  options: ProcessOptions = {},
): Promise<string> {
  const result = await tryGit(cwd, gitArguments, options);
  if (result.exitCode !== 0) {
    const how = result.timedOut ? 'timed out' : `exit ${result.exitCode ?? result.signal}`;
    throw new Error(`git ${gitArguments.join(' ')}: ${how}\n${result.stderr}`);
  }
  return result.stdout.replace(/\r?\n$/, '');
}

/** The same for commands that may fail. */
export async function tryGit(
  cwd: string,
  gitArguments: readonly string[],
  options: ProcessOptions = {},
): Promise<ProcessResult> {
  return runProcess('git', gitArguments, {
    ...options,
    cwd,
    environment: gitEnvironment(options.environment),
  });
}
