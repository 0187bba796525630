/**
 * `npm run bench:s3 -- [rounds]`: restores from and saves to Ceph's S3 gateway against one plain request
 * by curl for the same bytes, on a link of 15 MB/s for each connection and on the bare loopback
 * interface, and the memory that the action's own processes take. Prints Markdown.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { ChunkDigester } from '../src/snapshot/chunks.ts';
import { LayerCheck } from '../src/snapshot/layer-check.ts';
import { parseManifest, type Layer } from '../src/snapshot/manifest.ts';
import { createJob, type Job } from '../test/support/action-runner.ts';
import { startGitServer } from '../test/support/git-server/server.ts';
import { createRepository } from '../test/support/repository-fixture.ts';
import { startS3Server, type S3Server } from '../test/support/s3/servers.ts';
import { S3Stores } from '../test/support/s3/stores.ts';
import { createTemporaryDirectory, removeDirectory } from '../test/support/temporary-directory.ts';
import { TABLE_HEADER, describeMachine, inFolder, median, row, time } from './measure.ts';
import { peakMemory } from './peak-memory.ts';
import { getByCurl, putByCurl } from './s3-curl.ts';
import { startLink } from './slow-link.ts';
import { packDirectory } from '../src/mirror/packs.ts';

const MB = 1_000_000;
const MIB = 1024 * 1024;
const LINK = { roundTripMs: 30, bytesPerSecond: 15 * MB, isForEach: true };
/** Of the snapshot whose transfer is timed. */
const TIMED_MB = 300;
const MEASURED_MB = [100, 2_000];
const FOLDER = 'bench';
const PREFIX = 'store';
const { signal } = new AbortController();

/** A job of a machine of its own whose snapshots are in the bucket. */
function newJob(root: string, serverUrl: string, megabytes: number, server: S3Server): Job {
  return createJob({
    root,
    repository: nameOf(megabytes),
    serverUrl,
    inputs: {
      's3-bucket': server.bucket,
      's3-prefix': `${FOLDER}/${PREFIX}`,
      's3-endpoint': server.endpoint,
      's3-region': server.region,
      's3-force-path-style': 'true',
      // Beyond what a noisy machine takes for gigabytes.
      'fetch-timeout': '30m',
    },
    environment: {
      AWS_ACCESS_KEY_ID: server.accessKeyId,
      AWS_SECRET_ACCESS_KEY: server.secretAccessKey,
    },
  });
}

function nameOf(megabytes: number): string {
  return `bench/of-${String(megabytes)}-mb`;
}

/** Saves a snapshot and restores it elsewhere; peaks of memory, in bytes, of the three steps. */
async function measureMemory(
  server: S3Server,
  upstream: string,
  megabytes: number,
  folder: string,
): Promise<number[]> {
  const first = newJob(join(folder, 'first'), upstream, megabytes, server);
  const clone = await peakMemory(first.startMain());
  const save = await peakMemory(first.startPost());
  expectLine(save.result.log, /Saved snapshot/);
  await removeDirectory(join(folder, 'first'));
  const second = newJob(join(folder, 'second'), upstream, megabytes, server);
  const restore = await peakMemory(second.startMain());
  if (restore.result.outputs['provenance'] !== 'restored') throw new Error(restore.result.log);
  return [clone, save, restore].map(({ bytes }) => bytes);
}

function expectLine(log: string, pattern: RegExp): RegExpExecArray {
  const found = pattern.exec(log);
  if (found === null) throw new Error(`no ${String(pattern)} in: ${log}`);
  return found;
}

/** What is timed: one snapshot's only layer, as it lies in the bucket and on the disk. */
interface Subject {
  key: string;
  layer: Layer;
  /** Where its files are. */
  packs: string;
  /** Its object in the bucket. */
  object: string;
}

async function makeSubject(server: S3Server, upstream: string, folder: string): Promise<Subject> {
  const job = newJob(folder, upstream, TIMED_MB, server);
  const main = await job.main();
  expectLine((await job.post()).log, /Saved snapshot/);
  const path = main.outputs['mirror-path'] ?? '';
  const stores = new S3Stores(server, FOLDER);
  try {
    const names = await stores.list(PREFIX);
    const layers = names.filter((name) => name.includes('/layers/'));
    const [, key = ''] = layers[0]?.split('/') ?? [];
    const stored = await storeOf(stores, server).findManifest(key, { signal });
    if (stored === undefined || layers.length !== 1) throw new Error('there is not one layer');
    const manifest = await parseManifest(stored.content, stored.number);
    const [layer] = manifest.kind === 'repository' ? manifest.layers : [];
    if (layer === undefined) throw new Error('there is no layer');
    return {
      key,
      layer,
      packs: packDirectory(path),
      object: `${FOLDER}/${PREFIX}/${String(layers[0])}`,
    };
  } finally {
    stores.close();
  }
}

/** Milliseconds of one method, and those of curl on the same link. */
interface Times {
  download: number[];
  restore: number[];
  /** The restore phase of the main step, from its log. */
  phase: number[];
  upload: number[];
  save: number[];
}

