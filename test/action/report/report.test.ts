/** What the step says: outputs, summary and lines, by the runner's own files. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { Account, type Phase } from '../../../src/job/account.ts';
import { MirrorError, type Concern, type ErrorCode } from '../../../src/lib/errors.ts';
import type { Job } from '../../../src/job/job.ts';
import { silentLog } from '../../../src/lib/log.ts';
import type { PrimeResult } from '../../../src/prime/prime-workspace.ts';
import {
  reportFailure,
  reportMirror,
  reportSaves,
  reportVerdict,
} from '../../../src/action/report/report.ts';
import {
  ADVICE,
  adviseOn,
  describeConcern,
  describeFailure,
} from '../../../src/action/report/advice.ts';
import { actionsLog } from '../../../src/action/log.ts';
import { toCode, toMarkdown } from '../../../src/action/report/markdown.ts';
import {
  describeClaim,
  describeLock,
  describeMirror,
  describePrime,
  describeSave,
  explainClone,
  nameOf,
  type SaveOutcome,
} from '../../../src/action/report/outcome.ts';
import { drawBar, drawTimeline } from '../../../src/action/report/timeline.ts';
import type { RestoredMirror } from '../../../src/restore/session.ts';
import { createMemoryStore } from '../../support/memory/store.ts';
import { readActionDefinition } from '../../support/action-definition.ts';
import { parseFileCommand, readLog, type Annotation } from '../../support/runner-commands.ts';
import { temporaryDirectories } from '../../support/temporary-directory.ts';

const directories = temporaryDirectories();
const { outputs } = readActionDefinition(fileURLToPath(new URL('../../..', import.meta.url)));

const OID = 'a'.repeat(40);

const url = 'https://h/o/n';

const cloned: RestoredMirror = {
  identity: {
    spec: { url, refspecs: [], depth: 'full', cacheKey: '' },
    objectFormat: 'sha1',
    key: 'key',
  },
  path: '/work/name/_mirrors/key.git',
  isPrivate: false,
  provenance: 'cloned',
  recloned: false,
  snapshot: undefined,
  head: { ref: 'refs/heads/main', oid: OID },
  refs: [
    { name: 'refs/heads/main', oid: OID },
    { name: 'refs/tags/v1', oid: OID },
  ],
  refsDigest: 'd'.repeat(64),
  packBytes: 314 * 1024 ** 2,
  waitedMs: 0,
  claim: 'not-needed',
};

const primed: PrimeResult = {
  result: 'primed',
  path: '/work/name/name',
  bytes: 1024,
  copiedBytes: 0,
};

const restored: RestoredMirror = { ...cloned, provenance: 'restored', snapshot: '7-0123456789ab' };

/** As much of a job as reports look at. */
function jobOf(account = new Account(silentLog), store: Job['store'] = createMemoryStore()): Job {
  return { account, store, otherStores: [] } as Partial<Job> as Job;
}

/** The account of a job that restored a snapshot and fetched. */
async function moved(): Promise<Account> {
  const account = new Account(silentLog);
  const sizes = { restore: 320 * 1024 ** 2, fetch: 2_048 } as const;
  for (const [name, bytes] of Object.entries(sizes)) {
    await account.measure(
      name as keyof typeof sizes,
      () => Promise.resolve(),
      () => bytes,
    );
  }
  return account;
}

/** What post says of its only mirror. */
async function reportSave(result: SaveOutcome, job: Job, of: string): Promise<void> {
  reportVerdict(result, actionsLog);
  await reportSaves({ name: '', url: of, job, result }, []);
}

/** The summary's file is looked up once in a process, so all tests share it. */
let folder: string;

beforeAll(async () => {
  folder = await directories.create('report');
});

beforeEach(() => {
  for (const name of ['GITHUB_OUTPUT', 'GITHUB_STEP_SUMMARY']) {
    process.env[name] = join(folder, name);
    writeFileSync(join(folder, name), '');
  }
});

