/** The only writer of outputs, job summary and the step's outcome. */
import { setFailed, setOutput, summary } from '@actions/core';
import { actionsLog } from '../log.ts';
import { MirrorError, describeError } from '../../lib/errors.ts';
import type { Job } from '../../job/job.ts';
import { labelLog, type Log } from '../../lib/log.ts';
import { adviseOn, describeFailure } from './advice.ts';
import {
  describeLfs,
  describeMirror,
  describeSave,
  describeSubmodules,
  explainClone,
  type MainOutcome,
  type MirrorSave,
  type SaveOutcome,
} from './outcome.ts';
import { summarizeFailure, summarizeLfsSave, summarizeMirror, summarizeSaves } from './summary.ts';
import { DISABLED, summarizeFailed, summarizeMain, summarizePost } from './summary-json.ts';
import type { SaveResult } from '../../save/decide.ts';

/** What main leaves: outputs, the log's last lines and the job summary. */
export async function reportMirror(outcome: MainOutcome): Promise<void> {
  const { job, mirror, lfs, submodules } = outcome;
  setOutput('mirror-path', mirror.path);
  setOutput('provenance', mirror.provenance);
  setOutput('cache-hit', mirror.provenance === 'restored');
  setOutput('recloned', mirror.recloned);
  setOutput('snapshot', mirror.snapshot ?? '');
  setOutput('head', mirror.head?.oid ?? '');
  setOutput('refs-digest', mirror.refsDigest);
  setOutput('lock', mirror.claim);
  reportSummaryJson(summarizeMain(outcome));
  actionsLog.info(describeMirror(mirror, job));
  actionsLog.info(`Mirror of ${mirror.identity.spec.url}: ${mirror.path}`);
  const explanation = explainClone(mirror, job);
  if (explanation !== undefined) {
    if (job.store === undefined) actionsLog.notice(explanation);
    else actionsLog.info(explanation);
  }
  if (lfs !== undefined) actionsLog.info(`LFS: ${describeLfs(lfs)}`);
  const line = describeSubmodules(submodules);
  if (line !== undefined) actionsLog.info(line);
  await writeSummary(summarizeMirror(outcome));
}

function reportSummaryJson(summary: object): void {
  setOutput('summary-json', JSON.stringify(summary));
}

/** Post has no outputs that anything could read: its summary is a line of the log. */
function logSummaryJson(summary: object): void {
  actionsLog.group('Summary for programs');
  actionsLog.info(`summary-json: ${JSON.stringify(summary)}`);
  actionsLog.endGroup();
}

/** Main's line on a snapshot that was saved at its end; undefined where post has to try. */
export function reportEarlySave(result: SaveResult | undefined, log: Log): void {
  if (result !== undefined) log.info(describeSave(result));
}

/** What people see where main failed, as far as it came. */
export async function reportFailure(
  error: unknown,
  job: Job | undefined,
  url: string | undefined,
): Promise<void> {
  setFailed(describeFailure(error));
  const advice = adviseOn(error);
  if (advice !== undefined) actionsLog.info(`What to do: ${advice}`);
  reportSummaryJson(summarizeFailed('main', error, job?.account));
  await writeSummary(summarizeFailure(error, job, url));
}

/** One line that says why post saved a mirror or did not. */
export function reportVerdict(result: SaveOutcome, log: Log): void {
  const line = describeSave(result);
  if (needsAttention(result)) log.warning(line);
  else log.info(line);
}

const lfsLog = labelLog(actionsLog, 'LFS objects');

/** Post's line on LFS objects. */
export async function reportLfsSave(result: SaveResult): Promise<void> {
  reportVerdict(result, lfsLog);
  if (result.result === 'published') await writeSummary(summarizeLfsSave(describeSave(result)));
}

export function reportLfsNotSaved(error: unknown): void {
  reportVerdict({ result: 'failed', error }, lfsLog);
}

function needsAttention(outcome: SaveOutcome): boolean {
  if (outcome.result !== 'failed') return ['corrupt', 'refused'].includes(outcome.result);
  // Who cancels a job knows it.
  return !(outcome.error instanceof MirrorError && outcome.error.code === 'cancelled');
}

/** What post leaves of all mirrors, after a line for each. */
export async function reportSaves(
  repository: MirrorSave,
  submodules: readonly MirrorSave[],
): Promise<void> {
  logSummaryJson(summarizePost(repository, submodules));
  await writeSummary(summarizeSaves(repository, submodules));
}

/** Post's line where it could not begin: never a failed job. */
export function reportNotSaved(error: unknown): void {
  reportVerdict({ result: 'failed', error }, actionsLog);
  logSummaryJson(summarizeFailed('post', error, undefined));
}

/** What people see of either step where the runner or the workflow turned the action off. */
export function reportDisabled(step: 'main' | 'post'): void {
  actionsLog.notice('mirror-action does nothing: MIRROR_ACTION_DISABLED is set');
  if (step === 'main') reportSummaryJson(DISABLED);
}

async function writeSummary(markdown: string): Promise<void> {
  // Outside Actions, and where the runner has none, there is no file to write to.
  if ((process.env['GITHUB_STEP_SUMMARY'] ?? '') === '') return;
  try {
    await summary.addRaw(markdown, true).write();
  } catch (error) {
    // The step has done its work; that nobody can read about it does not undo that.
    actionsLog.warning(`The job summary could not be written: ${describeError(error)}`);
  }
}
