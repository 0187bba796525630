import { describe, expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { lstat, mkdir, readFile, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { delimiter, join } from 'node:path';
import type { Job } from '../../support/action-runner.ts';
import { git, tryGit } from '../../support/git.ts';
import { mounts } from '../../support/mounts.ts';
import { createBranch, renameDefaultBranch } from '../../support/repository-change.ts';
import { repositorySizes } from '../../support/repository-fixture.ts';
import { addFiles } from '../scenarios/checkout-scenario.ts';
import { chooseCases } from '../scenarios/rounds.ts';
import {
  failureOf,
  listRefs,
  readTree,
  succeed,
  useScenarios,
  type Scenario,
} from '../scenarios/scenario.ts';

const scenarios = useScenarios();

/** Refs that a primed `.git` should have, as `<oid> <name>`, from upstream's. */
async function trackingRefsOf(upstream: string): Promise<string[]> {
  const refs = (await listRefs(upstream)).filter((line) => !line.endsWith('^{}'));
  return refs
    .map((line) => line.replace('\trefs/heads/', '\trefs/remotes/origin/').replace('\t', ' '))
    .filter((line) => /refs\/(?:remotes|tags)\//.test(line))
    .sort();
}

async function refsOf(workspace: string): Promise<string[]> {
  const format = '--format=%(objectname) %(refname)';
  const lines = (await git(workspace, ['for-each-ref', format])).split('\n');
  return lines.filter((line) => line !== '' && !line.endsWith(' refs/remotes/origin/HEAD')).sort();
}

async function expectPrimed(workspace: string, { upstream, url }: Scenario): Promise<void> {
  expect(await refsOf(workspace)).toEqual(await trackingRefsOf(upstream));
  expect(await git(workspace, ['config', '--local', '--get-all', 'remote.origin.url'])).toBe(url);
  await git(workspace, ['fsck', '--full', '--strict', '--no-progress']);
  // What actions/checkout does with it first: it must succeed, and nothing is to be written yet.
  const before = await readdir(workspace);
  await git(workspace, ['reset', '--quiet', '--hard', 'HEAD']);
  expect(await readdir(workspace)).toEqual(before);
  expect(await git(workspace, ['status', '--porcelain', '--untracked-files=no'])).toBe('');
}

async function isThere(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  );
}

const warningsOf = (step: { annotations: { level: string; message: string }[] }): string[] =>
  step.annotations.filter(({ level }) => level === 'warning').map(({ message }) => message);

describe('a workspace without a repository', () => {
  test.each(['sha1', 'sha256'] as const)(
    'gets a .git as a checkout would have left it, %s',
    async (objectFormat) => {
      const scenario = await scenarios.create({ ...repositorySizes.small, objectFormat });
      const token = 'canary-token-of-the-job';
      const { job, mirror } = await scenario.run({ token });
      const { workspace } = job;

      expect(await readdir(workspace)).toEqual(['.git']);
      const branch = await git(scenario.upstream, ['symbolic-ref', '--short', 'HEAD']);
      expect((await tryGit(workspace, ['symbolic-ref', '--quiet', 'HEAD'])).exitCode).toBe(1);
      expect(await git(workspace, ['ls-tree', 'HEAD'])).toBe('');
      const refs = ['--branches', '--remotes', '--tags'];
      expect(await git(workspace, ['rev-list', 'HEAD', '--not', ...refs])).toMatch(/^[0-9a-f]+$/);
      expect(await git(workspace, ['symbolic-ref', 'refs/remotes/origin/HEAD'])).toBe(
        `refs/remotes/origin/${branch}`,
      );
      expect(await git(workspace, ['config', '--get', 'remote.origin.fetch'])).toBe(
        '+refs/heads/*:refs/remotes/origin/*',
      );

      // Nothing is borrowed, nothing is doubled, and nothing secret is there.
      const packs = join(workspace, '.git', 'objects', 'pack');
      const names = await readdir(join(mirror, 'objects', 'pack'));
      expect((await readdir(packs)).sort()).toEqual(names.sort());
      for (const name of names) {
        const { ino } = await stat(join(mirror, 'objects', 'pack', name));
        expect((await stat(join(packs, name))).ino).toBe(ino);
      }
      expect(await isThere(join(workspace, '.git', 'objects', 'info', 'alternates'))).toBe(false);
      const config = await readFile(join(workspace, '.git', 'config'), 'utf8');
      expect(config).not.toMatch(/extraheader|worktree\s*=|canary/i);

      await expectPrimed(workspace, scenario);
    },
  );

  test('keeps the files that lie in it, and is primed from a restored mirror as well', async () => {
    const scenario = await scenarios.create();
    await scenario.run();
    const job = scenario.job();
    await writeFile(join(job.workspace, 'notes.txt'), 'of an earlier step');
    await succeed(job.main());
    expect((await readdir(job.workspace)).sort()).toEqual(['.git', 'notes.txt']);
    await expectPrimed(job.workspace, scenario);
    expect(await readFile(join(job.workspace, 'notes.txt'), 'utf8')).toBe('of an earlier step');
  });

  test('does not see pull requests as branches, though the mirror has them', async () => {
    const scenario = await scenarios.create();
    const head = await git(scenario.upstream, ['rev-parse', 'HEAD']);
    await git(scenario.upstream, ['update-ref', 'refs/pull/1/head', head]);
    await git(scenario.upstream, ['update-ref', 'refs/pull/1/merge', head]);
    const { job, mirror } = await scenario.run({ inputs: { refs: 'all' } });
    expect(await git(mirror, ['for-each-ref', 'refs/pull'])).not.toBe('');
    await expectPrimed(job.workspace, scenario);
  });

  test('has no origin/HEAD where the branch upstream points at is not mirrored', async () => {
    const scenario = await scenarios.create();
    await createBranch(scenario.upstream, 'release', 'HEAD');
    const refs = '+refs/heads/release:refs/heads/release';
    const { job } = await scenario.run({ inputs: { refs } });
    const release = await git(scenario.upstream, ['rev-parse', 'release']);
    expect(await refsOf(job.workspace)).toEqual([`${release} refs/remotes/origin/release`]);
    const remoteHead = join(job.workspace, '.git', 'refs', 'remotes', 'origin', 'HEAD');
    expect(await isThere(remoteHead)).toBe(false);
  });

  test('is left alone where neither branches nor tags are mirrored', async () => {
    const scenario = await scenarios.create();
    await git(scenario.upstream, ['update-ref', 'refs/pull/1/head', 'HEAD']);
    const job = scenario.job({ inputs: { refs: '+refs/pull/*:refs/pull/*' } });
    const main = await succeed(job.main());
    expect(await readdir(job.workspace)).toEqual([]);
    expect(main.log).toContain(
      'The workspace is not primed: neither branches nor tags are mirrored',
    );
  });

  test.each(['HEAD', 'HEAD/below'])('copes with an upstream branch called %s', async (name) => {
    const scenario = await scenarios.create();
    await git(scenario.upstream, ['update-ref', `refs/heads/${name}`, 'HEAD']);
    const { job } = await scenario.run();
    const head = await git(scenario.upstream, ['rev-parse', 'HEAD']);
    const found = await git(job.workspace, ['rev-parse', `refs/remotes/origin/${name}`]);
    expect(found).toBe(head);
    await git(job.workspace, ['fsck', '--no-progress']);
  });

  test('follows a default branch that was renamed', async () => {
    const scenario = await scenarios.create();
    await scenario.run();
    await renameDefaultBranch(scenario.upstream, 'trunk');
    const { job } = await scenario.run();
    expect(await git(job.workspace, ['symbolic-ref', 'refs/remotes/origin/HEAD'])).toBe(
      'refs/remotes/origin/trunk',
    );
    await expectPrimed(job.workspace, scenario);
  });

  test("has the templates of the machine's owner, none of which runs", async () => {
    const scenario = await scenarios.create();
    const job = scenario.job();
    const template = join(scenario.root, 'template');
    const ran = join(scenario.root, 'ran');
    await mkdir(join(template, 'hooks'), { recursive: true });
    for (const hook of ['post-checkout', 'reference-transaction', 'post-index-change']) {
      await writeFile(join(template, 'hooks', hook), `#!/bin/sh\ntouch '${ran}'\n`, {
        mode: 0o755,
      });
    }
    await writeFile(join(job.home, '.gitconfig'), `[init]\n\ttemplateDir = ${template}\n`);
    await succeed(job.main());
    expect(await isThere(join(job.workspace, '.git', 'hooks', 'post-checkout'))).toBe(true);
    expect(await isThere(ran)).toBe(false);
  });

  const processors = availableParallelism();
  const ifSeveral = processors > 1 ? test : test.skip;

  ifSeveral('has its files written by several processes at once', async () => {
    const scenario = await scenarios.create({ ...repositorySizes.small, files: 120 });
    const { job } = await scenario.run();
    const { workspace } = job;
    const workers = String(Math.min(processors, 16));
    expect(await git(workspace, ['config', '--local', 'checkout.workers'])).toBe(workers);
    const checkout = ['checkout', '--force', '-B', 'main', 'refs/remotes/origin/main'];
    const { exitCode, stderr } = await tryGit(workspace, checkout, {
      environment: { GIT_TRACE: '1' },
    });
    expect(exitCode).toBe(0);
    expect(stderr.match(/run_command: git checkout--worker/g)).toHaveLength(Number(workers));
    expect(await git(workspace, ['status', '--porcelain'])).toBe('');
  });

  ifSeveral.each(['HEAD', 'the job’s commit'])(
    'has them written by one process where %s has an .lfsconfig, which git-lfs reads',
    async (where) => {
      const scenario = await scenarios.create();
      const { upstream } = scenario;
      const branch = where === 'HEAD' ? 'main' : 'feature';
      if (branch === 'feature') await git(upstream, ['branch', branch, 'main']);
      await addFiles(upstream, [{ path: '.lfsconfig', content: '[lfs]\n' }], branch);
      const sha = await git(upstream, ['rev-parse', branch]);
      const { job } = await scenario.run(where === 'HEAD' ? {} : { sha });
      const asked = ['config', '--local', 'checkout.workers'];
      expect((await tryGit(job.workspace, asked)).exitCode).toBe(1);
    },
  );

  test('has its remote also where a template ends in the middle of a line', async () => {
    const scenario = await scenarios.create();
    const job = scenario.job();
    const template = join(scenario.root, 'template');
    await mkdir(template);
    await writeFile(join(template, 'config'), '[user]\n\tname = Somebody');
    await writeFile(join(job.home, '.gitconfig'), `[init]\n\ttemplateDir = ${template}\n`);
    await succeed(job.main());
    await expectPrimed(job.workspace, scenario);
    const name = await git(job.workspace, ['config', '--local', 'user.name']);
    expect(name).toBe('Somebody');
  });

  test("leaves it to the machine's owner how many processes write files", async () => {
    const scenario = await scenarios.create();
    const job = scenario.job();
    await writeFile(join(job.home, '.gitconfig'), '[checkout]\n\tworkers = 1\n');
    await succeed(job.main());
    const { exitCode } = await tryGit(job.workspace, ['config', '--local', 'checkout.workers']);
    expect(exitCode).toBe(1);
  });

  test('survives the mirror: a later job may replace it', async () => {
    const scenario = await scenarios.create(repositorySizes.small);
    const { job, mirror } = await scenario.run();
    await rm(mirror, { recursive: true });
    await expectPrimed(job.workspace, scenario);
  });
});

describe('a workspace with a .git', () => {
  const kinds: [string, (path: string) => Promise<unknown>][] = [
    ['a repository', (path) => git(join(path, '..'), ['init', '--quiet', '.'])],
    ['an empty folder', (path) => mkdir(path)],
    ['the file of a worktree', (path) => writeFile(path, 'gitdir: /elsewhere\n')],
    ['a link that leads nowhere', (path) => symlink('nowhere', path)],
  ];

  test.each(chooseCases(kinds))('is left alone: %s', async (_, make) => {
    const scenario = await scenarios.create();
    const job = scenario.job();
    await make(join(job.workspace, '.git'));
    const before = await readTree(job.workspace);
    const main = await succeed(job.main());
    expect(await readTree(job.workspace)).toEqual(before);
    expect(main.log).toContain(`${join(job.workspace, '.git')} already exists`);
    expect(main.outputs['provenance']).toBe('cloned');
  });
});

describe('which folder is primed', () => {
  test.each([
    ['auto, the own repository', {}, '.'],
    ['auto, in other letters', { repository: 'OWN' }, '.'],
    ['auto, another repository', { repository: 'OTHER' }, undefined],
    ['auto, another repository with a path', { repository: 'OTHER', path: 'deps/it' }, 'deps/it'],
    ['true, another repository', { repository: 'OTHER', prime: 'true' }, '.'],
    ['false, with a path', { prime: 'false', path: 'deps/it' }, undefined],
    ['a path that is absolute in the workspace', { path: 'ABSOLUTE' }, 'src'],
  ])('%s', async (_, inputs: Record<string, string>, primed) => {
    const scenario = await scenarios.create();
    const { repository = 'OWN', path, prime } = inputs;
    const own = { OWN: 'Owner/name', OTHER: 'owner/another' }[repository] ?? '';
    const repositories = scenarios.server.repositories;
    const job = scenario.job({ repository: own });
    repositories[scenario.repository] = scenario.upstream;
    repositories['owner/name'] = scenario.upstream;
    const asked = repository === 'OWN' ? 'owner/name' : scenario.repository;
    const main = await succeed(
      scenario
        .job({
          root: join(scenario.root, 'machine-1'),
          repository: own,
          inputs: {
            repository: asked,
            ...(prime === undefined ? {} : { prime }),
            ...(path === undefined
              ? {}
              : { path: path.replace('ABSOLUTE', join(job.workspace, 'src')) }),
          },
        })
        .main(),
    );
    expect(warningsOf(main)).toEqual([]);
    const found: string[] = [];
    for (const folder of ['.', 'deps/it', 'src']) {
      if (await isThere(join(job.workspace, folder, '.git'))) found.push(folder);
    }
    expect(found).toEqual(primed === undefined ? [] : [primed]);
    if (primed === undefined) expect(await readdir(job.workspace)).toEqual([]);
  });

  const outside = ['..', '../elsewhere', '/elsewhere', 'link', 'link/below'];
  test.each(chooseCases([...outside, '.git', 'a/.GIT/b', 'a\nb']))('refuses %j', async (path) => {
    const scenario = await scenarios.create();
    const job = scenario.job({ inputs: { path } });
    const outside = join(scenario.root, 'outside');
    await mkdir(outside);
    await symlink(outside, join(job.workspace, 'link'));
    const main = await job.main();
    expect(failureOf(main)).toContain(`Input \`path\` is ${JSON.stringify(path)}; expected`);
    expect(await readdir(outside)).toEqual([]);
    expect(await readdir(job.workspace)).toEqual(['link']);
    expect(scenarios.server.requests).toEqual([]);
  });

  test('follows a link that stays in the workspace', async () => {
    const scenario = await scenarios.create();
    const job = scenario.job({ inputs: { path: 'link/below' } });
    await mkdir(join(job.workspace, 'real'));
    await symlink('real', join(job.workspace, 'link'));
    await succeed(job.main());
    await expectPrimed(join(job.workspace, 'real', 'below'), scenario);
  });
});

const onPosix = process.platform === 'win32' ? describe.skip : describe;

onPosix('a step that is killed while it primes', () => {
  /** Kills main while it makes the workspace's first commit, which takes this git an hour. */
  async function killWhilePriming({ root }: Scenario, job: Job, path: string): Promise<void> {
    const real = execFileSync('/bin/sh', ['-c', 'command -v git'], { encoding: 'utf8' }).trim();
    const script = `#!/bin/sh\ncase "$*" in *commit-tree*) exec sleep 3600;; esac\nexec '${real}' "$@"\n`;
    await mkdir(join(root, 'slow'));
    await writeFile(join(root, 'slow', 'git'), script, { mode: 0o755 });
    job.setEnvironment({ PATH: `${join(root, 'slow')}${delimiter}${process.env['PATH'] ?? ''}` });
    const step = job.startMain();
    await step.waitForLine(/commit-tree/);
    job.kill();
    expect((await step.finished).signal).toBe('SIGKILL');
    expect(await readdir(path)).toEqual([expect.stringMatching(/^\.mirror-action-priming-/)]);
  }

  test.each([undefined, 'deps/it'])(
    'leaves what the next step removes before it primes again; path: %s',
    async (path) => {
      const scenario = await scenarios.create();
      const inputs = { save: 'never', ...(path === undefined ? {} : { path }) };
      const root = scenario.newMachine();
      const killed = scenario.job({ root, inputs });
      const folder = join(killed.workspace, path ?? '.');
      await killWhilePriming(scenario, killed, folder);
      const [debris = ''] = await readdir(folder);
      expect(debris).toMatch(/^\.mirror-action-priming-[0-9a-f]{16}$/);

      // Names like ours that are not ours.
      const notes = ['.mirror-action-priming-notes', `${debris}-old`, `x${debris}`];
      for (const name of notes) await mkdir(join(folder, name));
      const file = `.mirror-action-priming-${'0'.repeat(16)}`;
      await writeFile(join(folder, file), 'a file');
      const link = `.mirror-action-priming-${'1'.repeat(16)}`;
      await mkdir(join(scenario.root, 'elsewhere'));
      await writeFile(join(scenario.root, 'elsewhere', 'precious'), '');
      await symlink(join(scenario.root, 'elsewhere'), join(folder, link));

      const main = await succeed(scenario.job({ root, inputs }).main());
      expect(main.log).toContain(`Removed ${join(folder, debris)}, which an earlier step left`);
      expect((await readdir(folder)).sort()).toEqual(['.git', ...notes, file, link].sort());
      expect(await readdir(join(scenario.root, 'elsewhere'))).toEqual(['precious']);
      await git(folder, ['fsck', '--full', '--strict', '--no-progress']);
    },
  );

  test('leaves what the next step removes although a checkout made a .git meanwhile', async () => {
    const scenario = await scenarios.create();
    const root = scenario.newMachine();
    const killed = scenario.job({ root });
    await killWhilePriming(scenario, killed, killed.workspace);
    await git(killed.workspace, ['init', '--quiet', '.']);
    await succeed(scenario.job({ root }).main());
    expect(await readdir(killed.workspace)).toEqual(['.git']);
  });
});

test('a repository with .git in its name is primed, and shares its snapshots', async () => {
  const scenario = await scenarios.create();
  await scenario.run();
  const inputs = { repository: `${scenario.repository}.git` };
  const { job, main } = await scenario.run({ inputs });
  expect(main.outputs['provenance']).toBe('restored');
  await expectPrimed(job.workspace, scenario);
});

describe('where priming fails', () => {
  test('the workspace is unchanged, and the step continues with a warning', async () => {
    const scenario = await scenarios.create();
    const job = scenario.job({ inputs: { path: 'file/below' } });
    await writeFile(join(job.workspace, 'file'), 'not a folder');
    const before = await readTree(job.workspace);
    const main = await succeed(job.main());
    expect(warningsOf(main)).toEqual([expect.stringContaining('could not be primed')]);
    expect(await readTree(job.workspace)).toEqual(before);
    expect((await succeed(job.post())).log).toContain('Saved snapshot');
  });

  const isRoot = process.platform === 'linux' && process.getuid?.() === 0;
  const named = isRoot ? '' : ' (skipped: needs Linux, as root)';
  const testWithMounts = isRoot ? test : test.skip;

  testWithMounts(`it copies to another file system${named}`, async () => {
    const scenario = await scenarios.create(repositorySizes.small);
    const mounted = mounts();
    try {
      const disk = mounted.memory(64 * 1024 * 1024);
      const job = scenario.job();
      await rm(job.workspace, { recursive: true });
      await symlink(disk, job.workspace);
      await succeed(job.main());
      await expectPrimed(disk, scenario);
      expect((await readdir(disk)).filter((name) => name.startsWith('.'))).toEqual(['.git']);
    } finally {
      mounted.removeAll();
    }
  });

  testWithMounts(`a full disk leaves nothing behind${named}`, async () => {
    const scenario = await scenarios.create(repositorySizes.small);
    const mounted = mounts();
    try {
      const disk = mounted.memory(128 * 1024);
      const job = scenario.job({ inputs: { path: 'a/b/c' } });
      await rm(job.workspace, { recursive: true });
      await symlink(disk, job.workspace);
      await mkdir(join(disk, 'a'));
      const main = await succeed(job.main());
      expect(warningsOf(main)).toEqual([expect.stringMatching(/could not be primed.*no space/i)]);
      expect(await readTree(disk)).toEqual({ a: 'folder' });
    } finally {
      mounted.removeAll();
    }
  });
});