afterEach(() => {
  delete process.env['GITHUB_OUTPUT'];
  delete process.env['GITHUB_STEP_SUMMARY'];
});

afterAll(() => directories.removeAll());

/** What main reports of a mirror, without LFS objects and submodules. */
function reportMain(mirror: RestoredMirror, job = jobOf(), prime = primed): Promise<void> {
  return reportMirror({ job, mirror, prime, lfs: undefined, submodules: [] });
}

async function outputsOf(mirror: RestoredMirror): Promise<Record<string, string>> {
  writeFileSync(join(folder, 'GITHUB_OUTPUT'), '');
  await listen(() => reportMain(mirror));
  return parseFileCommand(readFileSync(join(folder, 'GITHUB_OUTPUT'), 'utf8'));
}

function summary(): string {
  return readFileSync(join(folder, 'GITHUB_STEP_SUMMARY'), 'utf8');
}

/** What a report says to the runner. */
async function listen(report: () => Promise<void>): Promise<{ lines: string[] } & Listened> {
  let output = '';
  const { write } = process.stdout;
  process.stdout.write = (text: string | Uint8Array) => {
    output += String(text);
    return true;
  };
  try {
    await report();
  } finally {
    process.stdout.write = write;
    // A failed step ends with 1, and the tests do not.
    process.exitCode = undefined;
  }
  const lines = output.split(/\r?\n/).slice(0, -1);
  return { lines, annotations: readLog(lines).annotations };
}

interface Listened {
  annotations: Annotation[];
}

