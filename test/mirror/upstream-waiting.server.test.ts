/** Over SSH upstream is waited for as over HTTP, though ssh itself hears from the SSH server all the time. */
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { openGit } from '../../src/git/git.ts';
import { openSsh, type Ssh } from '../../src/git/ssh.ts';
import { createDeadline } from '../../src/lib/deadline.ts';
import { silentLog } from '../../src/lib/log.ts';
import { fetchObjects, probeUpstream, type Asking } from '../../src/mirror/upstream.ts';
import { git as fixtureGit, gitEnvironment } from '../support/git.ts';
import { createComputing } from '../support/git-server/computing.ts';
import { createKey, startSshServer, type SshServer } from '../support/git-server/ssh-server.ts';
import { waitUntil } from '../support/processes.ts';
import { createRepository, repositorySizes } from '../support/repository-fixture.ts';
import { temporaryDirectories } from '../support/temporary-directory.ts';

const directories = temporaryDirectories();
const { signal } = new AbortController();
let root: string;
let head: string;
let server: SshServer;
let ssh: Ssh;
let asking: Asking;
let logged: string[] = [];

beforeAll(async () => {
  root = await directories.create('waiting-ssh');
  server = await startSshServer({ folder: join(root, 'server') });
  const upstream = join(root, 'upstream.git');
  ({ head } = await createRepository(upstream, repositorySizes.small));
  cpSync(upstream, join(server.repositories, 'owner', 'name.git'), { recursive: true });
  const privateKey = await createKey(join(root, 'id'));
  server.authorize(join(root, 'id.pub'));
  const environment = gitEnvironment();
  const identity = { privateKey, knownHosts: server.knownHosts, isStrict: true };
  ssh = await openSsh(identity, { temporaryFolder: root, home: undefined, environment });
  const git = await openGit({ environment, workingDirectory: root, signal, log: silentLog });
  const log = { ...silentLog, info: (message: string) => void logged.push(message) };
  const url = `root@${server.host}:owner/name.git`;
  const access = { url, token: '', sshCommand: ssh.command };
  asking = { git, log, signal, upstream: { access, refspecs: ['+refs/*:refs/*'], depth: 'full' } };
});

afterAll(async () => {
  await ssh.close();
  await server.stop();
  await directories.removeAll();
});

async function fetchFresh(timeoutMs: number, stallMs: number): Promise<void> {
  logged = [];
  const directory = join(await directories.create('mirror'), 'mirror.git');
  await fixtureGit(root, ['init', '--quiet', '--bare', '--template=', directory]);
  await fetchObjects(asking, directory, [head], createDeadline(timeoutMs, stallMs));
}

test('a fetch that stalls half-way is begun again', async () => {
  server.behave({ kind: 'stall', afterBytes: 20_000 });
  const running = fetchFresh(60_000, 3_000);
  await server.waitForStall();
  server.behave({ kind: 'serve' });
  await running;
  expect(logged.join('\n')).toMatch(/no sign of life.*trying again/);
});

test('a fetch that gets bytes now and then is no stall: only the deadline ends it', async () => {
  server.behave({ kind: 'slow', bytesPerSecond: 30_000 });
  await expect(fetchFresh(7_000, 3_000)).rejects.toMatchObject({ code: 'timeout' });
  expect(logged.join('\n')).not.toContain('trying again');
});

test.each(['progress', 'keep-alive'] as const)(
  'a server that computes a pack for long and sends %s meanwhile is waited for',
  async (sign) => {
    const computing = createComputing(join(root, `computing-${sign}`), sign);
    server.behave({ kind: 'serve', configuration: computing.configuration });
    const running = fetchFresh(120_000, 3_000);
    await computing.started();
    await sleep(7_500);
    computing.finish();
    await running;
    expect(logged).toEqual([]);
  },
);

test('a server that computes a pack for long and sends nothing meanwhile is asked again', async () => {
  const computing = createComputing(join(root, 'computing'), 'nothing');
  server.behave({ kind: 'serve', configuration: computing.configuration });
  const running = fetchFresh(120_000, 1_500);
  await waitUntil(() => logged.length > 0, { timeoutMs: 60_000, what: 'a second try' });
  computing.finish();
  await running;
  expect(logged[0]).toMatch(/no sign of life.*trying again/);
});

test('a probe that is never answered ends as a stall, tried twice', async () => {
  server.behave({ kind: 'stall', afterBytes: 0 });
  logged = [];
  const failure = probeUpstream(asking, root, createDeadline(60_000, 2_000));
  await expect(failure).rejects.toMatchObject({ code: 'network', concern: 'stall-timeout' });
  expect(logged).toHaveLength(1);
});
