/** The release script on real repositories: a clone as the workflow has it, and its bare remote. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test } from '@jest/globals';
import { publishRelease } from '../../scripts/release/github.ts';
import { git, gitEnvironment } from '../support/git.ts';
import { runProcess } from '../support/processes.ts';
import { temporaryDirectories } from '../support/temporary-directory.ts';

const script = fileURLToPath(new URL('../../scripts/release.ts', import.meta.url));
const directories = temporaryDirectories();

afterEach(() => directories.removeAll());

/** A maintainer's clone and the remote, which has a branch `main` without releases. */
async function createProject(): Promise<Project> {
  const folder = await directories.create('release');
  const remote = join(folder, 'remote.git');
  await git(folder, ['init', '--quiet', '--bare', '--initial-branch=main', remote]);
  await git(folder, ['clone', '--quiet', remote, 'clone']);
  const clone = join(folder, 'clone');
  await git(clone, ['checkout', '--quiet', '-b', 'main']);
  return new Project(folder, remote, clone);
}

class Project {
  readonly folder: string;
  readonly remote: string;
  readonly clone: string;
  #checkouts = 0;

  constructor(folder: string, remote: string, clone: string) {
    this.folder = folder;
    this.remote = remote;
    this.clone = clone;
  }

  /** Commits files that all say this version, with changes to make them wrong. */
  async commit(version: string, changes: Record<string, string> = {}): Promise<string> {
    const files = {
      'package.json': JSON.stringify({ version }),
      'package-lock.json': JSON.stringify({ version, packages: { '': { version } } }),
      'src/action/version.ts': `/** Version. */\nexport const VERSION = '${version}';\n`,
      'CHANGELOG.md': `# Changelog\n\n## ${version}, 2026-01-31\n\n- News.\n\n## 0.0.1, 2026-01-01\n\n- Old.\n`,
      ...changes,
    };
    await mkdir(join(this.clone, 'src', 'action'), { recursive: true });
    for (const [name, content] of Object.entries(files)) {
      await writeFile(join(this.clone, name), content);
    }
    await git(this.clone, ['add', '--all']);
    await git(this.clone, ['commit', '--quiet', '--allow-empty', '--message', version]);
    return git(this.clone, ['rev-parse', 'HEAD']);
  }

  async push(...refs: string[]): Promise<void> {
    await git(this.clone, ['push', '--quiet', '--force', 'origin', ...refs]);
  }

  /** A commit on main with its tag, pushed. */
  async release(version: string, changes: Record<string, string> = {}): Promise<string> {
    const commit = await this.commit(version, changes);
    await git(this.clone, ['tag', '--annotate', '--message', version, `v${version}`]);
    await this.push('main', `v${version}`);
    return commit;
  }

  /** Runs the script as the workflow does: in a clone of its own, checked out at the commit. */
  async run(
    command: string,
    commit: string,
    environment: Record<string, string>,
  ): Promise<{ exitCode: number | null; said: string }> {
    const checkout = join(this.folder, `checkout-${++this.#checkouts}`);
    await git(this.folder, ['clone', '--quiet', this.remote, checkout]);
    await git(checkout, ['checkout', '--quiet', '--detach', commit]);
    return this.runIn(checkout, command, environment);
  }

  async runIn(folder: string, command: string, environment: Record<string, string>) {
    const { exitCode, stdout, stderr } = await runProcess(process.execPath, [script, command], {
      cwd: folder,
      environment: gitEnvironment({ DEFAULT_BRANCH: 'main', ...environment }),
    });
    return { exitCode, said: stdout + stderr };
  }

  async remoteTag(name: string): Promise<string> {
    return git(this.remote, ['rev-parse', `refs/tags/${name}^{commit}`]);
  }
}

