/** What a person can do about a failed step, by the code of its error. */
import { MirrorError, type ErrorCode } from '../../lib/errors.ts';

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
  'corrupt-mirror':
    'A fresh clone fails as well: check the repository upstream with git fsck, and the disk of this runner.',
  'no-space':
    'Free space on the disk of this runner, or set `mirror-path` to a folder on a larger one.',
  cancelled: AGAIN + '.',
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
