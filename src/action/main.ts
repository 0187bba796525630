/** Entry of the main step: wire, run, report. */
import {
  maskKey,
  maskToken,
  reportEarlySave,
  reportFailure,
  reportMirror,
  reportOutputs,
  reportStores,
} from './report/report.ts';
import type { Ssh } from '../git/ssh.ts';
import type { Job } from '../job/job.ts';
import { primeWorkspace } from '../prime/prime-workspace.ts';
import { restoreMirror } from '../restore/restore-mirror.ts';
import { decideNotToSave, saveEarly } from '../save/save-snapshot.ts';
import { readSettings } from './inputs/settings.ts';
import { writeStepState } from './step-state.ts';
import { closeKey, listenForCancel, openJob, openKey, placeOf, saveOptionsOf } from './step.ts';

const signal = listenForCancel();
let job: Job | undefined;
let ssh: Ssh | undefined;
try {
  const settings = readSettings();
  maskToken(settings.upstream.token);
  maskKey(settings.upstream.ssh?.privateKey);
  ssh = await openKey(settings, signal);
  job = await openJob(settings, signal, ssh);
  reportStores(job);
  const isPublishedEarly =
    settings.publish === 'early' && decideNotToSave(settings.save, settings.lowTrust) === undefined;
  const options = {
    isPublishedEarly,
    cacheKey: settings.cacheKey,
    verification: settings.verification,
    lockTimeoutMs: settings.lockTimeoutMs,
    fetchTimeoutMs: settings.fetchTimeoutMs,
    placeOf: (key: string) => placeOf(settings, key),
    temporaryFolder: settings.runner.temporaryFolder,
  };
  let isClaimed = false;
  const { mirror, used: prime } = await restoreMirror(job, options, async (held, made, claim) => {
    if (isPublishedEarly && made.provenance === 'cloned') {
      const saved = await saveEarly(held, saveOptionsOf(settings, held, made), claim);
      reportEarlySave(saved);
      isClaimed = saved === undefined && claim !== undefined;
    }
    return primeWorkspace(held, made, settings.primedFolder);
  });
  const { path, isPrivate, key, objectFormat } = mirror;
  writeStepState({ path, isPrivate, key, objectFormat, isClaimed });
  reportOutputs(mirror);
  await reportMirror(mirror, prime, job);
} catch (error) {
  await reportFailure(error, job);
} finally {
  await closeKey(ssh);
}
