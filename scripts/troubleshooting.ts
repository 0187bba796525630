/** Makes docs/troubleshooting.md from the family of errors: the types see to it that none is missing. */
import { writeFileSync } from 'node:fs';
import type { ErrorCode } from '../src/lib/errors.ts';
import { ADVICE } from '../src/action/report/advice.ts';

interface Failure {
  /** As the message says it. */
  says: string;
  /** What becomes of the job. */
  then: 'main fails' | 'main goes on' | 'post saves nothing' | 'main clones' | 'either';
}

const FAILURES: Record<ErrorCode, Failure> = {
  authentication: { says: 'upstream refused the credentials, or the key', then: 'main fails' },
  'not-found': { says: 'upstream has no such repository, or does not show it', then: 'main fails' },
  moved: {
    says: 'upstream answers from another address, which is not followed',
    then: 'main fails',
  },
  network: { says: 'upstream could not be reached, or broke off', then: 'main fails' },
  timeout: { says: 'it took longer than its deadline', then: 'main fails' },
  'empty-upstream': {
    says: 'upstream has no refs, or none of those in `refs`',
    then: 'main fails',
  },
  'corrupt-mirror': { says: 'the mirror is damaged', then: 'main clones' },
  'no-space': { says: 'no space left on the disk, or the store is full', then: 'either' },
  cancelled: { says: 'the job was cancelled', then: 'main fails' },
  unknown: { says: 'what git, or a server, said and nobody foresaw', then: 'main fails' },
  'invalid-input': {
    says: 'an input, or a variable of the runner, and what is allowed',
    then: 'main fails',
  },
  'git-unusable': { says: 'git is not installed, or is too old', then: 'main fails' },
  'ssh-unusable': { says: 'ssh is not installed, or cannot be set up', then: 'main fails' },
  'mirror-refused': { says: 'what stands at `mirror-path` is not this mirror', then: 'main fails' },
  'bad-snapshot': {
    says: 'a snapshot is damaged, incomplete, or another repository’s',
    then: 'main clones',
  },
  'store-unavailable': {
    says: 'the store could not be read or written, and what the server said',
    then: 'main goes on',
  },
  'store-read-only': { says: 'the store may be read, and not written', then: 'post saves nothing' },
};

const CONSEQUENCES: Record<Failure['then'], string> = {
  'main fails':
    'The step fails, and post saves nothing. With `continue-on-error` the checkout fetches everything itself.',
  'main goes on': 'A warning: main goes on without a snapshot, or post saves nothing.',
  'post saves nothing': 'Post says so in a line.',
  'main clones':
    'A warning: an older snapshot is used, or a fresh clone. If that fails too, the step does.',
  either: 'In main the step fails; in post nothing is saved.',
};

const rows = (Object.keys(FAILURES) as ErrorCode[]).map((code) => {
  const { says, then } = FAILURES[code];
  return `| ${says} | ${CONSEQUENCES[then]} | ${ADVICE[code]} |`;
});

writeFileSync(
  'docs/troubleshooting.md',
  `# Troubleshooting

Every failure names what was tried, on what, and what to do next: in the step's error or warning, and in the job
summary. This is all there is; a run with debug logging also shows every command of git.

| what the message says | what happens then | what to do |
| --- | --- | --- |
${rows.join('\n')}

## It works, but is slow

The job summary has a line for each phase, and the reason of each fallback.

| what it shows | what it means | what to do |
| --- | --- | --- |
| Cloned: no snapshot was used | the store has none for this key yet, or this branch may not read it | look at what post said in an earlier run of the default branch |
| Cloned: there is no store | the job has no Actions cache, and no store is set | set \`disk-path\` or \`s3-bucket\`, or keep the machine's disk |
| Nothing saved: the store could not be asked before the fetch | the store failed in main, so post did not try again | see its warning in main |
| Nothing saved: another job is saving it | jobs of one run need not all save | nothing |
| Wait: some minutes | \`publish: early\`: another job makes the snapshot | nothing, or a shorter \`lock-timeout\` |
| this job makes a mirror of its own | another job held the mirror's lock until \`lock-timeout\` | a longer \`lock-timeout\`, or a \`mirror-path\` for each runner |
| The workspace is not primed | it holds a \`.git\` already, or nothing that a checkout would want | nothing: the checkout does what it always did |
`,
);
