/**
 * What may not grow with the number of refs: the git commands that a run starts, and what they are
 * given as arguments, which no system takes without end. What it costs is measured in bench/refs.ts.
 */
import { beforeAll, expect, test } from '@jest/globals';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { formatPackedRefs, parsePackedRefs, sortRefs, type Ref } from '../../../src/mirror/refs.ts';
import type { StepResult } from '../../support/action-runner.ts';
import { git } from '../../support/git.ts';
import {
  expectMirrorOf,
  listRefs,
  useScenarios,
  verdict,
  type Run,
  type Scenario,
} from '../scenarios/scenario.ts';

const scenarios = useScenarios();
const MANY = 20_000;
/** More than any command here needs; a hundred refs have more. */
const ARGUMENT_CHARACTERS = 1_000;

let few: Scenario;
let many: Scenario;

beforeAll(async () => {
  few = await scenarios.create();
  many = await scenarios.create();
  await addRefs(many.upstream, MANY);
}, 120_000);

/** Branches and light tags at commits of upstream, and annotated tags with them. */
async function addRefs(upstream: string, count: number): Promise<void> {
  const file = join(upstream, 'packed-refs');
  const refs = parsePackedRefs(await readFile(file, 'latin1'));
  const commits = (await git(upstream, ['rev-list', '--all'])).split('\n');
  const annotated = refs.find(({ peeled }) => peeled !== undefined);
  const more = Array.from({ length: count }, (_, index): Ref => {
    const kind = index % 2 === 0 ? 'heads/team' : 'tags/build';
    const name = `refs/${kind}-${String(index % 50)}/${String(index)}`;
    if (index % 20 === 1 && annotated !== undefined) return { ...annotated, name };
    return { name, oid: commits[index % commits.length] ?? '' };
  });
  await writeFile(file, formatPackedRefs(sortRefs([...refs, ...more])), 'latin1');
}

/** The git commands of a step, without what differs between any two runs. */
function commandsOf(step: StepResult): string[] {
  const lines = step.log.split('\n').filter((line) => line.startsWith('::debug::git '));
  return lines.map((line) =>
    line.replaceAll(/[0-9a-f]{40}/g, '<id>').replaceAll(/\S*[/\\]\S*/g, '<place>'),
  );
}

function longestCommand(...steps: readonly StepResult[]): number {
  const lines = steps.flatMap(({ log }) => log.split('\n'));
  const commands = lines.filter((line) => line.startsWith('::debug::git '));
  expect(commands).not.toEqual([]);
  return Math.max(...commands.map(({ length }) => length));
}

/** Runs of the same kind on both; the refs are more, the commands are the same. */
async function expectSameCommands(run: (scenario: Scenario) => Promise<Run>): Promise<Run> {
  const [small, large] = [await run(few), await run(many)];
  for (const step of ['main', 'post'] as const) {
    expect(commandsOf(large[step])).toEqual(commandsOf(small[step]));
  }
  expect(commandsOf(large.main)).toContainEqual(expect.stringMatching(/ls-remote/));
  expect(longestCommand(large.main, large.post)).toBeLessThan(ARGUMENT_CHARACTERS);
  return large;
}

test('20,000 refs take the git commands that a few take, and none gets refs as arguments', async () => {
  const machines = new Map([few, many].map((scenario) => [scenario, scenario.newMachine()]));
  const onMachine = (scenario: Scenario) => {
    const root = machines.get(scenario) ?? '';
    return scenario.run({ root, inputs: { prime: 'true' } });
  };

  const cloned = await expectSameCommands(onMachine);
  expect(cloned.main.outputs['provenance']).toBe('cloned');
  expect(verdict(cloned.post)).toMatch(/^Saved snapshot 1-/);
  await expectMirrorOf(cloned.mirror, many.upstream);
  const tracked = await listRefs(join(cloned.job.workspace, '.git'));
  // All but main, which is there as the remote's, and as that one's HEAD.
  expect(tracked.length).toBe((await listRefs(many.upstream)).length + 1);

  for (const scenario of machines.keys()) {
    await rm(scenario.job({ root: machines.get(scenario) ?? '' }).workspace, { recursive: true });
  }
  many.server.resetCounters();
  const existing = await expectSameCommands(onMachine);
  expect(existing.main.outputs['provenance']).toBe('existing');
  expect(verdict(existing.post)).toMatch(/nothing changed/);

  const restored = await expectSameCommands((scenario) =>
    scenario.run({ inputs: { prime: 'true' } }),
  );
  expect(restored.main.outputs['provenance']).toBe('restored');
  expect(verdict(restored.post)).toMatch(/nothing changed/);
  await expectMirrorOf(restored.mirror, many.upstream);
  expect(many.server.requests.filter(({ kind }) => kind === 'fetch')).toEqual([]);
}, 120_000);