describe('outputs', () => {
  test('are those of action.yml, all of them, every time', async () => {
    expect(Object.keys(await outputsOf(cloned)).sort()).toEqual([...outputs].sort());
    expect(Object.keys(await outputsOf({ ...restored, head: undefined })).sort()).toEqual(
      [...outputs].sort(),
    );
  });

  test('say how it went', async () => {
    expect(await outputsOf(cloned)).toEqual({
      'mirror-path': cloned.path,
      provenance: 'cloned',
      'cache-hit': 'false',
      recloned: 'false',
      snapshot: '',
      head: OID,
      'refs-digest': cloned.refsDigest,
      lock: 'not-needed',
      'summary-json': expect.stringMatching(/^\{"version":1,"step":"main","outcome":"cloned"/),
    });
    expect(await outputsOf({ ...cloned, claim: 'waited' })).toMatchObject({ lock: 'waited' });
    expect(await outputsOf(restored)).toMatchObject({
      'cache-hit': 'true',
      snapshot: '7-0123456789ab',
    });
    expect(await outputsOf({ ...cloned, provenance: 'existing' })).toMatchObject({
      'cache-hit': 'false',
    });
    expect(await outputsOf({ ...cloned, recloned: true })).toMatchObject({ recloned: 'true' });
    expect(await outputsOf({ ...cloned, head: undefined })).toMatchObject({ head: '' });
  });
});

describe('the job summary of main', () => {
  test('shows the outcome, the phases with times and bytes, and every fallback', async () => {
    const account = new Account(silentLog);
    await account.measure(
      'clone',
      () => Promise.resolve(3 * 1024 * 1024),
      (bytes) => bytes,
    );
    account.fallBack('Snapshot 7 is not used: it is damaged', 'bad-snapshot');
    const mirror = { ...cloned, recloned: true, waitedMs: 65_000 };
    await listen(() => reportMain(mirror, jobOf(account)));
    for (const text of [
      '### ⚠️ Mirror of o/n: cloned again\n',
      ', after a failure; upstream sent 3.0 MiB.**\n',
      '\n- Snapshot 7 is not used: it is damaged\n',
      '| 3.0 MiB from upstream |',
      `- **HEAD:** refs/heads/main at ${OID}\n`,
      '- **Store:** a store in memory\n',
      '- **Lock:** waited 1 min 5 s for another job\n',
      '- **Workspace:** primed /work/name/name: 1.0 KiB by hard links\n',
    ]) {
      expect(summary()).toContain(text);
    }
    expect(summary()).toMatch(/^\| Clone \| [^|]+ \| 3\.0 MiB from upstream \| `[^`]+` \|$/m);
  });

  test('has no mark where all went as it should', async () => {
    await listen(() => reportMain(restored));
    expect(summary()).toContain('### Mirror of o/n: restored\n');
    expect(summary()).not.toContain('went wrong');
  });

  test('begins with the outcome and what it saved, and folds the details', async () => {
    await listen(async () => reportMain(restored, jobOf(await moved())));
    expect(summary()).toMatch(
      /^### .*\n\n\*\*Restored 320 MiB in [^;]+; upstream sent 2\.0 KiB instead of 314 MiB\.\*\*\n/,
    );
    expect(summary().split('<details>')[0]).not.toContain('**Store:**');
    expect(summary()).toMatch(/<details><summary>Details<\/summary>\n\n- [^]*\n\n<\/details>\n+$/);
  });

  test('warns of every clone, for which a job in which nothing failed is no excuse', async () => {
    await listen(() => reportMain(cloned));
    expect(summary()).toContain('### ⚠️ Mirror of o/n: cloned\n');
    expect(summary()).toMatch(/^No snapshot in .* has this key yet\..*If every run clones, /m);
  });

  test('shows names as people wrote them', async () => {
    const head = { ref: Buffer.from('refs/heads/café').toString('latin1'), oid: OID };
    await listen(() => reportMain({ ...cloned, head }));
    expect(summary()).toContain('refs/heads/café at');
  });

  test('says plainly that there is no store, as does a notice where it cost a clone', async () => {
    const account = new Account(silentLog);
    const noStoreReason = 'the cache is not <here>, and `disk-path` is not set';
    const job = { ...jobOf(account), store: undefined, noStoreReason };
    const first = await listen(() => reportMain(cloned, job));
    expect(summary()).toMatch(/^\*\*Cloned in [^;]+, because there is no store; /m);
    expect(summary()).toContain(
      'no store: the cache is not &lt;here&gt;, and <code>disk-path</code>',
    );
    expect(first.annotations).toMatchObject([
      { level: 'notice', message: expect.stringContaining(noStoreReason) },
    ]);
    const existing = { ...cloned, provenance: 'existing' as const };
    expect((await listen(() => reportMain(existing, job))).annotations).toEqual([]);
  });

  test('of a failure shows the cause, what was tried and what to do', async () => {
    const account = new Account(silentLog);
    const failing = account.measure('probe', () => Promise.reject(new Error('no')));
    await expect(failing).rejects.toThrow('no');
    const error = new MirrorError('authentication', 'asking https://h/o/n: refused <b>');
    const { annotations, lines } = await listen(() => reportFailure(error, jobOf(account), url));
    expect(annotations).toMatchObject([{ level: 'error', message: error.message }]);
    expect(lines.at(-1)).toMatch(/^What to do: Check that `token`/);
    expect(summary()).toContain('### ❌ Mirror of o/n: failed\n');
    expect(summary()).toContain('\n> asking https&#58;//h/o/n: refused &lt;b&gt;\n');
    expect(summary()).toContain('**What to do:** Check that <code>token</code>');
    expect(summary()).toMatch(/^\| Probe \| [^|]+ \| \*\*failed\*\* \|/m);
  });

  test('of a failure before there was a job shows the cause and what to do', async () => {
    const error = new MirrorError('invalid-input', 'Input `refs` is "x"');
    await listen(() => reportFailure(error, undefined, undefined));
    expect(summary()).toContain('### ❌ Mirror: failed\n');
    expect(summary()).toContain('> Input <code>refs</code> is &#34;x&#34;');
  });

  test('is no error where the runner has none', async () => {
    delete process.env['GITHUB_STEP_SUMMARY'];
    await listen(() => reportSave({ result: 'skipped', reason: 'x' }, jobOf(), url));
    expect(summary()).toBe('');
  });
});

describe('post says in one line', () => {
  test.each([
    [{ result: 'published', id: '7-ab', bytes: 1_536 }, 'Saved snapshot 7-ab (1.5 KiB)', []],
    [{ result: 'unchanged', id: '7-ab' }, 'Nothing saved: nothing changed since snapshot 7-ab', []],
    [{ result: 'superseded', number: 8 }, 'Nothing saved: another job saved snapshot 8 first', []],
    [{ result: 'skipped', reason: 'there is no store' }, 'Nothing saved: there is no store', []],
    [{ result: 'refused', reason: 'it is gone' }, 'Nothing saved: it is gone', ['warning']],
    [
      { result: 'corrupt', reason: 'a pack is damaged' },
      'Nothing saved, and the mirror was deleted: a pack is damaged',
      ['warning'],
    ],
  ] as const)('%j: %s', async (result, line, levels) => {
    expect(describeSave(result)).toBe(line);
    const { annotations, lines } = await listen(() => reportSave(result, jobOf(), url));
    expect(annotations.map(({ level }) => level)).toEqual(levels);
    expect(lines).toEqual([
      levels.length > 0 ? `::warning::${line}` : line,
      '::group::Summary for programs',
      expect.stringMatching(/^summary-json: \{"version":1,"step":"post"/),
      '::endgroup::',
    ]);
    expect(summary()).toMatch(/^### (?:⚠️ )?Snapshot of o\/n: (?:saved|unchanged|not saved)$/m);
    expect(summary()).toContain(`**${line}**`);
  });

  test('that it failed: a warning, unless somebody cancelled the job', async () => {
    const failed = new MirrorError('store-unavailable', 'no');
    expect(
      (await listen(() => reportSave({ result: 'failed', error: failed }, jobOf(), url)))
        .annotations,
    ).toMatchObject([{ level: 'warning', message: 'Nothing saved: no' }]);
    expect(summary()).toContain('### ⚠️ Snapshot of o/n: not saved\n\n> Nothing saved: no\n');
    const cancelled = new MirrorError('cancelled', 'it was cancelled');
    expect(
      await listen(() => reportSave({ result: 'failed', error: cancelled }, jobOf(), url)),
    ).toEqual({
      lines: [
        'Nothing saved: it was cancelled',
        '::group::Summary for programs',
        expect.stringMatching(/"failure":"cancelled"/),
        '::endgroup::',
      ],
      annotations: [],
    });
  });
});

describe('what is said of', () => {
  test.each([
    ['not-needed', undefined],
    ['acquired', 'acquired: this job cloned, to save a snapshot for the others'],
    ['waited', 'another job held it, and saved the snapshot that this job waited for'],
    ['timed-out', 'another job held it until `lock-timeout`: this job continued without it'],
    ['unavailable', 'unavailable: this job continued without it'],
  ] as const)('the claim, %s: %s', (claim, expected) => {
    expect(describeClaim({ ...cloned, claim })).toBe(expected);
  });

  test.each([
    [{}, 'free'],
    [{ waitedMs: 2_500 }, 'waited 2.5 s for another job'],
    [
      { isPrivate: true },
      'the place could not be used: this job made a mirror of its own, which is removed with it',
    ],
    [
      { isPrivate: true, waitedMs: 2_500 },
      'the place could not be used: this job made a mirror of its own, which is removed with it; waited 2.5 s for another job',
    ],
  ])('the lock with %j: %s', (facts, expected) => {
    expect(describeLock({ ...cloned, ...facts })).toBe(expected);
  });

  test.each([
    [{ result: 'skipped', reason: 'why' } as const, 'not primed: why'],
    [{ result: 'failed', reason: 'why' } as const, 'not primed: why'],
    [primed, 'primed /work/name/name: 1.0 KiB by hard links'],
    [{ ...primed, copiedBytes: 1024 }, 'primed /work/name/name: 1.0 KiB by copying'],
    [
      { ...primed, bytes: 3072, copiedBytes: 1024 },
      'primed /work/name/name: 2.0 KiB by hard links, 1.0 KiB by copying',
    ],
  ])('priming with %j: %s', (prime, expected) => {
    expect(describePrime(prime)).toBe(expected);
  });

  test.each([
    [restored, /^Restored 320 MiB in .+; upstream sent 2\.0 KiB instead of 314 MiB$/],
    [
      { ...restored, provenance: 'existing' } as const,
      /^Updated the mirror on this machine in .+; upstream sent 2\.0 KiB instead of 314 MiB$/,
    ],
    [cloned, /^Cloned in .+, because no snapshot was available; upstream sent 2\.0 KiB$/],
    [
      { ...cloned, recloned: true },
      /^Cloned again in .+, after a failure; upstream sent 2\.0 KiB$/,
    ],
  ])('a mirror, with what upstream sent for it: %#', async (mirror, expected) => {
    expect(describeMirror(mirror, jobOf(await moved()))).toMatch(expected);
  });

  test('a mirror that was cloned because the store failed', () => {
    const account = new Account(silentLog);
    account.fallBack('it failed', new MirrorError('store-unavailable', 'down'));
    expect(describeMirror(cloned, jobOf(account))).toMatch(
      /^Cloned in .+, because the store was not available; /,
    );
  });

  test('a restored mirror, without the LFS objects that the store sent as well', async () => {
    const account = await moved();
    await account.measure(
      'lfs-restore',
      () => Promise.resolve(),
      () => 500 * 1024 ** 2,
    );
    expect(describeMirror(restored, jobOf(account))).toMatch(/^Restored 320 MiB in /);
  });

  test('a mirror for which upstream had nothing to send', () => {
    const existing = { ...restored, provenance: 'existing' } as const;
    expect(describeMirror(existing, jobOf())).toMatch(
      /; upstream sent nothing instead of 314 MiB$/,
    );
  });

  test.each([
    ['https://github.com/owner/name', 'owner/name'],
    ['https://[::1]:8443/group/sub/name', 'group/sub/name'],
    ['git@github.com:owner/name.git', 'owner/name'],
    ['git@[::1]:owner/name.git', 'owner/name'],
    ['something', 'something'],
  ])('%s: %s', (url, expected) => {
    expect(nameOf(url)).toBe(expected);
  });
});

const CONCERNS: readonly Concern[] = [
  ...(['token', 'ssh-key', 'ssh-user', 'known-hosts', 'repository', 'server', 'refs'] as const),
  ...(['mirror-place', 'cache-key', 'lock-timeout', 'fetch-timeout', 'stall-timeout'] as const),
  ...(['store', 'disk-store', 's3-bucket', 's3-endpoint', 's3-region', 's3-credentials'] as const),
];

describe('advice', () => {
  test.each(Object.keys(ADVICE) as ErrorCode[])('on %s names no setting twice', (code) => {
    const alone = new MirrorError(code, 'it failed');
    expect(describeFailure(alone)).toBe('it failed');
    expect(adviseOn(alone)).toBe(ADVICE[code]);
    for (const concern of CONCERNS) {
      const error = new MirrorError(code, 'it failed', { concern });
      expect(describeFailure(error)).toBe(`it failed; ${describeConcern(error)}`);
      expect(adviseOn(error) ?? '').not.toMatch(/`[a-z0-9-]+`/);
    }
  });

  test('keeps what is no setting', () => {
    const error = new MirrorError('authentication', 'no', { concern: 'token' });
    expect(adviseOn(error)).toBe('The token of a workflow can read its own repository only.');
    expect(adviseOn(new MirrorError('moved', 'no', { concern: 'server' }))).toBeUndefined();
  });

  test('sends nobody to the firewall because of a server that limits requests', () => {
    const error = new MirrorError('network', 'limited', { concern: 'request-rate' });
    expect(describeFailure(error)).toBe(
      'limited; run the job again later, or fewer jobs at the same time',
    );
    expect(adviseOn(error)).toBeUndefined();
  });

  test('names a time limit only where an error does', () => {
    for (const advice of Object.values(ADVICE)) expect(advice).not.toMatch(/-timeout/);
    const error = new MirrorError('timeout', 'slow', { concern: 'fetch-timeout' });
    expect(describeFailure(error)).toBe('slow; set `fetch-timeout` to a longer time');
  });
});

describe('a clone without a snapshot', () => {
  test('says that the key has none yet, and what that depends on', () => {
    expect(explainClone(cloned, jobOf())).toBe(
      'No snapshot in a store in memory has this key yet. That is normal in the first run. If every run ' +
        'clones, no job saves (the post step says why), or jobs differ in what the key depends on: the ' +
        'repository, `refs`, `fetch-depth` and `cache-key`.',
    );
  });

  test('says what hides and removes snapshots where the store has such rules', () => {
    const store = { ...createMemoryStore(), absenceHint: 'old ones are evicted' };
    expect(explainClone(cloned, jobOf(undefined, store))).toMatch(/; old ones are evicted\.$/);
  });

  test.each(['bad-snapshot', 'store-unavailable'] as const)(
    'leaves it to the fallback where that is the reason: %s',
    (code) => {
      const account = new Account(silentLog);
      account.fallBack('why', new MirrorError(code, 'why'));
      expect(explainClone(cloned, jobOf(account))).toBeUndefined();
    },
  );

  test('is explained only where it was cloned for that reason', () => {
    expect(explainClone(restored, jobOf())).toBeUndefined();
    expect(explainClone({ ...cloned, recloned: true }, jobOf())).toBeUndefined();
  });
});

/** What character references stand for. */
function decode(text: string): string {
  return text
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replace(/&#(\d+);/g, (_, code) => String.fromCharCode(Number(code)))
    .replaceAll('&amp;', '&');
}

describe('text of others in the summary', () => {
  const hostile = [
    '<script>alert(1)</script> & <img src=x onerror="a">',
    '&lt;b&gt; &#42;',
    '[link](https://evil.example/?a=b) ![image](//evil.example/x.png)',
    '**bold** _em_ ~~gone~~ `code` ``two`` \\* a*b_c',
    '| a | b |',
    'http://evil.example www.evil.example WWW.evil.example mail@evil.example',
    '@somebody #1 o/n#2 :tada: $x^2$ $$y$$ {x}',
    '- list',
    '+ list',
    '1. list',
    '2) list',
    '# heading',
    '> [!CAUTION]',
    '===',
    '---',
    '```mermaid',
    '<!-- comment',
    ']]> <?php <![CDATA[',
    'refs/heads/<img/src=x>&lt;',
  ];

  test.each(hostile)('%j stays text', (text) => {
    for (const written of [toMarkdown(text), toCode(text)]) {
      const inner = written.replaceAll(/<\/?code>|<span>@<\/span>/g, '');
      expect(inner).not.toMatch(/["'`*_~[\]|\\$@!<>]|#(?!\d+;)/);
      expect(inner).not.toMatch(/:(?! |$)|www\.|^[-+\d]/i);
      expect(inner.replaceAll(/&(?:amp|lt|gt|#\d+);/g, '')).not.toContain('&');
    }
    expect(decode(toCode(text)).replaceAll('<span>@</span>', '@')).toBe(`<code>${text}</code>`);
  });

  test.each([
    ['a\nb\r\n\r\nc\td', 'a b c d'],
    ['  a\u2028\u202eb\u200bc\x1b[0m\x00 ', 'a b c &#91;0m'],
    ['', ''],
  ])('%j is one line without what has no width', (text, expected) => {
    expect(toMarkdown(text)).toBe(expected);
  });

  test('is cut where it is endless', () => {
    expect(toMarkdown('x'.repeat(1_000_000))).toBe(`${'x'.repeat(2_000)}…`);
  });

  test('keeps inputs, values and commands as code, and no markup besides', () => {
    expect(toMarkdown('set `fetch-timeout` to `0`, run `git fsck`, not `<b>` or `*`; `')).toBe(
      'set <code>fetch-timeout</code> to <code>0</code>, run <code>git fsck</code>, not &#96;&lt;b&gt;&#96; or &#96;&#42;&#96;; &#96;',
    );
  });

  test('is text wherever the summary has it', async () => {
    const account = new Account(silentLog);
    for (const text of hostile) account.fallBack(`before ${text}`, 'bad-snapshot');
    const head = { ref: 'refs/heads/<b>x</b>', oid: OID };
    const path = '/work/</code><img src=x>|`';
    const job = jobOf(account);
    const hostileUrl = 'https://h/<img>/|n';
    const spec = { ...cloned.identity.spec, url: hostileUrl };
    const identity = { ...cloned.identity, spec };
    await listen(() => reportMain({ ...cloned, identity, head, path }, job, { ...primed, path }));
    await listen(() => reportFailure(new Error(hostile.join('\n\n')), job, hostileUrl));
    await listen(() =>
      reportSave({ result: 'refused', reason: hostile.join('\n\n') }, job, hostileUrl),
    );
    const tags = new Set(summary().match(/<[^>]*>/g));
    expect([...tags].sort()).toEqual(
      [
        ...['<code>', '</code>', '<span>', '</span>'],
        ...['<details>', '</details>', '<summary>', '</summary>'],
      ].sort(),
    );
  });
});

describe('the timeline', () => {
  const phase: Phase = {
    ...{ name: 'fetch', label: 'Fetch', title: 'Fetch what is new', direction: 'from upstream' },
    ...{ startedMs: 0, durationMs: 0, end: 'succeeded' },
  };
  const shown = (bar: string) => bar.replaceAll('\u00a0', ' ');

  test.each([
    [[0, 400, 400], '█'.repeat(40)],
    [[100, 200, 400], ' '.repeat(10) + '█'.repeat(20) + ' '.repeat(10)],
    [[0, 1, 400], '▏' + ' '.repeat(39)],
    [[400, 0, 400], ' '.repeat(39) + '▏'],
    [[399, 1, 400], ' '.repeat(39) + '▏'],
    [[395, 100, 400], ' '.repeat(39) + '█'],
    [[0, 0, 0], '▏' + ' '.repeat(39)],
  ] as const)('%j is the bar "%s"', ([startMs, durationMs, totalMs], expected) => {
    const bar = drawBar(startMs, durationMs, totalMs);
    expect(shown(bar)).toBe(expected);
    expect(bar).not.toContain(' ');
  });

  test('has a row for each phase, on the time of all', () => {
    const rows = drawTimeline([
      { ...phase, durationMs: 1_000, bytes: 2_048 },
      { ...phase, startedMs: 1_000, durationMs: 1_000, end: 'failed' },
      { ...phase, startedMs: 1_000, durationMs: 1_000, end: 'stopped' },
      { ...phase, label: 'Check', startedMs: 2_000, durationMs: 2_000, bytes: 0 },
    ]);
    expect(rows.map(shown)).toEqual([
      '| Phase | Time | Bytes | 0 to 4.0 s |',
      '| :-- | --: | :-- | :-- |',
      `| Fetch | 1.0 s | 2.0 KiB from upstream | \`${'█'.repeat(10).padEnd(40)}\` |`,
      `| Fetch | 1.0 s | **failed** | \`${(' '.repeat(10) + '█'.repeat(10)).padEnd(40)}\` |`,
      `| Fetch | 1.0 s | stopped | \`${(' '.repeat(10) + '█'.repeat(10)).padEnd(40)}\` |`,
      `| Check | 2.0 s |  | \`${' '.repeat(20) + '█'.repeat(20)}\` |`,
    ]);
  });
});
