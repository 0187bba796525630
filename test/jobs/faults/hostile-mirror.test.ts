/**
 * What somebody may plant in a mirror that stays on a disk, and in the folders above it: nothing of
 * it runs, nothing of it is asked over the network, and none of it is left in the mirror.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import type { Job } from '../../support/action-runner.ts';
import { git, tryGit } from '../../support/git.ts';
import { startGitServer, type GitServer } from '../../support/git-server/server.ts';
import { remove } from '../../support/corruption.ts';
import { addCommits, repositorySizes } from '../../support/repository-fixture.ts';
import { chooseCases } from '../scenarios/rounds.ts';
import {
  expectMirrorOf,
  failureOf,
  listManifests,
  readTree,
  succeed,
  useScenarios,
  verdict,
  type Scenario,
} from '../scenarios/scenario.ts';

const scenarios = useScenarios();
/** Symbolic links and executable scripts. */
const onPosix = process.platform === 'win32' ? describe.skip : describe;

let scenario: Scenario;
/** Whoever asks it was led astray. */
let attacker: GitServer;
/** A sound mirror that lacks upstream's new commits. */
let base: string;
/** Exists once planted code has run. */
let marker: string;
/** Leaves the marker. */
let script: string;
/** A bare repository whose every use leaves the marker. */
let evil: string;
/** A folder of somebody else's. */
let precious: string;

interface Plot {
  mirror: string;
  job: Job;
}

interface Vector {
  name: string;
  plant: (plot: Plot) => Promise<unknown>;
  /** Arguments of a plain git in the mirror that fall for it: the vector is alive. */
  control?: () => readonly string[];
}

beforeAll(async () => {
  scenario = await scenarios.create(repositorySizes.tiny);
  attacker = await startGitServer({ root: join(scenario.upstream, '..', '..') });
  const first = await scenario.run();
  base = first.mirror;
  await addCommits(scenario.upstream, { commits: 3 });
  marker = join(scenario.root, 'planted-code-ran');
  script = join(scenario.root, 'planted.sh');
  writeFileSync(script, `#!/bin/sh\ntouch '${marker}'\n`, { mode: 0o755 });
  evil = join(scenario.root, 'evil.git');
  cpSync(base, evil, { recursive: true });
  await plantConfiguration(join(evil, 'config'));
  plantHooks(join(evil, 'hooks'));
  precious = join(scenario.root, 'precious');
});

beforeEach(() => {
  rmSync(marker, { force: true });
  attacker.resetCounters();
  rmSync(precious, { recursive: true, force: true });
  mkdirSync(precious);
  writeFileSync(join(precious, 'thesis.txt'), 'the only copy');
});

afterAll(async () => {
  await attacker.stop();
});

function plantHooks(folder: string): void {
  const names = ['reference-transaction', 'pre-auto-gc', 'post-index-change', 'post-checkout'];
  mkdirSync(folder, { recursive: true });
  for (const name of names) cpSync(script, join(folder, name));
}

async function configure(file: string, values: Record<string, string>): Promise<void> {
  mkdirSync(dirname(file), { recursive: true });
  for (const [key, value] of Object.entries(values)) {
    await git(dirname(file), ['config', '--file', file, '--add', key, value]);
  }
}

/** Everything in a configuration that runs something or leads elsewhere. */
async function plantConfiguration(file: string): Promise<void> {
  const hooks = join(dirname(script), 'planted-hooks');
  plantHooks(hooks);
  await configure(file, {
    'core.hooksPath': hooks,
    'core.fsmonitor': script,
    'core.sshCommand': script,
    'core.askPass': script,
    'core.gitProxy': script,
    'core.pager': script,
    'core.editor': script,
    'core.alternateRefsCommand': script,
    'credential.helper': `!${script}`,
    'protocol.allow': 'always',
    'uploadpack.packObjectsHook': script,
    [`url.ext::${script} %S.insteadOf`]: 'http://',
    'filter.planted.smudge': script,
    'filter.planted.clean': script,
    'alias.fetch': `!${script}`,
    'alias.ls-remote': `!${script}`,
    'fetch.bundleURI': `${attacker.url}/bundle`,
  });
}

