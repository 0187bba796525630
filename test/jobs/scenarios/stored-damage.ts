/** What may happen to an object that a store holds for us, and what jobs make of it. */
import { expect, test } from '@jest/globals';
import type { JobOptions } from '../../support/action-runner.ts';
import { createRandom, testSeed, type Random } from '../../support/random.ts';
import { inRounds, IS_SAMPLE, ROUNDS } from './rounds.ts';
import { expectMirrorOf, verdict, type Scenario } from './scenario.ts';

/** A store's objects by their names, which contain `/layers/` or `/manifests/`. */
export interface StoredObjects {
  list(): Promise<string[]>;
  read(name: string): Promise<Buffer>;
  write(name: string, content: Buffer): Promise<void>;
  remove(name: string): Promise<void>;
}

export interface DamageBench {
  scenario: Scenario;
  objects: StoredObjects;
  /** Of a job of the scenario that uses the store. */
  options(): Partial<JobOptions>;
}

type Damage = (content: Buffer, random: Random) => Buffer | undefined;

const damages: Record<string, Damage> = {
  'a bit': (content, random) => {
    const damaged = Buffer.from(content);
    const at = random.integer(content.length);
    damaged.writeUInt8(damaged.readUInt8(at) ^ (1 << random.integer(8)), at);
    return damaged;
  },
  'cut off': (content, random) => content.subarray(0, 1 + random.integer(content.length - 1)),
  lengthened: (content, random) => Buffer.concat([content, random.bytes(1 + random.integer(100))]),
  emptied: () => Buffer.alloc(0),
  missing: () => undefined,
};

const TIMEOUT_MS = 60_000 + ROUNDS * 60_000;

/** Damage is healed by a clone that the next job restores, or it was none. */
export function testDamage(open: () => Promise<DamageBench>): void {
  const random = createRandom(testSeed());
  for (const kind of ['layers', 'manifests']) {
    const all = Object.entries(damages);
    // Each takes three jobs a round.
    for (const [name, damage] of IS_SAMPLE ? [random.pick(all)] : all) {
      const what = `one of its ${kind}: ${name}`;
      test(
        what,
        async () => {
          const bench = await openWithSnapshot(open);
          await inRounds(what, (random) => damageOne(bench, kind, damage, random));
        },
        TIMEOUT_MS,
      );
    }
  }
}

async function damageOne(
  { scenario, objects, options }: DamageBench,
  kind: string,
  damage: Damage,
  random: Random,
): Promise<void> {
  const before = await objects.list();
  const [name = ''] = before.filter((each) => each.includes(`/${kind}/`));
  const content = await objects.read(name);
  const damaged = damage(content, random);
  await (damaged === undefined ? objects.remove(name) : objects.write(name, damaged));
  const { main, post, mirror } = await scenario.run(options());
  await expectMirrorOf(mirror, scenario.upstream);
  const { provenance, recloned } = main.outputs;
  if (provenance === 'restored') {
    // Where nothing has a checksum: in the header of gzip, say, or behind an archive.
    expect(recloned).toBe('false');
    expect(verdict(post)).toMatch(/nothing changed/);
  } else if (kind === 'manifests' && damaged === undefined) {
    // As if there had never been one.
    expect(main.outputs).toMatchObject({ provenance: 'cloned', recloned: 'false' });
    expect(verdict(post)).toMatch(/^Saved snapshot 1-/);
  } else {
    expect(main.outputs).toMatchObject({ provenance: 'cloned', recloned: 'true' });
    expect(main.summary).toMatch(/Snapshot 1\S* is not used/);
    expect(verdict(post)).toMatch(/^Saved snapshot 2-/);
  }
  const next = await scenario.run(options());
  expect(next.main.outputs).toMatchObject({ provenance: 'restored', recloned: 'false' });
  await expectMirrorOf(next.mirror, scenario.upstream);
  for (const each of await objects.list()) {
    if (!before.includes(each)) await objects.remove(each);
  }
  await objects.write(name, content);
}

async function openWithSnapshot(open: () => Promise<DamageBench>): Promise<DamageBench> {
  const bench = await open();
  const { post } = await bench.scenario.run(bench.options());
  expect(verdict(post)).toMatch(/^Saved snapshot 1-/);
  return bench;
}
