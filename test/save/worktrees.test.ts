/** Worktrees that a job adds to the mirror: post leaves them alone. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { git } from '../support/git.ts';
import { startGitServer, type GitServer } from '../support/git-server/server.ts';
import { Machine } from '../support/machine.ts';
import { createRepository, repositorySizes } from '../support/repository-fixture.ts';
import { createTemporaryDirectory, removeDirectory } from '../support/temporary-directory.ts';

let root = '';
let server: GitServer;

beforeAll(async () => {
  root = await createTemporaryDirectory('worktrees');
  server = await startGitServer({ root });
  await createRepository(join(root, 'owner/name.git'), repositorySizes.tiny);
});

afterAll(async () => {
  await server.stop();
  await removeDirectory(root);
});

test.each(['--detach', '-b new'])(
  'a worktree added by %s survives post, which says why',
  async (mode) => {
    const store = join(root, `store${mode}`);
    await mkdir(store);
    const machine = await Machine.create({
      ...{ root: join(root, `machine${mode}`), store },
      url: server.repositoryUrl('owner/name'),
    });
    await machine.main();
    const worktree = join(root, `worktree${mode}`);
    await git(machine.path, ['worktree', 'add', '--quiet', ...mode.split(' '), worktree, 'main']);
    await writeFile(join(worktree, 'mine.txt'), 'my work');
    await git(worktree, ['add', 'mine.txt']);
    await git(worktree, ['commit', '--quiet', '-m', 'my work']);
    expect(await machine.post()).toMatchObject({
      result: 'refused',
      reason: expect.stringContaining('worktree'),
    });
    expect(await git(worktree, ['status', '--porcelain'])).toBe('');
    expect(await git(worktree, ['log', '-1', '--format=%s'])).toBe('my work');
    await git(worktree, ['fsck', '--no-progress']);
    // The next job has the mirror as upstream has it, and saves.
    await git(machine.path, ['worktree', 'remove', worktree]);
    await machine.main();
    expect(await machine.post()).toMatchObject({ result: 'published' });
  },
);