function plantAlternates(mirror: string, objects: string): void {
  mkdirSync(join(mirror, 'objects', 'info'), { recursive: true });
  writeFileSync(join(mirror, 'objects', 'info', 'alternates'), `${objects}\n`);
}

const inConfig =
  (values: () => Record<string, string>) =>
  ({ mirror }: Plot): Promise<void> =>
    configure(join(mirror, 'config'), values());

/** Git asks any hook of reference transactions about it. */
const changeRef = (): string[] => ['update-ref', 'refs/heads/control', 'HEAD'];
const listRemote = (): string[] => ['ls-remote', scenario.url];
const listStatus = (): string[] => ['status'];

const vectors: Vector[] = [
  {
    name: 'hooks',
    plant: async ({ mirror }) => {
      plantHooks(join(mirror, 'hooks'));
    },
    control: changeRef,
  },
  {
    name: 'core.hooksPath',
    plant: inConfig(() => ({ 'core.hooksPath': join(evil, 'hooks') })),
    control: changeRef,
  },
  {
    name: 'include.path',
    plant: inConfig(() => ({ 'include.path': join(evil, 'config') })),
    control: changeRef,
  },
  {
    name: 'includeIf',
    plant: inConfig(() => ({ 'includeIf.gitdir:**.path': join(evil, 'config') })),
    control: changeRef,
  },
  {
    name: 'config.worktree',
    plant: async ({ mirror }) => {
      const file = join(mirror, 'config');
      await configure(file, {
        'core.repositoryFormatVersion': '1',
        'extensions.worktreeConfig': 'true',
      });
      await plantConfiguration(join(mirror, 'config.worktree'));
    },
    control: changeRef,
  },
  {
    name: 'core.worktree with core.fsmonitor',
    plant: async ({ mirror, job }) => {
      const values = {
        'core.bare': 'false',
        'core.worktree': job.workspace,
        'core.fsmonitor': script,
      };
      await configure(join(mirror, 'config'), values);
    },
    control: listStatus,
  },
  {
    name: 'core.sshCommand',
    plant: inConfig(() => ({
      'core.sshCommand': script,
      'url.ssh://git@127.0.0.1/.insteadOf': `${scenario.server.url}/`,
    })),
    control: listRemote,
  },
  {
    name: 'core.alternateRefsCommand',
    plant: async ({ mirror }) => {
      await configure(join(mirror, 'config'), { 'core.alternateRefsCommand': script });
      plantAlternates(mirror, join(evil, 'objects'));
    },
    control: () => ['fetch', scenario.url, '+refs/heads/*:refs/heads/*'],
  },
  {
    name: 'url.ext::….insteadOf',
    plant: inConfig(() => ({
      'protocol.ext.allow': 'always',
      [`url.ext::${script} %S.insteadOf`]: 'http://',
    })),
    control: listRemote,
  },
  {
    name: "url.insteadOf of an attacker's server",
    plant: inConfig(() => ({ [`url.${attacker.url}/.insteadOf`]: `${scenario.server.url}/` })),
    control: listRemote,
  },
  {
    name: "http.proxy of an attacker's",
    plant: inConfig(() => ({ 'http.proxy': attacker.url })),
    control: listRemote,
  },
  {
    name: "a remote of upstream's name with a URL of its own",
    plant: inConfig(() => ({
      'protocol.ext.allow': 'always',
      [`remote.${scenario.url}.url`]: `ext::${script} %S`,
    })),
    control: listRemote,
  },
  {
    name: 'remote.*.uploadpack',
    plant: inConfig(() => ({
      [`remote.${scenario.url}.url`]: evil,
      [`remote.${scenario.url}.uploadpack`]: script,
    })),
    control: listRemote,
  },
  {
    name: 'remote.*.vcs',
    plant: inConfig(() => ({
      'protocol.ext.allow': 'always',
      [`remote.${scenario.url}.vcs`]: 'ext',
      [`remote.${scenario.url}.url`]: `${script} %S`,
    })),
    control: listRemote,
  },
  {
    name: 'a promisor remote for objects that are missing',
    plant: async ({ mirror }) => {
      await configure(join(mirror, 'config'), {
        'core.repositoryFormatVersion': '1',
        'extensions.partialClone': 'planted',
        'protocol.ext.allow': 'always',
        'remote.planted.promisor': 'true',
        'remote.planted.url': `ext::${script} %S`,
      });
      const packs = join(mirror, 'objects', 'pack');
      for (const name of readdirSync(packs)) remove(join(packs, name));
    },
    control: () => ['cat-file', '-t', '1'.repeat(40)],
  },
  {
    name: 'filters',
    plant: async ({ mirror }) => {
      await configure(join(mirror, 'config'), { 'filter.planted.smudge': script });
      mkdirSync(join(mirror, 'info'), { recursive: true });
      writeFileSync(join(mirror, 'info', 'attributes'), '* filter=planted\n');
    },
    control: () => ['archive', '--output=/dev/null', 'HEAD'],
  },
  {
    name: 'commondir',
    plant: async ({ mirror }) => {
      writeFileSync(join(mirror, 'commondir'), `${evil}\n`);
    },
    control: changeRef,
  },
  {
    name: 'gitdir, modules and worktrees',
    plant: async ({ mirror }) => {
      writeFileSync(join(mirror, 'gitdir'), `${evil}\n`);
      for (const folder of ['modules', 'worktrees']) {
        cpSync(evil, join(mirror, folder, 'planted'), { recursive: true });
      }
    },
  },
  {
    name: 'everything at once in its configuration',
    plant: ({ mirror }) => plantConfiguration(join(mirror, 'config')),
    control: changeRef,
  },
  {
    name: 'objects/info/alternates',
    plant: async ({ mirror }) => {
      plantAlternates(mirror, join(scenario.upstream, 'objects'));
    },
  },
  {
    name: 'a commit-graph',
    plant: async ({ mirror }) => {
      await git(scenario.upstream, ['commit-graph', 'write', '--reachable']);
      const graph = join(scenario.upstream, 'objects', 'info', 'commit-graph');
      const target = join(mirror, 'objects', 'info', 'commit-graph');
      rmSync(target, { force: true });
      renameSync(graph, target);
    },
  },
  {
    name: 'a multi-pack-index, bitmaps, .keep and .promisor files',
    plant: async ({ mirror }) => {
      const packs = join(mirror, 'objects', 'pack');
      writeFileSync(join(packs, 'multi-pack-index'), 'MIDX');
      for (const name of readdirSync(packs).filter((each) => each.endsWith('.pack'))) {
        for (const kind of ['bitmap', 'keep', 'promisor', 'rev', 'mtimes']) {
          writeFileSync(join(packs, name.replace(/pack$/, kind)), '');
        }
      }
    },
  },
  {
    name: 'a shallow file',
    plant: async ({ mirror }) => {
      writeFileSync(join(mirror, 'shallow'), `${await commit('HEAD~1')}\n`);
    },
  },
  {
    name: 'grafts',
    plant: async ({ mirror }) => {
      mkdirSync(join(mirror, 'info'), { recursive: true });
      writeFileSync(join(mirror, 'info', 'grafts'), `${await commit('HEAD')}\n`);
    },
  },
  {
    name: 'loose refs, refs/replace among them',
    plant: async ({ mirror }) => {
      const folder = join(mirror, 'refs', 'replace');
      mkdirSync(folder, { recursive: true });
      writeFileSync(join(folder, await commit('HEAD~3')), `${await commit('HEAD~9')}\n`);
      mkdirSync(join(mirror, 'refs', 'heads'), { recursive: true });
      writeFileSync(join(mirror, 'refs', 'heads', 'main'), `${await commit('HEAD~9')}\n`);
    },
  },
  {
    name: 'refs/replace in packed-refs',
    plant: async ({ mirror }) => {
      const line = `${await commit('HEAD~9')} refs/replace/${await commit('HEAD~3')}\n`;
      appendFileSync(join(mirror, 'packed-refs'), line);
    },
  },
  {
    name: 'loose objects, and garbage among the objects',
    plant: async ({ mirror }) => {
      mkdirSync(join(mirror, 'objects', 'ab'), { recursive: true });
      writeFileSync(join(mirror, 'objects', 'ab', 'c'.repeat(38)), 'no object');
      writeFileSync(join(mirror, 'objects', 'pack', 'tmp_pack_1234'), 'no pack');
    },
  },
];

