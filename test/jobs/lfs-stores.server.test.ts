/** `lfs: true` with an upstream over SSH, and with snapshots in the Actions cache. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { createJob } from '../support/action-runner.ts';
import { createKey, startSshServer, type SshServer } from '../support/git-server/ssh-server.ts';
import { git } from '../support/git.ts';
import { createTemporaryDirectory, removeDirectory } from '../support/temporary-directory.ts';
import { inCache, useCacheService } from './scenarios/cache-scenario.ts';
import { addFiles, TOKEN } from './scenarios/checkout-scenario.ts';
import { lfsFile, lfsOf, randomContents, runLfs, useLfs } from './scenarios/lfs-scenario.ts';
import { succeed, useScenarios } from './scenarios/scenario.ts';

const scenarios = useScenarios();
const lfs = useLfs(scenarios);
const cache = useCacheService();
const CONTENTS = randomContents(6, 20_000, 9);

let root: string;
let ssh: SshServer;
let key: string;

beforeAll(async () => {
  root = await createTemporaryDirectory('lfs-ssh');
  ssh = await startSshServer({ folder: join(root, 'server') });
  mkdirSync(join(root, 'keys'));
  key = await createKey(join(root, 'keys', 'right'));
  ssh.authorize(join(root, 'keys', 'right.pub'));
});

afterAll(async () => {
  // eslint-disable-next-line @typescript-eslint/no-unnecessary-condition -- it may not have started
  await ssh?.stop();
  await removeDirectory(root);
});

test('over SSH, the server says where its objects are', async () => {
  const { upstream } = await lfs.create(CONTENTS);
  await git(root, [
    'clone',
    '--quiet',
    '--bare',
    upstream,
    join(ssh.repositories, 'owner/name.git'),
  ]);
  const Authorization = `Basic ${Buffer.from(`x-access-token:${TOKEN}`).toString('base64')}`;
  const repository = 'owner/name.git/info/lfs';
  ssh.offerLfs(`${lfs.server.url}/${repository}`, { Authorization });
  const job = createJob({
    ...{ root: join(root, 'machine'), repository: 'owner/name' },
    serverUrl: `https://${ssh.host}:8443/web`,
    inputs: {
      ...{ lfs: 'true', 'ssh-key': key, 'ssh-known-hosts': ssh.knownHosts, 'ssh-user': 'root' },
    },
  });
  const main = await succeed(job.main());
  expect(lfsOf(main)).toMatchObject({ objects: 6, downloadedObjects: 6, primedObjects: 6 });
  const asked = ssh.sessions.map(({ command }) => command);
  expect(asked.filter((command) => command.startsWith('git-lfs'))).toContain(
    'git-lfs-authenticate owner/name.git download',
  );
  expect(main.log).not.toContain(Authorization);
  expect(readdirSync(job.temp).filter((name) => name.startsWith('sock'))).toEqual([]);
});

test('in the Actions cache, a branch restores the objects of the default branch and saves its own', async () => {
  const scenario = await lfs.create(CONTENTS);
  const inputs = { lfs: 'true' };
  const options = { token: TOKEN };
  const first = scenario.job({ ...inCache(cache(), lfs.server.url, { inputs }), ...options });
  const { post } = await runLfs(first);
  expect(post.log).toMatch(/LFS objects: Saved snapshot 1-/);
  await git(scenario.upstream, ['update-ref', 'refs/heads/topic', 'refs/heads/main']);
  const added = new Uint8Array(500).fill(3);
  const files = [lfsFile(lfs.server, 'data/new.bin', added)];
  await addFiles(scenario.upstream, files, 'main');
  lfs.reset();
  const branch = { inputs, ref: 'refs/heads/topic' };
  const job = scenario.job({ ...inCache(cache(), lfs.server.url, branch), ...options });
  const { main, post: second } = await runLfs(job);
  expect(lfsOf(main)).toMatchObject({ objects: 7, restoredBytes: 120_000, downloadedObjects: 1 });
  expect(second.log).toMatch(/LFS objects: Saved snapshot 1-\S+ \(\d+ B\)/);
  lfs.reset();
  const again = scenario.job({ ...inCache(cache(), lfs.server.url, branch), ...options });
  const third = await runLfs(again);
  expect(lfsOf(third.main)).toMatchObject({ restoredBytes: 120_500, downloadedObjects: 0 });
  expect(lfs.server.requests).toEqual([]);
  expect(third.post.log).toMatch(/LFS objects: Nothing saved: nothing changed/);
  expect(existsSync(join(again.workspace, '.git', 'lfs', 'objects'))).toBe(true);
}, 240_000);
