/** Entry of the main step: wire, run, report. */
import { maskToken, reportFailure, reportMirror, reportOutputs } from './report.ts';
import type { Job } from './job.ts';
import { restoreMirror } from './restore-mirror.ts';
import { readSettings } from './settings.ts';
import { writeStepState } from './step-state.ts';
import { listenForCancel, openJob, placeOf } from './step.ts';

const signal = listenForCancel();
let job: Job | undefined;
try {
  const settings = readSettings();
  maskToken(settings.upstream.token);
  job = await openJob(settings, signal);
  const mirror = await restoreMirror(job, {
    cacheKey: settings.cacheKey,
    verification: settings.verification,
    lockTimeoutMs: settings.lockTimeoutMs,
    fetchTimeoutMs: settings.fetchTimeoutMs,
    placeOf: (key) => placeOf(settings, key),
    temporaryFolder: settings.runner.temporaryFolder,
  });
  const { path, isPrivate, key, objectFormat } = mirror;
  writeStepState({ path, isPrivate, key, objectFormat });
  reportOutputs(mirror);
  await reportMirror(mirror, job);
} catch (error) {
  await reportFailure(error, job);
}
