/** Entry of the post step: save what main left, then tidy up. It never fails the job. */
import { nameJob, type Job } from '../job/job.ts';
import { leaveHungCalls } from '../lib/hung-calls.ts';
import { mapEachOf } from '../lib/parallel.ts';
import { removePrivatePlace } from '../mirror/place.ts';
import { hasWholeHistory } from '../prime/prime-workspace.ts';
import type { SaveResult } from '../save/decide.ts';
import { maintainMirror } from '../save/maintain-mirror.ts';
import { saveSnapshot } from '../save/save-snapshot.ts';
import { identify } from '../snapshot/identity.ts';
import { isDisabled } from './inputs/runner.ts';
import { readSettings, type Settings } from './inputs/settings.ts';
import { saveLfs } from './lfs.ts';
import { actionsLog } from './log.ts';
import { reportDisabled, reportNotSaved, reportSaves, reportVerdict } from './report/report.ts';
import type { MirrorSave } from './report/outcome.ts';
import { REPACK_TIMEOUT_MS, findSaveBan, saveOptionsOf } from './save-policy.ts';
import { readStepState, type MirrorState } from './step-state.ts';
import { listenForCancel, openJob, sweepKeys } from './step.ts';

/** More at a time would wait for the same disk and processors. */
const WIDTH = 4;

const signal = listenForCancel();
if (isDisabled()) reportDisabled('post');
else await start();
leaveHungCalls();

async function start(): Promise<void> {
  await sweepKeys();
  try {
    const [repository, ...submodules] = readStepState();
    if (repository === undefined) actionsLog.info('Nothing saved: the fetch did not succeed');
    else await run(repository, submodules);
  } catch (error) {
    reportNotSaved(error);
  }
}

async function run(repository: MirrorState, submodules: readonly MirrorState[]): Promise<void> {
  const settings = readSettings();
  const { temporaryFolder } = settings.runner;
  try {
    await using job = await openJob(settings, signal);
    const save = (state: MirrorState) => saveMirror(job, settings, state);
    // First, and alone: its lines are in groups.
    const saved = await save(repository);
    // A cancelled job ends each of them, and all of them are reported.
    const never = new AbortController().signal;
    await reportSaves(saved, await mapEachOf(submodules, WIDTH, never, save));
    await saveLfs(job, settings);
  } finally {
    for (const { path } of [repository, ...submodules].filter(({ isPrivate }) => isPrivate)) {
      // The runner would remove it, but only at the end of the job: a failure here harms nobody.
      await removePrivatePlace(path, temporaryFolder).catch(() => undefined);
    }
  }
}

/** No failure of one mirror concerns another. */
async function saveMirror(opened: Job, chosen: Settings, state: MirrorState): Promise<MirrorSave> {
  const { name, spec } = state;
  const job = name === '' ? opened : nameJob(opened, name);
  // Advice only: a `.git` that cannot be read by now must not keep anything from being saved.
  await warnOfLostSaving(state).catch(() => undefined);
  const result = await save(job, chosen, state).catch(
    (error: unknown) => ({ result: 'failed', error }) as const,
  );
  reportVerdict(result, job.log);
  return { name, url: spec.url, job, result };
}

/** That a checkout asked for more than it was primed with shows only after it. */
async function warnOfLostSaving({ spec, primedFolder }: MirrorState): Promise<void> {
  if (spec.depth === 'full' || primedFolder === null) return;
  if (!(await hasWholeHistory(primedFolder))) return;
  actionsLog.warning(
    'The checkout fetched the whole history into a workspace that was primed without one, which takes longer than a plain checkout: use `fetch-depth: 0` in this action as well, or `fetch-depth: 1` in actions/checkout',
  );
}

async function save(opened: Job, chosen: Settings, state: MirrorState): Promise<SaveResult> {
  const { spec, objectFormat, path, isPrivate, isClaimed } = state;
  const mirror = { identity: identify(spec, objectFormat), path, isPrivate };
  const reason = findSaveBan(chosen);
  try {
    if (reason !== undefined) return { result: 'skipped', reason };
    return await saveSnapshot(opened, mirror, saveOptionsOf(chosen, opened), isClaimed);
  } finally {
    await maintainMirror(opened, mirror, REPACK_TIMEOUT_MS);
  }
}
