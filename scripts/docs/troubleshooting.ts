/** The table of failures in docs/troubleshooting.md. Its types require an entry for each code. Pure. */
import { ADVICE } from '../../src/action/report/advice.ts';
import type { FallbackKind } from '../../src/job/account.ts';
import type { ErrorCode } from '../../src/lib/errors.ts';

interface Failure {
  /** What the message says. */
  says: string;
  /** What happens to the job. */
  then:
    | 'main fails'
    | 'main goes on'
    | 'post skips'
    | 'main clones'
    | 'fetch is replaced'
    | 'place is refused'
    | 'either';
}

const FAILURES: Record<ErrorCode, Failure> = {
  authentication: { says: 'upstream refused the credentials or the key', then: 'main fails' },
  'not-found': { says: 'upstream has no such repository, or does not show it', then: 'main fails' },
  moved: { says: 'upstream redirects to another address', then: 'main fails' },
  network: { says: 'upstream could not be reached, or the connection broke', then: 'main fails' },
  timeout: { says: 'a listing, fetch or clone exceeded its deadline', then: 'fetch is replaced' },
  'empty-upstream': { says: 'upstream has no refs, or none that match `refs`', then: 'main fails' },
  'depth-refused': {
    says: 'upstream has no way to leave out history, as a server of static files',
    then: 'main fails',
  },
  'shallow-upstream': { says: 'upstream lacks a part of its history', then: 'main fails' },
  'corrupt-mirror': { says: 'the mirror is damaged', then: 'main clones' },
  'no-space': { says: 'no space is left on the disk, or the store is full', then: 'either' },
  cancelled: { says: 'the job was cancelled', then: 'main fails' },
  'lost-lock': { says: 'the lock file was removed or replaced', then: 'either' },
  'lost-claim': { says: 'another job took over the claim', then: 'post skips' },
  unknown: { says: 'git or a server failed in an unexpected way', then: 'fetch is replaced' },
  'invalid-input': { says: 'an input or a variable of the runner is invalid', then: 'main fails' },
  'git-unusable': { says: 'git is not installed or too old', then: 'main fails' },
  'ssh-unusable': { says: 'ssh is not installed or cannot be set up', then: 'main fails' },
  'mirror-refused': {
    says: 'the place of the mirror holds something else, or cannot be used',
    then: 'place is refused',
  },
  'bad-snapshot': {
    says: 'a snapshot is damaged, incomplete or of another repository',
    then: 'main clones',
  },
  'store-unavailable': { says: 'the store could not be read or written', then: 'main goes on' },
  'store-read-only': { says: 'this job may read the store but not write it', then: 'post skips' },
};

/** Fallbacks that are no errors. */
const FALLBACKS: Record<Exclude<FallbackKind, ErrorCode>, string> = {
  'snapshot-revoked':
    '| a save found that the newest snapshots lack objects, and revoked them | Main clones. | Nothing: the clone is saved. |',
  'unusable-mirror':
    '| the mirror on this machine is incomplete or damaged | Main restores a snapshot or clones. | If it happens again, check the disk of this runner. |',
};

const CONSEQUENCES: Record<Failure['then'], string> = {
  'main fails': 'The step fails and nothing is saved.',
  'main goes on':
    'A warning. Main continues without a snapshot. Post saves nothing if the store could not even be asked for its newest snapshot, or fails again.',
  'post skips': 'One line in the log of post. Nothing is saved.',
  'main clones':
    'A warning. Main uses an older snapshot or clones. The step fails only if the clone does.',
  'fetch is replaced':
    'If a fetch fails, main clones. If listing the refs or cloning fails, the step fails and nothing is saved.',
  'place is refused':
    'The step fails and nothing is saved. If the default place or the lock is unavailable, or the job may not write there, a warning: the job makes a mirror of its own.',
  either: 'In main the step fails. In post nothing is saved.',
};

export function describeFailures(): string {
  const rows = (Object.keys(FAILURES) as ErrorCode[]).map((code) => {
    const { says, then } = FAILURES[code];
    return `| \`${code}\` | ${says} | ${CONSEQUENCES[then]} | ${ADVICE[code]} |`;
  });
  const fallbacks = Object.entries(FALLBACKS).map(([code, cells]) => `| \`${code}\` ${cells}`);
  const head = ['| code | failure | what happens | what to do |', '| --- | --- | --- | --- |'];
  return [...head, ...rows, ...fallbacks].join('\n');
}
