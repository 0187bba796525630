/** The default place of a mirror holds something that this job must not use: nobody chose that place. */
import { createHash } from 'node:crypto';
import { chown, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { addCommits } from '../../support/repository-fixture.ts';
import {
  expectMirrorOf,
  failureOf,
  readTree,
  succeed,
  useScenarios,
  verdict,
  type Run,
} from '../scenarios/scenario.ts';

const scenarios = useScenarios();
const rootTest = process.getuid?.() === 0 ? test : test.skip;

const RECORD = 'mirror-action.json';

/** Makes a mirror one that a later version of this action has written. */
async function makeNewer(mirror: string): Promise<void> {
  const { record } = JSON.parse(await readFile(join(mirror, RECORD), 'utf8')) as { record: object };
  const newer = { ...record, version: 99 };
  const digest = createHash('sha256').update(JSON.stringify(newer)).digest('hex');
  await writeFile(join(mirror, RECORD), JSON.stringify({ digest, record: newer }));
}

/** The next job of that machine makes a private mirror, saves it, and leaves the place alone. */
async function expectPrivateMirror(before: Run, message: RegExp, upstream: string): Promise<void> {
  const tree = await readTree(before.mirror);
  await addCommits(upstream, { fileBytes: 2_000 });
  const main = await succeed(before.job.main());
  const path = main.outputs['mirror-path'] ?? '';
  expect(path.startsWith(before.job.temp)).toBe(true);
  expect(main.outputs['provenance']).toBe('restored');
  expect(main.annotations).toMatchObject([{ level: 'warning' }]);
  expect(main.annotations[0]?.message).toMatch(message);
  expect(main.annotations[0]?.message).toContain('this job makes a mirror of its own');
  await expectMirrorOf(path, upstream);
  expect(verdict(await succeed(before.job.post()))).toMatch(/^Saved snapshot 2-/);
  expect(await readTree(before.mirror)).toEqual(tree);
}

rootTest("a default place that is another user's is left alone for a private mirror", async () => {
  const scenario = await scenarios.create();
  const before = await scenario.run();
  await chown(before.mirror, 12_345, 12_345);
  await expectPrivateMirror(before, /belongs to user 12345/, scenario.upstream);
});

test('a default place of a newer version is left alone for a private mirror', async () => {
  const scenario = await scenarios.create();
  const before = await scenario.run();
  await makeNewer(before.mirror);
  await expectPrivateMirror(before, /another version of this action/, scenario.upstream);
});

test('a default place that holds no mirror at all is left alone for a private mirror', async () => {
  const scenario = await scenarios.create();
  const before = await scenario.run();
  await writeFile(join(before.mirror, RECORD), 'not a record of ours');
  await writeFile(join(before.mirror, 'HEAD'), 'ref: refs/heads/main\n');
  await rename(join(before.mirror, 'objects'), join(before.mirror, 'work'));
  await expectPrivateMirror(before, /not a mirror of this action/, scenario.upstream);
});

test('a place that a person chose is refused, and the message names the input', async () => {
  const scenario = await scenarios.create();
  const root = scenario.newMachine();
  const inputs = { 'mirror-path': join(root, 'chosen.git') };
  const before = await scenario.run({ root, inputs });
  await makeNewer(before.mirror);
  const main = await scenario.job({ root, inputs }).main();
  expect(failureOf(main)).toMatch(/is of another version of this action/);
  expect(main.log).toContain('`mirror-path`');
});