describe('a tag is checked', () => {
  test('and is good where branch and files agree, annotated or not', async () => {
    const project = await createProject();
    const commit = await project.release('1.2.3');
    expect(await project.run('check', commit, { TAG: 'v1.2.3' })).toEqual({
      exitCode: 0,
      said: `v1.2.3 is ${commit}, and all files say so\n`,
    });
    const next = await project.commit('1.2.4');
    await project.push('main', 'HEAD:refs/tags/v1.2.4');
    const result = await project.run('check', next, { TAG: 'v1.2.4', TAG_BEFORE: '0'.repeat(40) });
    expect(result).toMatchObject({ exitCode: 0 });
  });

  test.each([
    ['package.json', JSON.stringify({ version: '1.2.2' })],
    ['package-lock.json', JSON.stringify({ version: '1.2.2', packages: { '': {} } })],
    ['src/action/version.ts', `export const VERSION = '1.2.2';\n`],
    ['CHANGELOG.md', '# Changelog\n\n## 1.2.2, 2026-01-31\n'],
    ['CHANGELOG.md', '# Changelog\n\n## 1.2.3, not released yet\n'],
  ])('and refused where %s says something else', async (name, content) => {
    const project = await createProject();
    const commit = await project.release('1.2.3', { [name]: content });
    const { exitCode, said } = await project.run('check', commit, { TAG: 'v1.2.3' });
    expect(exitCode).toBe(1);
    expect(said).toContain(`::error::this is not v1.2.3: ${name}`);
  });

  test('and refused off the default branch', async () => {
    const project = await createProject();
    await project.release('1.2.2');
    await git(project.clone, ['checkout', '--quiet', '-b', 'aside']);
    const commit = await project.commit('1.2.3');
    await project.push('aside', 'HEAD:refs/tags/v1.2.3');
    expect(await project.run('check', commit, { TAG: 'v1.2.3' })).toEqual({
      exitCode: 1,
      said: `::error::${commit} is not on main\n`,
    });
  });

  test('and refused where it names another commit by now', async () => {
    const project = await createProject();
    const commit = await project.release('1.2.3');
    const other = await project.commit('1.2.3');
    await project.push('main', 'HEAD:refs/tags/v1.2.3');
    for (const command of ['check', 'publish', 'move-major']) {
      expect(await project.run(command, commit, { TAG: 'v1.2.3' })).toEqual({
        exitCode: 1,
        said: `::error::v1.2.3 was moved: it names ${other}, and this is ${commit}\n`,
      });
    }
  });

  test('and refused where the push moved it', async () => {
    const project = await createProject();
    const before = await project.release('1.2.3');
    const commit = await project.commit('1.2.3');
    await project.push('main', 'HEAD:refs/tags/v1.2.3');
    const result = await project.run('check', commit, { TAG: 'v1.2.3', TAG_BEFORE: before });
    expect(result).toEqual({
      exitCode: 1,
      said: `::error::v1.2.3 was moved: it named ${before} before\n`,
    });
  });

  test.each(['1.2.3', 'v1.2', 'v1.2.3-rc.1', 'v01.2.3', 'v1'])(
    'and refused where it is none of a release: %s',
    async (tag) => {
      const project = await createProject();
      const commit = await project.release('1.2.3');
      await project.push(`HEAD:refs/tags/${tag}`);
      const { exitCode, said } = await project.run('check', commit, { TAG: tag });
      expect({ exitCode, said }).toMatchObject({
        exitCode: 1,
        said: `::error::${tag} is not a tag of a release, v1.2.3\n`,
      });
    },
  );
});

