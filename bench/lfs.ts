/**
 * `npm run bench:lfs -- [rounds]`: checkouts with `lfs: true`, alone and after this action on a new machine, for
 * many small and few large LFS objects, and from each store: seconds, and what the LFS server had to do. With a disk
 * also over a link between the job and its servers. S3 needs `test/support/s3/ceph.sh install`. Prints tables in
 * Markdown.
 */
import { join } from 'node:path';
import { createJob, type Job, type JobOptions } from '../test/support/action-runner.ts';
import { startActionsCacheService } from '../test/support/actions-cache/service.ts';
import { startGitLfsServer, type GitLfsServer } from '../test/support/git-server/lfs-server.ts';
import { startGitServer } from '../test/support/git-server/server.ts';
import { git } from '../test/support/git.ts';
import { createRandom } from '../test/support/random.ts';
import { createRepository, repositorySizes } from '../test/support/repository-fixture.ts';
import { startS3Server } from '../test/support/s3/servers.ts';
import { checkOut, describeCheckout } from './checkout.ts';
import { TABLE_HEADER, describeMachine, inFolder, median, row, time } from './measure.ts';
import { HOSTED_LINK, startLink } from './slow-link.ts';
import { DiskStore, S3Store } from './stores.ts';

const REPOSITORY = 'bench/lfs';
const TOKEN = 'token';
const SHAPES = [
  { name: '2,000 objects of 10 kB', count: 2_000, bytes: 10_000 },
  { name: '4 objects of 64 MB', count: 4, bytes: 64_000_000 },
];

interface Method {
  name: string;
  /** Of upstream and its LFS server, as the job sees them. */
  serverUrl: string;
  /** The row that its times are compared with. */
  base: string;
  /** Of the action's job; undefined for a checkout alone. */
  options?: () => Promise<Partial<JobOptions>>;
}

/** Adds a commit with LFS objects to an upstream. */
async function addObjects(
  upstream: string,
  server: GitLfsServer,
  { count, bytes }: (typeof SHAPES)[number],
): Promise<void> {
  const random = createRandom(count);
  const files = Array.from({ length: count }, (_, index) => {
    const pointer = server.add(random.bytes(bytes));
    return `M 100644 inline data/${String(index)}.bin\ndata ${String(pointer.length)}\n${pointer}\n`;
  });
  const attributes = '*.bin filter=lfs diff=lfs merge=lfs -text\n';
  const head = `commit refs/heads/main\ncommitter a <a@b> 1800000000 +0000\ndata 0\nfrom refs/heads/main^0\n`;
  const stream = `${head}M 100644 inline .gitattributes\ndata ${String(attributes.length)}\n${attributes}\n`;
  await git(upstream, ['fast-import', '--quiet', '--depth=0'], { input: stream + files.join('') });
}

async function succeed(step: ReturnType<Job['main']>): Promise<void> {
  const { exitCode, log } = await step;
  if (exitCode !== 0) throw new Error(`the action failed: ${log}`);
}

/** An upstream, and the server that has its LFS objects. */
interface Subject {
  upstream: string;
  server: GitLfsServer;
}

/** One job on a machine of its own; returns its milliseconds up to the checkout's end. */
async function run(folder: string, { upstream }: Subject, method: Method): Promise<number> {
  const given = await method.options?.();
  const inputs = { lfs: 'true', ...given?.inputs };
  const { serverUrl } = method;
  const options = { root: folder, repository: REPOSITORY, serverUrl, token: TOKEN };
  const job = createJob({ ...options, ...given, inputs });
  const ms = await time(async () => {
    if (given !== undefined) await succeed(job.main());
    const event = { ref: 'refs/heads/main', sha: await git(upstream, ['rev-parse', 'main']) };
    const source = { repository: REPOSITORY, serverUrl, token: TOKEN };
    await checkOut(folder, { ...source, ...event, lfs: true });
  });
  if (given !== undefined) await succeed(job.post());
  return ms;
}

async function measure(
  subject: Subject,
  methods: readonly Method[],
  shape: string,
  rounds: number,
): Promise<void> {
  const { server } = subject;
  // What is stored is saved here, and counts for nobody.
  for (const method of methods) await inFolder((folder) => run(folder, subject, method));
  const times = methods.map((): number[] => []);
  const asked = methods.map(() => '');
  for (let round = 0; round < rounds; round++) {
    for (const [index, method] of methods.entries()) {
      server.requests.length = 0;
      times[index]?.push(await inFolder((folder) => run(folder, subject, method)));
      const done = server.requests.filter(
        ({ kind, status }) => kind === 'download' && status === 200,
      );
      const bytes = done.reduce((sum, { oid }) => sum + (server.objects.get(oid)?.length ?? 0), 0);
      asked[index] = `${String(server.requests.length)} requests, ${String(bytes)} bytes`;
    }
  }
  console.log(`\n${shape}, ${String(rounds)} rounds, interleaved\n\n${TABLE_HEADER}`);
  methods.forEach(({ name, base }, index) => {
    const compared = times[methods.findIndex((each) => each.name === base)] ?? [];
    console.log(row(`${name}: ${asked[index] ?? ''}`, times[index] ?? [], median(compared)));
  });
}

const ALONE = 'actions/checkout alone';
const FAR_ALONE = `${ALONE}, over 1 Gbit/s with 20 ms`;
const rounds = Number(process.argv[2] ?? 5);
await inFolder(async (root) => {
  const upstream = join(root, 'upstream.git');
  const gitServer = await startGitServer({
    repositories: { [REPOSITORY]: upstream },
    token: TOKEN,
  });
  const server = await startGitLfsServer(gitServer);
  const link = await startLink(server.url, HOSTED_LINK);
  const { url: serverUrl } = server;
  const near = { base: ALONE, serverUrl };
  const cache = await startActionsCacheService();
  const s3 = await startS3Server('ceph').catch(() => undefined);
  try {
    console.log(`${describeMachine()}. ${describeCheckout()}`);
    for (const [index, shape] of SHAPES.entries()) {
      await createRepository(upstream, repositorySizes.small);
      await addObjects(upstream, server, shape);
      const disk = new DiskStore(join(root, `store-${String(index)}`));
      const bucket = s3 && new S3Store(s3.server, `lfs-${String(index)}`);
      const methods: Method[] = [
        { name: ALONE, base: ALONE, serverUrl },
        { name: 'after mirror-action, from a disk', ...near, options: () => disk.options() },
        {
          ...{ name: 'after mirror-action, from the Actions cache', ...near },
          options: () =>
            Promise.resolve({
              // Only github.com has this cache.
              ...{ serverUrl: 'https://github.com', ref: 'refs/heads/main' },
              event: { name: 'push', payload: { repository: { default_branch: 'main' } } },
              inputs: { 'github-server-url': serverUrl, path: '.', 'cache-key': String(index) },
              environment: cache.environmentFor({ ref: 'refs/heads/main' }),
            }),
        },
        ...(bucket === undefined
          ? []
          : [
              {
                ...{ name: 'after mirror-action, from S3 (Ceph)', ...near },
                options: () => bucket.options(),
              },
            ]),
        { name: FAR_ALONE, base: FAR_ALONE, serverUrl: link.url },
        {
          ...{ name: 'after mirror-action, from a disk, over that link' },
          ...{ base: FAR_ALONE, serverUrl: link.url },
          options: () => disk.options(),
        },
      ];
      await measure({ upstream, server }, methods, shape.name, rounds);
    }
  } finally {
    await Promise.all([link.stop(), server.stop(), gitServer.stop(), cache.stop(), s3?.stop()]);
  }
});
