/** What chmod and chown in a workspace do to the mirror's packs, which are hard links, when a user opens it. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { spawnSync } from 'node:child_process';
import { chmod, chown, cp, link, lchown, mkdir, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { git } from '../support/git.ts';
import { createRepository, repositorySizes } from '../support/repository-fixture.ts';
import { createTemporaryDirectory, removeDirectory } from '../support/temporary-directory.ts';

/** Nobody, and somebody else. */
const USER = 65_534;
const OTHER = 12_345;
const SOURCE = pathToFileURL(join(import.meta.dirname, '../../src/mirror/directory.ts')).href;
// Root reads everything, so the mirror is opened by another user; only root can become one.
const rootTest = process.getuid?.() === 0 ? test : test.skip;

let root = '';
let upstream = '';
let count = 0;

beforeAll(async () => {
  root = await createTemporaryDirectory('rights');
  upstream = join(root, 'upstream.git');
  await createRepository(upstream, repositorySizes.tiny);
  await chmod(root, 0o755);
});

afterAll(() => removeDirectory(root));

/** A mirror of that user, and a workspace with hard links to its packs. */
async function createMirror(): Promise<{ mirror: string; packs: string[]; links: string[] }> {
  const mirror = join(root, `mirror-${(count += 1)}.git`);
  await cp(upstream, mirror, { recursive: true });
  for (const entry of await readdir(mirror, { recursive: true })) {
    await lchown(join(mirror, entry), USER, USER);
  }
  await chown(mirror, USER, USER);
  const workspace = join(root, `workspace-${count}`);
  await mkdir(workspace);
  const folder = join(mirror, 'objects', 'pack');
  const names = (await readdir(folder)).filter((name) => /\.(?:pack|idx)$/.test(name));
  for (const name of names) await link(join(folder, name), join(workspace, name));
  const pathsIn = (parent: string) => names.map((name) => join(parent, name));
  return { mirror, packs: pathsIn(folder), links: pathsIn(workspace) };
}

/** Lays the mirror out as that user. Returns the error's code and message, or nothing. */
function open(mirror: string): string {
  const script = `
    const { layOut } = await import(${JSON.stringify(SOURCE)});
    await layOut(${JSON.stringify(mirror)}, 'sha1').catch(({ code, message }) => console.log(code, message));
  `;
  const arguments_ = ['--no-warnings', '--input-type=module', '--eval', script];
  const identity = { uid: USER, gid: USER, cwd: '/', encoding: 'utf8' as const };
  const { status, stdout, stderr } = spawnSync(process.execPath, arguments_, identity);
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  return stdout.trim();
}

async function expectReadable(mirror: string, packs: readonly string[]): Promise<void> {
  for (const path of packs) {
    const { uid, mode } = await stat(path);
    expect({ uid, mode: mode & 0o777 }).toEqual({ uid: USER, mode: 0o444 });
  }
  const safe = {
    environment: {
      GIT_CONFIG_COUNT: '1',
      GIT_CONFIG_KEY_0: 'safe.directory',
      GIT_CONFIG_VALUE_0: '*',
    },
  };
  await git(root, [`--git-dir=${mirror}`, 'fsck', '--full', '--no-progress'], safe);
}

rootTest.each([0o000, 0o200, 0o040])('mode %p is restored', async (mode) => {
  const { mirror, packs, links } = await createMirror();
  for (const path of links) await chmod(path, mode);
  expect(open(mirror)).toBe('');
  await expectReadable(mirror, packs);
});

rootTest(
  'a pack that is given to another user is copied, and the workspace keeps its own',
  async () => {
    const { mirror, packs, links } = await createMirror();
    for (const path of links) await chown(path, OTHER, OTHER);
    expect(open(mirror)).toBe('');
    await expectReadable(mirror, packs);
    for (const path of links) expect(await stat(path)).toMatchObject({ uid: OTHER, nlink: 1 });
  },
);

rootTest('a pack that only another user can read is named, and so is what did that', async () => {
  const { mirror, links } = await createMirror();
  for (const path of links) {
    await chown(path, OTHER, OTHER);
    await chmod(path, 0o600);
  }
  const said = open(mirror);
  expect(said).toMatch(/^corrupt-mirror .*belongs to user 12345 and can't be read/);
  expect(said).toContain('chown or chmod in a workspace');
});
