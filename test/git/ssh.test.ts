/**
 * The key's files, and what a shell and git make of the command. A program that writes down how it
 * was started stands for ssh: that a real one can use it is held in test/jobs/ssh.server.test.ts.
 */
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  realpathSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { delimiter, join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { openGit } from '../../src/git/git.ts';
import { openSsh, sweepSsh, type SshIdentity, type SshOptions } from '../../src/git/ssh.ts';
import { silentLog } from '../../src/lib/log.ts';
import { temporaryDirectories } from '../support/temporary-directory.ts';

// The program is a shell script, and modes are POSIX.
const describeOnPosix = process.platform === 'win32' ? describe.skip : describe;

const directories = temporaryDirectories();
const path = process.env['PATH'];

const identity: SshIdentity = {
  privateKey: '-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----\n',
  knownHosts: 'h.example ssh-rsa AAAA',
  isStrict: true,
};

let root: string;
let options: SshOptions & { home: string };

beforeEach(async () => {
  root = await directories.create('ssh');
  options = optionsIn(root);
  process.env['PATH'] = [createRecorder(join(root, 'bin')), path].join(delimiter);
});

afterEach(() => {
  process.env['PATH'] = path;
});

afterAll(() => directories.removeAll());

function optionsIn(folder: string): SshOptions & { home: string } {
  const temporaryFolder = join(folder, 'temp');
  const home = join(folder, 'home');
  for (const each of [temporaryFolder, home]) mkdirSync(each, { recursive: true });
  return { temporaryFolder, home, environment: process.env };
}

/** Writes its folder, its arguments and its variables next to itself. */
function createRecorder(folder: string): string {
  mkdirSync(folder, { recursive: true });
  const script = `#!/bin/sh
folder=$(dirname "$0")
pwd >"$folder/cwd"
printf '%s\\n' "$@" >"$folder/arguments"
env >"$folder/environment"
`;
  writeFileSync(join(folder, 'ssh'), script, { mode: 0o755 });
  return folder;
}

const modeOf = (file: string): number => statSync(file).mode & 0o777;

describeOnPosix('the files', () => {
  test('are for nobody else, in a folder of their own, and go when they are closed', async () => {
    const ssh = await openSsh(identity, options);
    const [name = '', ...others] = readdirSync(options.temporaryFolder);
    const folder = join(options.temporaryFolder, name);
    expect(others).toEqual([]);
    expect(name).toMatch(/^mirror-action-ssh-\w{6}$/);
    expect(readdirSync(folder).sort()).toEqual(['key', 'known_hosts']);
    expect([folder, ...readdirSync(folder).map((each) => join(folder, each))].map(modeOf)).toEqual([
      0o700, 0o600, 0o600,
    ]);
    expect(readFileSync(join(folder, 'key'), 'utf8')).toBe(identity.privateKey);
    const knownHosts = readFileSync(join(folder, 'known_hosts'), 'utf8');
    expect(knownHosts).toMatch(/^h\.example ssh-rsa AAAA\ngithub\.com /);
    await ssh.close();
    await ssh.close();
    expect(readdirSync(options.temporaryFolder)).toEqual([]);
  });

  test("have the user's known hosts, which stay as they are", async () => {
    mkdirSync(join(options.home, '.ssh'));
    const file = join(options.home, '.ssh', 'known_hosts');
    writeFileSync(file, 'own.example ssh-rsa BBBB');
    const ssh = await openSsh(identity, options);
    const [name = ''] = readdirSync(options.temporaryFolder);
    const written = readFileSync(join(options.temporaryFolder, name, 'known_hosts'), 'utf8');
    expect(written).toMatch(/^own\.example ssh-rsa BBBB\nh\.example ssh-rsa AAAA\n/);
    await ssh.close();
    expect(readFileSync(file, 'utf8')).toBe('own.example ssh-rsa BBBB');
  });

  test('are only the given ones for a user without a home', async () => {
    const ssh = await openSsh(identity, { ...options, home: undefined });
    const [name = ''] = readdirSync(options.temporaryFolder);
    const written = readFileSync(join(options.temporaryFolder, name, 'known_hosts'), 'utf8');
    expect(written).toMatch(/^h\.example ssh-rsa AAAA\n/);
    await ssh.close();
  });

  test('are not left where they cannot be written whole', async () => {
    mkdirSync(join(options.home, '.ssh', 'known_hosts'), { recursive: true });
    await expect(openSsh(identity, options)).rejects.toMatchObject({ code: 'ssh-unusable' });
    expect(readdirSync(options.temporaryFolder)).toEqual([]);
  });

  test('cannot be without their folder, or without ssh', async () => {
    const temporaryFolder = join(root, 'none');
    await expect(openSsh(identity, { ...options, temporaryFolder })).rejects.toMatchObject({
      code: 'ssh-unusable',
    });
    process.env['PATH'] = join(root, 'none');
    const failure = openSsh(identity, options);
    await expect(failure).rejects.toMatchObject({ code: 'ssh-unusable' });
    await expect(failure).rejects.toThrow(/ssh is not on PATH, and a private key needs it/);
    expect(readdirSync(options.temporaryFolder)).toEqual([]);
  });

  test('that were never closed are swept, and nothing else', async () => {
    await openSsh(identity, options);
    await openSsh(identity, options);
    for (const name of ['mirror-x', 'ssh-y']) mkdirSync(join(options.temporaryFolder, name));
    expect(await sweepSsh(options.temporaryFolder)).toBe(2);
    expect(readdirSync(options.temporaryFolder).sort()).toEqual(['mirror-x', 'ssh-y']);
    expect(await sweepSsh(options.temporaryFolder)).toBe(0);
    expect(await sweepSsh(join(root, 'none'))).toBe(0);
  });
});

describeOnPosix('git starts ssh', () => {
  /** What the program saw that stands for ssh. */
  async function startFrom(folder: string, changed: Partial<SshIdentity> = {}) {
    const bin = createRecorder(join(folder, 'bin'));
    process.env['PATH'] = [bin, path].join(delimiter);
    const own = optionsIn(folder);
    const ssh = await openSsh({ ...identity, ...changed }, own);
    const git = await openGit({
      environment: { ...process.env, HOME: own.home },
      workingDirectory: root,
      signal: new AbortController().signal,
      log: silentLog,
    });
    const url = 'me@h.example:owner/name.git';
    const access = { url, token: '', sshCommand: ssh.command };
    await git.run({ gitDirectory: join(root, 'none'), args: ['ls-remote', '--', url], access });
    const [name = ''] = readdirSync(own.temporaryFolder);
    await ssh.close();
    const read = (file: string) => readFileSync(join(bin, file), 'utf8').trimEnd();
    return {
      cwd: read('cwd'),
      privateFolder: join(realpathSync(own.temporaryFolder), name),
      arguments: read('arguments').split('\n'),
      environment: read('environment'),
    };
  }

  test.each([
    'plain',
    'with spaces',
    "it's",
    '"quoted"',
    'a\\Program Files\\$x\\',
    '%h %%d ~ $HOME ${HOME} `id` $(id)',
    '-oProxyCommand=x;*?[a]&|<>#!',
    'ümlaut',
  ])('in and from a folder called %j', async (name) => {
    const seen = await startFrom(join(root, name));
    expect(seen.cwd).toBe(seen.privateFolder);
    expect(seen.arguments.slice(0, 2)).toEqual(['-i', 'key']);
    expect(seen.arguments).toContain('UserKnownHostsFile=known_hosts');
    expect(seen.arguments.slice(-2)).toEqual(['me@h.example', "git-upload-pack 'owner/name.git'"]);
  });

  test('with the variables that git has, and without the key', async () => {
    const { environment, arguments: given } = await startFrom(root);
    expect(environment).toMatch(/^GIT_PROTOCOL=version=2$/m);
    expect(environment + given.join(' ')).not.toContain('canary');
    expect(given.slice(given.indexOf('-o', -6))).toContain('SendEnv=GIT_PROTOCOL');
  });

  test('not at all for a URL that is not of SSH', async () => {
    const ssh = await openSsh(identity, options);
    const { environment } = options;
    const { signal } = new AbortController();
    const git = await openGit({ environment, workingDirectory: root, signal, log: silentLog });
    for (const url of ['https://127.0.0.1:9/o/n', 'git://127.0.0.1:9/o/n', 'ext::sh -c x', root]) {
      const access = { url, token: '', sshCommand: ssh.command };
      const args = ['ls-remote', '--', url];
      const { stderr } = await git.run({ gitDirectory: join(root, 'none'), args, access });
      expect(stderr).toMatch(/transport '.*' not allowed/);
    }
    expect(existsSync(join(root, 'bin', 'arguments'))).toBe(false);
    await ssh.close();
  });
});
