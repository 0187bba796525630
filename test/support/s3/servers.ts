import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { createBucket } from './client.ts';
import { createTemporaryDirectory, removeDirectory } from '../temporary-directory.ts';

/** Where a store finds its bucket. Names of buckets belong into the path, not into the host. */
export interface S3Server {
  name: 'ceph' | 'swift' | 'environment';
  endpoint: string;
  /** Another way into the same buckets, as of another machine. */
  otherEndpoint?: string;
  region: string;
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken?: string;
  /** Empty at first, if we have started the server; else to be shared with whatever is in it. */
  bucket: string;
  /** Whether If-None-Match and If-Match hold for writes. */
  hasConditionalWrites: boolean;
  /** Of its processes, by what they do; none if the server is not ours. */
  pids: Record<string, number>;
}

export interface StartedS3Servers {
  servers: S3Server[];
  /** Ends what was started, and removes its files. */
  stop(): Promise<void>;
}

/** Names the variable in which jest's workers find the servers that were started for them. */
const HANDED_OVER = 'MIRROR_TEST_S3_SERVERS';

/** The servers of this run of the S3 suites, `npm run test:s3`. */
export function s3Servers(): S3Server[] {
  const servers = process.env[HANDED_OVER];
  if (servers === undefined) throw new Error('no S3 servers here: use npm run test:s3');
  return JSON.parse(servers) as S3Server[];
}

/** For s3Servers() of this process and those that it starts. */
export function handOver(servers: S3Server[]): void {
  process.env[HANDED_OVER] = JSON.stringify(servers);
}

/**
 * Ceph and Swift from Debian packages, which must have been installed (`ceph.sh install`,
 * `swift.sh install`) and need root on Linux; or, if MIRROR_S3_ENDPOINT is set, only the server
 * that the environment names. They end with this process. Throws with the end of the server's log.
 */
export async function startS3Servers(): Promise<StartedS3Servers> {
  const named = namedByEnvironment(process.env);
  if (named !== undefined) return { servers: [named], stop: async () => {} };
  const started = await Promise.allSettled([startS3Server('ceph'), startS3Server('swift')]);
  const running = started.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
  const stop = async () => {
    await Promise.all(running.map((each) => each.stop()));
  };
  const failures = started.flatMap((each) =>
    each.status === 'rejected' ? [each.reason as unknown] : [],
  );
  if (failures.length > 0) {
    await stop();
    throw new AggregateError(failures, failures.map(String).join('\n'));
  }
  return { servers: running.map(({ server }) => server), stop };
}

/** As MIRROR_S3_* and the AWS variables say; throws what is missing. */
export function namedByEnvironment(
  environment: Record<string, string | undefined>,
): S3Server | undefined {
  const endpoint = environment['MIRROR_S3_ENDPOINT'];
  if (endpoint === undefined || endpoint === '') return undefined;
  const read = (name: string): string => {
    const value = environment[name];
    if (value === undefined || value === '')
      throw new Error(`with MIRROR_S3_ENDPOINT, set ${name}`);
    return value;
  };
  const otherEndpoint = environment['MIRROR_S3_OTHER_ENDPOINT'];
  const sessionToken = environment['AWS_SESSION_TOKEN'];
  return {
    name: 'environment',
    endpoint,
    ...(otherEndpoint && { otherEndpoint }),
    region: environment['AWS_REGION'] ?? environment['AWS_DEFAULT_REGION'] ?? 'us-east-1',
    accessKeyId: read('AWS_ACCESS_KEY_ID'),
    secretAccessKey: read('AWS_SECRET_ACCESS_KEY'),
    ...(sessionToken && { sessionToken }),
    bucket: read('MIRROR_S3_BUCKET'),
    hasConditionalWrites: environment['MIRROR_S3_CONDITIONAL_WRITES'] !== 'false',
    pids: {},
  };
}

export interface StartedS3Server {
  server: S3Server;
  stop(): Promise<void>;
}

/** One of them; see startS3Servers. */
export async function startS3Server(name: 'ceph' | 'swift'): Promise<StartedS3Server> {
  const hasConditionalWrites = name === 'ceph';
  const folder = await createTemporaryDirectory(`s3-${name}`);
  const script = fileURLToPath(new URL(`${name}.sh`, import.meta.url));
  const child = spawn('bash', [script, 'run', join(folder, 'server')], {
    // It ends with its standard input, so also if this process is killed.
    stdio: ['pipe', 'pipe', 'pipe'],
    // Ctrl-C is for the tests, which then end it.
    detached: true,
  });
  const stop = async () => {
    await end(child);
    await removeDirectory(folder);
  };
  try {
    const said = await whatItSays(child);
    const server = { name, ...said, bucket: 'mirror-test', hasConditionalWrites };
    await createBucket(server);
    return { server, stop };
  } catch (error) {
    const logs = endsOfLogs(join(folder, 'server', 'log'));
    await stop();
    throw new Error(`${name} did not start: ${String(error)}\n${logs}`, { cause: error });
  }
}

type Said = Omit<S3Server, 'name' | 'bucket' | 'hasConditionalWrites'>;

/** What the script prints once the server takes connections. */
async function whatItSays(child: ChildProcessWithoutNullStreams): Promise<Said> {
  let log = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    log += text;
  });
  const ended = once(child, 'close');
  for await (const line of createInterface({ input: child.stdout })) {
    return JSON.parse(line) as Said;
  }
  await ended;
  throw new Error(log);
}

function endsOfLogs(folder: string): string {
  if (!existsSync(folder)) return '';
  return readdirSync(folder)
    .map((name) => ({ name, lines: readFileSync(join(folder, name), 'utf8').trimEnd() }))
    .filter(({ lines }) => lines !== '')
    .map(({ name, lines }) => `== ${name}\n${lines.split('\n').slice(-20).join('\n')}`)
    .join('\n');
}

async function end(child: ChildProcessWithoutNullStreams): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.stdin.end();
  await ended;
}
