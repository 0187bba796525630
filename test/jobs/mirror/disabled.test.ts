/** MIRROR_ACTION_DISABLED: an incident needs no change of workflows. */
import { expect, test } from '@jest/globals';
import { readdir } from 'node:fs/promises';
import { readTree, succeed, useScenarios, verdict } from '../scenarios/scenario.ts';

const scenarios = useScenarios();
const NOTICE = 'mirror-action does nothing: MIRROR_ACTION_DISABLED is set';

test.each(['true', 'TRUE', '1'])(
  'MIRROR_ACTION_DISABLED=%s: both steps succeed, say so, and do nothing',
  async (value) => {
    const scenario = await scenarios.create();
    // Not even inputs are read: the incident may be about them.
    const inputs = { save: 'nonsense' };
    const job = scenario.job({ inputs, environment: { MIRROR_ACTION_DISABLED: value } });
    const before = await readTree(scenario.root);
    const steps = { main: await succeed(job.main()), post: await succeed(job.post()) };
    expect(steps.main.outputs).toEqual({
      'summary-json': '{"version":1,"step":"main","outcome":"disabled"}',
    });
    expect(steps.post.outputs).toEqual({});
    for (const step of Object.values(steps)) {
      expect(step.annotations).toMatchObject([{ level: 'notice', message: NOTICE }]);
      expect(step.state).toEqual({});
      expect(step.summary).toBe('');
    }
    expect(await readdir(job.workspace)).toEqual([]);
    expect(scenario.server.requests).toEqual([]);
    const after = await readTree(scenario.root);
    const made = Object.keys(after).filter((name) => !(name in before));
    expect(made.filter((name) => !name.includes('_runner_file_commands'))).toEqual([]);
  },
);

test('set after main: post saves nothing', async () => {
  const scenario = await scenarios.create();
  const job = scenario.job();
  await succeed(job.main());
  job.setEnvironment({ MIRROR_ACTION_DISABLED: 'true' });
  const post = await succeed(job.post());
  expect(post.annotations).toMatchObject([{ level: 'notice', message: NOTICE }]);
  expect(await readTree(scenario.store)).toEqual({});
});

test('MIRROR_ACTION_DISABLED=false: the action works as ever', async () => {
  const scenario = await scenarios.create();
  const { post } = await scenario.run({ environment: { MIRROR_ACTION_DISABLED: 'false' } });
  expect(verdict(post)).toMatch(/^Saved snapshot/);
});
