/**
 * `npm run bench:life -- <repository> [days] [days of a machine]`: a repository's own history, day by
 * day, each fetched, saved and checked. Writes bench/results/life.md and docs/life.svg.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { git } from '../test/support/git.ts';
import { startGitServer } from '../test/support/git-server/server.ts';
import { Life } from '../test/support/life.ts';
import { createTemporaryDirectory, removeDirectory } from '../test/support/temporary-directory.ts';
import { PastUpstream, listDays, type Day } from './history.ts';
import { Reached, assemble, expectSameRefs, expectSound } from './life-check.ts';
import { drawLife } from './life-plot.ts';
import { describeLife, type LifeReport } from './life-report.ts';
import { describeMachine } from './measure.ts';

const REPOSITORY = 'bench/repository';

const [given, days = '200', machineDays = '10'] = process.argv.slice(2);
if (given === undefined) throw new Error('which repository?');
const root = await createTemporaryDirectory('bench-life');
const repository = await findRepository(given);
const upstream = await PastUpstream.create(repository, join(root, 'upstream.git'));
const server = await startGitServer({ repositories: { [REPOSITORY]: upstream.directory } });
try {
  const all = await listDays(repository, Number(days) + 1);
  const report = await live(given, all, Number(machineDays));
  await writeFile('bench/results/life.md', describeLife(report));
  await writeFile('docs/life.svg', drawLife(report));
} finally {
  await server.stop();
  await removeDirectory(root);
}

/** As bare: what is to be fetched are its packs, not a working tree. */
async function findRepository(name: string): Promise<string> {
  if (!/^[a-z+]+:\/\//.test(name)) return resolve(name);
  await git(root, ['clone', '--quiet', '--bare', name, 'source.git'], { timeoutMs: 3_600_000 });
  return join(root, 'source.git');
}

async function live(name: string, all: readonly Day[], every: number): Promise<LifeReport> {
  const store = join(root, 'store');
  await mkdir(store);
  const life = new Life({ server, repository: REPOSITORY, store, inputs: { prime: 'false' } });
  const reached = new Reached();
  const restores: LifeReport['restores'] = [];
  let machine = join(root, 'machine');
  for (const [day, now] of all.entries()) {
    reached.add(await upstream.moveTo(now));
    // In the middle of a machine's time the next one comes, restores, fetches and saves in one job.
    if (day % every === Math.floor(every / 2)) machine = await nextMachine(machine, day);
    const mirror = await life.save(machine, now.date);
    await expectSameRefs(mirror, upstream.directory);
    const check = join(root, 'check.git');
    await assemble(store, life.snapshot, check);
    await expectSameRefs(check, upstream.directory);
    await reached.expectIn(check, life.snapshot);
    if (day % every === 0) {
      machine = await nextMachine(machine, day);
      const { mirror: restored, restoreMs } = await life.restore(machine);
      await expectSameRefs(restored, upstream.directory);
      restores.push({ day, restoreMs });
    }
    console.log(JSON.stringify(life.saves.at(-1)));
  }
  const complaints = await expectSound(join(root, 'check.git'), repository);
  const { saves } = life;
  const common = { repository: basename(name), machine: describeMachine(), every };
  return { ...common, objects: reached.size, saves, restores, complaints };
}

async function nextMachine(last: string, day: number): Promise<string> {
  await removeDirectory(last);
  return join(root, `machine-${day}`);
}
