/**
 * The checkouts that are measured: a released actions/checkout, if `ACTIONS_CHECKOUT` is the path of a folder
 * that has its action.yml and dist; else this project's replay of its git commands.
 */
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createJob, type Job } from '../test/support/action-runner.ts';
import { checkout, type CheckoutOptions } from '../test/support/checkout/checkout.ts';

/** For each git; repositories may be large. */
const TIMEOUT_MS = 3_600_000;
const released = process.env['ACTIONS_CHECKOUT'];

export function describeCheckout(): string {
  if (released === undefined)
    return 'Checkouts are a replay of the git commands of actions/checkout.';
  const file = readFileSync(join(released, 'package.json'), 'utf8');
  const { version } = JSON.parse(file) as { version: string };
  return `Checkouts are by actions/checkout v${version}.`;
}

/** By the runner of the machine whose folder is `root`; returns the job, whose workspace has the files. */
export async function checkOut(root: string, options: CheckoutOptions): Promise<Job> {
  const { repository, serverUrl, ref, sha } = options;
  const { token = 'none', fetchDepth = 1, submodules = false, lfs = false } = options;
  const event = { ...(ref !== undefined && { ref }), ...(sha !== undefined && { sha }) };
  const whole = { root, repository, serverUrl, token, ...event };
  if (released === undefined) {
    const job = createJob(whole);
    const { workspace, temp, home } = job;
    await checkout({ workspace, temp, home, timeoutMs: TIMEOUT_MS }, options);
    return job;
  }
  const inputs = {
    ...{ 'fetch-depth': String(fetchDepth), submodules: String(submodules), lfs: String(lfs) },
    // Nothing cleans up after a measurement.
    'persist-credentials': 'false',
  };
  const job = createJob({ ...whole, actionPath: resolve(released), inputs });
  const { exitCode, log } = await job.main();
  if (exitCode !== 0) throw new Error(`actions/checkout failed:\n${log}`);
  return job;
}
