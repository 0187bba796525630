/** How long the bundle takes to start. */
import { execFile } from 'node:child_process';
import { tmpdir } from 'node:os';
import { promisify } from 'node:util';
import { median, time } from './measure.ts';

export interface Start {
  /** Node with nothing to do, in milliseconds. */
  nodeMs: number;
  /** Main of dist/, which ends at its first input: that is none. */
  mainMs: number;
}

/** Medians; Node is the one that runs this. */
export async function measureStart(rounds: number): Promise<Start> {
  const times = { node: [] as number[], main: [] as number[] };
  for (let round = 0; round < rounds; round++) {
    times.node.push(await time(() => run(['--eval', ''])));
    times.main.push(await time(() => run(['dist/main.js'])));
  }
  return { nodeMs: median(times.node), mainMs: median(times.main) };
}

async function run(nodeArguments: readonly string[]): Promise<void> {
  const env = { PATH: process.env['PATH'], RUNNER_TEMP: tmpdir() };
  // Main fails, since its inputs are missing; that it said so is all that is wanted.
  await promisify(execFile)(process.execPath, nodeArguments, { env }).catch(() => undefined);
}
