import { describe, expect, test } from '@jest/globals';
import { existsSync } from 'node:fs';
import { chmod, mkdir, readFile, readdir, rename, rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { JobOptions } from '../../support/action-runner.ts';
import { flipBit } from '../../support/corruption.ts';
import { git } from '../../support/git.ts';
import { addCommits } from '../../support/repository-fixture.ts';
import {
  expectMirrorOf,
  listManifests,
  newestSnapshot,
  readTree,
  succeed,
  useScenarios,
  verdict,
  type Scenario,
} from '../scenarios/scenario.ts';
import { chooseCases } from '../scenarios/rounds.ts';

const scenarios = useScenarios();

/** Numbers of the manifests in the store, oldest first. */
async function numbersIn(store: string): Promise<number[]> {
  return (await listManifests(store)).map(({ number }) => number);
}

/** A disk keeps time by itself: what lies there becomes two hours old. */
async function age(folder: string): Promise<void> {
  const past = new Date(Date.now() - 2 * 3_600_000);
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  for (const entry of entries) await utimes(join(entry.parentPath, entry.name), past, past);
}

describe('save', () => {
  const fork = {
    head: { repo: { full_name: 'eve/name' } },
    base: { repo: { full_name: 'o/name' } },
  };
  const own = { head: { repo: { full_name: 'o/name' } }, base: { repo: { full_name: 'o/name' } } };
  const gone = { head: { repo: null }, base: { repo: { full_name: 'o/name' } } };

  test('never: restores and says that it does not save', async () => {
    const scenario = await scenarios.create();
    const { main, post } = await scenario.run({ inputs: { save: 'never' } });
    expect(main.outputs['provenance']).toBe('cloned');
    expect(verdict(post)).toBe('Nothing saved: `save` is `never`');
    expect(await readdir(scenario.store)).toEqual([]);
  });

  test('always: saves what has not changed, and from untrusted events too', async () => {
    const scenario = await scenarios.create();
    const inputs = { save: 'always' };
    await scenario.run({ inputs });
    const { main, post } = await scenario.run({ inputs, event: { name: 'issue_comment' } });
    expect(main.outputs['provenance']).toBe('restored');
    expect(verdict(post)).toMatch(/^Saved snapshot 2-/);
    const further = await scenario.run();
    expect(further.main.outputs['snapshot']).toBe(verdict(post).split(' ')[2]);
    await expectMirrorOf(further.mirror, scenario.upstream);
  });

  const untrusted: { event: NonNullable<JobOptions['event']>; why: RegExp }[] = [
    { event: { name: 'pull_request', payload: { pull_request: fork } }, why: /comes from a fork/ },
    { event: { name: 'pull_request', payload: { pull_request: gone } }, why: /comes from a fork/ },
    { event: { name: 'pull_request', payload: {} }, why: /does not say where it comes from/ },
    {
      event: { name: 'pull_request_target', payload: { pull_request: own } },
      why: /anybody can cause/,
    },
    { event: { name: 'workflow_run' }, why: /anybody can cause/ },
    { event: { name: 'issue_comment' }, why: /anybody can cause/ },
  ];

  test('auto: untrusted events restore and do not save', async () => {
    const scenario = await scenarios.create();
    await scenario.run();
    const before = await readTree(scenario.store);
    await addCommits(scenario.upstream);
    for (const { event, why } of untrusted) {
      const { main, post, mirror } = await scenario.run({ event });
      expect(main.outputs).toMatchObject({ provenance: 'restored', 'cache-hit': 'true' });
      expect(verdict(post)).toMatch(/^Nothing saved: /);
      expect(verdict(post)).toMatch(why);
      expect(post.annotations).toEqual([]);
      await expectMirrorOf(mirror, scenario.upstream);
    }
    expect(await readTree(scenario.store)).toEqual(before);
  });

  test('auto: a pull request of the repository itself saves', async () => {
    const scenario = await scenarios.create();
    const event = { name: 'pull_request', payload: { pull_request: own } };
    expect(verdict((await scenario.run({ event })).post)).toMatch(/^Saved snapshot 1-/);
  });
});

describe('max-snapshots', () => {
  test('older snapshots and their layers go after an hour of grace, and not before', async () => {
    const scenario = await scenarios.create();
    const inputs = { 'max-snapshots': '1' };
    const save = async () => {
      await addCommits(scenario.upstream);
      await scenario.run({ inputs });
      const { folder, snapshot } = await newestSnapshot(scenario.store);
      return {
        named: snapshot.layers.map(({ name }) => name).sort(),
        stored: (await readdir(join(folder, 'layers'))).sort(),
      };
    };
    for (let number = 1; number <= 2; number += 1) await save();
    const third = await save();
    expect(await numbersIn(scenario.store)).toEqual([1, 2, 3]);
    expect(third.named).toHaveLength(3);
    await age(scenario.store);
    const fourth = await save();
    // The third stays as long as somebody may be reading it, with its layers.
    expect(await numbersIn(scenario.store)).toEqual([3, 4]);
    expect(fourth.named).toHaveLength(1);
    expect(fourth.stored).toEqual([...third.named, ...fourth.named].sort());
    await age(scenario.store);
    const fifth = await save();
    expect(await numbersIn(scenario.store)).toEqual([4, 5]);
    expect(fifth.named).toEqual(expect.arrayContaining(fourth.named));
    expect(fifth.stored).toEqual(fifth.named);
    const { main, mirror } = await scenario.run();
    expect(main.outputs['snapshot']).toMatch(/^5-/);
    await expectMirrorOf(mirror, scenario.upstream);
  });

  test('what an interrupted save left goes too, when it is old', async () => {
    const scenario = await scenarios.create();
    await scenario.run();
    const { folder, snapshot } = await newestSnapshot(scenario.store);
    const debris = [join(folder, 'tmp', 'abc'), join(folder, 'layers', `${'0'.repeat(64)}-abc`)];
    for (const path of debris) {
      await mkdir(path);
      await writeFile(join(path, 'part'), 'x');
    }
    await scenario.run({ inputs: { save: 'always' } });
    expect(debris.map(existsSync)).toEqual([true, true]);
    await age(scenario.store);
    await scenario.run({ inputs: { save: 'always' } });
    expect(debris.map(existsSync)).toEqual([false, false]);
    expect(await readdir(join(folder, 'layers'))).toContain(snapshot.layers[0]?.name);
  });
});

describe('post without a successful main', () => {
  test('main failed: nothing is saved, and the job is not failed again', async () => {
    const scenario = await scenarios.create();
    scenario.server.fault({ on: 'probe', behave: { kind: 'status', status: 403 } });
    const job = scenario.job();
    expect((await job.main()).exitCode).toBe(1);
    scenario.server.clearFaults();
    const post = await succeed(job.post());
    expect(verdict(post)).toBe('Nothing saved: the fetch did not succeed');
    expect(await readdir(scenario.store)).toEqual([]);
  });

  test('an earlier job left a good mirror: a job whose fetch failed does not save it', async () => {
    const scenario = await scenarios.create();
    const root = scenario.newMachine();
    await scenario.run({ root, inputs: { save: 'never' } });
    scenario.server.fault({ on: 'probe', behave: { kind: 'status', status: 404 } });
    const job = scenario.job({ root });
    expect((await job.main()).exitCode).toBe(1);
    expect(verdict(await succeed(job.post()))).toBe('Nothing saved: the fetch did not succeed');
    expect(await readdir(scenario.store)).toEqual([]);
  });
});

describe('what happens to the mirror between main and post', () => {
  /** Post after a change by the job's other steps. */
  async function postAfter(
    scenario: Scenario,
    change: (mirror: string) => Promise<unknown>,
  ): Promise<string> {
    const job = scenario.job();
    const { outputs } = await succeed(job.main());
    await change(outputs['mirror-path'] ?? '');
    return verdict(await succeed(job.post()));
  }

  test('it is gone: nothing is saved', async () => {
    const scenario = await scenarios.create();
    const said = await postAfter(scenario, (mirror) => rm(mirror, { recursive: true }));
    expect(said).toMatch(/^Nothing saved: the mirror of this job is no longer at .*$/);
    expect(await readdir(scenario.store)).toEqual([]);
  });

  test('its packed-refs are gone: nothing is saved, the next job heals', async () => {
    const scenario = await scenarios.create();
    const root = scenario.newMachine();
    const job = scenario.job({ root });
    const { outputs } = await succeed(job.main());
    await rm(join(outputs['mirror-path'] ?? '', 'packed-refs'));
    const post = await succeed(job.post());
    expect(verdict(post)).toMatch(/^Nothing saved: .*packed-refs/);
    expect(await readdir(scenario.store)).toEqual([]);
    const next = await scenario.run({ root });
    expect(verdict(next.post)).toMatch(/^Saved snapshot 1-/);
    await expectMirrorOf(next.mirror, scenario.upstream);
  });

  test('its refs were moved: what upstream never had is not saved', async () => {
    const scenario = await scenarios.create();
    const said = await postAfter(scenario, async (mirror) => {
      await git(mirror, ['update-ref', 'refs/heads/mine', 'refs/heads/branch-1']);
      await git(mirror, ['pack-refs', '--all']);
    });
    expect(said).toMatch(/its refs changed since the last successful fetch/);
    expect(await readdir(scenario.store)).toEqual([]);
  });

  test('it was repacked and configured: the snapshot holds packs and refs, nothing else', async () => {
    const scenario = await scenarios.create();
    const marker = join(scenario.root, 'hook-ran');
    const said = await postAfter(scenario, async (mirror) => {
      await git(mirror, ['repack', '-a', '-d', '--write-bitmap-index', '-q']);
      await git(mirror, ['commit-graph', 'write', '--reachable']);
      await git(mirror, ['config', 'core.fsmonitor', `touch ${marker}`]);
      await git(mirror, ['update-ref', 'refs/heads/loose', 'refs/heads/branch-1']);
      await mkdir(join(mirror, 'hooks'), { recursive: true });
      await writeFile(join(mirror, 'hooks', 'post-index-change'), `#!/bin/sh\ntouch ${marker}\n`);
      await chmod(join(mirror, 'hooks', 'post-index-change'), 0o755);
    });
    expect(said).toMatch(/^Saved snapshot 1-/);
    expect(existsSync(marker)).toBe(false);
    const { folder, snapshot } = await newestSnapshot(scenario.store);
    const names = Object.keys(await readTree(join(folder, 'layers'))).filter((name) =>
      name.includes('/'),
    );
    expect(names.every((name) => /\/pack-[0-9a-f]{40}\.(pack|idx)$/.test(name))).toBe(true);
    expect(names).toHaveLength(2);
    expect(snapshot.refs.map(({ name }) => name)).not.toContain('refs/heads/loose');
    const { main, mirror } = await scenario.run();
    expect(main.outputs['provenance']).toBe('restored');
    await expectMirrorOf(mirror, scenario.upstream);
  });

  test.each(chooseCases(['pack', 'idx']))(
    'its %s was damaged: nothing is saved, the next job heals',
    async (kind) => {
      const scenario = await scenarios.create();
      const root = scenario.newMachine();
      const job = scenario.job({ root });
      const mirror = (await succeed(job.main())).outputs['mirror-path'] ?? '';
      const packs = join(mirror, 'objects', 'pack');
      const names = await readdir(packs);
      flipBit(join(packs, names.find((name) => name.endsWith(kind)) ?? ''), 100, 3);
      const post = await succeed(job.post());
      expect(verdict(post)).toMatch(/^Nothing saved, and the mirror was deleted: .* own checksum/);
      expect(post.annotations).toMatchObject([{ level: 'warning' }]);
      expect(await listManifests(scenario.store)).toEqual([]);
      expect(existsSync(mirror)).toBe(false);
      const next = await scenario.run({ root });
      expect(next.main.outputs['provenance']).toBe('cloned');
      expect(verdict(next.post)).toMatch(/^Saved snapshot 1-/);
      await expectMirrorOf(next.mirror, scenario.upstream);
    },
  );

  test('its objects were taken out of their packs: nothing is saved', async () => {
    const scenario = await scenarios.create();
    const said = await postAfter(scenario, async (mirror) => {
      const packs = join(mirror, 'objects', 'pack');
      const aside = join(scenario.root, 'aside');
      await rename(packs, aside);
      await mkdir(packs);
      for (const name of (await readdir(aside)).filter((each) => each.endsWith('.pack'))) {
        await git(mirror, ['unpack-objects', '-q'], { input: await readFile(join(aside, name)) });
      }
    });
    expect(said).toMatch(/^Nothing saved/);
    expect(await numbersIn(scenario.store)).toEqual([]);
  });
});

describe('the store at post', () => {
  test('another job saved meanwhile: the late one lets it be', async () => {
    const scenario = await scenarios.create();
    const late = scenario.job();
    await succeed(late.main());
    await addCommits(scenario.upstream);
    await scenario.run();
    const before = await readTree(scenario.store);
    expect(verdict(await succeed(late.post()))).toBe(
      'Nothing saved: another job saved snapshot 1 first',
    );
    expect(await readTree(scenario.store)).toEqual(before);
  });

  test('a mirror on this machine saves after others saved, once it has fetched again', async () => {
    const scenario = await scenarios.create();
    const root = scenario.newMachine();
    await scenario.run({ root });
    await addCommits(scenario.upstream);
    await scenario.run();
    await addCommits(scenario.upstream);
    const { main, post } = await scenario.run({ root });
    expect(main.outputs['provenance']).toBe('existing');
    expect(verdict(post)).toMatch(/^Saved snapshot 3-/);
    const further = await scenario.run();
    expect(further.main.outputs['snapshot']).toBe(verdict(post).split(' ')[2]);
    await expectMirrorOf(further.mirror, scenario.upstream);
  });

  /** An outage: every look into the store is an error. Gives what ends it. */
  async function breakStore(store: string): Promise<() => Promise<void>> {
    const [folder, away] = [join(store, 'v1'), join(store, 'away')];
    if (existsSync(folder)) await rename(folder, away);
    await writeFile(folder, 'no folder');
    return async () => {
      await rm(folder);
      if (existsSync(away)) await rename(away, folder);
    };
  }

  test('it fails: main continues without it, post does not save and does not fail', async () => {
    const scenario = await scenarios.create();
    await scenario.run();
    await addCommits(scenario.upstream);
    const repair = await breakStore(scenario.store);
    const job = scenario.job();
    const main = await succeed(job.main());
    expect(main.outputs).toMatchObject({ provenance: 'cloned', 'cache-hit': 'false' });
    expect(main.annotations).toMatchObject([
      { level: 'warning', message: expect.stringMatching(/store.*ENOTDIR.*continuing without/) },
    ]);
    expect(main.summary).toMatch(
      /went wrong and was worked around:.*continuing without.*nothing will be saved/s,
    );
    await expectMirrorOf(main.outputs['mirror-path'] ?? '', scenario.upstream);

    // It is back, and may hold what is newer than this job's mirror.
    await repair();
    const before = await readTree(scenario.store);
    expect(verdict(await succeed(job.post()))).toMatch(/could not be asked before the fetch/);
    expect(await readTree(scenario.store)).toEqual(before);
  });

  test('it fails under a mirror that is on this machine: the fetch is done, nothing is saved', async () => {
    const scenario = await scenarios.create();
    const root = scenario.newMachine();
    await scenario.run({ root });
    await addCommits(scenario.upstream);
    await breakStore(scenario.store);
    const before = await readTree(scenario.store);
    const { main, post, mirror } = await scenario.run({ root });
    expect(main.outputs['provenance']).toBe('existing');
    expect(main.summary).toMatch(/nothing will be saved/);
    expect(verdict(post)).toMatch(/^Nothing saved: /);
    await expectMirrorOf(mirror, scenario.upstream);
    expect(await readTree(scenario.store)).toEqual(before);
  });

  test('it fails at post: a warning with its cause', async () => {
    const scenario = await scenarios.create();
    const job = scenario.job();
    await succeed(job.main());
    await breakStore(scenario.store);
    const post = await succeed(job.post());
    expect(verdict(post)).toMatch(/^Nothing saved: .*store.*ENOTDIR/);
    expect(post.annotations).toMatchObject([{ level: 'warning' }]);
  });

  test('its folder goes between main and post: a warning, and it is not made', async () => {
    const scenario = await scenarios.create();
    const job = scenario.job();
    await succeed(job.main());
    await rm(scenario.store, { recursive: true });
    const post = await succeed(job.post());
    expect(verdict(post)).toMatch(/^Nothing saved: .*ENOENT.*check `disk-path`/);
    expect(existsSync(scenario.store)).toBe(false);
  });
});
