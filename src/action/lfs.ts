/** What `lfs: true` adds to main and post. */
import { randomUUID } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { getState, saveState } from '@actions/core';
import * as v from 'valibot';
import type { Job } from '../job/job.ts';
import { describeError } from '../lib/errors.ts';
import { labelLog } from '../lib/log.ts';
import { bringLfsObjects, type LfsOutcome } from '../lfs/bring-objects.ts';
import { primeLfsObjects } from '../lfs/prime-objects.ts';
import {
  lfsSaveSchema,
  saveLfsObjects,
  tidyLfsObjects,
  type LfsSave,
} from '../lfs/save-objects.ts';
import type { PrimeResult } from '../prime/prime-workspace.ts';
import type { JobCommit } from '../restore/job-commit.ts';
import type { MirrorSession } from '../restore/session.ts';
import type { Settings } from './inputs/settings.ts';
import { reportEarlySave, reportLfsNotSaved, reportLfsSave } from './report/report.ts';
import { findSaveBan, isPublishedEarly, saveOptionsOf } from './save-policy.ts';
import { restoreOptionsOf } from './step.ts';

const STATE = 'lfs';

/** Brings LFS objects to the mirror and into the primed workspace. Undefined if that failed. */
export async function bringLfs(
  session: Pick<MirrorSession, 'job' | 'mirror'>,
  settings: Settings,
  primed: PrimeResult,
  commit: JobCommit | undefined,
): Promise<LfsOutcome | undefined> {
  const { job } = session;
  const early = isPublishedEarly(settings) ? saveOptionsOf(settings, job) : undefined;
  const options = { ...restoreOptionsOf(settings), commit, early };
  const brought = await bringLfsObjects(session, options);
  if (brought === undefined) return undefined;
  reportEarlySave(brought.early, labelLog(job.log, 'LFS objects'));
  await writeState(job, brought.save).catch((error: unknown) => {
    job.account.fallBack(`LFS objects will not be saved: ${describeError(error)}`, error);
  });
  if (primed.result !== 'primed') return brought.outcome;
  const objects = await primeLfsObjects(job, brought, join(primed.path, '.git'));
  return { ...brought.outcome, primed: objects };
}

/** In a file: the list of objects may be longer than a variable can be. */
async function writeState({ temporaryFolder }: Job, save: LfsSave): Promise<void> {
  const path = join(temporaryFolder, `mirror-action-lfs-${randomUUID()}.json`);
  await writeFile(path, JSON.stringify(save), { flag: 'wx', mode: 0o600 });
  saveState(STATE, path);
}

/** Post's part. Does nothing if main brought no objects. Never throws. */
export async function saveLfs(job: Job, settings: Settings): Promise<void> {
  const path = getState(STATE);
  if (path === '') return;
  try {
    const save = v.parse(lfsSaveSchema, JSON.parse(await readFile(path, 'utf8')));
    await saveOrExplain(job, settings, save).finally(() => tidyLfsObjects(job, save));
  } catch (error) {
    reportLfsNotSaved(error);
  }
}

async function saveOrExplain(job: Job, settings: Settings, save: LfsSave): Promise<void> {
  const reason = findSaveBan(settings);
  if (reason !== undefined) await reportLfsSave({ result: 'skipped', reason });
  else await reportLfsSave(await saveLfsObjects(job, save, saveOptionsOf(settings, job)));
}
