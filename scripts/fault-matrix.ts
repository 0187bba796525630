/**
 * What the action must survive, what is expected then, and the tests that provoke it: a test file below
 * test/, and a part of the test's full name, including its groups.
 */
export interface FaultRow {
  fault: string;
  expected: string;
  tests: readonly [file: string, name: string][];
}

export const FAULT_MATRIX: readonly FaultRow[] = [
  {
    fault: 'A step is killed in any phase',
    expected: 'the next job succeeds and removes what is left; the store stays valid',
    tests: [
      ['jobs/faults/kill', ''],
      ['jobs/faults/kill-repack', ''],
      ['faults/failpoints', ''],
      ['stores/disk/processes', 'processes that are killed at any moment'],
    ],
  },
  {
    fault: 'The disk fills up during a download, fetch, clone, repack or save',
    expected:
      'unfinished work is removed, the old mirror stays, the error names the disk, nothing is saved',
    tests: [
      ['jobs/faults/full-disk', ''],
      ['stores/disk/faults', 'a full disk'],
      ['git/failures', 'the disk is full: no-space'],
    ],
  },
  {
    fault: 'A store or upstream hangs, crawls, or is slow but alive',
    expected: 'a deadline ends what hangs; a slow transfer is waited for',
    tests: [
      ['jobs/faults/poison', 'a fetch into a good snapshot'],
      ['stores/disk/faults', 'a disk that does not answer'],
      ['stores/actions-cache/look-ups', 'silence'],
      ['stores/s3/lies', 'accepts and never answers'],
      ['stores/actions-cache/downloads', 'a download that fails because it stands still'],
      ['stores/s3/faults', 'behind a proxy that makes faults a layer on its way down'],
    ],
  },
  {
    fault: 'A download is cut off anywhere, or is longer than declared',
    expected: 'it is refused before use; an older snapshot or a clone is used',
    tests: [
      ['jobs/faults/corruption', 'damage to a snapshot'],
      ['stores/disk/store', 'the disk store: what every store promises'],
      ['stores/s3/faults', 'behind a proxy that makes faults a layer on its way down'],
    ],
  },
  {
    fault: 'A store answers 500, 503, 429, 403, or not at all',
    expected: 'retried where that helps; then the job continues without it and says why',
    tests: [
      ['jobs/stores/actions-cache-outages', ''],
      ['jobs/mirror/post', 'the store at post'],
      ['jobs/stores/s3', 'ceph without'],
      ['stores/actions-cache/look-ups', 'a rate limit'],
      ['stores/actions-cache/saves', 'at a rate limit'],
      ['stores/s3/faults', 'behind a proxy that makes faults a failure is told'],
    ],
  },
  {
    fault: 'Another writer has the snapshot number (412), or is creating it (409)',
    expected: 'the late writer publishes nothing; a conflict is retried',
    tests: [
      ['jobs/mirror/post', 'the store at post another job saved meanwhile'],
      ['stores/s3/faults', 'behind a proxy that makes faults a manifest that met another writer'],
    ],
  },
  {
    fault: 'A write succeeds and its answer is lost',
    expected: 'the writer recognises it as its own',
    tests: [
      ['stores/s3/faults', 'behind a proxy that makes faults a manifest whose answer was lost'],
      ['stores/actions-cache/saves', 'a save that fails only as far as its reply'],
      ['faults/random-runs', 'whatever goes wrong'],
    ],
  },
  {
    fault: 'A snapshot is removed between look-up and restore, or during the restore',
    expected: 'an older snapshot or a clone is used',
    tests: [
      ['jobs/faults/corruption', 'damage to a snapshot the whole layer missing'],
      ['jobs/stores/actions-cache-scopes', 'what the platform evicts'],
      [
        'stores/disk/store',
        'the disk store: what every store promises a reader gets all of a layer or a bad snapshot while it is removed',
      ],
    ],
  },
  {
    fault: 'The job is cancelled in any phase of main and post',
    expected: 'the step ends in time; nothing incomplete is visible, locks are free',
    tests: [
      ['jobs/faults/cancel', ''],
      ['faults/failpoints', ''],
      ['snapshot/layer-check', 'a digest that is cancelled'],
    ],
  },
  {
    fault: 'A clock is off by an hour',
    expected: 'no early takeover and no eternal lock: clocks of two machines are never compared',
    tests: [
      ['locks/claims/simulation', ''],
      ['locks/claims/s3', ''],
    ],
  },
  {
    fault: 'The holder of a lock or claim dies',
    expected:
      'a lock is free at once; on a disk or in S3 a claim is taken over within its life and one poll',
    tests: [
      ['locks/machine', 'holders that die, stop or wait'],
      ['locks/claims/claims', 'among processes'],
      ['jobs/stores/publish-early', 'a job that waits takes over'],
      ['locks/claims/s3', 'a holder that was killed'],
    ],
  },
  {
    fault:
      'The holder of a claim is stopped for longer than its life, and continues before its manifest',
    expected: 'its manifest is refused or withdrawn, and the holder notices',
    tests: [
      ['locks/claims/claims', 'a holder that was stopped'],
      ['faults/random-runs', 'whatever goes wrong'],
      ['faults/random-runs', 'a violation is seen where manifests are created over others'],
    ],
  },
  {
    fault: '8 to 32 jobs contend for a lock or claim at the same time',
    expected: 'exactly one gets it each time',
    tests: [
      ['locks/machine', 'contenders among each other'],
      ['locks/claims/claims', 'that contend at once'],
      ['locks/claims/s3', 'that contend at once'],
    ],
  },
  {
    fault: 'Two jobs both consider themselves the holder',
    expected: 'one manifest is published, both jobs succeed',
    tests: [
      ['jobs/stores/two-machines', ''],
      ['jobs/stores/layers', 'two jobs save different commits on one base'],
      ['faults/random-runs', 'a violation is seen where manifests are created over others'],
    ],
  },
  {
    fault: 'A process id is reused; two containers share a folder',
    expected: 'no process is considered alive because of its id',
    tests: [
      ['locks/machine', 'holders that die, stop or wait the file says nothing of its holder'],
    ],
  },
  {
    fault: 'Damage of every kind, in a snapshot and in a persistent mirror',
    expected: 'never wrong content; one new clone repairs it; it is never published',
    tests: [
      ['jobs/faults/corruption', ''],
      ['jobs/stores/corruption-cache', ''],
      ['jobs/faults/poison', ''],
      ['jobs/mirror/rejected-snapshot', ''],
      ['faults/random-runs', ''],
    ],
  },
  {
    fault: 'Hooks, configuration and other traps in a mirror or around it',
    expected: 'none of it runs',
    tests: [['jobs/faults/hostile-mirror', '']],
  },
  {
    fault: 'A snapshot has hostile names, refs, sizes or links',
    expected: 'it is refused, and nothing outside changes',
    tests: [
      ['jobs/faults/poison', 'a forged snapshot'],
      ['snapshot/manifest', 'a manifest is refused'],
      ['stores/disk/store', 'the disk store: what every store promises'],
    ],
  },
  {
    fault: 'Upstream refuses the token or key (401, 403)',
    expected: 'the step fails at once and names it; no wipe, no save',
    tests: [
      ['jobs/faults/poison', 'upstream at fault'],
      ['jobs/mirror/restore-during-probe', 'is ended at once where upstream refuses'],
      ['git/failures', 'upstream answers'],
    ],
  },
  {
    fault: 'Upstream has no such repository (404)',
    expected: 'the step fails and names it; no wipe, no save',
    tests: [['jobs/faults/poison', 'upstream at fault']],
  },
  {
    fault: 'Upstream answers 429 or 500, or cannot be reached (DNS, refused, TLS)',
    expected: 'retried; a persistent mirror is kept; the step fails as `network`',
    tests: [
      ['jobs/faults/poison', 'upstream at fault'],
      ['git/failures', 'upstream cannot be reached'],
    ],
  },
  {
    fault: 'Upstream answers 200 with an empty body, a web page, or no refs',
    expected: 'the step fails; nothing is pruned, wiped or saved',
    tests: [['jobs/faults/poison', 'upstream at fault']],
  },
  {
    fault: 'Upstream redirects to another host',
    expected: 'no token is sent there; the error says that it moved',
    tests: [['jobs/secrets', 'another host']],
  },
  {
    fault: 'Force pushes; branches and tags are deleted, moved or renamed, into folders and back',
    expected: 'the mirror follows',
    tests: [
      ['jobs/mirror/main-job', 'changes of upstream'],
      ['jobs/checkout/checkout-changes', ''],
      ['jobs/stores/layers', 'a life of changes'],
    ],
  },
  {
    fault: 'Refs move between probe and fetch',
    expected: 'upstream is probed once more; no wipe',
    tests: [
      [
        'jobs/mirror/main-job',
        'changes of upstream are followed by existing and by restored mirrors refs that move',
      ],
    ],
  },
  {
    fault: 'A dead git left locks and temporary files in a persistent mirror',
    expected: 'they are removed under the lock; no wipe',
    tests: [['jobs/faults/corruption', 'damage to a mirror that stays']],
  },
  {
    fault: 'A broken mirror is inside another repository',
    expected: 'the repository around it is untouched',
    tests: [['jobs/faults/bad-input', '']],
  },
  {
    fault: 'Hostile git variables and templates; another user’s mirror; a link in its place',
    expected: 'variables are ignored, the others refused',
    tests: [
      ['git/git-environment', ''],
      ['jobs/faults/bad-input', ''],
    ],
  },
  {
    fault: 'Inputs such as `--upload-pack=…`, `ext::…`, control characters',
    expected: 'they are refused before git starts',
    tests: [['jobs/faults/bad-input', '']],
  },
  {
    fault: 'The token is searched for in stores, logs, command lines and traces',
    expected: 'it is found nowhere',
    tests: [
      ['jobs/secrets', ''],
      ['stores/actions-cache/calls', 'secrets'],
      ['faults/random-runs', 'whatever goes wrong'],
    ],
  },
  {
    fault: 'A read-only token, or a pull request from a fork',
    expected: 'the job restores and doesn’t save; the log says so without a warning',
    tests: [
      ['jobs/stores/actions-cache-scopes', 'a job that may only read'],
      ['jobs/mirror/post', 'save auto: untrusted events'],
      ['action/trust', ''],
    ],
  },
  {
    fault: 'The mirror is wiped or repacked while a primed workspace is in use',
    expected: 'the workspace keeps working',
    tests: [
      ['jobs/checkout/checkout-moved', ''],
      ['jobs/checkout/prime', 'a workspace without a repository survives the mirror'],
    ],
  },
  {
    fault:
      'The mirror’s place may not be written, or the default one holds another user’s mirror or one of a newer version',
    expected: 'the job makes a private mirror and warns',
    tests: [
      ['jobs/mirror/default-place', ''],
      ['jobs/faults/bad-input', 'that may not be written'],
      ['jobs/faults/bad-input', 'with a lock file that all may write'],
    ],
  },
  {
    fault: 'A disk store is read-only, or several users share it',
    expected: 'a read-only store is restored from and named; users with the rights all save',
    tests: [
      ['stores/disk/rights', ''],
      ['jobs/stores/read-only-disk', ''],
    ],
  },
  {
    fault: 'The runner or the organisation turned the action off',
    expected: 'both steps succeed, say so and do nothing',
    tests: [['jobs/mirror/disabled', '']],
  },
  {
    fault: 'Upstream is shallow, or a dumb HTTP server with loose objects',
    expected: 'a shallow upstream fails the step; what a dumb server sends is saved completely',
    tests: [
      ['mirror/whole-upstream', ''],
      ['jobs/ssh', 'a shallow upstream'],
    ],
  },
  {
    fault: 'Upstream hangs, stalls half-way, computes silently, or limits requests',
    expected:
      'a sign of life is waited for, a stall is retried, each fetch ends within `fetch-timeout`',
    tests: [
      ['mirror/upstream-waiting', ''],
      ['jobs/mirror/slow-upstream', ''],
    ],
  },
  {
    fault: 'The machine’s git configuration would change what a mirror holds',
    expected: 'only keys that concern the connection apply',
    tests: [
      ['git/git-environment', ''],
      ['git/tls', ''],
    ],
  },
  {
    fault: 'The LFS server refuses, is over quota, lacks an object, cuts, stalls or redirects',
    expected: 'the job continues with what it has and names the rest once; no token goes elsewhere',
    tests: [['jobs/faults/lfs-faults', 'the LFS server']],
  },
  {
    fault: 'An LFS object has the right size and other content: in the store, or on the machine',
    expected: 'it is never primed or saved, and replaced',
    tests: [
      ['jobs/faults/lfs-faults', 'an object with the right size and other content'],
      ['lfs/objects', ''],
    ],
  },
  {
    fault: 'A step is killed or the disk fills up while LFS objects are downloaded',
    expected: 'the next job is complete; without room the objects are left to the checkout',
    tests: [
      ['jobs/faults/lfs-faults', 'a job that is killed while it downloads'],
      ['jobs/faults/lfs-faults', 'a cancelled job ends'],
      ['jobs/faults/lfs-faults', 'a full disk'],
    ],
  },
  {
    fault: 'git-lfs writes its environment into its logs, with every trace turned on',
    expected: 'the token is in none of them',
    tests: [['jobs/faults/lfs-faults', 'the token is nowhere']],
  },
  {
    fault: 'An S3 server loses or changes what it confirmed, or is a web page',
    expected: 'nothing is published; the message names the server',
    tests: [
      ['stores/s3/lies', ''],
      ['jobs/stores/s3-lies', ''],
    ],
  },
  {
    fault: 'Post is killed at any moment of a save, or its store is full or read-only for a moment',
    expected: 'the first job after the claim’s life saves, or the next one at once',
    tests: [['jobs/stores/killed-saves', '']],
  },
  {
    fault: 'The temporary folder has an odd name; `tar` or `zstd` is missing or lacks options',
    expected: 'the Actions cache works, or is unavailable and named; no sound snapshot is damaged',
    tests: [['stores/actions-cache/machines', '']],
  },
  {
    fault: 'The runner sets no RUNNER_WORKSPACE, GITHUB_WORKSPACE or HOME',
    expected: 'a default takes its place, or the error names the variable',
    tests: [
      ['action/inputs/settings', 'where the runner sets less'],
      ['jobs/faults/bad-input', "the runner's environment"],
    ],
  },
  {
    fault: 'A job’s `chmod` or `chown` in its workspace reaches the mirror’s packs',
    expected: 'they are repaired, or the error names what happened',
    tests: [['mirror/pack-rights', '']],
  },
  {
    fault: 'A job adds a worktree to the mirror',
    expected: 'post saves nothing, says why and leaves it alone',
    tests: [['save/worktrees', '']],
  },
  {
    fault: 'Upstream has refs that no repository can hold together',
    expected: 'the others are mirrored, and a warning names each pair',
    tests: [['mirror/whole-upstream', 'refs that no repository can hold together']],
  },
  {
    fault: 'Upstream is rewritten to a much smaller history',
    expected: 'the next save stores what refs reach, and nothing else',
    tests: [['save/maintenance', 'what refs no longer reach']],
  },
  {
    fault:
      'Without history: `shallow` lies, a snapshot has a hole or another depth, upstream moves',
    expected: 'one whole commit is primed and saved, or nothing',
    tests: [
      ['mirror/tip', ''],
      ['jobs/mirror/tip-jobs', ''],
    ],
  },
  {
    fault: 'Upstream cannot leave out history (dumb HTTP) and `fetch-depth` is 1',
    expected: 'the step fails and says so; nothing is saved',
    tests: [['mirror/tip', 'plain files']],
  },
  {
    fault: 'A submodule fails, hangs, is refused, has vanished, or its mirror lacks a file',
    expected: 'it is left to the checkout with a warning; the others and the step go on',
    tests: [['jobs/submodules/faults', 'one of three submodules']],
  },
  {
    fault:
      'A hostile .gitmodules: names, URLs, includes, links, sizes, repositories that have each other',
    expected: 'nothing runs, nothing is written elsewhere, the step goes on',
    tests: [
      ['jobs/submodules/faults', 'a hostile .gitmodules'],
      ['jobs/submodules/faults', 'repositories that have each other'],
      ['submodules/choose', 'is left to the checkout'],
      ['submodules/url', 'never from elsewhere'],
    ],
  },
  {
    fault:
      'A private submodule, read with a personal token, while snapshots go to the Actions cache',
    expected: 'it is not saved there unless that is allowed',
    tests: [['jobs/submodules/trust', 'in the Actions cache']],
  },
];
