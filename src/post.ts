/** Entry of the post step: wire, run, report. It never fails the job. */
import { dirname } from 'node:path';
import { removeTree } from './files.ts';
import { maskToken, reportNotSaved, reportSave } from './report.ts';
import { decideNotToSave, saveSnapshot, type SaveResult } from './save-snapshot.ts';
import { readSettings } from './settings.ts';
import { findStepState, type StepState } from './step-state.ts';
import { listenForCancel, openJob } from './step.ts';
import { VERSION } from './version.ts';

const signal = listenForCancel();
try {
  const state = findStepState();
  if (state === undefined) reportNotSaved('the fetch did not succeed');
  else await save(state);
} catch (error) {
  reportNotSaved(error);
}

async function save(state: StepState): Promise<void> {
  const settings = readSettings();
  maskToken(settings.upstream.token);
  const job = await openJob(settings, signal);
  const reason = decideNotToSave(settings.save, settings.lowTrust);
  const skipped: SaveResult = { result: 'skipped', reason: reason ?? '' };
  const options = {
    ...state,
    isForced: settings.save === 'always',
    maxSnapshots: settings.maxSnapshots,
    run: settings.run,
    action: VERSION,
  };
  try {
    const result = reason === undefined ? await saveSnapshot(job, options) : skipped;
    await reportSave(result, job);
  } finally {
    // It stands in a folder made for it; the runner would remove it only at the end of the job.
    if (state.isPrivate) await removeTree(dirname(state.path));
  }
}
