/** Downloads the objects that neither this machine nor a store has. */
import type { Job } from '../job/job.ts';
import { formatBytes } from '../lib/bytes.ts';
import { throwIfCancelled, toMirrorError } from '../lib/errors.ts';
import { downloadObjects, type Download, type MissingObjects } from './git-lfs.ts';
import { countBytes, type LfsObject } from './pointers.ts';

/**
 * Warns of what didn't arrive, which the checkout downloads then; `total` is how many the job needs. Throws only
 * if the job was cancelled.
 */
export async function downloadMissing(
  job: Job,
  wish: MissingObjects,
  total: number,
): Promise<Download> {
  const { account, log } = job;
  const { url, missing } = wish;
  if (missing.length === 0) return { arrived: new Set(), failure: undefined };
  log.info(`Downloading ${formatAmount(missing)} from the LFS server of ${url}`);
  const { arrived, failure } = await account.measure(
    'lfs-fetch',
    () => tryDownload(job, wish),
    (done) => countBytes(missing.filter(({ oid }) => done.arrived.has(oid))),
  );
  if (failure !== undefined) {
    const left = missing.filter(({ oid }) => !arrived.has(oid));
    const share = `${String(left.length)} of ${String(total)} LFS objects`;
    const bytes = formatBytes(countBytes(left));
    const reason = `The checkout has to download ${share} (${bytes}) itself: ${failure.error.message}`;
    account.fallBack(reason, failure.error);
  }
  return { arrived, failure };
}

/** A failure of this disk is a failure like others: what was here before is still primed. */
async function tryDownload(job: Job, wish: MissingObjects): Promise<Download> {
  try {
    return await downloadObjects(job, wish);
  } catch (thrown) {
    throwIfCancelled(job.signal);
    const error = toMirrorError(thrown, 'unknown', 'downloading LFS objects');
    const kind = error.code === 'no-space' ? 'no-space' : 'unknown';
    return { arrived: new Set(), failure: { kind, error } };
  }
}

function formatAmount(objects: readonly LfsObject[]): string {
  const { length } = objects;
  const what = length === 1 ? '1 LFS object' : `${String(length)} LFS objects`;
  return `${what} (${formatBytes(countBytes(objects))})`;
}
