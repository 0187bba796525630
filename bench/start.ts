/** The start-up time of the bundle. */
import { execFile } from 'node:child_process';
import { tmpdir } from 'node:os';
import { promisify } from 'node:util';
import { median, time } from './measure.ts';

export interface Start {
  /** Milliseconds of an empty Node process. */
  nodeMs: number;
  /** Milliseconds of dist/main.js until it fails because its first input is missing. */
  mainMs: number;
}

/** Medians, with the Node that runs this. */
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
  // Main fails because its inputs are missing, which is all that this needs.
  await promisify(execFile)(process.execPath, nodeArguments, { env }).catch(() => undefined);
}
