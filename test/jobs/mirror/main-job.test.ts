import { describe, expect, test } from '@jest/globals';
import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { git } from '../../support/git.ts';
import {
  createBranch,
  deleteBranch,
  deleteRef,
  moveTag,
  readRefs,
  renameBranch,
  renameDefaultBranch,
} from '../../support/repository-change.ts';
import { addCommits, repositorySizes } from '../../support/repository-fixture.ts';
import {
  outputsOfMirror,
  expectMirrorOf,
  failureOf,
  newestSnapshot,
  readTree,
  storeManifest,
  succeed,
  useScenarios,
  verdict,
} from '../scenarios/scenario.ts';
import { chooseCases } from '../scenarios/rounds.ts';

const scenarios = useScenarios();

const FORMATS = chooseCases(['sha1', 'sha256']);

describe.each(FORMATS)('from cold to warm, %s', (objectFormat) => {
  test('every job gets the right mirror, and takes no more than it needs', async () => {
    const scenario = await scenarios.create({ ...repositorySizes.small, objectFormat });
    const { server, upstream, store } = scenario;
    const head = (): Promise<string> => git(upstream, ['rev-parse', 'HEAD']);

    // Nothing is there: a clone, and a first snapshot.
    const cold = await scenario.run();
    expect(Object.keys(cold.main.outputs).sort()).toEqual([...cold.job.definition.outputs].sort());
    expect(cold.main.outputs).toMatchObject({
      ...{ provenance: 'cloned', 'cache-hit': 'false', recloned: 'false', snapshot: '' },
      ...{ head: await head(), 'refs-digest': expect.stringMatching(/^[0-9a-f]{64}$/) },
    });
    await expectMirrorOf(cold.mirror, upstream);
    expect(verdict(cold.post)).toMatch(/^Saved snapshot 1-[0-9a-f]{12} \([\d.]+ [KM]iB\)$/);
    const cloneBytes = server.bytesSent;
    expect(server.clones).toBe(1);

    // A new machine restores it; upstream sends only new commits.
    server.resetCounters();
    await addCommits(upstream, { commits: 2 });
    const warm = await scenario.run();
    const first = verdict(cold.post).split(' ')[2];
    expect(warm.main.outputs).toMatchObject({
      ...{ provenance: 'restored', 'cache-hit': 'true', recloned: 'false', snapshot: first },
      head: await head(),
    });
    expect(warm.main.outputs['refs-digest']).not.toBe(cold.main.outputs['refs-digest']);
    await expectMirrorOf(warm.mirror, upstream);
    expect(verdict(warm.post)).toMatch(/^Saved snapshot 2-/);
    expect(server.clones).toBe(0);
    expect(server.bytesSent).toBeLessThan(cloneBytes / 20);

    // Nothing changed: upstream is asked for its refs only, and nothing is saved.
    server.resetCounters();
    const before = await readTree(store);
    const root = scenario.newMachine();
    const unchanged = await scenario.run({ root });
    const second = verdict(warm.post).split(' ')[2] ?? '';
    expect(outputsOfMirror(unchanged.main)).toEqual({
      ...outputsOfMirror(warm.main),
      ...{ 'mirror-path': unchanged.mirror, snapshot: second },
    });
    expect(verdict(unchanged.post)).toBe(`Nothing saved: nothing changed since snapshot ${second}`);
    expect(await readTree(store)).toEqual(before);
    expect(server.requests.filter(({ kind }) => kind === 'fetch')).toEqual([]);

    // The same machine again: its mirror is brought up to date, and descends from the snapshot.
    const { head: newHead } = await addCommits(upstream);
    const again = await scenario.run({ root });
    expect(again.main.outputs).toMatchObject({
      ...{ provenance: 'existing', 'cache-hit': 'false', recloned: 'false', snapshot: '' },
      ...{ head: newHead, 'mirror-path': unchanged.mirror },
    });
    await expectMirrorOf(again.mirror, upstream);
    expect(verdict(again.post)).toMatch(/^Saved snapshot 3-/);
    const { snapshot } = await newestSnapshot(store);
    expect(snapshot).toMatchObject({ objectFormat, refsDigest: again.main.outputs['refs-digest'] });
  });
});

