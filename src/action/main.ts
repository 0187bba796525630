/** Entry of the main step: restore the mirror, publish it early if asked to, prime the workspace. */
import { leaveHungCalls } from '../lib/hung-calls.ts';
import type { Job } from '../job/job.ts';
import type { LfsOutcome } from '../lfs/bring-objects.ts';
import { primeWorkspace, type PrimeResult } from '../prime/prime-workspace.ts';
import { restoreMirror } from '../restore/restore-mirror.ts';
import type { MirrorSession, RestoredMirror } from '../restore/session.ts';
import { saveEarly } from '../save/save-snapshot.ts';
import { isDisabled } from './inputs/runner.ts';
import { readSettings, type Settings } from './inputs/settings.ts';
import { bringLfs } from './lfs.ts';
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
import { toSavedState, writeStepState, type MirrorState } from './step-state.ts';
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
  const { mirror, primed, lfs, state } = await bringRepository(opened, chosen);
  writeStepState([state]);
  reportOutputs(mirror, primed, opened, lfs);
  await reportMirror(mirror, primed, opened, lfs);
}

/** Brings the job's repository up to date, primes its workspace, and leaves the mirror's place. */
async function bringRepository(opened: Job, chosen: Settings): Promise<Repository> {
  await using session = await restoreMirror(opened, specOf(chosen), restoreOptionsOf(chosen));
  const { mirror, claim } = session;
  const isSaved = await publishEarly(session, chosen);
  const { workspace } = chosen;
  const primed: PrimeResult =
    workspace === undefined
      ? { result: 'skipped', reason: 'neither `prime` nor `path` asks for it' }
      : await primeWorkspace(session.job, mirror, workspace);
  const lfs = chosen.lfs ? await bringLfs(session, chosen, primed) : undefined;
  const state = toSavedState(mirror, claim?.staysTaken === true && !isSaved, primed);
  return { mirror, primed, lfs, state };
}

interface Repository {
  mirror: RestoredMirror;
  primed: PrimeResult;
  lfs: LfsOutcome | undefined;
  state: MirrorState;
}

/** Saves a clone if `publish` asks for that now; returns whether it was saved. */
async function publishEarly(
  { job: bound, mirror, claim }: MirrorSession,
  chosen: Settings,
): Promise<boolean> {
  if (mirror.provenance !== 'cloned' || !isPublishedEarly(chosen)) return false;
  const saved = await saveEarly(bound, mirror, saveOptionsOf(chosen, bound), claim);
  reportEarlySave(saved);
  return saved !== undefined;
}
