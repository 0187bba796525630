/** Entry of the main step: restore mirrors, publish them early if asked to, prime the workspace. */
import { leaveHungCalls } from '../lib/hung-calls.ts';
import type { Job } from '../job/job.ts';
import { primeWorkspace, type PrimeResult } from '../prime/prime-workspace.ts';
import { restoreMirror } from '../restore/restore-mirror.ts';
import type { MirrorSession } from '../restore/session.ts';
import { saveClone } from '../save/save-snapshot.ts';
import type { Choice } from '../submodules/choose.ts';
import { restoreSubmodules } from '../submodules/restore-submodules.ts';
import { isDisabled } from './inputs/runner.ts';
import { readSettings, type Settings } from './inputs/settings.ts';
import { bringLfs } from './lfs.ts';
import type { MainOutcome } from './report/outcome.ts';
import { reportDisabled, reportEarlySave, reportFailure, reportMirror } from './report/report.ts';
import { isPublishedEarly, saveOptionsOf } from './save-policy.ts';
import { toSavedState, writeStepState, type MirrorState } from './step-state.ts';
import { listenForCancel, openJob, openKey, restoreOptionsOf, specOf } from './step.ts';
import { findSubmodules, openJobCommit, submoduleOptionsOf } from './submodules.ts';

const signal = listenForCancel();
if (isDisabled()) reportDisabled('main');
else await start();
leaveHungCalls();

async function start(): Promise<void> {
  let settings: Settings | undefined;
  let job: Job | undefined;
  try {
    settings = readSettings();
    await using key = await openKey(settings);
    await using opened = await openJob(settings, signal, key?.command);
    job = opened;
    await run(opened, settings);
  } catch (error) {
    await reportFailure(error, job, settings?.upstream.url);
  }
}

async function run(opened: Job, chosen: Settings): Promise<void> {
  const { choice, state, ...repository } = await bringRepository(opened, chosen);
  const states = [state];
  const onOpen = async (session: MirrorSession, path: string): Promise<void> => {
    states.push(toSavedState(path, session.mirror, await saveIfEarly(session, chosen), undefined));
  };
  const submodules =
    choice === undefined
      ? []
      : await restoreSubmodules(opened, choice, submoduleOptionsOf(chosen, opened, onOpen));
  writeStepState(states);
  await reportMirror({ job: opened, ...repository, submodules });
}

interface Repository extends Pick<MainOutcome, 'mirror' | 'prime' | 'lfs'> {
  choice: Choice | undefined;
  state: MirrorState;
}

/** Brings the job's repository up to date, primes its workspace, and leaves the mirror's place. */
async function bringRepository(opened: Job, chosen: Settings): Promise<Repository> {
  await using session = await restoreMirror(opened, specOf(chosen), restoreOptionsOf(chosen));
  const { mirror } = session;
  const isClaimed = await saveIfEarly(session, chosen);
  const { workspace } = chosen;
  const prime: PrimeResult =
    workspace === undefined
      ? { result: 'skipped', reason: 'neither `prime` nor `path` asks for it' }
      : await primeWorkspace(session.job, mirror, workspace);
  await using commit = await openJobCommit(session, chosen, prime);
  const lfs = chosen.lfs ? await bringLfs(session, chosen, prime, commit) : undefined;
  const choice = await findSubmodules(session.job, chosen, prime, commit);
  return { mirror, prime, lfs, choice, state: toSavedState('', mirror, isClaimed, prime) };
}

/** Saves a clone now if `publish` asks for that; returns whether post has its claim. */
async function saveIfEarly(
  { job: bound, mirror, claim }: MirrorSession,
  chosen: Settings,
): Promise<boolean> {
  let isSaved = false;
  if (mirror.provenance === 'cloned' && isPublishedEarly(chosen)) {
    const saved = await saveClone(bound, mirror, saveOptionsOf(chosen, bound), claim);
    reportEarlySave(saved, bound.log);
    isSaved = saved !== undefined;
  }
  return claim?.staysTaken === true && !isSaved;
}
