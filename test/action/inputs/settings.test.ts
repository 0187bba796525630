/** Inputs as people write them, good and bad; action.yml and settings are held together. */
import { writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from '@jest/globals';
import { MirrorError } from '../../../src/lib/errors.ts';
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

const EXPRESSIONS = { 'github.repository': 'owner/name', 'github.token': CANARY };

const ENVIRONMENT = {
  GITHUB_EVENT_NAME: 'push',
  GITHUB_JOB: 'build',
  GITHUB_REF: 'refs/heads/feature',
  GITHUB_REPOSITORY: 'owner/name',
  GITHUB_RUN_ATTEMPT: '2',
  GITHUB_RUN_ID: '1000',
  GITHUB_SERVER_URL: 'https://github.com',
  // Resolved: on Windows an absolute path has a drive.
  GITHUB_WORKSPACE: resolve('/work/name/name'),
  HOME: resolve('/home/runner'),
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
        token: CANARY,
        refspecs: ['+refs/heads/*:refs/heads/*', '+refs/tags/*:refs/tags/*'],
      },
      mirrorPath: undefined,
      primedFolder: resolve('/work/name/name'),
      store: {
        kind: 'actions-cache',
        scopes: { own: 'refs/heads/feature', others: ['default'] },
        epoch: '1000-2',
        isAskedFor: false,
      },
      cacheKey: '',
      lockTimeoutMs: 10 * 60_000,
      fetchTimeoutMs: 60 * 60_000,
      verification: 'standard',
      save: 'auto',
      publish: 'post',
      maxSnapshots: 3,
      runner: {
        mirrorsFolder: resolve('/work/name/_mirrors'),
        temporaryFolder: resolve('/work/_temp'),
      },
      run: 'owner/name/1000/2/build',
      lowTrust: undefined,
    });
  });

  test('need no expression but the repository and the token', () => {
    const expressions = [...defaults.values()].flatMap(
      (text) => text.match(/\$\{\{.*?\}\}/g) ?? [],
    );
    expect(expressions.sort()).toEqual(['${{ github.repository }}', '${{ github.token }}']);
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

  test.each([
    'owner/name',
    'owner/.github',
    'o/n.git',
    'group/sub/name',
    'o-o/n_n',
    '1/2',
    'o/...',
  ])('the repository %j', (repository) => {
    const { upstream } = settingsOf({ repository });
    expect(upstream.url).toBe(`https://github.com/${repository}`);
  });

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
      [{ repository: 'group/sub/name.git' }, 'git@github.com:group/sub/name.git.git'],
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

  test.each([
    ['/srv/mirror.git', '/srv/mirror.git'],
    ['/srv//a/../mirror.git/', '/srv/mirror.git'],
    ['../mirror.git', '/work/name/mirror.git'],
    ['~/mirror.git', '/home/runner/mirror.git'],
    ['../~other/mirror.git', '/work/name/~other/mirror.git'],
    ['../--upload-pack=x', '/work/name/--upload-pack=x'],
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
    expect(settingsOf(given).primedFolder).toBe(folder);
  });

  test.each([
    [{ store: 'auto', 'disk-path': '/mnt/s' }, '/mnt/s'],
    [{ store: 'disk', 'disk-path': '~/s' }, '/home/runner/s'],
    [{ store: 'disk', 'disk-path': 's' }, '/work/name/name/s'],
  ])('the store %j, which is at %s', (given, path) => {
    expect(settingsOf(given).store).toEqual({ kind: 'disk', path: resolve(path) });
  });

  test.each([
    [{}, { prefix: 'git-mirrors', region: undefined, endpoint: undefined, isPathStyle: false }],
    [{ store: 's3', 's3-prefix': 'a/b.c-d_e' }, { prefix: 'a/b.c-d_e' }],
    [
      { 's3-prefix': '', 's3-region': 'auto' },
      { prefix: '', region: 'auto' },
    ],
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
    expect(settingsOf({ publish: 'early' }).publish).toBe('early');
    expect(settingsOf({ 'max-snapshots': '1' }).maxSnapshots).toBe(1);
    expect(settingsOf({ 'max-snapshots': '1000' }).maxSnapshots).toBe(1_000);
    expect(settingsOf({ 'cache-key': 'x'.repeat(512) }).cacheKey).toHaveLength(512);
    expect(settingsOf({ verify: 'full', save: 'never' })).toMatchObject({
      verification: 'full',
      save: 'never',
    });
  });
});