describe('what is mirrored', () => {
  test('`all` is every ref, with those of pull requests', async () => {
    const scenario = await scenarios.create({ ...repositorySizes.tiny, pullRefs: 30 });
    await git(scenario.upstream, ['update-ref', 'refs/notes/commits', 'refs/pull/3/head']);
    const inputs = { refs: 'all' };
    const cold = await scenario.run({ inputs });
    await expectMirrorOf(cold.mirror, scenario.upstream, () => true);
    await deleteRef(scenario.upstream, 'refs/pull/7/head');
    const warm = await scenario.run({ inputs });
    expect(warm.main.outputs['provenance']).toBe('restored');
    await expectMirrorOf(warm.mirror, scenario.upstream, () => true);
  });

  test('heads only: tags do not follow their commits', async () => {
    const scenario = await scenarios.create();
    const isHead = (name: string): boolean => name.startsWith('refs/heads/');
    const inputs = { refs: '+refs/heads/*:refs/heads/*' };
    const cold = await scenario.run({ inputs });
    await expectMirrorOf(cold.mirror, scenario.upstream, isHead);
    await addCommits(scenario.upstream);
    await moveTag(scenario.upstream, 'new', 'main', 'with a message');
    const warm = await scenario.run({ inputs });
    expect(warm.main.outputs['provenance']).toBe('restored');
    await expectMirrorOf(warm.mirror, scenario.upstream, isHead);
  });

  test('a negative refspec leaves refs out, and has snapshots of its own', async () => {
    const scenario = await scenarios.create();
    await createBranch(scenario.upstream, 'tmp/one', 'main');
    await scenario.run();
    const inputs = { refs: 'refs/heads/*\n^refs/heads/tmp/*\n' };
    const { main, mirror } = await scenario.run({ inputs });
    expect(main.outputs['provenance']).toBe('cloned');
    const isMirrored = (name: string): boolean => /^refs\/heads\/(?!tmp\/)/.test(name);
    await expectMirrorOf(mirror, scenario.upstream, isMirrored);
  });

  test('names that differ only in case, UTF-8 names and names that are no UTF-8', async () => {
    const scenario = await scenarios.create();
    const { upstream } = scenario;
    const oid = await git(upstream, ['rev-parse', 'main']);
    const older = await git(upstream, ['rev-parse', 'main~1']);
    const names = ['refs/heads/case', 'refs/heads/größe-新', 'refs/tags/v1.0'].map((name) =>
      Buffer.from(name),
    );
    const others = [Buffer.from('refs/heads/Case'), Buffer.from('refs/heads/latin-\xe9', 'latin1')];
    const commands = [
      ...names.map((name) =>
        Buffer.concat([Buffer.from('create '), name, Buffer.from(` ${oid}\n`)]),
      ),
      ...others.map((name) =>
        Buffer.concat([Buffer.from('create '), name, Buffer.from(` ${older}\n`)]),
      ),
    ];
    await git(upstream, ['update-ref', '--stdin'], { input: commands });
    const cold = await scenario.run();
    const warm = await scenario.run();
    expect(warm.main.outputs['provenance']).toBe('restored');
    for (const { mirror } of [cold, warm]) {
      await expectMirrorOf(mirror, upstream);
      // git's output went through UTF-8 above: what is none is compared as bytes.
      const packed = await readFile(join(mirror, 'packed-refs'), 'latin1');
      expect(packed).toContain(`${older} refs/heads/latin-\xe9\n`);
      expect(packed).toContain(`${oid} ${Buffer.from('refs/heads/größe-新').toString('latin1')}\n`);
      expect(packed).toContain(`${older} refs/heads/Case\n`);
      expect(packed).toContain(`${oid} refs/heads/case\n`);
    }
  });

  test('equal mirrors have equal digests, others do not', async () => {
    const scenario = await scenarios.create();
    const digest = async (options = {}): Promise<string> =>
      (await succeed(scenario.job(options).main())).outputs['refs-digest'] ?? '';
    const first = await digest();
    expect(await digest({ inputs: { 'cache-key': 'other' } })).toBe(first);
    await git(scenario.upstream, ['symbolic-ref', 'HEAD', 'refs/heads/branch-1']);
    const second = await digest();
    await git(scenario.upstream, ['update-ref', 'refs/heads/branch-2', 'main']);
    const third = await digest();
    expect(new Set([first, second, third]).size).toBe(3);
  });
});

