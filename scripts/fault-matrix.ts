/**
 * What the action must survive, what is expected then, and the tests that provoke it: a test's file
 * below test/, and a part of its full name (groups and all).
 */
export interface FaultRow {
  fault: string;
  expected: string;
  tests: readonly [file: string, name: string][];
}

export const FAULT_MATRIX: readonly FaultRow[] = [
  {
    fault: 'A step is killed in any of its phases',
    expected: 'the next job succeeds and removes what is left; the store stays sound',
    tests: [
      ['action/kill', ''],
      ['action/kill-repack', ''],
      ['faults/failpoints', ''],
      ['stores/disk/processes', 'processes that are killed at any moment'],
    ],
  },
  {
    fault: 'No space while it is downloaded, fetched, cloned, repacked or saved',
    expected: 'what was begun is removed, the old mirror stays, a clear error, nothing is saved',
    tests: [
      ['action/full-disk', ''],
      ['stores/disk/faults', 'a full disk'],
      ['git/failures', 'the disk is full: no-space'],
    ],
  },
  {
    fault: 'A store or upstream that stands still, crawls, or is slow but alive',
    expected: 'a deadline ends what stands still; what comes slowly is waited for',
    tests: [
      ['action/poison', 'a fetch into a good snapshot'],
      ['stores/disk/faults', 'a disk that does not answer'],
      ['stores/actions-cache/faults', 'a download that fails because it stands still'],
      ['stores/s3/faults', 'behind a proxy that makes faults a layer on its way down'],
    ],
  },
  {
    fault: 'A download that is cut anywhere, or is longer than declared',
    expected: 'it is refused before it is used; an older snapshot or a clone serves',
    tests: [
      ['action/corruption', 'damage to a snapshot'],
      ['stores/disk/store', 'the disk store: what every store promises'],
      ['stores/s3/faults', 'behind a proxy that makes faults a layer on its way down'],
    ],
  },
  {
    fault: 'A store that answers 500, 503, 429, 403, or not at all',
    expected: 'tried again where that helps; then the job goes on without it, and says why',
    tests: [
      ['action/actions-cache-outages', ''],
      ['action/post', 'the store at post'],
      ['action/s3', 'ceph without'],
      ['stores/s3/faults', 'behind a proxy that makes faults a failure is told'],
    ],
  },
  {
    fault: 'Another writer has the number (412), or is about to (409)',
    expected: 'the late one lets it be; a conflict is tried again',
    tests: [
      ['action/post', 'the store at post another job saved meanwhile'],
      ['stores/s3/faults', 'behind a proxy that makes faults a manifest that met another writer'],
    ],
  },
  {
    fault: 'A write is done and its answer lost',
    expected: 'it is recognised as one’s own',
    tests: [
      ['stores/s3/faults', 'behind a proxy that makes faults a manifest whose answer was lost'],
      ['stores/actions-cache/faults', 'a save that fails only as far as its reply'],
      ['faults/random-runs', 'whatever goes wrong'],
    ],
  },
  {
    fault: 'A snapshot vanishes between look-up and restore, or while it is restored',
    expected: 'an older one or a clone',
    tests: [
      ['action/corruption', 'damage to a snapshot the whole layer missing'],
      ['action/actions-cache', 'what the platform evicts'],
      [
        'stores/disk/store',
        'the disk store: what every store promises a reader gets all of a layer or a bad snapshot while it is removed',
      ],
    ],
  },
  {
    fault: 'A cancel in any phase of main and post',
    expected: 'it ends in time; nothing half visible, locks are free',
    tests: [
      ['action/cancel', ''],
      ['faults/failpoints', ''],
    ],
  },
  {
    fault: 'A clock that is off by an hour',
    expected: 'no early takeover, no lock for ever: clocks of two machines are never compared',
    tests: [
      ['locks/claims/simulation', ''],
      ['locks/claims/s3', ''],
    ],
  },
  {
    fault: 'The holder of a lock or claim dies',
    expected: 'lock: free at once; claim: succeeded within its life and one poll',
    tests: [
      ['locks/machine', 'holders that die, stop or wait'],
      ['locks/claims/claims', 'among processes'],
      ['action/publish-early', 'a job that waits takes over'],
      ['locks/claims/s3', 'a holder that was killed'],
    ],
  },
  {
    fault: 'The holder of a claim is stopped past its life, and goes on before its manifest',
    expected: 'its manifest is refused or withdrawn, and it notices',
    tests: [
      ['locks/claims/claims', 'one that was stopped'],
      ['faults/random-runs', 'whatever goes wrong'],
      ['faults/random-runs', 'a violation is seen where manifests are created over others'],
    ],
  },
  {
    fault: '8 to 32 contend for a lock or claim at once',
    expected: 'one gets it, each time',
    tests: [
      ['locks/machine', 'contenders among each other'],
      ['locks/claims/claims', 'that contend at once'],
      ['locks/claims/s3', 'that contend at once'],
    ],
  },
  {
    fault: 'Two jobs both take themselves for the holder',
    expected: 'one manifest, both jobs succeed',
    tests: [
      ['action/two-machines', ''],
      ['action/layers', 'two jobs save different news on one base'],
      ['faults/random-runs', 'a violation is seen where manifests are created over others'],
    ],
  },
  {
    fault: 'A process id is used again; two containers share a folder',
    expected: 'nobody is taken for alive by a number',
    tests: [
      ['locks/machine', 'holders that die, stop or wait the file says nothing of its holder'],
    ],
  },
  {
    fault: 'Damage of every kind, in a snapshot and in a mirror that stays',
    expected: 'never wrong content; one fresh clone heals; it is never published',
    tests: [
      ['action/corruption', ''],
      ['action/corruption-cache', ''],
      ['action/poison', ''],
      ['faults/random-runs', ''],
    ],
  },
  {
    fault: 'Hooks, configuration and other traps in a mirror or around it',
    expected: 'nothing of it runs',
    tests: [['action/hostile-mirror', '']],
  },
  {
    fault: 'A snapshot with hostile names, refs, sizes or links',
    expected: 'refused, and nothing outside changes',
    tests: [
      ['action/poison', 'a forged snapshot'],
      ['snapshot/manifest', 'a manifest is refused'],
      ['stores/disk/store', 'the disk store: what every store promises'],
    ],
  },
  {
    fault: 'Upstream refuses the token or key (401, 403)',
    expected: 'named at once; no wipe, no save',
    tests: [
      ['action/poison', 'upstream at fault'],
      ['action/restore-beside-probe', 'is ended at once where upstream refuses'],
      ['git/failures', 'upstream answers'],
    ],
  },
  {
    fault: 'Upstream has no such repository (404)',
    expected: 'named; no wipe, no save',
    tests: [['action/poison', 'upstream at fault']],
  },
  {
    fault: 'Upstream answers 429 or 500, or cannot be reached (DNS, refused, TLS)',
    expected: 'tried again; a mirror that stays is kept; the step fails as `network`',
    tests: [
      ['action/poison', 'upstream at fault'],
      ['git/failures', 'upstream cannot be reached'],
    ],
  },
  {
    fault: 'Upstream answers 200 with nothing, with a page, or without refs',
    expected: 'the step fails; nothing is pruned, wiped or saved',
    tests: [['action/poison', 'upstream at fault']],
  },
  {
    fault: 'Upstream redirects to another host',
    expected: 'no token goes there; an error that says it moved',
    tests: [['action/secrets', 'another host']],
  },
  {
    fault:
      'Forced pushes, branches and tags that go, move or are renamed, also into folders and back',
    expected: 'followed',
    tests: [
      ['action/main-job', 'changes of upstream'],
      ['action/checkout-news', ''],
      ['action/layers', 'a life of changes'],
    ],
  },
  {
    fault: 'Refs move between probe and fetch',
    expected: 'one more probe, no wipe',
    tests: [
      [
        'action/main-job',
        'changes of upstream are followed by existing and by restored mirrors refs that move',
      ],
    ],
  },
  {
    fault: 'Locks and temporary files of a dead git in a mirror that stays',
    expected: 'removed under the lock, no wipe',
    tests: [['action/corruption', 'damage to a mirror that stays']],
  },
  {
    fault: 'A broken mirror inside somebody’s repository',
    expected: 'the repository around it is untouched',
    tests: [['action/bad-input', '']],
  },
  {
    fault: 'Hostile variables and templates of git; another user’s mirror; a link in its place',
    expected: 'ignored; refused',
    tests: [
      ['git/git-environment', ''],
      ['action/bad-input', ''],
    ],
  },
  {
    fault: 'Inputs such as `--upload-pack=…`, `ext::…`, control characters',
    expected: 'refused before git starts',
    tests: [['action/bad-input', '']],
  },
  {
    fault: 'The token is looked for in stores, logs, command lines and traces',
    expected: 'found nowhere',
    tests: [
      ['action/secrets', ''],
      ['stores/actions-cache/faults', 'secrets'],
      ['faults/random-runs', 'whatever goes wrong'],
    ],
  },
  {
    fault: 'A token that only reads, a pull request from a fork',
    expected: 'restored; not saved, and that is said quietly',
    tests: [
      ['action/actions-cache', 'a job that may only read'],
      ['action/post', 'save auto: low-trust events'],
      ['action/trust', ''],
    ],
  },
  {
    fault: 'The mirror is wiped or repacked while a primed workspace is in use',
    expected: 'the workspace works on',
    tests: [
      ['action/checkout-moved', ''],
      ['action/prime', 'a workspace without a repository survives the mirror'],
    ],
  },
];