describe('what is refused, by a message that names the input, the value and what is allowed', () => {
  const serverAllowed = 'an http or https URL without user, query or fragment';
  const repositoryAllowed = 'owner/name';
  const refsAllowed = 'refspecs one a line';
  const userAllowed = 'a user name of letters, digits, ".", "_" and "-"';
  const durationAllowed = 'a duration: 90s, 10m, 1h, or seconds';
  const countAllowed = 'a whole number from 1 to 1000';
  const primedAllowed = 'a folder in the workspace, outside any `.git`: `.`, or a relative path';
  const pathAllowed = 'outside the workspace that does not contain it';
  const storeAllowed = '`auto`, `actions-cache`, `disk`, `s3`';

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
    ['repository', '', repositoryAllowed],
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
    ['ssh-strict', 'yes', '`true`, `false`'],
    ['ssh-strict', 'tRUE', '`true`, `false`'],
    ['ssh-strict', '1', '`true`, `false`'],
    ['ssh-user', '-oProxyCommand=x', userAllowed],
    ['ssh-user', 'git@github.com', userAllowed],
    ['ssh-user', 'a b', userAllowed],
    ['ssh-user', 'a\nb', userAllowed],
    ['ssh-user', '$USER', userAllowed],
    ['ssh-user', 'u'.repeat(65), userAllowed],
    ['refs', '--upload-pack=x', refsAllowed],
    ['refs', 'ext::sh -c x', refsAllowed],
    ['refs', 'HEAD', refsAllowed],
    ['refs', 'main', refsAllowed],
    ['refs', 'refs/heads/*:refs/remotes/origin/*', 'renames refs'],
    ['refs', 'refs/heads/*/*', refsAllowed],
    ['refs', 'refs/heads/a\tb', refsAllowed],
    ['refs', 'refs/heads/a\x07', refsAllowed],
    ['refs', 'refs/heads/ä b', refsAllowed],
    ['refs', 'ALL', refsAllowed],
    ['refs', '', 'at least one refspec'],
    ['refs', '^refs/heads/tmp/*', 'at least one refspec'],
    ['prime', 'yes', '`auto`, `true`, `false`'],
    ['path', '..', primedAllowed],
    ['path', '/work/name/other', primedAllowed],
    ['path', 'a/.git', primedAllowed],
    ['path', 'a/.Git/b', primedAllowed],
    ['path', 'a\0b', primedAllowed],
    ['mirror-path', '/work/name/name', pathAllowed],
    ['mirror-path', '/work/name/name/', pathAllowed],
    ['mirror-path', '.', pathAllowed],
    ['mirror-path', 'x/..', pathAllowed],
    ['mirror-path', '/work/name', pathAllowed],
    ['mirror-path', '..', pathAllowed],
    ['mirror-path', 'mirror.git', pathAllowed],
    ['mirror-path', '--upload-pack=x', pathAllowed],
    ['mirror-path', '~other/mirror.git', pathAllowed],
    ['mirror-path', '/', pathAllowed],
    ['mirror-path', '/srv/a\nb', 'a path without control characters'],
    ['store', '', storeAllowed],
    ['store', 'Disk', storeAllowed],
    ['store', 's4', storeAllowed],
    ['store', 'memory', storeAllowed],
    ['store', '--store=disk', storeAllowed],
    ['cache-key', 'x'.repeat(513), 'up to 512 characters'],
    ['cache-key', 'a\nb', 'without control characters'],
    ['lock-timeout', '', durationAllowed],
    ['lock-timeout', 'ten minutes', durationAllowed],
    ['lock-timeout', '-1', durationAllowed],
    ['lock-timeout', '1.5h', durationAllowed],
    ['lock-timeout', 'true', durationAllowed],
    ['fetch-timeout', '0', `${durationAllowed}, at least 1s`],
    ['fetch-timeout', '1e9', durationAllowed],
    ['fetch-timeout', '99999999', durationAllowed],
    ['verify', 'Full', '`standard`, `tip`, `full`'],
    ['verify', '', '`standard`, `tip`, `full`'],
    ['verify', 'true', '`standard`, `tip`, `full`'],
    ['save', 'false', '`auto`, `always`, `never`'],
    ['save', 'on', '`auto`, `always`, `never`'],
    ['publish', 'late', '`post`, `early`'],
    ['publish', '', '`post`, `early`'],
    ['max-snapshots', '0', countAllowed],
    ['max-snapshots', '', countAllowed],
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
    ...['/a', 'a/', 'a//b', '..', 'a/../b', 'a b', 'x'.repeat(201)].map(
      (prefix): [object, RegExp] => [{ 's3-bucket': 'b-b', 's3-prefix': prefix }, /`s3-prefix` /],
    ),
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

  test('`all` beside other refspecs', () => {
    expect(failureOf({ refs: 'all\n^refs/pull/*' }).message).toContain('"all"');
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

  test.each(['RUNNER_WORKSPACE', 'RUNNER_TEMP'])('a run without %s, outside a workflow', (name) => {
    for (const value of [undefined, '', 'relative']) {
      const { code, message } = failureOf({}, { [name]: value });
      expect({ code, message }).toEqual({
        code: 'invalid-input',
        message: `${name} is not set: this runs as a step of a workflow`,
      });
    }
  });
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
    expect((await settingsFor('pull_request', JSON.stringify(own))).lowTrust).toBeUndefined();
    expect((await settingsFor('pull_request', JSON.stringify(fork))).lowTrust).toContain('fork');
  });

  test.each([undefined, '', 'null', '{"pull_request":', '<html>'])(
    'is the least where that file has %j',
    async (payload) => {
      expect((await settingsFor('pull_request', payload)).lowTrust).toContain('does not tell');
      expect((await settingsFor('push', payload)).lowTrust).toBeUndefined();
    },
  );
});