function newTimes(): Times {
  return { download: [], restore: [], phase: [], upload: [], save: [] };
}

/** One round over one link. Each method starts with an empty folder. */
async function timeRound(
  server: S3Server,
  upstream: string,
  subject: Subject,
  times: Times,
): Promise<void> {
  const { key, layer, packs, object } = subject;
  const stores = new S3Stores(server, FOLDER);
  const store = storeOf(stores, server);
  try {
    await inFolder(async (folder) => {
      const file = join(folder, 'object');
      times.download.push(await time(() => getByCurl(server, object, file, layer.bytes)));
      await mkdir(join(folder, 'layer'));
      times.restore.push(await time(() => restore(join(folder, 'layer'))));
      const other = `${FOLDER}/by-curl`;
      times.upload.push(await time(() => putByCurl(server, other, file)));
      const copy = { ...layer, name: `copy-${String(times.save.length)}` };
      times.save.push(await time(() => store.putLayer(key, copy, packs, { signal })));
      await store.remove(key, { manifests: [], layers: [copy.name], debris: [] }, signal);
    });
    await inFolder(async (folder) => {
      const main = await newJob(folder, upstream, TIMED_MB, server).main();
      const [, value, unit] = expectLine(main.log, /^Restore: ([\d.]+) (ms|s),/m);
      times.phase.push(Number(value) * (unit === 's' ? 1_000 : 1));
    });
  } finally {
    stores.close();
  }

  /** As the main step does it, without git's own checks. */
  async function restore(directory: string): Promise<void> {
    const check = new LayerCheck(directory, layer, new ChunkDigester(new AbortController().signal));
    try {
      await store.getLayer(key, layer, directory, { signal, onFilled: check.note });
      await check.finish('sha1');
    } finally {
      await check.end();
    }
  }
}

function storeOf(stores: S3Stores, server: S3Server) {
  return stores.open(PREFIX, server.endpoint).store;
}

function printTimes(title: string, { download, restore, phase, upload, save }: Times): void {
  console.log(`\n## ${title}\n`);
  console.log(TABLE_HEADER);
  const base = median(download);
  console.log(row('curl, one GET to a file, nothing checked', download, base));
  console.log(row('getLayer and its digests checked', restore, base));
  console.log(row('the restore phase of the main step, with what git checks', phase, base));
  console.log(row('curl, one PUT', upload, median(upload)));
  console.log(row('putLayer', save, median(upload)));
  const [restored, saved] = [medianRatio(download, restore), medianRatio(upload, save)];
  console.log(
    `\nMedians of each round's ratio: restored ${restored} times as fast as by curl, saved ${saved} times.`,
  );
}

/** How many times as fast the second method is, by round: other work slows both. */
function medianRatio(one: readonly number[], other: readonly number[]): string {
  return median(one.map((ms, round) => ms / (other[round] ?? NaN))).toFixed(2);
}

const rounds = Number(process.argv[2] ?? 5);
const root = await createTemporaryDirectory('bench-s3');
const ceph = await startS3Server('ceph');
const upstream = await startGitServer({ root: join(root, 'upstream') });
const link = await startLink(ceph.server.endpoint, LINK);
const distant: S3Server = { ...ceph.server, endpoint: link.url };

/** A repository that does not compress. */
async function makeUpstream(megabytes: number): Promise<void> {
  const path = join(root, 'upstream', `${nameOf(megabytes)}.git`);
  await createRepository(path, { commits: 1, files: megabytes, fileBytes: MB });
}

try {
  const { server } = ceph;
  // First: the bucket has no other layer yet.
  await makeUpstream(TIMED_MB);
  const subject = await makeSubject(server, upstream.url, join(root, 'machine'));
  const [slow, fast] = [newTimes(), newTimes()];
  for (let round = 0; round < rounds; round += 1) {
    await timeRound(server, upstream.url, subject, fast);
    await timeRound(distant, upstream.url, subject, slow);
    console.error(`round ${String(round + 1)} of ${String(rounds)}`);
  }
  const megabytes = (subject.layer.bytes / MB).toFixed(0);
  console.log(`${megabytes} MB in one layer, ${String(rounds)} rounds, interleaved;`);
  console.log(`${describeMachine()}, shared by Ceph and the link.`);
  printTimes('15 MB/s for each connection, 30 ms of latency', slow);
  printTimes('Bare loopback interface', fast);
  console.log('\n## Peak memory of our own process, in MiB\n');
  console.log('| snapshot | main that clones | post that saves | main that restores |');
  console.log('|---|---|---|---|');
  for (const size of MEASURED_MB) {
    await makeUpstream(size);
    const peaks = await inFolder((folder) => measureMemory(server, upstream.url, size, folder));
    const shown = peaks.map((bytes) => (bytes / MIB).toFixed(0));
    console.log(`| ${String(size)} MB | ${shown.join(' | ')} |`);
  }
} finally {
  await link.stop();
  await upstream.stop();
  await ceph.stop();
  await removeDirectory(root);
}
