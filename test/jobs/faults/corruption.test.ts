/**
 * Every kind of damage that a disk can do to a snapshot or to a mirror that stays, at random positions: found before anybody uses it, or harmless; never published; and the
 * next run has a right mirror. CORRUPTIONS sets the positions for each kind (a soak runs 20),
 * TEST_SEED repeats a run.
 */
import { beforeAll, describe, expect, test } from '@jest/globals';
import { createHash } from 'node:crypto';
import { statSync } from 'node:fs';
import { cp, mkdir, readFile, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { formatPackedRefs } from '../../../src/mirror/refs.ts';
import { ChunkDigester } from '../../../src/snapshot/chunks.ts';
import { LayerCheck } from '../../../src/snapshot/layer-check.ts';
import {
  empty,
  flipBit,
  lengthen,
  randomOffset,
  remove,
  truncate,
} from '../../support/corruption.ts';
import { git, tryGit } from '../../support/git.ts';
import type { Random } from '../../support/random.ts';
import { addCommits } from '../../support/repository-fixture.ts';
import { chooseCases, inRounds, ROUNDS } from '../scenarios/rounds.ts';
import {
  Scenario,
  expectMirrorOf,
  newestSnapshot,
  packsOf,
  readTree,
  storeLayer,
  storeManifest,
  useScenarios,
  verdict,
} from '../scenarios/scenario.ts';

const scenarios = useScenarios();
const TIMEOUT_MS = 20_000 + ROUNDS * 20_000;

/** A pack with its index. */
interface Pack {
  pack: string;
  idx: string;
}

type Damage = (files: Pack, random: Random) => unknown;

/** Where an index (version 2) has what, for SHA-1: ids, checksums, offsets, two trailers. */
async function regionsOf(idx: string): Promise<Record<'ids' | 'offsets', [number, number]>> {
  const count = (await readFile(idx)).readUInt32BE(8 + 255 * 4);
  const ids = 8 + 256 * 4;
  return {
    ids: [ids, ids + 20 * count],
    offsets: [ids + 24 * count, ids + 28 * count],
  };
}

function flipIn(file: string, [start, end]: [number, number], random: Random): void {
  flipBit(file, start + random.integer(end - start), random.integer(8));
}

/** What happens to packs and indexes, in a store and in a mirror alike. */
const packDamages: Record<string, Damage> = {
  'a bit in the header of a pack': ({ pack }, random) => {
    flipIn(pack, [0, 12], random);
  },
  'a bit in the data of a pack': ({ pack }, random) => {
    flipBit(pack, randomOffset(random, pack, 12, 20), random.integer(8));
  },
  'a bit in the trailer of a pack': ({ pack }, random) => {
    flipBit(pack, -1 - random.integer(20), random.integer(8));
  },
  'the tail of a pack cut off': ({ pack }, random) => {
    truncate(pack, -1 - random.integer(100));
  },
  'half of a pack cut off': ({ pack }, random) => {
    truncate(pack, Math.floor(statSync(pack).size / 2) + random.integer(20));
  },
  'a pack emptied': ({ pack }) => {
    empty(pack);
  },
  'a pack lengthened': ({ pack }, random) => {
    lengthen(pack, random.bytes(1 + random.integer(100)));
  },
  'a bit in the fan-out of an index': ({ idx }, random) => {
    flipIn(idx, [8, 8 + 256 * 4], random);
  },
  'a bit in the ids of an index': async ({ idx }, random) => {
    flipIn(idx, (await regionsOf(idx)).ids, random);
  },
  'a bit in the offsets of an index': async ({ idx }, random) => {
    flipIn(idx, (await regionsOf(idx)).offsets, random);
  },
  'a bit in the trailers of an index': ({ idx }, random) => {
    flipBit(idx, -1 - random.integer(40), random.integer(8));
  },
  'half of an index cut off': ({ idx }, random) => {
    truncate(idx, Math.floor(statSync(idx).size / 2) + random.integer(20));
  },
  'an index emptied': ({ idx }) => {
    empty(idx);
  },
  'an index missing': ({ idx }) => {
    remove(idx);
  },
  'a pack missing': ({ pack }) => {
    remove(pack);
  },
  'a pack and its index missing': ({ pack, idx }) => {
    remove(pack);
    remove(idx);
  },
};

let copies = 0;

/** The newest snapshot has what it says it has, and git finds all of it sound. */
async function expectSoundStore(scenario: Scenario): Promise<void> {
  const stored = await newestSnapshot(scenario.store);
  const { snapshot, folder } = stored;
  for (const layer of snapshot.layers) {
    const check = new LayerCheck(
      join(folder, 'layers', layer.name),
      layer,
      new ChunkDigester(new AbortController().signal),
    );
    await check.finish(snapshot.objectFormat).finally(() => check.end());
  }
  copies += 1;
  const check = join(scenario.root, `check-${copies}`);
  await git(scenario.root, ['init', '--quiet', '--bare', '--template=', check]);
  for (const file of [...packsOf(stored), ...packsOf(stored, 'idx')]) {
    await cp(file, join(check, 'objects', 'pack', file.slice(dirname(file).length + 1)));
  }
  await writeFile(join(check, 'packed-refs'), formatPackedRefs(snapshot.refs), 'latin1');
  await git(check, ['fsck', '--full', '--strict', '--no-progress']);
  await rm(check, { recursive: true, force: true });
}

describe('damage to a snapshot', () => {
  let model: Scenario;

  beforeAll(async () => {
    model = await scenarios.create();
    await model.run();
  });

  async function copy(): Promise<Scenario> {
    copies += 1;
    const root = join(model.root, `copy-${copies}`);
    await cp(model.store, join(root, 'store'), { recursive: true });
    return new Scenario(root, model.repository, model.upstream, model.server);
  }

  /** A new machine notices, clones, and saves a sound one. */
  async function expectHealing(
    scenario: Scenario,
    inputs: Record<string, string> = {},
    reason = /Snapshot \d\S* is not used/,
  ): Promise<void> {
    const { main, post, mirror } = await scenario.run({ inputs });
    expect(main.outputs).toMatchObject({ provenance: 'cloned', recloned: 'true', snapshot: '' });
    expect(main.summary).toMatch(reason);
    await expectMirrorOf(mirror, scenario.upstream);
    expect(verdict(post)).toMatch(/^Saved snapshot 2-/);
    await expectSoundStore(scenario);
  }

  async function filesOf(scenario: Scenario): Promise<Pack> {
    const stored = await newestSnapshot(scenario.store);
    const [pack = ''] = packsOf(stored);
    const [idx = ''] = packsOf(stored, 'idx');
    return { pack, idx };
  }

  test.each(chooseCases(Object.entries(packDamages)))(
    '%s',
    (kind, damage) =>
      inRounds(kind, async (random) => {
        const scenario = await copy();
        await damage(await filesOf(scenario), random);
        await expectHealing(scenario);
      }),
    TIMEOUT_MS,
  );

  test('the whole layer missing', async () => {
    const scenario = await copy();
    await rm(dirname((await filesOf(scenario)).pack), { recursive: true });
    await expectHealing(scenario);
  });

  test('a folder in place of a pack, a link in place of an index', async () => {
    for (const kind of ['pack', 'idx'] as const) {
      const scenario = await copy();
      const file = (await filesOf(scenario))[kind];
      const aside = join(scenario.root, 'aside');
      await cp(file, aside);
      remove(file);
      await (kind === 'pack' ? mkdir(file) : symlink(aside, file));
      await expectHealing(scenario);
    }
  });

  test(
    'the manifest cut off',
    () =>
      inRounds('the manifest cut off', async (random) => {
        const scenario = await copy();
        const { file } = await newestSnapshot(scenario.store);
        truncate(file, randomOffset(random, file));
        await expectHealing(scenario);
      }),
    TIMEOUT_MS,
  );

  test(
    'a bit in the manifest: it is not used, or it says the same as before',
    () =>
      inRounds('a bit in the manifest', async (random) => {
        const scenario = await copy();
        const { file, snapshot } = await newestSnapshot(scenario.store);
        flipBit(file, randomOffset(random, file), random.integer(8));
        // The header of gzip holds a time and the like, which change nothing.
        const same = await newestSnapshot(scenario.store).catch(() => undefined);
        if (same === undefined) {
          await expectHealing(scenario);
          return;
        }
        expect(same.snapshot).toEqual(snapshot);
        const { main, mirror } = await scenario.run();
        expect(main.outputs['provenance']).toBe('restored');
        await expectMirrorOf(mirror, scenario.upstream);
      }),
    TIMEOUT_MS,
  );

  test('a manifest that unpacks to 600 times its size', async () => {
    const scenario = await copy();
    const { file } = await newestSnapshot(scenario.store);
    remove(file);
    await writeFile(file, gzipSync(Buffer.alloc(50 * 1024 * 1024, ' ')));
    await expectHealing(scenario);
  });

  test('other files than those it names are ignored', async () => {
    const scenario = await copy();
    const { pack } = await filesOf(scenario);
    for (const extension of ['keep', 'promisor', 'rev', 'bitmap', 'mtimes']) {
      await writeFile(pack.replace(/pack$/, extension), 'x');
    }
    await writeFile(join(dirname(pack), 'config'), '[core]\n\tfsmonitor = false\n');
    const { main, post, mirror } = await scenario.run();
    expect(main.outputs).toMatchObject({ provenance: 'restored', recloned: 'false' });
    expect(verdict(post)).toMatch(/nothing changed/);
    const names = await readdir(join(mirror, 'objects', 'pack'));
    expect(names.filter((name) => !/\.(?:pack|idx)$/.test(name))).toEqual([]);
    await expectMirrorOf(mirror, scenario.upstream);
  });

  describe('an index that delivers other content, all its checksums right', () => {
    async function forgeIndex(): Promise<Scenario> {
      const scenario = await copy();
      const { folder, snapshot } = await newestSnapshot(scenario.store);
      const { pack, idx } = await filesOf(scenario);
      const packs = join(scenario.root, 'forged');
      await mkdir(packs);
      const name = pack.slice(dirname(pack).length + 1);
      await cp(pack, join(packs, name));
      const oids = await Promise.all(
        ['main:folder-0/file-0', 'main:folder-1/file-1'].map((each) =>
          git(scenario.upstream, ['rev-parse', each]),
        ),
      );
      const forged = await swapObjects(idx, oids as [string, string]);
      await writeFile(join(packs, name.replace(/pack$/, 'idx')), forged);
      await storeManifest(folder, { ...snapshot, layers: [await storeLayer(folder, packs)] });
      return scenario;
    }

    test('`verify: tip` hashes what the tip delivers, and refuses it', async () => {
      const reason = /Snapshot 1\S* is not used: [0-9a-f]{40} does not have that content/;
      await expectHealing(await forgeIndex(), { verify: 'tip' }, reason);
    });

    test('`verify: full` makes the index again', async () => {
      const scenario = await forgeIndex();
      const { main, mirror } = await scenario.run({ inputs: { verify: 'full' } });
      expect(main.outputs).toMatchObject({ provenance: 'restored', recloned: 'false' });
      await expectMirrorOf(mirror, scenario.upstream);
    });
  });
});

/** The index with the offsets of two objects exchanged, and its own checksum made right again. */
async function swapObjects(file: string, [one, other]: [string, string]): Promise<Buffer> {
  const idx = await readFile(file);
  const regions = await regionsOf(file);
  const offsetOf = (oid: string): number => {
    const [start, end] = regions.ids;
    for (let at = start; at < end; at += 20) {
      if (idx.toString('hex', at, at + 20) === oid) {
        return regions.offsets[0] + ((at - start) / 20) * 4;
      }
    }
    throw new Error(`${oid} is not in ${file}`);
  };
  const [first, second] = [offsetOf(one), offsetOf(other)];
  const kept = idx.readUInt32BE(first);
  idx.writeUInt32BE(idx.readUInt32BE(second), first);
  idx.writeUInt32BE(kept, second);
  createHash('sha1')
    .update(idx.subarray(0, -20))
    .digest()
    .copy(idx, idx.length - 20);
  return idx;
}

describe('damage to a mirror that stays', () => {
  let model: Scenario;
  let machine: string;
  let relativeMirror: string;

  /**
   * It has three packs, and what the middle one holds is history only. Its last snapshot is saved,
   * and upstream has new commits, so that post has something to save.
   */
  beforeAll(async () => {
    model = await scenarios.create();
    machine = model.newMachine();
    const { mirror } = await model.run({ root: machine });
    for (const commits of [2, 1]) {
      await addCommits(model.upstream, { commits });
      await model.run({ root: machine });
    }
    expect(await listPacks(mirror)).toHaveLength(3);
    relativeMirror = mirror.slice(machine.length + 1);
    await addCommits(model.upstream, { commits: 2 });
  });

  interface Copy {
    scenario: Scenario;
    root: string;
    mirror: string;
  }

  async function copy(): Promise<Copy> {
    copies += 1;
    const place = join(model.root, `copy-${copies}`);
    const root = join(place, 'machine');
    await cp(model.store, join(place, 'store'), { recursive: true });
    await cp(machine, root, { recursive: true });
    const scenario = new Scenario(place, model.repository, model.upstream, model.server);
    return { scenario, root, mirror: join(root, relativeMirror) };
  }

  async function listPacks(mirror: string): Promise<Pack[]> {
    const folder = join(mirror, 'objects', 'pack');
    const names = (await readdir(folder)).filter((each) => each.endsWith('.pack')).sort();
    return names.map((name) => ({
      pack: join(folder, name),
      idx: join(folder, name.replace(/pack$/, 'idx')),
    }));
  }

  /**
   * Main succeeds, for upstream is well. A mirror that it cloned again is right; one where it saw
   * nothing delivers the right files or none. What is in the store is sound, and the next run has
   * a right mirror.
   */
  async function expectHealing({ scenario, root, mirror }: Copy): Promise<void> {
    const job = scenario.job({ root });
    const main = await job.main();
    expect(`${main.exitCode ?? main.signal} ${main.log}`).toMatch(/^0 /);
    expect(main.outputs['mirror-path']).toBe(mirror);
    if (main.outputs['provenance'] === 'existing') {
      const archive = await tryGit(mirror, [`--git-dir=${mirror}`, 'archive', 'HEAD']);
      if (archive.exitCode === 0) {
        expect(archive.stdout).toBe((await tryGit(scenario.upstream, ['archive', 'HEAD'])).stdout);
      }
    } else {
      await expectMirrorOf(mirror, scenario.upstream);
    }
    const post = await job.post();
    expect(post.exitCode).toBe(0);
    expect(verdict(post)).toMatch(
      /^(?:Saved snapshot 4-|Nothing saved, and the mirror was deleted)/,
    );
    await expectSoundStore(scenario);
    const next = await scenario.run({ root });
    expect(next.mirror).toBe(mirror);
    await expectMirrorOf(mirror, scenario.upstream);
    await expectSoundStore(scenario);
  }

  test.each(chooseCases(Object.entries(packDamages)))(
    '%s',
    (kind, damage) =>
      inRounds(kind, async (random) => {
        const copied = await copy();
        await damage(random.pick(await listPacks(copied.mirror)), random);
        await expectHealing(copied);
      }),
    TIMEOUT_MS,
  );

  const places = chooseCases([0, 1, 2]);
  test.each(places)('each of its packs missing, with its index: %s', async (index) => {
    const copied = await copy();
    const packs = await listPacks(copied.mirror);
    const lost = packs[index];
    remove(lost?.pack ?? '');
    remove(lost?.idx ?? '');
    await expectHealing(copied);
  });

  const files = ['packed-refs', 'HEAD', 'config', 'mirror-action-base.json.gz'];

  test.each(chooseCases(files))(
    '%s: a bit flipped, cut off, emptied, missing',
    (name) =>
      inRounds(name, async (random, round) => {
        const kinds: ((file: string) => void)[] = [
          (file) => {
            flipBit(file, randomOffset(random, file), random.integer(8));
          },
          (file) => {
            truncate(file, randomOffset(random, file));
          },
          empty,
          remove,
        ];
        for (const [index, damage] of kinds.entries()) {
          if (index > 1 && round > 1) continue;
          const copied = await copy();
          damage(join(copied.mirror, name));
          await expectHealing(copied);
        }
      }),
    TIMEOUT_MS * 3,
  );

  /** Nothing else says whose the folder is: without the record it may be anybody's. */
  async function expectLeftAlone({ scenario, root, mirror }: Copy, message: RegExp): Promise<void> {
    const before = await readTree(mirror);
    const { job, main, mirror: used } = await scenario.run({ root });
    expect(used.startsWith(job.temp)).toBe(true);
    expect(main.annotations[0]?.message).toMatch(message);
    expect(await readTree(mirror)).toEqual(before);
  }

  test(
    "the record: a bit flipped, cut off or emptied heals; without one the folder is anybody's",
    () =>
      inRounds('the record', async (random, round) => {
        const flipped = await copy();
        const record = join(flipped.mirror, 'mirror-action.json');
        flipBit(record, randomOffset(random, record), random.integer(8));
        await expectHealing(flipped);

        const cut = await copy();
        truncate(join(cut.mirror, 'mirror-action.json'), randomOffset(random, record, 0, 2));
        await expectHealing(cut);
        if (round > 1) return;

        const emptied = await copy();
        empty(join(emptied.mirror, 'mirror-action.json'));
        await expectHealing(emptied);
        const missing = await copy();
        remove(join(missing.mirror, 'mirror-action.json'));
        await expectLeftAlone(missing, /holds something that is not a mirror of this action/);
      }),
    TIMEOUT_MS * 3,
  );

  /** `objects/pack/pack-….` of the first pack. */
  async function firstStem(mirror: string): Promise<string> {
    const [first] = await listPacks(mirror);
    return (first?.pack ?? '').slice(mirror.length + 1).replace(/pack$/, '');
  }

  /** Files that change what git does or what an object id delivers; and leftovers of the dead. */
  const planted: Record<string, (mirror: string) => Promise<Record<string, string>>> = {
    'a shallow file and grafts': async (mirror) => {
      const tip = await git(mirror, ['rev-parse', 'HEAD']);
      return { shallow: `${tip}\n`, 'info/grafts': `${tip}\n` };
    },
    replacements: async (mirror) => {
      const [tip, older] = [
        await git(mirror, ['rev-parse', 'HEAD']),
        await git(mirror, ['rev-parse', 'HEAD~1']),
      ];
      const packed = join(mirror, 'packed-refs');
      const lines = (await readFile(packed, 'latin1')).split(/^(?=\S+ refs\/tags\/)/m);
      lines.splice(1, 0, `${older} refs/replace/${tip}\n`);
      await writeFile(packed, lines.join(''), 'latin1');
      return { [`refs/replace/${tip}`]: `${older}\n` };
    },
    alternates: async () => {
      const lent = join(model.upstream, 'objects');
      return { 'objects/info/alternates': `${lent}\n`, 'objects/info/http-alternates': 'x\n' };
    },
    'a promisor and keep files': async (mirror) => {
      const stem = await firstStem(mirror);
      return { [`${stem}promisor`]: '', [`${stem}keep`]: '' };
    },
    'a damaged commit-graph, multi-pack index and bitmap': async (mirror) => {
      const stem = await firstStem(mirror);
      return {
        ...{ 'objects/info/commit-graph': 'CGPHx', 'objects/pack/multi-pack-index': 'MIDXx' },
        ...{ [`${stem}bitmap`]: 'BITMx', [`${stem}rev`]: 'RIDXx' },
      };
    },
    'locks and temporary files of a dead git': async () => ({
      ...{ 'packed-refs.lock': '', 'HEAD.lock': '', 'config.lock': '', 'shallow.lock': '' },
      ...{ 'refs/heads/main.lock': '', 'objects/pack/tmp_pack_abc': 'PACK' },
      ...{ 'objects/pack/tmp_idx_abc': '', 'objects/12/tmp_obj_abc': '', 'gc.pid': '1 x' },
      ...{ 'packed-refs.new': 'x', 'HEAD.new': 'x', 'config.new': 'x' },
    }),
    'loose refs and loose objects': async (mirror) => {
      const older = await git(mirror, ['rev-parse', 'HEAD~2']);
      return {
        'refs/heads/main': `${older}\n`,
        'refs/heads/extra': `${older}\n`,
        'objects/ab/cd': '',
      };
    },
    'a work tree, modules and worktrees': async () => ({
      ...{
        commondir: '..\n',
        gitdir: '/x\n',
        'modules/x/HEAD': 'ref: x\n',
        'worktrees/w/gitdir': '/\n',
      },
      ...{ 'config.worktree': '[core]\n\tworktree = /\n', index: 'DIRC' },
    }),
  };

  test.each(chooseCases(Object.entries(planted)))(
    '%s: gone, and nothing else is',
    async (_, plant) => {
      const copied = await copy();
      const { scenario, root, mirror } = copied;
      const additions = await plant(mirror);
      for (const [name, content] of Object.entries(additions)) {
        await mkdir(dirname(join(mirror, name)), { recursive: true });
        await writeFile(join(mirror, name), content);
      }
      const { main, post } = await scenario.run({ root });
      expect(main.outputs).toMatchObject({ provenance: 'existing', recloned: 'false' });
      expect(scenario.server.clones).toBe(0);
      await expectMirrorOf(mirror, scenario.upstream);
      const left = await readdir(mirror, { recursive: true });
      expect(left.filter((name) => name in additions)).toEqual([]);
      expect(verdict(post)).toMatch(/^Saved snapshot 4-/);
      await expectSoundStore(scenario);
    },
    TIMEOUT_MS,
  );

  test('a ref to an object that is missing', async () => {
    const copied = await copy();
    const refs = join(copied.mirror, 'packed-refs');
    const text = await readFile(refs, 'latin1');
    await rm(refs);
    await writeFile(refs, text.replace(/[0-9a-f]{40}(?= refs\/heads\/branch-2)/, '12'.repeat(20)));
    await expectHealing(copied);
  });

  test.each(chooseCases(['HEAD:folder-1/file-1', 'HEAD~4:folder-1/file-1']))(
    'an object that is absent from valid packs: %s',
    async (name) => {
      const copied = await copy();
      const { mirror, scenario } = copied;
      const packs = await listPacks(mirror);
      const args = ['rev-list', '--objects', '--no-object-names', '--all'];
      const objects = (await git(mirror, args)).split('\n');
      const missing = await git(mirror, ['rev-parse', name]);
      const input = `${objects.filter((oid) => oid !== missing).join('\n')}\n`;
      await git(mirror, ['pack-objects', '-q', join(scenario.root, 'pack')], { input });
      for (const { pack, idx } of packs) {
        remove(pack);
        remove(idx);
      }
      const made = (await readdir(scenario.root)).filter((each) => each.startsWith('pack-'));
      for (const file of made) {
        await cp(join(scenario.root, file), join(mirror, 'objects', 'pack', file));
      }
      await expectHealing(copied);
    },
  );
});
