/** What a person can do about a failed step, by the code of its error. */
import { MirrorError, type Concern, type ErrorCode } from '../../lib/errors.ts';

const AGAIN = 'Run the job again';

/** Also the source of docs/troubleshooting.md. */
export const ADVICE: Record<ErrorCode, string> = {
  authentication:
    'Check that `token`, or `ssh-key`, is set, has not expired and may read the repository. The token of a workflow reads its own repository only.',
  'not-found':
    'Check `repository` and `github-server-url`. A repository that the token or key may not see looks like one that is not there.',
  moved: 'Set `repository`, or `github-server-url`, to the new address.',
  network: `${AGAIN}. If it fails again, check that this runner reaches upstream: its proxy, its firewall, and whether upstream is well.`,
  timeout: `${AGAIN}. If it fails again, set \`fetch-timeout\` to more than a clone takes on this runner.`,
  'empty-upstream': 'Push a branch to the repository, or check what `refs` leaves of its refs.',
  'shallow-upstream':
    'Mirror a repository with its whole history, or complete this one with `git fetch --unshallow` where it is served.',
  'corrupt-mirror':
    'A fresh clone fails as well: check the repository upstream with git fsck, and the disk of this runner.',
  'no-space':
    'Free space on the disk of this runner, or set `mirror-path` to a folder on a larger one.',
  cancelled: AGAIN + '.',
  'lost-lock': `${AGAIN}. Nothing may remove or replace the lock file beside the mirror (\`<mirror-path>.lock\`) while jobs run.`,
  unknown: `${AGAIN} with debug logging: it shows every command of git.`,
  'invalid-input': 'Set the input, or the environment of the runner, to what is allowed.',
  'git-unusable': 'Install git 2.32 or newer on the runner, or in the container of the job.',
  'ssh-unusable': 'Install OpenSSH on the runner, or use `token` in place of `ssh-key`.',
  'mirror-refused': 'Set `mirror-path` to a folder that nothing else uses.',
  'bad-snapshot': `${AGAIN}. If it fails again, set \`cache-key\` to begin with an empty store.`,
  'store-unavailable': 'Check that this runner reaches the store and may read it.',
  'store-read-only': 'Let a job that may write to the store save the snapshot.',
};

export function adviseOn(error: unknown): string {
  return ADVICE[error instanceof MirrorError ? error.code : 'unknown'];
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
  'mirror-place': 'set `mirror-path` to another folder, or remove what is there',
  'cache-key': 'set `cache-key` to start with an empty store',
  'lock-timeout': 'set `lock-timeout` to a longer time',
  'fetch-timeout': 'set `fetch-timeout` to a longer time',
  'stall-timeout': 'set `stall-timeout` to a longer time, or to `0`',
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