async function commit(name: string): Promise<string> {
  return git(scenario.upstream, ['rev-parse', name]);
}

function copyOfBase(): string {
  const mirror = join(scenario.newMachine(), 'mirrors', 'name.git');
  mkdirSync(dirname(mirror), { recursive: true });
  cpSync(base, mirror, { recursive: true });
  return mirror;
}

function plotOn(mirror: string): Plot {
  return { mirror, job: scenario.job({ inputs: { 'mirror-path': mirror } }) };
}

const OURS =
  /^(?:HEAD|config|packed-refs|mirror-action\.json|mirror-action-base\.json\.gz|refs(?:\/heads|\/tags)?|objects(?:\/info|\/pack)?|objects\/pack\/pack-[0-9a-f]{40}\.(?:pack|idx))$/;

async function isPure(mirror: string): Promise<boolean> {
  const entries = Object.entries(await readTree(mirror));
  const isOurs = entries.every(([path, what]) => OURS.test(path) && !what.startsWith('link'));
  const configuration = (directory: string): string =>
    readFileSync(join(directory, 'config'), 'utf8');
  return isOurs && configuration(mirror) === configuration(base);
}

/** Valid, and nothing in it that is not ours. */
async function expectPureMirror(mirror: string): Promise<void> {
  expect(await isPure(mirror)).toBe(true);
  await expectMirrorOf(mirror, scenario.upstream);
}

