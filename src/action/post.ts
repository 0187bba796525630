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
import {
  maskSecrets,
  reportDisabled,
  reportLostSaving,
  reportNotSaved,
  reportNothingToSave,
  reportSaves,
  reportStores,
  reportVerdict,
} from './report/report.ts';
import type { MirrorSave } from './report/outcome.ts';
import { REPACK_TIMEOUT_MS, findSaveBan, saveOptionsOf } from './save-policy.ts';
import { readStepState, type MirrorState } from './step-state.ts';
import { listenForCancel, openJob, sweepKeys, type OpenedJob } from './step.ts';

const signal = listenForCancel();
let settings: Settings | undefined;
let job: OpenedJob | undefined;
if (isDisabled()) reportDisabled('post');
else await start();
leaveHungCalls();

async function start(): Promise<void> {
  await sweepKeys();
  try {
    const mirrors = readStepState();
    if (mirrors.length === 0) reportNothingToSave();
    else await run(mirrors);
  } catch (error) {
    reportNotSaved(error);
  }
}

async function run(mirrors: readonly MirrorState[]): Promise<void> {
  settings = readSettings();
  maskSecrets(settings.upstream);
  try {
    job = await openJob(settings, signal);
    reportStores(job);
    const [repository, ...submodules] = await saveAll(job, settings, mirrors);
    if (repository !== undefined) await reportSaves(repository, submodules);
    await saveLfs(job, settings);
  } finally {
    await job?.close();
    const { temporaryFolder } = settings.runner;
    for (const { path } of mirrors.filter(({ isPrivate }) => isPrivate)) {
      // The runner would remove it, but only at the end of the job: a failure here harms nobody.
      await removePrivatePlace(path, temporaryFolder).catch(() => undefined);
    }
  }
}

/** That a checkout asked for more than it was primed with shows only after it. */
async function warnOfLostSaving({ spec, primedFolder }: MirrorState): Promise<void> {
  if (spec.depth === 'full' || primedFolder === null) return;
  if (await hasWholeHistory(primedFolder)) reportLostSaving();
}

/** More at a time would wait for the same disk and processors. */
const WIDTH = 4;

/** The job's own repository first, since its lines are in groups. No failure of one concerns another. */
async function saveAll(
  opened: Job,
  chosen: Settings,
  states: readonly MirrorState[],
): Promise<MirrorSave[]> {
  const work = async (state: MirrorState): Promise<MirrorSave> => {
    const { name, spec } = state;
    const own = name === '' ? opened : nameJob(opened, name);
    await warnOfLostSaving(state);
    const result = await save(own, chosen, state).catch((error: unknown) => ({
      ...{ result: 'failed' as const, error },
    }));
    reportVerdict(result, own.log);
    return { name, url: spec.url, job: own, result };
  };
  // A cancelled job ends each of them, and all of them are reported.
  const never = new AbortController().signal;
  const repository = await mapEachOf(states.slice(0, 1), 1, never, work);
  return [...repository, ...(await mapEachOf(states.slice(1), WIDTH, never, work))];
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
