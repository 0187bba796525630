/** The size of stores after days of saves: ours, and one archive of `.git` a day. */
import { mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { countFolderBytes } from '../src/lib/files.ts';
import { createJob } from '../test/support/action-runner.ts';
import { git } from '../test/support/git.ts';
import { checkOut } from './checkout.ts';
import { archive, REPOSITORY } from './contest.ts';
import { runStep } from './cost.ts';
import { ageByDay, countAllBytes } from './disk.ts';
import type { Day, PastUpstream } from './history.ts';
import type { Servers } from './servers.ts';

export interface Churn {
  days: number;
  /** Of the repository on the last day. */
  snapshotBytes: number;
  /** Stored on the last day; sent in total. */
  heldBytes: number;
  sentBytes: number;
  /** All archives in total. */
  archivedBytes: number;
  lastArchiveBytes: number;
}

/** Each day's job runs on a new machine. */
export async function churn(
  root: string,
  upstream: PastUpstream,
  days: readonly Day[],
  servers: Servers,
): Promise<Churn> {
  const store = join(root, 'churned');
  await mkdir(store);
  const serverUrl = await servers.ask('url');
  const file = join(root, 'churned.tar.zst');
  let [sentBytes, archivedBytes, snapshotBytes] = [0, 0, 0];
  for (const [index, day] of days.entries()) {
    await upstream.moveTo(day);
    const machine = join(root, `churned-${String(index)}`);
    const job = createJob({
      root: machine,
      repository: REPOSITORY,
      serverUrl,
      inputs: { 'disk-path': store, prime: 'false' },
    });
    const { result } = await runStep(job.startMain());
    const { storeBytes = 0 } = await runStep(job.startPost());
    sentBytes += storeBytes;
    await ageByDay(store);
    const mirror = result.outputs['mirror-path'] ?? '';
    snapshotBytes = await countFolderBytes(join(mirror, 'objects', 'pack'));
    const { workspace } = await checkOut(join(root, 'churned-workspace'), {
      ...{ repository: REPOSITORY, serverUrl, fetchDepth: 0 },
      ref: await git(upstream.directory, ['symbolic-ref', 'HEAD']),
      sha: day.commit,
    });
    await archive(workspace, file);
    archivedBytes += (await stat(file)).size;
  }
  return {
    ...{ days: days.length - 1, snapshotBytes, sentBytes, archivedBytes },
    heldBytes: await countAllBytes(store),
    lastArchiveBytes: (await stat(file)).size,
  };
}