/** What the store has restores on a new machine, and becomes what upstream has. */
async function expectSoundSnapshot(): Promise<void> {
  const main = await succeed(scenario.job({ inputs: { verify: 'full' } }).main());
  expect(main.outputs).toMatchObject({ provenance: 'restored', recloned: 'false' });
  await expectPureMirror(main.outputs['mirror-path'] ?? '');
}

function expectNothingRan(): void {
  expect(existsSync(marker)).toBe(false);
  expect(attacker.requests).toEqual([]);
}

onPosix('planted in a mirror', () => {
  const chosen = chooseCases(vectors);

  test.each(chosen)('$name: without effect in main and post, and gone', async (vector) => {
    const plot = plotOn(copyOfBase());
    await vector.plant(plot);
    const main = await succeed(plot.job.main());
    expectNothingRan();
    expect(main.outputs['mirror-path']).toBe(plot.mirror);
    await expectPureMirror(plot.mirror);

    // The steps in between run as the same user.
    await vector.plant(plot);
    const post = await succeed(plot.job.post());
    expectNothingRan();
    const isGone = post.log.includes('the mirror was deleted');
    if (!isGone)
      expect(readFileSync(join(plot.mirror, 'config'), 'utf8')).not.toMatch(/evil|plant/);
    const restored = await scenario.run({ inputs: { verify: 'full' } });
    expect(restored.main.outputs['recloned']).toBe('false');
    await expectPureMirror(restored.mirror);
  });

  const alive = chosen.filter(({ control }) => control !== undefined);

  test.each(alive)('$name: a plain git falls for it', async ({ plant, control }) => {
    const plot = plotOn(copyOfBase());
    await plant(plot);
    await tryGit(plot.mirror, [`--git-dir=${plot.mirror}`, ...(control?.() ?? [])]);
    expect(existsSync(marker) || attacker.requests.length > 0).toBe(true);
  });

  test('a credential helper is not asked when upstream refuses the token', async () => {
    const plot = plotOn(copyOfBase());
    await configure(join(plot.mirror, 'config'), { 'credential.helper': `!${script}` });
    scenario.server.token = 'another';
    await tryGit(plot.mirror, [`--git-dir=${plot.mirror}`, 'ls-remote', scenario.url]);
    expect(existsSync(marker)).toBe(true);
    rmSync(marker);
    expect(failureOf(await plot.job.main())).toMatch(/credentials/);
    expectNothingRan();
  });
});