describe('changes of upstream are followed by existing and by restored mirrors', () => {
  const changes: Record<string, (upstream: string) => Promise<unknown>> = {
    'a force push': (upstream) =>
      addCommits(upstream, { from: 'main~4', commits: 2, fileBytes: 500, seed: 9 }),
    'branches deleted': async (upstream) => {
      await deleteBranch(upstream, 'branch-1');
      await deleteRef(upstream, 'refs/tags/annotated-1');
    },
    'all but one ref deleted': async (upstream) => {
      for (const ref of (await readRefs(upstream)).keys()) {
        if (ref !== 'refs/heads/main') await deleteRef(upstream, ref);
      }
    },
    'only a branch that is not the default one is left': async (upstream) => {
      for (const ref of (await readRefs(upstream)).keys()) {
        if (ref !== 'refs/heads/branch-1') await deleteRef(upstream, ref);
      }
    },
    'a branch becomes a folder of branches': (upstream) =>
      renameBranch(upstream, 'branch-1', 'branch-1/deeper'),
    'the default branch renamed': (upstream) => renameDefaultBranch(upstream, 'trunk'),
    'the default branch renamed below its old name': (upstream) =>
      renameDefaultBranch(upstream, 'main/trunk'),
    'another default branch': (upstream) =>
      git(upstream, ['symbolic-ref', 'HEAD', 'refs/heads/branch-2']),
    'HEAD detached': async (upstream) => {
      await git(upstream, ['update-ref', '--no-deref', 'HEAD', 'main~2']);
    },
    'HEAD detached at a commit that no ref reaches': async (upstream) => {
      await addCommits(upstream, { from: 'main~3', seed: 5 });
      await git(upstream, ['update-ref', '--no-deref', 'HEAD', 'main']);
      await addCommits(upstream, { branch: 'main', from: 'main~2', seed: 6 });
    },
    'tags moved, from light to annotated and back': async (upstream) => {
      await moveTag(upstream, 'light-1', 'main', 'now with a message');
      await moveTag(upstream, 'annotated-1', 'main~1');
    },
    'a tag of a tag, of a tree and of a file': async (upstream) => {
      await git(upstream, ['tag', '-a', '-m', 'outer', 'outer', 'annotated-1']);
      await git(upstream, ['tag', '-a', '-m', 'tree', 'tree', 'main^{tree}']);
      await git(upstream, ['tag', 'file', 'main:folder-0/file-0']);
    },
  };

  test.each(chooseCases(Object.entries(changes)))('%s', async (_, change) => {
    const scenario = await scenarios.create();
    const root = scenario.newMachine();
    await scenario.run({ root });
    await change(scenario.upstream);
    const existing = await succeed(scenario.job({ root }).main());
    const restored = await succeed(scenario.job().main());
    expect(existing.outputs).toMatchObject({ provenance: 'existing', recloned: 'false' });
    expect(restored.outputs).toMatchObject({ provenance: 'restored', recloned: 'false' });
    expect(existing.outputs['refs-digest']).toBe(restored.outputs['refs-digest']);
    for (const { outputs } of [existing, restored]) {
      await expectMirrorOf(outputs['mirror-path'] ?? '', scenario.upstream);
    }
  });

  test('a detached HEAD that no ref reaches is saved and restored, and so is its way back', async () => {
    const scenario = await scenarios.create();
    const { upstream } = scenario;
    const steps = [
      async () => {
        await addCommits(upstream);
        await git(upstream, ['update-ref', '--no-deref', 'HEAD', 'main']);
        await git(upstream, ['update-ref', 'refs/heads/main', 'main~1']);
      },
      async () => {
        await addCommits(upstream, { branch: 'main' });
      },
      async () => {
        await git(upstream, ['symbolic-ref', 'HEAD', 'refs/heads/main']);
      },
    ];
    await scenario.run();
    for (const step of steps) {
      await step();
      const { main, post, mirror } = await scenario.run();
      expect(main.outputs).toMatchObject({ provenance: 'restored', recloned: 'false' });
      expect(main.outputs['head']).toBe(await git(upstream, ['rev-parse', 'HEAD']));
      expect(verdict(post)).toMatch(/^Saved snapshot /);
      await expectMirrorOf(mirror, upstream);
    }
  });

  test('a folder of branches becomes a branch again, and what was saved between is right', async () => {
    const scenario = await scenarios.create();
    const root = scenario.newMachine();
    const names = ['branch-1', 'branch-1/deeper', 'branch-1'];
    for (const [index, name] of names.entries()) {
      const before = names[index - 1];
      if (before !== undefined) await renameBranch(scenario.upstream, before, name);
      const existing = await scenario.run({ root });
      await expectMirrorOf(existing.mirror, scenario.upstream);
      const restored = await scenario.run();
      expect(restored.main.outputs['provenance']).toBe('restored');
      expect(verdict(restored.post)).toMatch(/nothing changed/);
      await expectMirrorOf(restored.mirror, scenario.upstream);
    }
  });

  test('refs that move between probe and fetch take one more probe, and no wipe', async () => {
    const scenario = await scenarios.create();
    const { server, upstream } = scenario;
    await scenario.run();
    await addCommits(upstream);
    server.resetCounters();
    server.fault({ on: 'fetch', times: 1, behave: { kind: 'delay', forMs: 1_500 } });
    const main = scenario.job().startMain();
    await server.waitForRequest(({ kind }) => kind === 'fetch');
    await addCommits(upstream, { from: 'main~3', seed: 4 });
    await git(upstream, ['reflog', 'expire', '--all', '--expire=now']);
    await git(upstream, ['-c', 'gc.pruneExpire=now', 'gc', '--quiet', '--prune=now']);
    const { outputs } = await succeed(main.finished);
    expect(outputs).toMatchObject({ provenance: 'restored', recloned: 'false' });
    await expectMirrorOf(outputs['mirror-path'] ?? '', upstream);
    expect(server.clones).toBe(0);
  });
});

