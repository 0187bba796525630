/** The cost of `verify` in the main step: restores of one snapshot from a disk store, each value in turn. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { countFolderBytes } from '../src/lib/files.ts';
import { createJob, type Job } from '../test/support/action-runner.ts';
import { REPOSITORY } from './contest.ts';
import { costOf, runStep, type Cost } from './cost.ts';
import { readWhole, removeLargeFiles } from './disk.ts';
import { Servers } from './servers.ts';
import { packDirectory } from '../src/mirror/packs.ts';

const VALUES = ['standard', 'tip', 'full'] as const;

export interface VerifyCosts {
  packBytes: number;
  rounds: number;
  /** By the value of `verify`. */
  costs: readonly (readonly [string, readonly Cost[]])[];
}

export async function verifyCosts(
  root: string,
  repository: string,
  rounds: number,
): Promise<VerifyCosts> {
  const servers = await Servers.start({ [REPOSITORY]: repository });
  try {
    const store = join(root, 'store');
    await mkdir(store);
    const serverUrl = await servers.ask('url');
    const newJob = (name: string, verify: string): Job =>
      createJob({
        ...{ root: join(root, name), repository: REPOSITORY, serverUrl },
        inputs: { 'disk-path': store, prime: 'false', verify },
      });
    const saver = newJob('saver', 'standard');
    await runStep(saver.startMain());
    await runStep(saver.startPost());
    const costs = VALUES.map((value): [string, Cost[]] => [value, []]);
    for (let round = 0; round < rounds; round++) {
      for (const [value, measured] of costs) {
        const name = `${value}-${String(round)}`;
        await readWhole(store);
        const cost = await costOf(
          () => servers.ask('bytesSent'),
          async () => {
            const { result, ...known } = await runStep(newJob(name, value).startMain());
            if (result.outputs['provenance'] !== 'restored') throw new Error(result.log);
            return known;
          },
        );
        measured.push(cost);
        await removeLargeFiles(join(root, name));
      }
    }
    return { packBytes: await countFolderBytes(packDirectory(repository)), rounds, costs };
  } finally {
    await servers.stop();
  }
}
