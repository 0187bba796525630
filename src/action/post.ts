/** Entry of the post step: wire, run, report. It never fails the job. */
import type { Job } from '../job/job.ts';
import { maintainMirror } from '../save/maintain-mirror.ts';
import { removePrivatePlace } from '../mirror/place.ts';
import {
  maskKey,
  maskToken,
  reportNotSaved,
  reportNothingToSave,
  reportSave,
  reportStores,
} from './report/report.ts';
import { decideNotToSave, saveSnapshot, type SaveResult } from '../save/save-snapshot.ts';
import { readSettings, type Settings } from './inputs/settings.ts';
import { findStepState, type StepState } from './step-state.ts';
import { listenForCancel, openJob, saveOptionsOf, sweepKeys } from './step.ts';

const signal = listenForCancel();
let job: Job | undefined;
await sweepKeys();
try {
  const state = findStepState();
  if (state === undefined) reportNothingToSave();
  else await run(state);
} catch (error) {
  await reportNotSaved(error, job);
}

async function run(state: StepState): Promise<void> {
  const settings = readSettings();
  maskToken(settings.upstream.token);
  maskKey(settings.upstream.ssh?.privateKey);
  try {
    job = await openJob(settings, signal);
    reportStores(job);
    await reportSave(await save(job, settings, state), job);
  } finally {
    if (state.isPrivate) {
      // The runner would remove it, but only at the end of the job; it is no reason to complain.
      await removePrivatePlace(state.path, settings.runner.temporaryFolder).catch(() => undefined);
    }
  }
}

async function save(opened: Job, settings: Settings, state: StepState): Promise<SaveResult> {
  const reason = decideNotToSave(settings.save, settings.lowTrust);
  const options = saveOptionsOf(settings, opened, state);
  try {
    if (reason !== undefined) return { result: 'skipped', reason };
    return await saveSnapshot(opened, options, state.isClaimed);
  } finally {
    await maintainMirror(opened, options);
  }
}
