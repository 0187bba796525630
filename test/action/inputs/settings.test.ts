/** Inputs as people write them, good and bad, and action.yml checked against settings. */
import { symlink, writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { existsSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from '@jest/globals';
import { MirrorError } from '../../../src/lib/errors.ts';
import { DEFAULTS, type InputName } from '../../../src/action/inputs/reader.ts';
import { isDisabled } from '../../../src/action/inputs/runner.ts';
import { parseSettings, type Settings } from '../../../src/action/inputs/settings.ts';
import { evaluate, readActionDefinition } from '../../support/action-definition.ts';
import { temporaryDirectories } from '../../support/temporary-directory.ts';

const directories = temporaryDirectories();
const { inputs: defaults, ...definition } = readActionDefinition(
  fileURLToPath(new URL('../../..', import.meta.url)),
);

/** Stands for a secret that must turn up nowhere. */
const CANARY = 'canary7';

/** It looks like one; what is in it is ssh's to judge. */
const SSH_KEY = `-----BEGIN OPENSSH PRIVATE KEY-----\n${CANARY}\n-----END OPENSSH PRIVATE KEY-----`;

const EXPRESSIONS = {
  'github.repository': 'owner/name',
  'github.token': CANARY,
  'strategy.job-total': '1',
};

const ENVIRONMENT = {
  GITHUB_EVENT_NAME: 'push',
  GITHUB_JOB: 'build',
  GITHUB_REF: 'refs/heads/feature',
  GITHUB_REPOSITORY: 'owner/name',
  GITHUB_RUN_ATTEMPT: '2',
  GITHUB_RUN_ID: '1000',
  GITHUB_SERVER_URL: 'https://github.com',
  GITHUB_SHA: 'a'.repeat(40),
  // Resolved: on Windows an absolute path has a drive.
  GITHUB_WORKSPACE: resolve('/work/name/name'),
  HOME: resolve('/home/runner'),
  USERPROFILE: resolve('/home/runner'),
  RUNNER_TEMP: resolve('/work/_temp'),
  RUNNER_WORKSPACE: resolve('/work/name'),
};

afterAll(() => directories.removeAll());

/** The settings of a step whose `with:` has these, as the runner and getInput hand them over. */
function settingsOf(
  given: Record<string, string> = {},
  environment: NodeJS.ProcessEnv = {},
  asked: string[] = [],
): Settings {
  const input = (name: string): string => {
    asked.push(name);
    return (given[name] ?? evaluate(defaults.get(name) ?? '', EXPRESSIONS)).trim();
  };
  return parseSettings(input, { ...ENVIRONMENT, ...environment });
}

function failureOf(
  given: Record<string, string>,
  environment: NodeJS.ProcessEnv = {},
): MirrorError {
  try {
    settingsOf(given, environment);
  } catch (error) {
    if (error instanceof MirrorError) return error;
    throw error;
  }
  throw new Error(`${JSON.stringify(given)} was allowed`);
}

describe('action.yml and settings', () => {
  test('have the same inputs', () => {
    const asked: string[] = [];
    settingsOf({}, {}, asked);
    settingsOf({ store: 'disk', 'disk-path': '/mnt', 'github-server-url': 'http://h' }, {}, asked);
    settingsOf({ 's3-bucket': 'bucket' }, {}, asked);
    expect([...new Set(asked)].sort()).toEqual([...defaults.keys()].sort());
  });

  test('start the entries that are built', () => {
    expect(definition).toMatchObject({
      using: 'node24',
      main: 'dist/main.js',
      post: 'dist/post.js',
      postIf: 'always()',
    });
  });

  test('agree on the defaults', () => {
    const { environment, ...settings } = settingsOf();
    expect(environment).toMatchObject(ENVIRONMENT);
    expect(settings).toEqual({
      upstream: {
        url: 'https://github.com/owner/name',
        depth: 'full',
        token: CANARY,
        refspecs: ['+refs/heads/*:refs/heads/*', '+refs/tags/*:refs/tags/*'],
        server: { origin: 'https://github.com', isSuffixOptional: true },
      },
      submodules: 'none',
      cachesPrivateSubmodules: false,
      mirrorPath: undefined,
      workspace: {
        folder: resolve('/work/name/name'),
        remoteUrl: 'https://github.com/owner/name',
        commit: 'a'.repeat(40),
      },
      store: {
        kind: 'actions-cache',
        scopes: { own: 'refs/heads/feature', others: ['default'] },
        epoch: '1000-2',
        isAskedFor: false,
      },
      cacheKey: '',
      lfs: false,
      lockTimeoutMs: 10 * 60_000,
      fetchTimeoutMs: 60 * 60_000,
      stallTimeoutMs: 5 * 60_000,
      verification: 'standard',
      save: 'auto',
      publish: 'post',
      maxSnapshots: 3,
      contenders: 1,
      runner: {
        workspace: resolve('/work/name/name'),
        home: resolve('/home/runner'),
        commit: 'a'.repeat(40),
        mirrorsFolder: resolve('/work/name/_mirrors'),
        temporaryFolder: resolve('/work/_temp'),
      },
      run: 'owner/name/1000/2/build',
      untrustedReason: undefined,
    });
  });

  test('need no expression but the repository, the token and the number of jobs', () => {
    const expressions = [...defaults.values()].flatMap(
      (text) => text.match(/\$\{\{.*?\}\}/g) ?? [],
    );
    expect(expressions.sort()).toEqual([
      '${{ github.repository }}',
      '${{ github.token }}',
      '${{ strategy.job-total }}',
    ]);
  });
});

describe('what is allowed', () => {
  test.each([
    ['https://github.com', 'https://github.com/owner/name'],
    ['https://GitHub.com/', 'https://github.com/owner/name'],
    ['HTTPS://github.com:443///', 'https://github.com/owner/name'],
    ['http://localhost:8080', 'http://localhost:8080/owner/name'],
    ['https://h.example/git/', 'https://h.example/git/owner/name'],
    ['https://h.example/a/../git', 'https://h.example/git/owner/name'],
    ['https://[::1]:8443', 'https://[::1]:8443/owner/name'],
    ['', 'https://ghe.example/owner/name'],
  ])('the server %j gives %s', (server, url) => {
    const environment = { GITHUB_SERVER_URL: 'https://ghe.example' };
    expect(settingsOf({ 'github-server-url': server }, environment).upstream.url).toBe(url);
  });

  test.each(['owner/name', 'owner/.github', 'group/sub/name', 'o-o/n_n', '1/2', 'o/...'])(
    'the repository %j',
    (repository) => {
      const { upstream } = settingsOf({ repository });
      expect(upstream.url).toBe(`https://github.com/${repository}`);
    },
  );

  describe('over SSH', () => {
    const server = 'https://GitHub.example:8443/git';

    test('the URL is the one that actions/checkout writes, and the token is not used', () => {
      const { upstream } = settingsOf({ 'ssh-key': SSH_KEY, 'github-server-url': server });
      expect(upstream).toMatchObject({ url: 'git@github.example:owner/name.git', token: '' });
      expect(upstream.ssh).toEqual({ privateKey: `${SSH_KEY}\n`, knownHosts: '', isStrict: true });
    });

    test.each([
      [{ 'ssh-user': 'org-12_3.x' }, 'org-12_3.x@github.com:owner/name.git'],
      [{ 'ssh-user': '' }, 'git@github.com:owner/name.git'],
      [{ 'github-server-url': 'https://[::1]:8080' }, 'git@[::1]:owner/name.git'],
      [{ 'github-server-url': 'https://127.0.0.1' }, 'git@127.0.0.1:owner/name.git'],
      [{ repository: 'group/sub/name.git' }, 'git@github.com:group/sub/name.git'],
      [{ repository: 'o/n.git.git' }, 'git@github.com:o/n.git.git'],
    ])('%j gives %s', (given, url) => {
      expect(settingsOf({ 'ssh-key': SSH_KEY, ...given }).upstream.url).toBe(url);
    });

    test.each([
      ['', true],
      ['true', true],
      ['TRUE', true],
      ['false', false],
      ['False', false],
    ])('ssh-strict %j is %s', (text, isStrict) => {
      const { ssh } = settingsOf({ 'ssh-key': SSH_KEY, 'ssh-strict': text }).upstream;
      expect(ssh?.isStrict).toBe(isStrict);
    });

    test('the other inputs change nothing without a key', () => {
      const knownHosts = `h ssh-ed25519 ${'A'.repeat(60)}`;
      const others = { 'ssh-user': 'me', 'ssh-strict': 'false', 'ssh-known-hosts': knownHosts };
      expect(settingsOf(others).upstream).toEqual(settingsOf().upstream);
      const { ssh } = settingsOf({ 'ssh-key': SSH_KEY, ...others }).upstream;
      expect(ssh).toMatchObject({ knownHosts, isStrict: false });
    });
  });

  test('no token', () => {
    expect(settingsOf({ token: '' }).upstream.token).toBe('');
  });

  test.each([
    ['all', ['+refs/*:refs/*']],
    [' refs/heads/main \r\n\r\n', ['+refs/heads/main:refs/heads/main']],
    ['refs/tags/*\n+refs/heads/*\n', ['+refs/heads/*:refs/heads/*', '+refs/tags/*:refs/tags/*']],
    ['refs/heads/*\n^refs/heads/tmp/*', ['+refs/heads/*:refs/heads/*', '^refs/heads/tmp/*']],
    ['+refs/*:refs/*', ['+refs/*:refs/*']],
    ['refs/heads/é', ['+refs/heads/\xc3\xa9:refs/heads/\xc3\xa9']],
  ])('refs %j', (refs, expected) => {
    expect(settingsOf({ refs }).upstream.refspecs).toEqual(expected);
  });

  test.each<[string, string[]]>([
    ['', []],
    ['+refs/heads/*:refs/heads/*\n+refs/tags/*:refs/tags/*', []],
    ['refs/tags/*\nrefs/heads/*', []],
    ['refs/heads/next', ['+refs/heads/next:refs/heads/next']],
    [
      'refs/tags/v1\nrefs/heads/next',
      ['+refs/heads/next:refs/heads/next', '+refs/tags/v1:refs/tags/v1'],
    ],
  ])('fetch-depth 1 with refs %j', (refs, refspecs) => {
    const { upstream } = settingsOf({ 'fetch-depth': '1', refs });
    expect(upstream).toMatchObject({ depth: 'tip', refspecs });
  });

  test.each(['all', 'refs/heads/release/*', 'refs/heads/main\n^refs/heads/x'])(
    'fetch-depth 1 refuses refs %j: a tip mirror takes names and no patterns',
    (refs) => {
      expect(() => settingsOf({ 'fetch-depth': '1', refs })).toThrow(
        /Input `refs` is ".*expected names of single refs .* since `fetch-depth` is 1/,
      );
    },
  );

  test.each([
    ['/srv/mirror.git', '/srv/mirror.git'],
    ['/srv//a/../mirror.git/', '/srv/mirror.git'],
    ['~/mirror.git', '/home/runner/mirror.git'],
    ['/srv/~other/mirror.git', '/srv/~other/mirror.git'],
    ['/srv/--upload-pack=x', '/srv/--upload-pack=x'],
    ['/srv/c$/1$2', '/srv/c$/1$2'],
    ['/work/name/nam', '/work/name/nam'],
    ['/work/name/name2', '/work/name/name2'],
  ])('the mirror-path %j, which is %s', (path, expected) => {
    expect(settingsOf({ 'mirror-path': path }).mirrorPath).toBe(resolve(expected));
  });

  test.each([
    [{}, ''],
    [{ repository: 'Owner/NAME' }, ''],
    [{ repository: 'owner/name', 'github-server-url': 'HTTPS://github.com/' }, ''],
    [{ repository: 'owner/name', 'github-server-url': 'https://github.example' }, undefined],
    [{ repository: 'owner/other' }, undefined],
    [{ repository: 'owner/other', prime: 'true' }, ''],
    [{ repository: 'owner/other', path: 'deps/other' }, 'deps/other'],
    [{ repository: 'owner/other', path: './a/../b/' }, 'b'],
    [{ path: '/work/name/name/src' }, 'src'],
    [{ path: 'src', prime: 'false' }, undefined],
    [{ path: '...' }, '...'],
    [{ path: '.gitmodules' }, '.gitmodules'],
  ])('%j, which primes %j of the workspace', (given, expected) => {
    const workspace = ENVIRONMENT.GITHUB_WORKSPACE;
    const folder = expected === undefined ? undefined : resolve(workspace, expected);
    expect(settingsOf(given).workspace?.folder).toBe(folder);
  });

  test.each([
    [{ store: 'auto', 'disk-path': '/mnt/s' }, '/mnt/s'],
    [{ store: 'disk', 'disk-path': '~/s' }, '/home/runner/s'],
    [{ store: 'disk', 'disk-path': '~' }, '/home/runner'],
    [{ store: 'disk', 'disk-path': '/work' }, '/work'],
    [{ store: 'disk', 'disk-path': '/work/name/name2/../s' }, '/work/name/s'],
  ])('the store %j, which is at %s', (given, path) => {
    expect(settingsOf(given).store).toEqual({ kind: 'disk', path: resolve(path) });
  });

  test.each([
    [{}, { prefix: 'git-mirrors', region: undefined, endpoint: undefined, isPathStyle: false }],
    [{ store: 's3', 's3-prefix': 'a/b.c-d_e' }, { prefix: 'a/b.c-d_e' }],
    [
      { 's3-prefix': '/', 's3-region': 'auto' },
      { prefix: '', region: 'auto' },
    ],
    [{ 's3-prefix': '' }, { prefix: 'git-mirrors' }],
    [{ 's3-prefix': 'team/' }, { prefix: 'team' }],
    [{ 's3-prefix': '//team/mirrors//' }, { prefix: 'team/mirrors' }],
    [{ 's3-force-path-style': 'TRUE' }, { isPathStyle: true }],
    [{ 's3-endpoint': 'HTTPS://S3.example.org:443/' }, { endpoint: 'https://s3.example.org' }],
    [{ 's3-endpoint': 'http://[::1]:9000/a/' }, { endpoint: 'http://[::1]:9000/a' }],
    [{ 's3-force-path-style': 'true' }, { isPathStyle: true }],
  ])('a bucket, with %j', (given, place) => {
    for (const bucket of ['my-bucket.1', 'arn:aws:s3:eu-west-1:123456789012:accesspoint/mine']) {
      const { store } = settingsOf({ 's3-bucket': bucket, ...given });
      expect(store).toMatchObject({ kind: 's3', place: { bucket, ...place } });
    }
  });

  test('the Actions cache, whose snapshots are those of the refs of this run', async () => {
    const folder = await directories.create('event');
    const path = join(folder, 'event.json');
    await writeFile(path, JSON.stringify({ repository: { default_branch: 'feature' } }));
    const event = { GITHUB_EVENT_PATH: path };
    const kind = 'actions-cache';
    const common = { kind, scopes: { own: 'default', others: [] }, epoch: '1000-2' };
    expect(settingsOf({}, event).store).toEqual({ ...common, isAskedFor: false });
    expect(settingsOf({ store: kind }, event).store).toEqual({ ...common, isAskedFor: true });
    const pull = {
      ...event,
      ...{ GITHUB_EVENT_NAME: 'pull_request', GITHUB_REF: 'refs/pull/1/merge' },
      GITHUB_BASE_REF: 'release',
    };
    expect(settingsOf({}, pull).store).toMatchObject({
      scopes: { own: 'refs/pull/1/merge', others: ['refs/heads/release', 'default'] },
    });
  });

  test('durations, choices and counts at their limits', () => {
    expect(settingsOf({ 'lock-timeout': '0' }).lockTimeoutMs).toBe(0);
    expect(settingsOf({ 'fetch-timeout': '1s' }).fetchTimeoutMs).toBe(1_000);
    expect(settingsOf({ 'fetch-timeout': '24h' }).fetchTimeoutMs).toBe(86_400_000);
    expect(settingsOf({ 'stall-timeout': '90s' }).stallTimeoutMs).toBe(90_000);
    expect(settingsOf({ 'stall-timeout': '0' }).stallTimeoutMs).toBe(Infinity);
    expect(settingsOf({ publish: 'early' }).publish).toBe('early');
    expect(settingsOf({ 'max-snapshots': '1' }).maxSnapshots).toBe(1);
    expect(settingsOf({ 'max-snapshots': '1000' }).maxSnapshots).toBe(1_000);
    expect(settingsOf({ 'job-total': '256' }).contenders).toBe(256);
    expect(settingsOf({ 'cache-key': 'x'.repeat(512) }).cacheKey).toHaveLength(512);
    expect(settingsOf({ verify: 'full', save: 'never' })).toMatchObject({
      verification: 'full',
      save: 'never',
    });
  });
});

describe('a bad value is refused by a message that names the input, the value and what is expected', () => {
  const serverAllowed = 'an http or https URL without user, query or fragment';
  const repositoryAllowed = 'owner/name';
  const refsAllowed = 'refspecs, one per line';
  const userAllowed = 'a user name of letters, digits, ".", "_" and "-"';
  const durationAllowed = 'expected a duration such as 90s, 10m, 1h, or a number of seconds';
  const countAllowed = 'a whole number from 1 to 1000';
  const primedAllowed = 'expected a folder in the workspace, outside any .git';
  const pathAllowed = 'outside the workspace that does not contain it';
  const storeAllowed = 'expected one of: auto, actions-cache, disk, s3';
  const absoluteAllowed = 'expected an absolute path, or one that begins with ~/';
  const booleanAllowed = 'expected true or false';

  test.each<[string, string, string]>([
    ['github-server-url', 'github.com', serverAllowed],
    ['github-server-url', 'https://', serverAllowed],
    ['github-server-url', 'ssh://github.com', serverAllowed],
    ['github-server-url', 'git://github.com', serverAllowed],
    ['github-server-url', 'file:///etc', serverAllowed],
    ['github-server-url', '/etc', serverAllowed],
    ['github-server-url', 'ext::sh -c x', serverAllowed],
    ['github-server-url', 'javascript:x', serverAllowed],
    ['github-server-url', '--upload-pack=x', serverAllowed],
    ['github-server-url', 'https://h\n.example', serverAllowed],
    ['github-server-url', 'https://h\t.example', serverAllowed],
    ['github-server-url', 'https://h:99999', serverAllowed],
    ['repository', 'owner/.git', repositoryAllowed],
    ['repository', 'owner/.GIT', repositoryAllowed],
    ['repository', 'name', repositoryAllowed],
    ['repository', '/owner/name', repositoryAllowed],
    ['repository', 'owner/name/', repositoryAllowed],
    ['repository', 'owner//name', repositoryAllowed],
    ['repository', 'owner/..', repositoryAllowed],
    ['repository', '../owner/name', repositoryAllowed],
    ['repository', './name', repositoryAllowed],
    ['repository', '--upload-pack=x', repositoryAllowed],
    ['repository', '--upload-pack=x/name', repositoryAllowed],
    ['repository', 'owner/-name', repositoryAllowed],
    ['repository', 'ext::sh -c x/name', repositoryAllowed],
    ['repository', 'owner/na me', repositoryAllowed],
    ['repository', 'owner/na\nme', repositoryAllowed],
    ['repository', 'owner/%2e%2e', repositoryAllowed],
    ['repository', 'owner\\name', repositoryAllowed],
    ['repository', 'owner/näme', repositoryAllowed],
    ['repository', 'https://github.com/owner/name', repositoryAllowed],
    ['ssh-strict', 'yes', booleanAllowed],
    ['ssh-strict', 'tRUE', booleanAllowed],
    ['ssh-strict', '1', booleanAllowed],
    ['ssh-user', '-oProxyCommand=x', userAllowed],
    ['ssh-user', 'git@github.com', userAllowed],
    ['ssh-user', 'a b', userAllowed],
    ['ssh-user', 'a\nb', userAllowed],
    ['ssh-user', '$USER', userAllowed],
    ['ssh-user', 'u'.repeat(65), userAllowed],
    ['refs', '--upload-pack=x', refsAllowed],
    ['refs', 'ext::sh -c x', refsAllowed],
    ['refs', 'HEAD', refsAllowed],
    ['fetch-depth', '2', 'one of: 0, 1'],
    ['fetch-depth', '-1', 'one of: 0, 1'],
    ['refs', 'main', refsAllowed],
    ['refs', 'refs/heads/*:refs/remotes/origin/*', 'renames refs'],
    ['refs', 'refs/heads/*/*', refsAllowed],
    ['refs', 'refs/heads/a\tb', refsAllowed],
    ['refs', 'refs/heads/a\x07', refsAllowed],
    ['refs', 'refs/heads/ä b', refsAllowed],
    ['refs', 'ALL', refsAllowed],
    ['refs', 'all\n^refs/pull/*', '`all` alone, or refspecs without it'],
    ['refs', 'refs/heads/*\nall', '`all` alone, or refspecs without it'],
    ['refs', '^refs/heads/tmp/*', 'at least one refspec'],
    ['prime', 'yes', 'expected one of: auto, true, false'],
    ['prime', 'AUTO', 'expected one of: auto, true, false'],
    ['path', '..', primedAllowed],
    ['path', '/work/name/other', primedAllowed],
    ['path', 'a/.git', primedAllowed],
    ['path', 'a/.Git/b', primedAllowed],
    ['path', 'a\0b', primedAllowed],
    ['mirror-path', '/work/name/name', pathAllowed],
    ['mirror-path', '/work/name/name/', pathAllowed],
    ['mirror-path', '.', absoluteAllowed],
    ['mirror-path', '../mirror.git', absoluteAllowed],
    ['mirror-path', '/work/name', pathAllowed],
    ['mirror-path', '--upload-pack=x', absoluteAllowed],
    ['mirror-path', '~other/mirror.git', absoluteAllowed],
    ['mirror-path', '$HOME/mirror.git', 'variables are not expanded'],
    ['mirror-path', '/srv/${USER}/mirror.git', 'variables are not expanded'],
    ['mirror-path', 'nfs:/export/mirror.git', absoluteAllowed],
    ['mirror-path', '/', pathAllowed],
    ['mirror-path', '/srv/a\nb', 'without control characters'],
    ['store', 'Disk', storeAllowed],
    ['store', 's4', storeAllowed],
    ['store', 'memory', storeAllowed],
    ['store', '--store=disk', storeAllowed],
    ['cache-key', 'x'.repeat(513), 'up to 512 characters'],
    ['cache-key', 'a\nb', 'without control characters'],
    ['lock-timeout', 'ten minutes', durationAllowed],
    ['lock-timeout', '-1', durationAllowed],
    ['lock-timeout', '1.5h', durationAllowed],
    ['lock-timeout', 'true', durationAllowed],
    ['fetch-timeout', '0', `${durationAllowed}, at least 1s`],
    ['fetch-timeout', '1e9', durationAllowed],
    ['fetch-timeout', '99999999', durationAllowed],
    ['verify', 'Full', 'expected one of: standard, tip, full'],
    ['verify', 'true', 'expected one of: standard, tip, full'],
    ['save', 'false', 'expected one of: auto, always, never'],
    ['save', 'on', 'expected one of: auto, always, never'],
    ['publish', 'late', 'expected one of: post, early'],
    ['max-snapshots', '0', countAllowed],
    ['job-total', '0', countAllowed],
    ['job-total', 'two', countAllowed],
    ['max-snapshots', '-1', countAllowed],
    ['max-snapshots', '3.5', countAllowed],
    ['max-snapshots', '1001', countAllowed],
    ['max-snapshots', '1e2', countAllowed],
    ['max-snapshots', 'NaN', countAllowed],
    ['max-snapshots', 'three', countAllowed],
  ])('%s: %j', (name, value, allowed) => {
    const { code, message } = failureOf({ [name]: value });
    expect(code).toBe('invalid-input');
    expect(message).toContain(`\`${name}\``);
    expect(message).toContain(value.length > 200 ? 'x'.repeat(200) : JSON.stringify(value));
    expect(message).toContain(allowed);
    expect(message).toMatch(/ is .*; expected /);
    expect(message).not.toContain(CANARY);
    // eslint-disable-next-line no-control-regex -- one line of a log
    expect(message).not.toMatch(/[\x00-\x1f]/);
  });

  test.each(['https://-oProxyCommand=x', 'https://a;b.example', 'https://$(id).example'])(
    'the server %s, for SSH alone',
    (server) => {
      const { code, message } = failureOf({ 'github-server-url': server, 'ssh-key': SSH_KEY });
      expect(code).toBe('invalid-input');
      expect(message).toMatch(/`github-server-url`.*since `ssh-key` is set/);
      expect(settingsOf({ 'github-server-url': server }).upstream.url).toContain('/owner/name');
    },
  );

  test('a store on disk without its folder', () => {
    const { message } = failureOf({ store: 'disk' });
    expect(message).toMatch(/`disk-path` is ""; .*existing folder, since `store` is `disk`/);
  });

  test('the Actions cache with a folder', () => {
    const { message } = failureOf({ store: 'actions-cache', 'disk-path': '/mnt' });
    expect(message).toMatch(/`disk-path` is "\/mnt"; .*nothing, since `store` is `actions-cache`/);
  });

  test.each([
    [{ store: 's3' }, /`s3-bucket` is ""; .*since `store` is `s3`/],
    [{ store: 'disk', 'disk-path': '/mnt', 's3-bucket': 'b-b' }, /`s3-bucket`.*`store` is `disk`/],
    [{ store: 'actions-cache', 's3-bucket': 'b-b' }, /`s3-bucket`.*`store` is `actions-cache`/],
    [{ 's3-bucket': 'b-b', 'disk-path': '/mnt' }, /`disk-path`.*since `s3-bucket` is set/],
    ...['-b-b', 'a/b', 'a b', 's3://bucket', 'x'.repeat(64)].map((bucket): [object, RegExp] => [
      { 's3-bucket': bucket },
      /`s3-bucket` .*a bucket's name/,
    ]),
    ...['a//b', '..', 'a/../b', 'a b', 'x'.repeat(201)].map((prefix): [object, RegExp] => [
      { 's3-bucket': 'b-b', 's3-prefix': prefix },
      /`s3-prefix` /,
    ]),
    [{ 's3-bucket': 'b-b', 's3-region': 'eu central' }, /`s3-region` .*eu-central-1/],
    [{ 's3-bucket': 'b-b', 's3-force-path-style': 'yes' }, /`s3-force-path-style` is "yes"/],
    ...['s3.example.org', 'ftp://s3.example.org', 'https://h/?a=b', 'https://h\n/'].map(
      (endpoint): [object, RegExp] => [
        { 's3-bucket': 'b-b', 's3-endpoint': endpoint },
        /`s3-endpoint` .*https:\/\/s3.example.org/,
      ],
    ),
  ])('a bucket with %j', (given, message) => {
    expect(failureOf(given as Record<string, string>).message).toMatch(message);
  });

  test('an endpoint with a secret, which is not shown', () => {
    const endpoint = 'https://user:hunter2@s3.example.org';
    const { message } = failureOf({ 's3-bucket': 'b-b', 's3-endpoint': endpoint });
    expect(message).toContain('`s3-endpoint`');
    expect(message).not.toContain('hunter2');
  });

  test('a folder with control characters', () => {
    expect(failureOf({ 'disk-path': '/mnt/a\x1bb' }).message).toContain('control characters');
  });

  test('one bad refspec among good ones, and it alone is shown', () => {
    const { message } = failureOf({ refs: 'refs/heads/*\n--upload-pack=x\nrefs/tags/*' });
    expect(message).toContain('"--upload-pack=x"');
    expect(message).not.toContain('refs/tags');
  });

  test.each(['/mnt', '/mnt/store'])('the mirror-path %j, with the store in it', (path) => {
    const inputs = { 'mirror-path': path, store: 'disk', 'disk-path': '/mnt/store' };
    expect(failureOf(inputs).message).toContain('does not contain `disk-path`');
  });

  test('a mirror-path that contains a workspace of an odd name', () => {
    const environment = { GITHUB_WORKSPACE: resolve('/work/name/..odd') };
    expect(failureOf({ 'mirror-path': '/work/name' }, environment).message).toContain(pathAllowed);
  });

  test('a pasted file is shown only by its beginning', () => {
    expect(failureOf({ store: 'x'.repeat(100_000) }).message.length).toBeLessThan(400);
    expect(failureOf({ refs: `refs/heads/${'y '.repeat(100_000)}` }).message.length).toBeLessThan(
      400,
    );
  });

  test('a run without RUNNER_TEMP, outside a workflow', () => {
    for (const value of [undefined, '', 'relative']) {
      const { code, message } = failureOf({}, { RUNNER_TEMP: value });
      expect({ code, message }).toEqual({
        code: 'invalid-input',
        message: 'RUNNER_TEMP is not an absolute path; expected to run as a step of a workflow',
      });
    }
  });

  test.each([
    ['s3-endpoint', 'https://s3.example.org'],
    ['s3-region', 'eu-central-1'],
    ['s3-prefix', 'team'],
    ['s3-force-path-style', 'true'],
  ])('%s without a bucket, which would silently mean no S3', (name, value) => {
    for (const others of [{}, { 'disk-path': '/mnt' }]) {
      expect(failureOf({ [name]: value, ...others }).message).toBe(
        `Input \`${name}\` is "${value}"; expected nothing, since \`s3-bucket\` is not set`,
      );
    }
  });

  test.each(['/work/name/name', '/work/name/name/store', '/work/name/x/../name/s'])(
    'the disk-path %j, which is in the workspace',
    (path) => {
      const { message } = failureOf({ 'disk-path': path });
      expect(message).toBe(
        `Input \`disk-path\` is "${path}"; expected a folder outside the workspace, which actions/checkout empties`,
      );
    },
  );

  test.each(['store', './store', '../store', '~other/store', 'nfs:/export', 'file:///mnt'])(
    'the disk-path %j, which is not absolute, and is shown as it was given',
    (path) => {
      expect(failureOf({ 'disk-path': path }).message).toBe(
        `Input \`disk-path\` is "${path}"; ${absoluteAllowed}`,
      );
    },
  );

  test.each(['$HOME/store', '${HOME}/store', '/mnt/$USER'])(
    'the disk-path %j, since a step expands no variables',
    (path) => {
      expect(failureOf({ 'disk-path': path }).message).toBe(
        `Input \`disk-path\` is "${path}"; ${absoluteAllowed}; variables are not expanded`,
      );
    },
  );

  test('a disk-path that leads into the workspace by a link', async () => {
    const folder = await directories.create('linked');
    const workspace = await directories.create('workspace');
    await symlink(workspace, join(folder, 'link'));
    const { message } = failureOf(
      { 'disk-path': join(folder, 'link', 'store') },
      { GITHUB_WORKSPACE: workspace },
    );
    expect(message).toContain('outside the workspace');
  });
});

test('a disk-path in the workspace is refused in any case that the disk takes for the same', async () => {
  const workspace = await directories.create('workspace');
  const other = join(dirname(workspace), basename(workspace).toUpperCase());
  const given = { 'disk-path': join(other, 'store') };
  // As it is on macOS and Windows.
  const isSame = existsSync(other);
  const read = () => settingsOf(given, { GITHUB_WORKSPACE: workspace });
  if (isSame) expect(read).toThrow(/outside the workspace/);
  else expect(read).not.toThrow();
});

describe('an input that is given as an empty string', () => {
  test('has the default of action.yml, which settings know', () => {
    expect(Object.keys(DEFAULTS).sort()).toEqual([...defaults.keys()].sort());
    for (const [name, text] of defaults) {
      if (text.includes('${{')) continue;
      expect({ name, text: DEFAULTS[name as InputName] }).toEqual({ name, text: text.trim() });
    }
  });

  const optional = [...defaults.keys()].filter((name) => name !== 'token');

  test.each(optional)('is as if it were left out: %s', (name) => {
    expect(settingsOf({ [name]: '' })).toEqual(settingsOf());
    const bucket = { 's3-bucket': 'bucket', 'ssh-key': SSH_KEY };
    if (name in bucket) return;
    expect(settingsOf({ ...bucket, [name]: '' })).toEqual(settingsOf(bucket));
  });

  test('is no token', () => {
    expect(settingsOf({ token: '' }).upstream.token).toBe('');
  });

  test('is as if left out with all others too', () => {
    const empty = Object.fromEntries(optional.map((name) => [name, '']));
    expect(settingsOf(empty)).toEqual(settingsOf());
  });
});

describe('a repository with .git', () => {
  test.each([
    ['owner/name.git', 'https://github.com/owner/name'],
    ['OWNER/Name.GIT', 'https://github.com/OWNER/Name'],
    ['owner/name.git.git', 'https://github.com/owner/name.git'],
    ['owner/name.github', 'https://github.com/owner/name.github'],
    ['owner/git', 'https://github.com/owner/git'],
  ])('%s: GitHub serves it without, so that both spellings share snapshots', (repository, url) => {
    expect(settingsOf({ repository }).upstream.url).toBe(url);
  });

  test('is the workflow’s own, and primed as a checkout without inputs expects it', () => {
    expect(settingsOf({ repository: 'owner/name.git' })).toEqual(settingsOf());
  });

  test('of another repository is primed as a checkout of the same value expects it', () => {
    const { upstream, workspace } = settingsOf({ repository: 'o/n.git', path: 'n' });
    expect(upstream.url).toBe('https://github.com/o/n');
    expect(workspace?.remoteUrl).toBe('https://github.com/o/n.git');
    expect(workspace?.commit).toBeUndefined();
  });

  test('over SSH has one .git, as a checkout writes it', () => {
    const given = { 'ssh-key': SSH_KEY, repository: 'owner/name.git' };
    const { upstream, workspace } = settingsOf(given);
    expect(upstream.url).toBe('git@github.com:owner/name.git');
    expect(workspace?.remoteUrl).toBe('git@github.com:owner/name.git');
    expect(settingsOf(given)).toEqual(settingsOf({ 'ssh-key': SSH_KEY }));
  });

  test('keeps it on another server, where it may be the only name', () => {
    const server = { 'github-server-url': 'https://git.example' };
    const { upstream } = settingsOf({ ...server, repository: 'o/n.git' });
    expect(upstream.url).toBe('https://git.example/o/n.git');
  });

  test('loses it on the server that runs the workflow', () => {
    const environment = { GITHUB_SERVER_URL: 'https://git.example' };
    const { upstream } = settingsOf({ repository: 'o/n.git' }, environment);
    expect(upstream.url).toBe('https://git.example/o/n');
  });
});

describe('booleans', () => {
  test.each([
    ['true', true],
    ['True', true],
    ['TRUE', true],
    ['false', false],
    ['False', false],
    ['FALSE', false],
  ])('%s is the same for each of them', (text, value) => {
    const { upstream } = settingsOf({ 'ssh-key': SSH_KEY, 'ssh-strict': text });
    expect(upstream.ssh?.isStrict).toBe(value);
    const { store } = settingsOf({ 's3-bucket': 'bucket', 's3-force-path-style': text });
    expect(store).toMatchObject({ place: { isPathStyle: value } });
    const { workspace } = settingsOf({ repository: 'o/another', path: '', prime: text });
    expect(workspace !== undefined).toBe(value);
  });
});

describe('where the runner sets less than GitHub’s', () => {
  test.each([undefined, '', 'relative'])(
    'RUNNER_WORKSPACE %j: default mirrors go next to the workspace',
    (value) => {
      const { runner } = settingsOf({}, { RUNNER_WORKSPACE: value });
      expect(runner.mirrorsFolder).toBe(resolve('/work/name/_mirrors'));
      const path = resolve('/srv/mirror.git');
      expect(settingsOf({ 'mirror-path': path }, { RUNNER_WORKSPACE: value }).mirrorPath).toBe(
        path,
      );
    },
  );

  test('no GITHUB_WORKSPACE: the working directory is the workspace', () => {
    const { runner } = settingsOf({}, { RUNNER_WORKSPACE: '', GITHUB_WORKSPACE: undefined });
    expect(runner.mirrorsFolder).toBe(resolve('..', '_mirrors'));
  });

  const home = process.platform === 'win32' ? 'USERPROFILE' : 'HOME';

  test.each([undefined, '', 'relative'])(
    'a home of %j: ~ is the one of the user database',
    (value) => {
      const { mirrorPath, runner } = settingsOf({ 'mirror-path': '~/m.git' }, { [home]: value });
      expect(runner.home).toBe(userInfo().homedir);
      expect(mirrorPath).toBe(join(userInfo().homedir, 'm.git'));
    },
  );
});

test.each([
  ['true', true],
  ['True', true],
  [' TRUE ', true],
  ['yes', true],
  ['on', true],
  ['1', true],
  ['false', false],
  ['no', false],
  ['0', false],
  ['', false],
  ['maybe', false],
  [undefined, false],
])('MIRROR_ACTION_DISABLED %j turns the action off: %s', (value, expected) => {
  expect(isDisabled({ MIRROR_ACTION_DISABLED: value })).toBe(expected);
});

describe('secrets', () => {
  test.each([
    `https://user:${CANARY}@github.com`,
    `https://${CANARY}@github.com`,
    `https://${CANARY}:x-oauth-basic@github.com/`,
    `https://user:pass/${CANARY}@github.com`,
    `https://user:pass?${CANARY}@github.com`,
    `https://user:pass#${CANARY}@github.com`,
    `https://user@mail.example:${CANARY}@github.com`,
    `https:user:${CANARY}@github.com`,
    `https:/user:${CANARY}@github.com`,
    `https:\\\\user:${CANARY}@github.com`,
    `ssh://git:${CANARY}@github.com`,
    `user:${CANARY}@github.com`,
    `//user:${CANARY}@github.com`,
    `https://user:\n${CANARY}@github.com`,
    `${CANARY}@github.com:owner`,
  ])('in the server %j are refused and never shown', (server) => {
    for (const message of [
      failureOf({ 'github-server-url': server }).message,
      failureOf({ 'github-server-url': '' }, { GITHUB_SERVER_URL: server }).message,
      failureOf({ repository: `${server}/owner/name` }).message,
    ]) {
      expect(message).toContain('github.com');
      expect(message).not.toContain(CANARY);
    }
  });

  test.each([
    ['github-server-url', `https://github.com/?token=${CANARY}`],
    ['github-server-url', `https://github.com/#${CANARY}`],
    ['github-server-url', `https://github.com?a=b#c?${CANARY}`],
    ['repository', `owner/name?access_token=${CANARY}`],
    ['repository', `owner/name#${CANARY}`],
  ])('in the query or fragment of %s %j are refused and never shown', (name, value) => {
    const { code, message } = failureOf({ [name]: value });
    expect(code).toBe('invalid-input');
    expect(message).toContain(`\`${name}\``);
    expect(message).not.toContain(CANARY);
  });

  test.each([
    ['a key that is none', CANARY, /is not a private key/],
    ['half a key', SSH_KEY.slice(0, -30), /is not a whole private key/],
    ['a public key', `ssh-ed25519 AAAA${CANARY}`, /is a public key/],
  ])('%s is refused and never shown', (_, key, fault) => {
    const { code, message } = failureOf({ 'ssh-key': key });
    expect(code).toBe('invalid-input');
    expect(message).toMatch(/^Input `ssh-key` /);
    expect(message).toMatch(fault);
    expect(message).not.toContain(CANARY);
  });

  test('a key in the place of known hosts is refused and never shown', () => {
    const { code, message } = failureOf({ 'ssh-known-hosts': SSH_KEY });
    expect(code).toBe('invalid-input');
    expect(message).toMatch(/^Line 1 of input `ssh-known-hosts` /);
    expect(message).not.toContain(CANARY);
  });

  test('a token of more than one line is refused and never shown', () => {
    for (const token of [`${CANARY}\nx`, `x\r\nAuthorization: ${CANARY}`, `${CANARY}\0`]) {
      const { code, message } = failureOf({ token });
      expect(code).toBe('invalid-input');
      expect(message).toContain('`token`');
      expect(message).not.toContain(CANARY);
    }
  });
});

describe('whom to trust', () => {
  async function settingsFor(event: string, payload: string | undefined): Promise<Settings> {
    const file = join(await directories.create('event'), 'event.json');
    if (payload !== undefined) await writeFile(file, payload);
    return settingsOf({}, { GITHUB_EVENT_NAME: event, GITHUB_EVENT_PATH: file });
  }

  const repository = (name: string) => ({ repo: { full_name: name } });

  test('is read from the file of the event', async () => {
    const own = { pull_request: { head: repository('o/n'), base: repository('o/n') } };
    const fork = { pull_request: { head: repository('m/n'), base: repository('o/n') } };
    expect(
      (await settingsFor('pull_request', JSON.stringify(own))).untrustedReason,
    ).toBeUndefined();
    expect((await settingsFor('pull_request', JSON.stringify(fork))).untrustedReason).toContain(
      'fork',
    );
  });

  test.each([undefined, '', 'null', '{"pull_request":', '<html>'])(
    'is the least where that file has %j',
    async (payload) => {
      expect((await settingsFor('pull_request', payload)).untrustedReason).toContain(
        'does not say',
      );
      expect((await settingsFor('push', payload)).untrustedReason).toBeUndefined();
    },
  );
});
