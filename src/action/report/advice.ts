/** What a person can do about a failure, in the Action's words. */
import { MirrorError, describeError, type Concern, type ErrorCode } from '../../lib/errors.ts';

const AGAIN = 'Run the job again';

/** By the code of the error. docs/troubleshooting.md is generated from it. */
export const ADVICE: Record<ErrorCode, string> = {
  authentication:
    'Check that `token` or `ssh-key` is set, has not expired and may read the repository. The token of a workflow can read its own repository only.',
  'not-found':
    'Check `repository` and `github-server-url`. A repository that the token or key may not read looks like one that does not exist.',
  moved: 'Set `repository` or `github-server-url` to the new address.',
  network: `${AGAIN}. If it fails again, check that this runner can reach upstream: the proxy, the firewall, and upstream itself.`,
  timeout: `${AGAIN}. If it fails again, check that this runner reaches upstream, and how long a clone takes.`,
  'empty-upstream': 'Push a branch to the repository, or check which refs `refs` selects.',
  'depth-refused':
    "Set `fetch-depth` to `0`, or mirror from a server that speaks git's smart protocol.",
  'shallow-upstream':
    'Mirror a repository with its whole history, or complete this one with `git fetch --unshallow` on its server.',
  'corrupt-mirror':
    'A fresh clone fails too: check the repository on its server with `git fsck`, and the disk of this runner.',
  'no-space':
    'Free space on the disk of this runner, or set `mirror-path` to a folder on a larger disk.',
  cancelled: `${AGAIN}.`,
  'lost-lock': `${AGAIN}. Nothing may remove or replace the lock file next to the mirror while jobs run.`,
  'lost-claim': 'Nothing: the job that has the claim now saves.',
  unknown: `${AGAIN} with debug logging, which shows every git command.`,
  'invalid-input': 'Set the input, or the variable of the runner, to an expected value.',
  'git-unusable': 'Install git 2.32 or newer on the runner, or in the container of the job.',
  'ssh-unusable': 'Install OpenSSH on the runner, or use `token` instead of `ssh-key`.',
  'mirror-refused': 'Set `mirror-path` to a folder that nothing else uses.',
  'bad-snapshot': `${AGAIN}. If it fails again, set \`cache-key\` to start with an empty store.`,
  'store-unavailable': 'Check that this runner can reach the store and may read it.',
  'store-read-only': 'Let a job that may write to the store save the snapshot.',
};

/** What to do after the message, whose clause names the setting; undefined for nothing more. */
export function adviseOn(error: unknown): string | undefined {
  const advice = ADVICE[error instanceof MirrorError ? error.code : 'unknown'];
  if (describeConcern(error) === undefined) return advice;
  if (error instanceof MirrorError && error.concern === 'request-rate') return undefined;
  // The clause has named a setting already: what else is known is left.
  const sentences = advice.split(/(?<=\.) (?=[A-Z])/);
  return sentences.filter((sentence) => !/`[a-z0-9-]+`/.test(sentence)).join(' ') || undefined;
}

/** The message of a failure with the clause that names the setting it concerns. */
export function describeFailure(error: unknown): string {
  const clause = describeConcern(error);
  const message = describeError(error);
  return clause === undefined ? message : `${message}; ${clause}`;
}

/** How the Action names what a failure concerns: a clause that follows its message. */
const CONCERNS: Record<Concern, string> = {
  token: 'check `token` and what it may read',
  'ssh-key': 'check that `ssh-key` is a whole private key that may read the repository',
  'ssh-user': 'check `ssh-user` and `ssh-key`',
  'known-hosts': "check `ssh-known-hosts`, which must have the server's host key",
  repository: 'check `repository`, `github-server-url`, and `token` or `ssh-key`',
  server: 'check `github-server-url`',
  refs: 'check `refs`',
  'fetch-depth': 'set `fetch-depth` to `0`',
  'mirror-place': 'set `mirror-path` to another folder, or remove its content',
  'cache-key': 'set `cache-key` to start with an empty store',
  'lock-timeout': 'set `lock-timeout` to a longer time',
  'fetch-timeout': 'set `fetch-timeout` to a longer time',
  'stall-timeout': 'set `stall-timeout` to a longer time, or to `0`',
  'request-rate': 'run the job again later, or fewer jobs at the same time',
  store: 'set `store` to one that this job can use',
  'disk-store': 'check `disk-path`',
  's3-bucket': 'check `s3-bucket`',
  's3-endpoint': 'check `s3-endpoint`',
  's3-region': 'check `s3-region`',
  's3-credentials': 'check the AWS credentials of this job',
};

/** What to check after a failure, in the Action's words; undefined where no setting is concerned. */
export function describeConcern(error: unknown): string | undefined {
  const concern = error instanceof MirrorError ? error.concern : undefined;
  return concern === undefined ? undefined : CONCERNS[concern];
}