onPosix('links planted in a mirror', () => {
  /** Where the link replaces a file or folder, that is moved to the link's target. */
  async function run(name: string, target: string): Promise<void> {
    const { mirror, job } = plotOn(copyOfBase());
    const plant = (): void => {
      const path = join(mirror, name);
      if (existsSync(path)) {
        const isFolder = target === precious;
        if (isFolder) cpSync(path, target, { recursive: true });
        else cpSync(path, target);
      }
      rmSync(path, { recursive: true, force: true });
      symlinkSync(target, path);
    };
    plant();
    const before = await readTree(precious);
    await succeed(job.main());
    expect(await readTree(precious)).toEqual(before);
    await expectPureMirror(mirror);

    plant();
    const between = await readTree(precious);
    await succeed(job.post());
    expect(await readTree(precious)).toEqual(between);
    await expectSoundSnapshot();
  }

  test.each(chooseCases(['objects', 'objects/info', 'objects/pack', 'refs', 'refs/heads']))(
    '%s as a link to a folder: nothing in that folder changes',
    async (name) => {
      await run(name, precious);
    },
  );

  test.each(
    chooseCases(['config', 'HEAD', 'packed-refs', 'mirror-action-base.json.gz', 'config.new']),
  )('%s as a link to a file: that file does not change', async (name) => {
    await run(name, join(precious, 'linked'));
  });
});

describe('packs taken away before post', () => {
  test('those of a clone: nothing is published', async () => {
    const other = await scenarios.create(repositorySizes.tiny);
    const job = other.job();
    const { outputs } = await succeed(job.main());
    removePacks(outputs['mirror-path'] ?? '', () => true);
    expect(verdict(await succeed(job.post()))).toMatch(/Nothing saved/);
    expect(await listManifests(other.store)).toEqual([]);
  });

  test('those of a fetch: nothing is published', async () => {
    const other = await scenarios.create(repositorySizes.tiny);
    const first = await other.run();
    const known = readdirSync(join(first.mirror, 'objects', 'pack'));
    await addCommits(other.upstream, { commits: 2 });
    const job = other.job();
    const { outputs } = await succeed(job.main());
    removePacks(outputs['mirror-path'] ?? '', (name) => !known.includes(name));
    expect(verdict(await succeed(job.post()))).toMatch(/Nothing saved/);
    const kinds = (await listManifests(other.store)).map(({ number }) => number);
    expect(kinds.at(-1)).toBe(1);
  });

  function removePacks(mirror: string, isGone: (name: string) => boolean): void {
    const packs = join(mirror, 'objects', 'pack');
    for (const name of readdirSync(packs).filter(isGone)) remove(join(packs, name));
  }
});

onPosix('planted around a mirror', () => {
  const places: [string, (plot: Plot) => string][] = [
    ['the workspace', ({ job }) => job.workspace],
    ["the runner's folder of the repository", ({ job }) => job.runnerWorkspace],
    ["the job's temporary folder", ({ job }) => job.temp],
    ["the mirror's folder", ({ mirror }) => dirname(mirror)],
    ['the machine', ({ mirror }) => dirname(dirname(mirror))],
  ];

  async function expectNoEffect(plot: Plot, place: string): Promise<void> {
    await tryGit(place, listStatus());
    await tryGit(place, changeRef());
    expect(existsSync(marker)).toBe(true);
    rmSync(marker);
    const before = await readTree(evil);
    await succeed(plot.job.main());
    await succeed(plot.job.post());
    expectNothingRan();
    await expectPureMirror(plot.mirror);
    expect(await readTree(evil)).toEqual(before);
  }

  test.each(chooseCases(places))('a .git folder in %s: without effect', async (_, placeOf) => {
    const plot = plotOn(copyOfBase());
    const place = placeOf(plot);
    cpSync(evil, join(place, '.git'), { recursive: true });
    await configure(join(place, '.git', 'config'), { 'core.bare': 'false' });
    await expectNoEffect(plot, place);
  });

  test.each(chooseCases(places))('a .git file in %s: without effect', async (_, placeOf) => {
    const plot = plotOn(copyOfBase());
    writeFileSync(join(placeOf(plot), '.git'), `gitdir: ${evil}\n`);
    await expectNoEffect(plot, placeOf(plot));
  });

  test('a bare repository as the folder of the mirror: without effect', async () => {
    const plot = plotOn(copyOfBase());
    const place = dirname(plot.mirror);
    cpSync(evil, place, { recursive: true });
    await expectNoEffect(plot, place);
  });
});