describe('the major tag', () => {
  test('is made by the first release and moved by newer ones', async () => {
    const project = await createProject();
    for (const version of ['1.0.0', '1.0.1', '1.1.0', '1.10.0']) {
      const commit = await project.release(version);
      const result = await project.run('move-major', commit, { TAG: `v${version}` });
      expect(result).toEqual({ exitCode: 0, said: `v1 is ${commit} now\n` });
      expect(await project.remoteTag('v1')).toBe(commit);
    }
  });

  test('of another major version stays', async () => {
    const project = await createProject();
    const one = await project.release('1.0.0');
    await project.run('move-major', one, { TAG: 'v1.0.0' });
    const two = await project.release('2.0.0');
    await project.run('move-major', two, { TAG: 'v2.0.0' });
    expect(await project.remoteTag('v1')).toBe(one);
    expect(await project.remoteTag('v2')).toBe(two);
  });

  test('never goes back to an older release', async () => {
    const project = await createProject();
    const older = await project.release('1.9.1');
    const newer = await project.release('1.10.0');
    await project.run('move-major', newer, { TAG: 'v1.10.0' });
    expect(await project.run('move-major', older, { TAG: 'v1.9.1' })).toEqual({
      exitCode: 0,
      said: 'v1 stays at v1.10.0, which is newer\n',
    });
    expect(await project.remoteTag('v1')).toBe(newer);
  });

  test('may be moved again by the same job', async () => {
    const project = await createProject();
    const commit = await project.release('1.0.0');
    await project.run('move-major', commit, { TAG: 'v1.0.0' });
    expect(await project.run('move-major', commit, { TAG: 'v1.0.0' })).toEqual({
      exitCode: 0,
      said: 'v1 is v1.0.0\n',
    });
  });

  test('moves also where it is annotated', async () => {
    const project = await createProject();
    await project.release('1.0.0');
    await git(project.clone, ['tag', '--annotate', '--message', 'by hand', 'v1']);
    await project.push('v1');
    const commit = await project.release('1.0.1');
    const { exitCode } = await project.run('move-major', commit, { TAG: 'v1.0.1' });
    expect(exitCode).toBe(0);
    expect(await project.remoteTag('v1')).toBe(commit);
  });

  test('that names what is no release is left to people', async () => {
    const project = await createProject();
    const stray = await project.commit('1.0.0');
    await project.push('HEAD:refs/tags/v1');
    const commit = await project.release('1.0.1');
    expect(await project.run('move-major', commit, { TAG: 'v1.0.1' })).toEqual({
      exitCode: 1,
      said: `::error::v1 names ${stray}, which is no release: see to it by hand\n`,
    });
    expect(await project.remoteTag('v1')).toBe(stray);
  });

  test('that somebody moves meanwhile stays as they left it', async () => {
    const project = await createProject();
    const first = await project.release('1.0.0');
    await project.run('move-major', first, { TAG: 'v1.0.0' });
    const commit = await project.release('1.0.1');
    const winner = await project.release('1.0.2');
    const checkout = join(project.folder, 'late');
    await git(project.folder, ['clone', '--quiet', project.remote, checkout]);
    await git(checkout, ['checkout', '--quiet', '--detach', commit]);
    // A push begins with this on the remote's side, when the tags have long been read.
    const receive = join(project.folder, 'receive.sh');
    await writeFile(
      receive,
      `git -C "$1" tag --force v1 ${winner} >&2\nexec git receive-pack "$1"\n`,
    );
    const command = `sh '${receive.replaceAll('\\', '/')}'`;
    await git(checkout, ['config', 'remote.origin.receivepack', command]);
    const { exitCode, said } = await project.runIn(checkout, 'move-major', { TAG: 'v1.0.1' });
    expect(exitCode).toBe(1);
    expect(said).toContain('stale info');
    expect(await project.remoteTag('v1')).toBe(winner);
  });
});

interface Release {
  tag_name: string;
  body: string;
  draft: boolean;
  immutable: boolean;
  html_url: string;
}

