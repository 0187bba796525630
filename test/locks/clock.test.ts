import { expect, test } from '@jest/globals';
import { runProcess } from '../support/processes.ts';

const module = new URL('../../src/locks/clock.ts', import.meta.url).href;

test('a pause until a moment that has just passed ends, and Node warns of nothing', async () => {
  const program = `
    const { MONOTONIC_CLOCK } = await import(${JSON.stringify(module)});
    await MONOTONIC_CLOCK.pause(-0.004, new AbortController().signal);`;
  const args = ['--input-type=module', '--eval', program];
  const { exitCode, stderr } = await runProcess(process.execPath, args);
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
});
