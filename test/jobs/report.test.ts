/**
 * What people see: the log and the job summary of whole runs, compared with files that somebody has
 * read (approved/). After a change: UPDATE_APPROVED=1, then read the diff.
 */
import { describe, expect, test } from '@jest/globals';
import { mkdir, readdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { toMarkdown } from '../../src/action/report/markdown.ts';
import { formatPointer } from '../../src/lfs/pointers.ts';
import { findExecutable } from '../../src/lib/executable.ts';
import type { StepResult } from '../support/action-runner.ts';
import { expectApproved, fillIn, type Placeholders } from '../support/approved.ts';
import { flipBit } from '../support/corruption.ts';
import { git } from '../support/git.ts';
import { addCommits, repositorySizes } from '../support/repository-fixture.ts';
import { addFiles } from './scenarios/checkout-scenario.ts';
import { inCache, useCacheService } from './scenarios/cache-scenario.ts';
import { failureOf, succeed, useScenarios, type Scenario } from './scenarios/scenario.ts';
import { commitOf, createNeighbour, link, relativeUrl } from './scenarios/submodule-scenario.ts';

const scenarios = useScenarios();
const cache = useCacheService();
const onPosix = process.platform === 'win32' ? describe.skip : describe;

/** What is true of one run only; sizes depend on git's version as well, and times on all. */
const OF_ONE_RUN: Placeholders = [
  [/^::debug::.*\n/gm, ''],
  [/\bname-\d+\b/g, 'name'],
  [/\b[0-9a-f]{40}\b/g, '<oid>'],
  [/\b(\d+)-[0-9a-f]{12}\b/g, '$1-<id>'],
  [/\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b/g, '<uuid>'],
  [/127\.0\.0\.1(?:_|&#95;)\d+\S*-[0-9a-f]{32}/g, '<key>'],
  [/http(?::|&#58;)\/\/127\.0\.0\.1(?::|&#58;)\d+/g, '<server>'],
  [/[\u00a0█▏]{40}/g, '<bar>'],
  [/\b\d+ min \d+ s\b|\b\d+(?:\.\d)? m?s\b/g, '<time>'],
  // Only where it took a second.
  [/, \d+(?:\.\d)? [KMG]?i?B\/s$/gm, ''],
  [/\b\d+(?:\.\d)? [KMG]?i?B\b/g, '<bytes>'],
  [/^summary-json: .*$/gm, 'summary-json: <json>'],
  // git's own words, and how many lines it makes of them.
  [/(?:^([\w/]+: )? {2}git: .*\n)+/gm, '$1  git: <progress>\n'],
  [/git says: .*?(?=; (?:cleaning|cloning|check|set) |$)/gm, 'git says: <words>'],
  // On a machine that was busy.
  [/^(?:[\w/]+: )?(?:Lock|Look-up|Repack|Tidy|Wait): <time>\n/gm, ''],
  [/^\| (?:Lock|Look-up|Repack|Tidy|Wait) \| <time> .*\n/gm, ''],
  [/^(?:[\w/]+: )? {2}(?:downloading|reading|saving) packs: .*\n/gm, ''],
  [/^::group::.*\n::endgroup::\n/gm, ''],
  // A restore runs in parallel, and either may end first.
  [/^(([\w/]+: )?Probe: <time>\n)(\2Restoring .*\n)?(\2Restore: .*\n)/gm, '$3$4$1'],
  [/\n<details><summary>Phases<\/summary>\n\n(?:\| .*\n){2}\n<\/details>\n/g, ''],
];

function normalize(text: string, { root }: Scenario): string {
  return fillIn(text, [[root, '<root>'], [toMarkdown(root), '<root>'], ...OF_ONE_RUN]);
}

/** The log and the summary of a job's steps, in files of their own. */
function approve(name: string, scenario: Scenario, steps: { main: StepResult; post: StepResult }) {
  const file = (kind: string) =>
    fileURLToPath(new URL(`approved/${name}.${kind}`, import.meta.url));
  const { main, post } = steps;
  expectGroupsClosed(main);
  expectGroupsClosed(post);
  const log = `=== main\n${main.log}\n=== post\n${post.log}\n`;
  expectApproved(file('log'), normalize(log, scenario));
  expectApproved(file('md'), normalize(`${main.summary}\n${post.summary}`, scenario));
  approveJson(name, scenario, main, post);
}

/** One line for each step that has a summary. */
function approveJson(name: string, scenario: Scenario, ...steps: StepResult[]) {
  const file = fileURLToPath(new URL(`approved/${name}.json`, import.meta.url));
  const lines = steps.flatMap(({ outputs, log }) => {
    const text = outputs['summary-json'] ?? /^summary-json: (.*)$/m.exec(log)?.[1];
    return text === undefined ? [] : [JSON.stringify(JSON.parse(text), roughly)];
  });
  expectApproved(file, normalize(lines.join('\n'), scenario));
}

/** Of times nothing is the same in every run; of bytes, whether there are any. */
function roughly(key: string, value: unknown): unknown {
  if (/seconds$/i.test(key)) return 0;
  return typeof value === 'number' && /bytes$|^from|^to|^clone$/i.test(key)
    ? Math.sign(value)
    : value;
}

/** Every group is ended before the next begins, and before the step does. */
function expectGroupsClosed({ log }: StepResult): void {
  const marks = log.match(/^::(?:group|endgroup)::/gm) ?? [];
  const inTurn = marks.map((_, index) => (index % 2 === 0 ? '::group::' : '::endgroup::'));
  expect(marks).toEqual(inTurn);
  expect(marks.length % 2).toBe(0);
}

/** Damages the content of what HEAD has, and nothing that is read before a fetch needs it. */
async function poison(mirror: string): Promise<void> {
  const packs = join(mirror, 'objects', 'pack');
  for (const pack of (await readdir(packs)).filter((name) => name.endsWith('.pack'))) {
    const listed = await git(mirror, ['verify-pack', '-v', join(packs, pack)]);
    const blobs = listed.matchAll(/^[0-9a-f]+ blob +\d+ (\d+) (\d+)/gm);
    for (const [, bytes, offset] of blobs) {
      flipBit(join(packs, pack), Number(offset) + Math.floor(Number(bytes) / 2));
    }
  }
}

async function findGit(): Promise<string> {
  return (await findExecutable('git', process.env)) ?? 'git';
}

// Elsewhere only the paths look different.
onPosix('what people see of', () => {
  test('a cold run, and a warm one on another machine', async () => {
    const scenario = await scenarios.create();
    approve('cold', scenario, await scenario.run());
    await addCommits(scenario.upstream);
    approve('warm', scenario, await scenario.run());
  });

  test('a run with submodules, one of which is on another server', async () => {
    const scenario = await scenarios.create();
    const directory = await createNeighbour(scenario, 'sub');
    const commit = await commitOf(directory);
    const sha = await link(scenario.upstream, [
      { path: 'deps/sub', url: relativeUrl(scenario, 'sub'), commit },
      { path: 'elsewhere', url: 'https://elsewhere.example/a/b', commit },
    ]);
    const options = { sha, inputs: { submodules: 'true' } };
    approve('submodules', scenario, await scenario.run(options));
    approve('submodules-warm', scenario, await scenario.run(options));
  });

  test('a run on a machine that has the mirror, with nothing new', async () => {
    const scenario = await scenarios.create();
    const root = scenario.newMachine();
    await scenario.run({ root });
    approve('existing', scenario, await scenario.run({ root }));
  });

  test('a mirror whose damage shows when it is fetched into: wiped, and cloned again', async () => {
    const scenario = await scenarios.create();
    const root = scenario.newMachine();
    const { mirror } = await scenario.run({ root });
    await poison(mirror);
    await addCommits(scenario.upstream, { content: 'text', files: 5, changedFiles: 5 });
    const run = await scenario.run({ root });
    expect(run.main.outputs).toMatchObject({ provenance: 'cloned', recloned: 'true' });
    expect(run.main.annotations).toMatchObject([
      {
        level: 'warning',
        message: expect.stringMatching(/the mirror is damaged.*cloning from scratch/),
      },
    ]);
    approve('recloned', scenario, run);
  });

  test('a run with LFS objects, on a machine without git-lfs', async () => {
    const scenario = await scenarios.create();
    const pointer = formatPointer({ oid: 'a'.repeat(64), size: 5_000 });
    const sha = await addFiles(scenario.upstream, [{ path: 'large.bin', content: pointer }]);
    // git alone, without the programs beside it.
    const folder = join(scenario.root, 'bin');
    await mkdir(folder, { recursive: true });
    await symlink(await findGit(), join(folder, 'git'));
    const options = { sha, inputs: { lfs: 'true' }, environment: { PATH: folder } };
    const run = await scenario.run(options);
    expect(run.main.annotations).toMatchObject([
      { level: 'warning', message: expect.stringMatching(/git-lfs is not installed/) },
    ]);
    approve('lfs', scenario, run);
  });

  test('a run without a store', async () => {
    const scenario = await scenarios.create();
    approve('no-store', scenario, await scenario.run({ inputs: { 'disk-path': '' } }));
  });

  test('a cold run with the Actions cache that saves early, and a branch that restores', async () => {
    const scenario = await scenarios.create();
    const { url } = scenario.server;
    const inputs = { publish: 'early' };
    approve('cache', scenario, await scenario.run(inCache(cache(), url, { inputs })));
    await addCommits(scenario.upstream);
    const ref = 'refs/heads/feature';
    approve('cache-branch', scenario, await scenario.run(inCache(cache(), url, { ref, inputs })));
  });

  test('a run whose Actions cache does not answer', async () => {
    const scenario = await scenarios.create();
    cache().fault({ on: 'any', behave: { kind: 'close' } });
    const options = inCache(cache(), scenario.server.url);
    approve('cache-outage', scenario, await scenario.run(options));
  });

  test('a run that upstream refuses', async () => {
    const scenario = await scenarios.create();
    scenario.server.token = 'another';
    const job = scenario.job({ token: 'not-the-right-one' });
    const main = await job.main();
    expect(failureOf(main)).toContain('upstream refused the credentials');
    approve('refused', scenario, { main, post: await succeed(job.post()) });
  });

  test('an input that is not allowed', async () => {
    const scenario = await scenarios.create();
    const job = scenario.job({ inputs: { 'lock-timeout': 'a <b>while</b>' } });
    const main = await job.main();
    expect(failureOf(main)).toContain('lock-timeout');
    approve('invalid-input', scenario, { main, post: await succeed(job.post()) });
  });
});

onPosix('a cancelled step', () => {
  test('has ended the group that it was in', async () => {
    const scenario = await scenarios.create(repositorySizes.small);
    scenario.server.fault({ on: 'clone', behave: { kind: 'stall', afterBytes: 100_000 } });
    const job = scenario.job();
    const step = job.startMain();
    await step.waitForLine(/^::group::Clone/);
    const main = await job.cancel();
    expect(main.exitCode).toBe(1);
    expectGroupsClosed(main);
    expect(main.log).toMatch(/^Clone: stopped after /m);
    expect(main.summary).toMatch(/^\| Clone \|.*\| stopped \|/m);
  });
});