describe('where the mirror goes', () => {
  test('by default next to the workspace, the same place for every job of a runner', async () => {
    const scenario = await scenarios.create();
    const root = scenario.newMachine();
    const first = await scenario.run({ root });
    expect(dirname(dirname(first.mirror))).toBe(first.job.runnerWorkspace);
    expect(await readdir(first.job.workspace)).toEqual(['.git']);
    const second = await scenario.run({ root, workspace: 'elsewhere' });
    expect(second.mirror).toBe(first.mirror);
    expect(second.main.outputs['provenance']).toBe('existing');
    const other = await scenario.run({ root, inputs: { 'cache-key': 'other' } });
    expect(other.mirror).not.toBe(first.mirror);
    expect(other.main.outputs['provenance']).toBe('cloned');
  });

  test('at mirror-path: absolute, or from home', async () => {
    const scenario = await scenarios.create();
    const root = scenario.newMachine();
    const path = join(root, 'deep', 'down', 'mirror.git');
    const given = await scenario.run({ root, inputs: { 'mirror-path': path } });
    expect(given.mirror).toBe(path);
    const atHome = await scenario.run({ root, inputs: { 'mirror-path': '~/mirrors/one' } });
    expect(atHome.mirror).toBe(join(root, 'home', 'mirrors', 'one'));
    for (const { mirror } of [given, atHome]) {
      await expectMirrorOf(mirror, scenario.upstream);
      // Nothing but the mirror and its lock stays.
      const name = mirror.slice(dirname(mirror).length + 1);
      expect(await readdir(dirname(mirror))).toEqual([name, `${name}.lock`]);
    }
  });

  test('at mirror-path again, where upstream has SHA-256: its key is known late', async () => {
    const scenario = await scenarios.create({ ...repositorySizes.tiny, objectFormat: 'sha256' });
    const root = scenario.newMachine();
    const inputs = { 'mirror-path': join(root, 'mirror.git') };
    await scenario.run({ root, inputs });
    await addCommits(scenario.upstream);
    const { main, mirror } = await scenario.run({ root, inputs });
    expect(main.outputs).toMatchObject({ provenance: 'existing', recloned: 'false' });
    await expectMirrorOf(mirror, scenario.upstream);
  });

  test('not at mirror-path where something else stands, which upstream’s own fault comes before', async () => {
    const scenario = await scenarios.create();
    const root = scenario.newMachine();
    const path = join(root, 'mirror.git');
    await mkdir(path, { recursive: true });
    await writeFile(join(path, 'notes.txt'), 'somebody’s');
    const inputs = { 'mirror-path': path };
    scenario.server.fault({ on: 'probe', times: 1, behave: { kind: 'status', status: 401 } });
    expect(failureOf(await scenario.job({ root, inputs }).main())).toMatch(/the credentials/);
    expect(failureOf(await scenario.job({ root, inputs }).main())).toMatch(/is not a mirror/);
    expect(await readdir(path)).toEqual(['notes.txt']);
  });

  test('not at one mirror-path with other settings: they would replace each other', async () => {
    const scenario = await scenarios.create();
    const root = scenario.newMachine();
    const inputs = { 'mirror-path': join(root, 'mirror.git') };
    const { mirror } = await scenario.run({ root, inputs });
    const before = await readTree(mirror);
    for (const other of [{ refs: 'refs/heads/*' }, { 'cache-key': 'other' }]) {
      const main = await scenario.job({ root, inputs: { ...inputs, ...other } }).main();
      expect(failureOf(main)).toMatch(
        /is a mirror with other refs or another key; set `mirror-path` to another folder/,
      );
    }
    expect(await readTree(mirror)).toEqual(before);
  });

  test('without a store the mirror lives on, and post says why nothing is saved', async () => {
    const scenario = await scenarios.create();
    const root = scenario.newMachine();
    const inputs = { 'disk-path': '' };
    const cold = await scenario.run({ root, inputs });
    expect(cold.main.outputs['provenance']).toBe('cloned');
    expect(verdict(cold.post)).toBe('Nothing saved: there is no store');
    await addCommits(scenario.upstream);
    const warm = await scenario.run({ root, inputs });
    expect(warm.main.outputs['provenance']).toBe('existing');
    await expectMirrorOf(warm.mirror, scenario.upstream);
    expect(await readdir(scenario.store)).toEqual([]);
  });
});

