/** Entry of the main step: restore the mirror, publish it early if asked to, prime the workspace. */
import { leaveHungCalls } from '../lib/hung-calls.ts';
import type { Job } from '../job/job.ts';
import { primeWorkspace, type PrimeResult } from '../prime/prime-workspace.ts';
import { restoreMirror } from '../restore/restore-mirror.ts';
import { saveEarly } from '../save/save-snapshot.ts';
import { isDisabled } from './inputs/runner.ts';
import { readSettings, type Settings } from './inputs/settings.ts';
import {
  maskSecrets,
  reportDisabled,
  reportEarlySave,
  reportFailure,
  reportMirror,
  reportOutputs,
  reportStores,
} from './report/report.ts';
import { isPublishedEarly, saveOptionsOf } from './save-policy.ts';
import { toSavedState, writeStepState } from './step-state.ts';
import { listenForCancel, openJob, openKey, restoreOptionsOf, specOf } from './step.ts';

const signal = listenForCancel();
let settings: Settings | undefined;
let job: Job | undefined;
if (isDisabled()) reportDisabled('main');
else await start();
leaveHungCalls();

async function start(): Promise<void> {
  try {
    settings = readSettings();
    maskSecrets(settings.upstream);
    await using key = await openKey(settings);
    job = await openJob(settings, signal, key?.command);
    await run(job, settings);
  } catch (error) {
    await reportFailure(error, job, settings?.upstream.url);
  }
}

async function run(opened: Job, chosen: Settings): Promise<void> {
  reportStores(opened);
  await using session = await restoreMirror(opened, specOf(chosen), restoreOptionsOf(chosen));
  const { mirror } = session;
  const isClone = mirror.provenance === 'cloned';
  let isSaved = false;
  if (isClone && isPublishedEarly(chosen)) {
    const options = saveOptionsOf(chosen, opened);
    const saved = await saveEarly(session.job, mirror, options, session.claim);
    reportEarlySave(saved);
    isSaved = saved !== undefined;
  }
  const { workspace } = chosen;
  const primed: PrimeResult =
    workspace === undefined
      ? { result: 'skipped', reason: 'neither `prime` nor `path` asks for it' }
      : await primeWorkspace(session.job, mirror, workspace);
  writeStepState([toSavedState(mirror, session.claim?.staysTaken === true && !isSaved)]);
  reportOutputs(mirror, primed, opened);
  await reportMirror(mirror, primed, opened);
}