/** As much of GitHub as has releases, with a switch for immutable ones. */
async function startGitHub(isImmutable: boolean, releases: Release[] = []) {
  const server = createServer((request, response) => {
    const answer = (status: number, content: object) => {
      response.writeHead(status, { 'Content-Type': 'application/json' });
      response.end(JSON.stringify(content));
    };
    if (request.headers.authorization !== 'Bearer canary') {
      answer(401, { message: 'Bad credentials' });
      return;
    }
    const path = request.url ?? '';
    if (request.method === 'GET') {
      const tag = path.replace('/repos/owner/name/releases/tags/', '');
      const found = releases.find((each) => each.tag_name === tag);
      answer(found === undefined ? 404 : 200, found ?? { message: 'Not Found' });
      return;
    }
    let text = '';
    request.setEncoding('utf8');
    request.on('data', (piece: string) => (text += piece));
    request.on('end', () => {
      const given = JSON.parse(text) as Pick<Release, 'tag_name' | 'body'>;
      const html_url = `https://github.test/${given.tag_name}`;
      const release = { ...given, draft: false, immutable: isImmutable, html_url };
      releases.push(release);
      answer(201, release);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const apiUrl = `http://127.0.0.1:${port}`;
  return {
    releases,
    access: { apiUrl, repository: 'owner/name', token: 'canary' },
    environment: {
      GITHUB_API_URL: apiUrl,
      GITHUB_REPOSITORY: 'owner/name',
      GITHUB_TOKEN: 'canary',
    },
    stop: () =>
      new Promise<void>((resolve) => {
        server.close(() => {
          resolve();
        });
        server.closeAllConnections();
      }),
  };
}

describe('the release', () => {
  test('has the notes of its version and its commit, and is made once', async () => {
    const project = await createProject();
    const commit = await project.release('1.2.3');
    const github = await startGitHub(true);
    try {
      const environment = { TAG: 'v1.2.3', ...github.environment };
      const expected = { exitCode: 0, said: 'https://github.test/v1.2.3\n' };
      expect(await project.run('publish', commit, environment)).toEqual(expected);
      expect(await project.run('publish', commit, environment)).toEqual(expected);
    } finally {
      await github.stop();
    }
    expect(github.releases).toEqual([
      expect.objectContaining({
        tag_name: 'v1.2.3',
        body: `- News.\n\nCommit: ${commit}\n`,
        make_latest: 'legacy',
      }),
    ]);
  });

  test('is refused where one of another commit is there', async () => {
    const project = await createProject();
    const commit = await project.release('1.2.3');
    const other = { tag_name: 'v1.2.3', body: `Commit: ${'1'.repeat(40)}\n`, draft: false };
    const github = await startGitHub(true, [{ ...other, immutable: true, html_url: 'there' }]);
    try {
      const environment = { TAG: 'v1.2.3', ...github.environment };
      expect(await project.run('publish', commit, environment)).toEqual({
        exitCode: 1,
        said: `::error::there is a release v1.2.3 already, and not of ${commit}: there\n`,
      });
    } finally {
      await github.stop();
    }
    expect(github.releases).toHaveLength(1);
  });

  test('that can still be changed is an error that says what to do', async () => {
    const github = await startGitHub(false);
    try {
      const made = publishRelease(github.access, { tag: 'v1.0.0', commit: 'c', notes: 'n' }, 0);
      await expect(made).rejects.toThrow(
        'turn on immutable releases in the settings of owner/name',
      );
    } finally {
      await github.stop();
    }
  });

  test('that GitHub refuses is an error with its answer', async () => {
    const github = await startGitHub(true);
    try {
      const access = { ...github.access, token: 'wrong' };
      const made = publishRelease(access, { tag: 'v1.0.0', commit: 'c', notes: 'n' });
      await expect(made).rejects.toThrow(/401 .*Bad credentials/);
    } finally {
      await github.stop();
    }
    expect(github.releases).toEqual([]);
  });
});

test('the files of this project all say the same version', async () => {
  const read = (name: string) => readFile(new URL(`../../${name}`, import.meta.url), 'utf8');
  const { version } = JSON.parse(await read('package.json')) as { version: string };
  const lock = JSON.parse(await read('package-lock.json')) as { version: string };
  expect(lock.version).toBe(version);
  expect(await read('CHANGELOG.md')).toMatch(
    new RegExp(`^## ${version.replaceAll('.', '\\.')}, `, 'm'),
  );
});