describe('verify', () => {
  test.each(chooseCases(['tip', 'full']))('%s accepts a sound snapshot', async (verify) => {
    const scenario = await scenarios.create({ ...repositorySizes.tiny, objectFormat: 'sha256' });
    await scenario.run();
    await addCommits(scenario.upstream);
    const { main, post, mirror } = await scenario.run({ inputs: { verify } });
    expect(main.outputs).toMatchObject({ provenance: 'restored', recloned: 'false' });
    expect(verdict(post)).toMatch(/^Saved snapshot 2-/);
    await expectMirrorOf(mirror, scenario.upstream);
  });
});

describe('the job summary', () => {
  test('shows the outcome, the phases and why the usual way was not taken', async () => {
    const scenario = await scenarios.create();
    const cold = await scenario.run();
    expect(cold.main.summary).toMatch(/^\*\*Cloned in .*, because no snapshot was available; /m);
    for (const phase of ['Probe', 'Clone', 'Prime']) {
      expect(cold.main.summary).toMatch(new RegExp(`^\\| ${phase} \\| [^|]+ m?s \\|`, 'm'));
    }
    expect(cold.main.summary).toMatch(/^\| Clone \| [^|]+ \| [\d.]+ KiB from upstream \|/m);
    expect(cold.main.summary).toContain('\n- **Lock:** free\n');
    expect(cold.main.summary).not.toMatch(/went wrong/);
    expect(cold.post.summary).toMatch(/^\*\*Saved snapshot 1-/m);
    for (const phase of ['Checksums', 'Walk', 'Save']) {
      expect(cold.post.summary).toContain(`\n| ${phase} |`);
    }

    const { folder, snapshot } = await newestSnapshot(scenario.store);
    const upstream = 'http://x/<script>alert(1)&amp;</script>';
    await storeManifest(folder, { ...snapshot, upstream });
    const warm = await scenario.run();
    expect(warm.main.summary).toMatch(/^\*\*Cloned again in .*, after a failure; /m);
    expect(warm.main.summary).toMatch(
      /went wrong and was worked around:\s*- Snapshot 1 is not used/,
    );
    expect(warm.main.summary).toContain('&lt;script&gt;alert(1)&amp;amp;&lt;/script&gt;');
    expect(warm.main.summary).not.toContain('<script');
    expect(warm.main.annotations).toMatchObject([
      { level: 'warning', message: expect.stringContaining('<script>') },
    ]);
  });

  test('escapes what upstream named, and shows the cause of a failure', async () => {
    const scenario = await scenarios.create();
    await renameDefaultBranch(scenario.upstream, '<img/src=x>&lt;');
    const main = await succeed(scenario.job().main());
    expect(main.summary).toContain('refs/heads/&lt;img/src=x&gt;&amp;lt; at ');
    expect(main.summary).not.toContain('<img');

    scenario.server.fault({ on: 'probe', behave: { kind: 'status', status: 404 } });
    const failed = await scenario.job().main();
    expect(failed.exitCode).toBe(1);
    expect(failed.summary).toMatch(
      /^### ❌ Mirror of \S+: failed\s*> asking http.*no such repository.*What to do:/s,
    );
    expect(outputsOfMirror(failed)).toEqual({});
  });
});
