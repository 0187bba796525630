/** Every named failure of git, provoked: real git, a real server, real damage. */
import {
  chmodSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { ErrorCode, GitFailureKind } from '../../src/lib/errors.ts';
import type { ChildResult } from '../../src/lib/process.ts';
import { GitFailure } from '../../src/git/failure.ts';
import { openGit, type Git } from '../../src/git/git.ts';
import { silentLog } from '../../src/lib/log.ts';
import { indexAgain, walkAll } from '../../src/mirror/objects.ts';
import { empty, flipBit, remove, truncate } from '../support/corruption.ts';
import { git as fixtureGit } from '../support/git.ts';
import { startGitServer, type GitServer } from '../support/git-server/server.ts';
import type { FaultBehaviour } from '../support/git-server/fault.ts';
import { canMount, mounts } from '../support/mounts.ts';
import { addCommits, createRepository, repositorySizes } from '../support/repository-fixture.ts';
import { temporaryDirectories } from '../support/temporary-directory.ts';

type Outcome = ErrorCode | 'success';

const directories = temporaryDirectories();
const mounted = mounts();
const onPosix = process.platform === 'win32' ? test.skip : test;
const withTmpfs = canMount('tmpfs') ? test : test.skip;

let root: string;
let home: string;
let upstream: string;
/** A mirror of what upstream was before its last commit. */
let mirror: string;
/** Upstream's last commit. */
let newHead: string;
let server: GitServer;
let url: string;
let git: Git;
let count = 0;

beforeAll(async () => {
  root = await directories.create('failures');
  home = join(root, 'home');
  mkdirSync(home);
  upstream = join(root, 'upstream.git');
  mirror = join(root, 'mirror.git');
  await createRepository(upstream, repositorySizes.small);
  await fixtureGit(root, ['clone', '--quiet', '--mirror', '--no-hardlinks', upstream, mirror]);
  newHead = (await addCommits(upstream, { fileBytes: 8_000 })).head;
  server = await startGitServer({ repositories: { 'owner/name': upstream } });
  url = server.repositoryUrl('owner/name');
  git = await gitWith(new AbortController().signal);
});

beforeEach(() => {
  server.clearFaults();
  server.resetCounters();
  server.token = undefined;
});

afterAll(async () => {
  await server.stop();
  mounted.removeAll();
  await directories.removeAll();
});

function gitWith(signal: AbortSignal): Promise<Git> {
  const environment = { ...process.env, HOME: home };
  return openGit({ environment, workingDirectory: root, signal, log: silentLog });
}

/** The same commands as in mirror/upstream.ts, without its retries. */
function probe(from = url, token = '', timeoutMs = 10_000): Promise<ChildResult> {
  return git.run({
    gitDirectory: join(root, 'none'),
    args: ['ls-remote', '--symref', '--', from],
    access: { url: from, token },
    timeoutMs,
  });
}

function fetch(into: string, options: { from?: string; timeoutMs?: number; with?: Git } = {}) {
  const { from = url, timeoutMs = 20_000, with: used = git } = options;
  return used.run({
    gitDirectory: into,
    args: ['fetch', '--no-tags', '--no-write-fetch-head', '--progress', '--stdin', '--', from],
    stdin: `${newHead}\n`,
    access: { url: from, token: '' },
    timeoutMs,
  });
}

async function emptyMirror(parent = root): Promise<string> {
  const directory = join(parent, `empty-${++count}.git`);
  await fixtureGit(parent, ['init', '--quiet', '--bare', '--template=', directory]);
  return directory;
}

function copyOfMirror(name = `copy-${++count}.git`): string {
  const directory = join(root, name);
  cpSync(mirror, directory, { recursive: true });
  return directory;
}

/** The pack, or its index, of a mirror that has one. */
function packOf(directory: string, extension = '.pack'): string {
  const packs = join(directory, 'objects', 'pack');
  const name = readdirSync(packs).find((each) => each.endsWith(extension));
  if (name === undefined) throw new Error(`${packs} has no ${extension}`);
  return join(packs, name);
}

function outcomeOf(result: ChildResult): Outcome {
  const isSuccess = result.ended === 'exited' && result.exitCode === 0;
  return isSuccess ? 'success' : new GitFailure(result, 'x').code;
}

/** With git's words, so that a failure of a test shows them. */
async function expectOutcome(running: Promise<ChildResult>, expected: Outcome): Promise<void> {
  const result = await running;
  const { ended, exitCode, stderr } = result;
  const said = stderr.trim().split('\n').slice(-5);
  expect({ outcome: outcomeOf(result), ended, exitCode, said }).toEqual({
    ...{ outcome: expected, ended, exitCode, said },
  });
}

test('without a fault, probe and fetch succeed', async () => {
  await expectOutcome(probe(), 'success');
  await expectOutcome(fetch(await emptyMirror()), 'success');
  await expectOutcome(fetch(copyOfMirror()), 'success');
});

describe('upstream answers', () => {
  const elsewhere = 'http://127.0.0.1:9/other/name';

  test.each<[FaultBehaviour, GitFailureKind, Outcome]>([
    [{ kind: 'status', status: 401 }, 'authentication', 'authentication'],
    [{ kind: 'status', status: 403 }, 'authentication', 'authentication'],
    [{ kind: 'status', status: 404 }, 'not-found', 'not-found'],
    [{ kind: 'status', status: 429, retryAfterSeconds: 1 }, 'network', 'network'],
    [{ kind: 'status', status: 500 }, 'network', 'network'],
    [{ kind: 'status', status: 502 }, 'network', 'network'],
    [{ kind: 'status', status: 503 }, 'network', 'network'],
    [{ kind: 'redirect', status: 301, to: elsewhere }, 'moved', 'moved'],
    [{ kind: 'redirect', status: 302, to: elsewhere }, 'moved', 'moved'],
    [{ kind: 'redirect', status: 307, to: elsewhere }, 'moved', 'moved'],
    [{ kind: 'html' }, 'network', 'network'],
    [{ kind: 'close' }, 'network', 'network'],
    [{ kind: 'cut', afterBytes: 10 }, 'network', 'network'],
    [{ kind: 'cut', afterBytes: 10, reset: true }, 'network', 'network'],
    [{ kind: 'shorten', afterBytes: 10 }, 'network', 'network'],
    [{ kind: 'garbage-stream', afterBytes: 0 }, 'network', 'network'],
    // What passes the probe for an empty repository; readAdvertisement refuses it.
    [{ kind: 'empty' }, 'network', 'success'],
    [{ kind: 'html', page: '<!DOCTYPE html>' }, 'network', 'success'],
  ])('%j: the fetch fails by %s, the probe by %s', async (behave, fetched, probed) => {
    server.fault({ on: 'fetch', behave });
    await expectOutcome(fetch(await emptyMirror()), fetched);
    server.clearFaults();
    server.fault({ on: 'probe', behave });
    await expectOutcome(probe(), probed);
  });

  test.each<FaultBehaviour>([
    { kind: 'cut', afterBytes: 3_000 },
    { kind: 'cut', afterBytes: 300_000, reset: true },
    { kind: 'shorten', afterBytes: 100_000 },
    { kind: 'garbage-stream', afterBytes: 50, bytes: 2_000 },
    { kind: 'garbage-stream', afterBytes: 100_000 },
    { kind: 'garbage-pack', afterBytes: 0 },
    { kind: 'garbage-pack', afterBytes: 20 },
    { kind: 'garbage-pack', afterBytes: 2_000 },
    { kind: 'garbage-pack', afterBytes: 100_000 },
  ])(
    '%j: a pack damaged on its way is a fault of the network, not of the mirror',
    async (behave) => {
      server.fault({ on: 'fetch', behave });
      await expectOutcome(fetch(await emptyMirror()), 'network');
      // Into a mirror that has something the answer is shorter: not every fault reaches it, and one
      // makes git 2.39 crash.
      expect(outcomeOf(await fetch(copyOfMirror()))).not.toBe('corrupt-mirror');
    },
  );

  test('a token that is missing or wrong: authentication', async () => {
    server.token = 'right';
    await expectOutcome(probe(url, ''), 'authentication');
    await expectOutcome(probe(url, 'wrong'), 'authentication');
    await expectOutcome(probe(url, 'right'), 'success');
    await expectOutcome(fetch(copyOfMirror()), 'authentication');
  });

  test('that it has no such repository: not-found', async () => {
    await expectOutcome(probe(server.repositoryUrl('owner/other')), 'not-found');
  });

  test('that it does not have the object any more: unknown, so the next try probes again', async () => {
    const running = git.run({
      gitDirectory: copyOfMirror(),
      args: ['fetch', '--no-tags', '--no-write-fetch-head', '--stdin', '--', url],
      stdin: `${'a'.repeat(40)}\n`,
      access: { url, token: '' },
    });
    await expectOutcome(running, 'unknown');
  });

  test('from a damaged repository: the mirror stays undamaged', async () => {
    const damaged = copyOfMirror('damaged-upstream.git');
    const tip = await fixtureGit(damaged, ['rev-parse', 'refs/heads/main']);
    for (let offset = 20_000; offset < 300_000; offset += 97) flipBit(packOf(damaged), offset, 3);
    server.repositories['owner/damaged'] = damaged;
    const from = server.repositoryUrl('owner/damaged');
    const running = git.run({
      gitDirectory: await emptyMirror(),
      args: ['fetch', '--no-tags', '--no-write-fetch-head', '--stdin', '--', from],
      stdin: `${tip}\n`,
      access: { url: from, token: '' },
    });
    await expectOutcome(running, 'network');
  });
});

describe('upstream cannot be reached', () => {
  test('connection refused: network', async () => {
    await expectOutcome(probe('http://127.0.0.1:9/owner/name'), 'network');
  });

  test('no such host: network', async () => {
    await expectOutcome(probe('http://nowhere.invalid/owner/name'), 'network');
  });

  test('TLS to a port without: network', async () => {
    await expectOutcome(probe(url.replace('http:', 'https:')), 'network');
  });

  test('a proxy that is not there: network', async () => {
    const environment = { ...process.env, HOME: home, http_proxy: 'http://127.0.0.1:9' };
    const { signal } = new AbortController();
    const proxied = await openGit({ environment, workingDirectory: root, signal, log: silentLog });
    const args = ['ls-remote', '--symref', '--', url];
    const access = { url, token: '' };
    await expectOutcome(proxied.run({ gitDirectory: join(root, 'none'), args, access }), 'network');
  });

  test.each(['ext::sh -c x', 'ssh://127.0.0.1/x', 'git://127.0.0.1/x', 'file:///x'])(
    'by %s: git refuses, at once',
    async (from) => {
      const result = await probe(from);
      expect(result.stderr).toMatch(/transport '.*' not allowed/);
      expect(outcomeOf(result)).toBe('unknown');
    },
  );

  // Names of repositories are in git's messages.
  test.each(['inflate', 'openssl', 'tls', 'certificate', 'is-corrupt', 'not-found'])(
    'of a repository called %s: network as well',
    async (name) => {
      await expectOutcome(probe(`http://127.0.0.1:9/${name}/${name}`), 'network');
    },
  );
});

describe('git is ended', () => {
  test.each<['probe' | 'fetch', FaultBehaviour]>([
    ['probe', { kind: 'delay', forMs: 60_000 }],
    ['probe', { kind: 'stall', afterBytes: 10 }],
    ['fetch', { kind: 'delay', forMs: 60_000 }],
    ['fetch', { kind: 'stall', afterBytes: 200_000 }],
    ['fetch', { kind: 'slow', bytesPerSecond: 2_000 }],
  ])('at its deadline, by a %s: %j', async (on, behave) => {
    server.fault({ on, behave });
    const timeoutMs = 700;
    const running =
      on === 'probe' ? probe(url, '', timeoutMs) : fetch(await emptyMirror(), { timeoutMs });
    const result = await running;
    expect(outcomeOf(result)).toBe('timeout');
    expect(result.durationMs).toBeGreaterThan(600);
    expect(result.durationMs).toBeLessThan(20_000);
  });

  test('by a cancel, and the next fetch into the same mirror succeeds', async () => {
    const into = copyOfMirror();
    const slow = server.fault({ on: 'fetch', behave: { kind: 'stall', afterBytes: 1_000 } });
    const cancellation = new AbortController();
    const running = fetch(into, { with: await gitWith(cancellation.signal) });
    await server.waitForRequest(({ kind }) => kind === 'fetch');
    await sleep(100);
    cancellation.abort();
    await expectOutcome(running, 'cancelled');
    slow.remove();
    await expectOutcome(fetch(into), 'success');
    await walkAll(git, into);
  });

  test('before it began: cancelled, and upstream is not asked', async () => {
    const used = git.withSignal(AbortSignal.abort());
    await expectOutcome(fetch(copyOfMirror(), { with: used }), 'cancelled');
    expect(server.requests).toEqual([]);
  });
});

describe('the mirror is damaged: corrupt-mirror', () => {
  const walk = (directory: string) =>
    git.run({ gitDirectory: directory, args: ['rev-list', '--objects', '--quiet', '--all'] });
  const readAll = (directory: string) =>
    git.run({
      gitDirectory: directory,
      args: ['cat-file', '--batch-all-objects', '--batch', '--buffer'],
      onOutput: () => {},
    });

  test.each<[string, (directory: string) => void]>([
    [
      'half a pack',
      (m) => {
        truncate(packOf(m), 40_000);
      },
    ],
    [
      'a pack without its tail',
      (m) => {
        truncate(packOf(m), -10);
      },
    ],
    [
      'an empty pack',
      (m) => {
        empty(packOf(m));
      },
    ],
    [
      'no pack',
      (m) => {
        remove(packOf(m));
      },
    ],
    [
      'a pack with another checksum',
      (m) => {
        flipBit(packOf(m), -3);
      },
    ],
    [
      'a pack that is none',
      (m) => {
        flipBit(packOf(m), 1);
      },
    ],
    [
      'neither pack nor index',
      (m) => {
        remove(packOf(m));
        remove(packOf(m, '.idx'));
      },
    ],
    [
      'a ref to a missing object',
      (m) => {
        writeFileSync(join(m, 'packed-refs'), `${'a'.repeat(40)} refs/heads/main\n`);
      },
    ],
    [
      'no HEAD',
      (m) => {
        rmSync(join(m, 'HEAD'));
      },
    ],
    [
      'a HEAD that is none',
      (m) => {
        writeFileSync(join(m, 'HEAD'), 'x\n');
      },
    ],
    [
      'no objects',
      (m) => {
        rmSync(join(m, 'objects'), { recursive: true });
      },
    ],
    [
      'packed-refs that are none',
      (m) => {
        writeFileSync(join(m, 'packed-refs'), 'x\n');
      },
    ],
  ])('%s: by a walk, and by a fetch', async (_, damage) => {
    const directory = copyOfMirror();
    damage(directory);
    await expectOutcome(walk(directory), 'corrupt-mirror');
    await expectOutcome(fetch(directory), 'corrupt-mirror');
  });

  test.each<[string, (index: string) => void]>([
    [
      'half of it',
      (index) => {
        truncate(index, 2_000);
      },
    ],
    [
      'nothing',
      (index) => {
        empty(index);
      },
    ],
    [
      'no file',
      (index) => {
        remove(index);
      },
    ],
    [
      'another header',
      (index) => {
        flipBit(index, 1);
      },
    ],
    [
      'another table',
      (index) => {
        flipBit(index, 500, 6);
      },
    ],
    [
      'other ids',
      (index) => {
        for (let at = 1_050; at < 3_000; at += 20) flipBit(index, at);
      },
    ],
  ])('an index that has %s: by a walk', async (_, damage) => {
    const directory = copyOfMirror();
    damage(packOf(directory, '.idx'));
    await expectOutcome(walk(directory), 'corrupt-mirror');
  });

  test('a bit of an object: by the command that reads it', async () => {
    const directory = copyOfMirror();
    flipBit(packOf(directory), 200_000, 3);
    await expectOutcome(readAll(directory), 'corrupt-mirror');
  });

  test('an object that is missing in a pack which is sound', async () => {
    const directory = await emptyMirror();
    const objects = await fixtureGit(mirror, ['rev-list', '--objects', 'refs/heads/main']);
    const lines = objects.split('\n');
    const missing = lines.find((line) => line.includes('/file-'))!;
    const kept = lines.filter((line) => line !== missing).map((line) => line.split(' ')[0]);
    const input = `${kept.join('\n')}\n`;
    const base = join(directory, 'objects', 'pack', 'pack');
    await fixtureGit(mirror, ['pack-objects', '--quiet', base], { input });
    const tip = await fixtureGit(mirror, ['rev-parse', 'refs/heads/main']);
    await fixtureGit(directory, ['update-ref', 'refs/heads/main', tip]);
    await expectOutcome(walk(directory), 'corrupt-mirror');
  });

  test('the base of a delta that upstream sends', async () => {
    const grown = join(root, 'grown.git');
    const texts = { commits: 1, files: 1, fileBytes: 20_000, content: 'text' } as const;
    await createRepository(grown, texts);
    const old = join(root, 'old.git');
    await fixtureGit(root, ['clone', '--quiet', '--mirror', '--no-hardlinks', grown, old]);
    const { head } = await addCommits(grown, { ...texts, seed: 1 });
    // The only blob: everything between the pack's header and its trailer but commit and tree.
    const blob = await fixtureGit(old, ['rev-parse', 'HEAD:folder-0/file-0']);
    const listing = await fixtureGit(old, ['verify-pack', '--verbose', packOf(old)]);
    const [, , , , offset] = listing
      .split('\n')
      .find((line) => line.startsWith(blob))!
      .split(/ +/);
    for (let at = Number(offset) + 10; at < Number(offset) + 400; at += 3) flipBit(packOf(old), at);
    server.repositories['owner/grown'] = grown;
    const from = server.repositoryUrl('owner/grown');
    const running = git.run({
      gitDirectory: old,
      args: ['fetch', '--no-tags', '--no-write-fetch-head', '--stdin', '--', from],
      stdin: `${head}\n`,
      access: { url: from, token: '' },
    });
    await expectOutcome(running, 'corrupt-mirror');
  });

  test('a lock that a dead process left', async () => {
    const directory = copyOfMirror();
    writeFileSync(join(directory, 'packed-refs.lock'), '');
    const running = git.run({ gitDirectory: directory, args: ['pack-refs', '--all'] });
    await expectOutcome(running, 'corrupt-mirror');
  });

  test('a mirror that is not there, inside of another repository, which is left alone', async () => {
    const outer = join(root, 'outer');
    await fixtureGit(root, ['init', '--quiet', '--template=', outer]);
    const inner = join(outer, 'mirror.git');
    mkdirSync(inner);
    await expectOutcome(fetch(inner), 'corrupt-mirror');
    expect(await fixtureGit(outer, ['for-each-ref'])).toBe('');
    expect(readdirSync(join(outer, '.git', 'objects', 'pack'))).toEqual([]);
  });

  test('in a folder whose name is a word of other failures', async () => {
    const directory = copyOfMirror('openssl tls certificate inflate.git');
    writeFileSync(join(directory, 'packed-refs'), 'x\n');
    await expectOutcome(walk(directory), 'corrupt-mirror');
    writeFileSync(join(directory, 'config'), '[core\n');
    await expectOutcome(walk(directory), 'unknown');
  });
});

describe('commands that only read objects', () => {
  test.each<[string, (pack: string) => void]>([
    ['an empty pack', empty],
    [
      'half a pack',
      (pack) => {
        truncate(pack, 40_000);
      },
    ],
    [
      'a pack that is none',
      (pack) => {
        flipBit(pack, 1);
      },
    ],
    [
      'a damaged object',
      (pack) => {
        flipBit(pack, 200_000, 3);
      },
    ],
    [
      'another checksum',
      (pack) => {
        flipBit(pack, -3);
      },
    ],
  ])('say corrupt-mirror of %s, whatever git calls it', async (_, damage) => {
    const directory = copyOfMirror();
    const pack = packOf(directory);
    damage(pack);
    await expect(indexAgain(git, directory, pack)).rejects.toMatchObject({
      code: 'corrupt-mirror',
    });
  });

  test('say nothing of a sound one', async () => {
    const directory = copyOfMirror();
    await indexAgain(git, directory, packOf(directory));
    await walkAll(git, directory);
  });

  onPosix('do not blame the mirror where the machine ends git or has no memory', async () => {
    const bin = await directories.create('bin');
    const real = await fixtureGit(root, ['--exec-path']);
    const path = process.env['PATH'];
    try {
      for (const end of [
        'kill -KILL $$',
        'kill -TERM $$',
        'kill -INT $$',
        'echo "fatal: Out of memory, malloc failed" >&2; exit 128',
      ]) {
        const script = `#!/bin/sh\ncase "$*" in *rev-list*) ${end};; esac\nexec "${real}/git" "$@"\n`;
        writeFileSync(join(bin, 'git'), script);
        chmodSync(join(bin, 'git'), 0o755);
        process.env['PATH'] = `${bin}:${path ?? ''}`;
        const weak = await gitWith(new AbortController().signal);
        await expect(walkAll(weak, copyOfMirror())).rejects.toMatchObject({ code: 'unknown' });
      }
    } finally {
      process.env['PATH'] = path;
    }
  });

  test('keep a cancel apart', async () => {
    const used = git.withSignal(AbortSignal.abort());
    await expect(walkAll(used, mirror)).rejects.toMatchObject({ code: 'cancelled' });
  });
});

describe('the disk is full: no-space', () => {
  withTmpfs('while a clone is fetched', async () => {
    const into = await emptyMirror(mounted.memory(300_000));
    await expectOutcome(fetch(into), 'no-space');
    expect(readdirSync(join(into, 'objects', 'pack')).filter((n) => n.endsWith('.idx'))).toEqual(
      [],
    );
  });

  withTmpfs('while an index is written', async () => {
    const { size } = statSync(packOf(mirror));
    const disk = mounted.memory((Math.ceil(size / 4_096) + 1) * 4_096);
    copyFileSync(packOf(mirror), join(disk, 'x.pack'));
    const args = ['index-pack', '-o', join(disk, 'x.idx'), join(disk, 'x.pack')];
    await expectOutcome(git.run({ gitDirectory: mirror, args }), 'no-space');
  });
});

/** What git has written to stderr: here, in other versions, and with other servers and libraries. */
const RECORDED: Record<GitFailureKind, readonly string[]> = {
  authentication: [
    "fatal: could not read Username for 'https://github.com': terminal prompts disabled",
    "fatal: could not read Username for 'https://github.com': No such device or address",
    "fatal: could not read Password for 'https://x@github.com': terminal prompts disabled",
    "fatal: Authentication failed for 'https://github.com/o/n/'",
    "remote: Invalid username or password.\nfatal: Authentication failed for 'https://h/o/n/'",
    "remote: Invalid username or token. Password authentication is not supported for Git operations.\nfatal: Authentication failed for 'https://github.com/o/n/'",
    "remote: HTTP Basic: Access denied. If a password was provided for Git authentication, the password was incorrect.\nfatal: Authentication failed for 'https://gitlab.com/o/n.git/'",
    "remote: Write access to repository not granted.\nfatal: unable to access 'https://github.com/o/n/': The requested URL returned error: 403",
    "remote: The 'o' organization has enabled or enforced SAML SSO.\nfatal: unable to access 'https://github.com/o/n/': The requested URL returned error: 403",
    "error: RPC failed; HTTP 403 curl 22 The requested URL returned error: 403\nfatal: error reading section header 'packfile'",
    "error: RPC failed; HTTP 401 curl 22 The requested URL returned error: 401\nfatal: expected 'packfile'",
    'git@github.com: Permission denied (publickey).\nfatal: Could not read from remote repository.',
    'git@gitlab.com: Permission denied (publickey,keyboard-interactive).\nfatal: Could not read from remote repository.',
    'Load key "key": error in libcrypto\ngit@github.com: Permission denied (publickey).\nfatal: Could not read from remote repository.',
    'Load key "key": invalid format\ngit@github.com: Permission denied (publickey).\nfatal: Could not read from remote repository.',
    'Received disconnect from 192.0.2.1 port 22:2: Too many authentication failures\nDisconnected from 192.0.2.1 port 22\nfatal: Could not read from remote repository.',
    'Host key verification failed.\nfatal: Could not read from remote repository.',
    'No ED25519 host key is known for h and you have requested strict checking.\nHost key verification failed.\nfatal: Could not read from remote repository.',
    "ERROR: The `o' organization has enabled or enforced SAML SSO. To access this repository, you must use the HTTPS remote with a personal access token or SSH with an SSH key and passphrase that has been authorized for this organization.\nfatal: Could not read from remote repository.",
  ],
  'depth-refused': [
    'fatal: dumb http transport does not support shallow capabilities',
    'fatal: Server does not support shallow clients',
    'fatal: Server does not support shallow requests',
    'fatal: Server does not support --depth',
  ],
  'not-found': [
    "fatal: repository 'https://github.com/o/n/' not found",
    "remote: Repository not found.\nfatal: repository 'https://github.com/o/n/' not found",
    "remote: Not found.\nfatal: repository 'https://gitea.example/o/n/' not found",
    "remote: The project you were looking for could not be found or you don't have permission to view it.\nfatal: repository 'https://gitlab.com/o/n.git/' not found",
    "fatal: unable to access 'https://h/o/n/': The requested URL returned error: 410",
    'ERROR: Repository not found.\nfatal: Could not read from remote repository.',
    "remote: \nremote: ERROR: The project you were looking for could not be found or you don't have permission to view it.\nremote: \nfatal: Could not read from remote repository.",
    'Gitea: Cannot find repository: o/n\nfatal: Could not read from remote repository.',
    "fatal: '/srv/o/n' does not appear to be a git repository\nfatal: Could not read from remote repository.",
  ],
  moved: [
    "fatal: unable to access 'https://github.com/o/n/': The requested URL returned error: 301",
    "fatal: unable to access 'https://github.com/o/n/': The requested URL returned error: 308",
    "error: RPC failed; HTTP 302 curl 22 The requested URL returned error: 302\nfatal: expected 'packfile'",
    'fatal: unable to update url base from redirection:\n  asked for: https://h/o/n/info/refs?service=git-upload-pack\n   redirect: https://h/login',
  ],
  network: [
    "fatal: unable to access 'https://github.com/o/n/': Could not resolve host: github.com",
    "fatal: unable to access 'https://github.com/o/n/': Could not resolve proxy: proxy.example",
    "fatal: unable to access 'https://github.com/o/n/': Failed to connect to github.com port 443 after 129 ms: Couldn't connect to server",
    "fatal: unable to access 'https://github.com/o/n/': Failed to connect to github.com port 443: Connection timed out",
    "fatal: unable to access 'https://github.com/o/n/': GnuTLS recv error (-110): The TLS connection was non-properly terminated.",
    "fatal: unable to access 'https://github.com/o/n/': gnutls_handshake() failed: Error in the pull function.",
    "fatal: unable to access 'https://github.com/o/n/': OpenSSL SSL_connect: Connection reset by peer in connection to github.com:443",
    "fatal: unable to access 'https://github.com/o/n/': LibreSSL SSL_read: SSL_ERROR_SYSCALL, errno 60",
    "fatal: unable to access 'https://github.com/o/n/': SSL certificate problem: unable to get local issuer certificate",
    "fatal: unable to access 'https://github.com/o/n/': server certificate verification failed. CAfile: none CRLfile: none",
    "fatal: unable to access 'https://github.com/o/n/': SSL: no alternative certificate subject name matches target host name 'github.com'",
    "fatal: unable to access 'https://github.com/o/n/': schannel: next InitializeSecurityContext failed: CRYPT_E_NO_REVOCATION_CHECK (0x80092012)",
    "fatal: unable to access 'https://github.com/o/n/': TLS connect error: error:00000000:lib(0)::reason(0)",
    "fatal: unable to access 'https://github.com/o/n/': Received HTTP code 407 from proxy after CONNECT",
    "fatal: unable to access 'https://github.com/o/n/': CONNECT tunnel failed, response 407",
    "fatal: unable to access 'https://github.com/o/n/': HTTP/2 stream 1 was not closed cleanly before end of the underlying stream",
    "fatal: unable to access 'https://github.com/o/n/': Operation too slow. Less than 1000 bytes/sec transferred the last 30 seconds",
    "fatal: unable to access 'https://github.com/o/n/': Recv failure: Operation timed out",
    "fatal: unable to access 'https://github.com/o/n/': Empty reply from server",
    "fatal: unable to access 'https://github.com/o/n/': The requested URL returned error: 408",
    "fatal: unable to access 'https://github.com/o/n/': The requested URL returned error: 429",
    "fatal: unable to access 'https://github.com/o/n/': The requested URL returned error: 504",
    'error: RPC failed; curl 92 HTTP/2 stream 5 was not closed cleanly: CANCEL (err 8)\nerror: 5463 bytes of body are still expected\nfetch-pack: unexpected disconnect while reading sideband packet\nfatal: early EOF\nfatal: fetch-pack: invalid index-pack output',
    'error: RPC failed; curl 56 GnuTLS recv error (-9): Error decoding the received TLS packet.\nerror: 3811 bytes of body are still expected\nfetch-pack: unexpected disconnect while reading sideband packet\nfatal: early EOF\nfatal: fetch-pack: invalid index-pack output',
    "error: RPC failed; curl 18 transfer closed with outstanding read data remaining\nfatal: expected 'packfile', received 'packfi000'",
    'fatal: the remote end hung up unexpectedly\nfatal: early EOF\nfatal: index-pack failed',
    'fatal: protocol error: bad line length character: <!DO',
    'fatal: https://h/o/n/info/refs not valid: is this a git repository?',
    'fatal: https://h/o/n/info/refs not valid: could not determine hash algorithm; is this a git repository?',
    'fatal: expected flush after ref listing',
    'error: inflate: data stream error (incorrect data check)\nfatal: pack has bad object at offset 12: inflate returned -3\nfatal: fetch-pack: invalid index-pack output',
    'fatal: pack is corrupted (SHA1 mismatch)\nfatal: fetch-pack: invalid index-pack output',
    'ssh: Could not resolve hostname nowhere.invalid: Name or service not known\nfatal: Could not read from remote repository.',
    'ssh: connect to host h port 22: Connection refused\nfatal: Could not read from remote repository.',
    'ssh: connect to host h port 22: Connection timed out\nfatal: Could not read from remote repository.',
    'ssh: connect to host h port 22: Operation timed out\nfatal: Could not read from remote repository.',
    'ssh: connect to host h port 22: No route to host\nfatal: Could not read from remote repository.',
    'ssh: connect to host h port 22: Network is unreachable\nfatal: Could not read from remote repository.',
    'Connection timed out during banner exchange\nConnection to 192.0.2.1 port 22 timed out\nfatal: Could not read from remote repository.',
    'kex_exchange_identification: Connection closed by remote host\nConnection closed by 192.0.2.1 port 22\nfatal: Could not read from remote repository.',
    'kex_exchange_identification: read: Connection reset by peer\nfatal: Could not read from remote repository.',
    'Connection closed by 192.0.2.1 port 22\nfatal: Could not read from remote repository.',
    'Timeout, server github.com not responding.\nfetch-pack: unexpected disconnect while reading sideband packet\nfatal: early EOF\nfatal: fetch-pack: invalid index-pack output',
    'Connection to github.com closed by remote host.\nfatal: the remote end hung up unexpectedly',
    'client_loop: send disconnect: Broken pipe\nfatal: Could not read from remote repository.',
    'Corrupted MAC on input.\nssh_dispatch_run_fatal: Connection to 192.0.2.1 port 22: message authentication code incorrect\nfatal: early EOF',
    // Damage and a full disk over there are not ours; over SSH it has no mark but its folder.
    'error: inflate: data stream error (incorrect header check)\nfatal: packed object 0123456789012345678901234567890123456789 (stored in ./objects/pack/pack-x.pack) is corrupt\nfatal: the remote end hung up unexpectedly',
    'error: packfile ./objects/pack/pack-x.pack does not match index\nfatal: remote error: upload-pack: not our ref 0123456789012345678901234567890123456789',
    'remote: fatal: bad object 0123456789012345678901234567890123456789\nremote: aborting due to possible repository corruption on the remote side.\nfatal: protocol error: bad pack header',
    'remote: error: inflate: data stream error (incorrect header check)\nremote: fatal: packed object 0123456789012345678901234567890123456789 is corrupt\nfatal: early EOF\nfatal: fetch-pack: invalid index-pack output',
    'remote: fatal: write error: No space left on device\nfatal: early EOF\nfatal: fetch-pack: invalid index-pack output',
  ],
  'corrupt-mirror': [
    `fatal: could not get type of object ${'a'.repeat(40)} in pack /m/objects/pack/pack-${'b'.repeat(40)}.pack`,
    `fatal: unable to get size of ${'a'.repeat(40)}`,
    'fatal: bad object refs/heads/main',
    'fatal: bad object HEAD',
    "fatal: missing blob object '0123456789012345678901234567890123456789'",
    'error: Could not read 0123456789012345678901234567890123456789\nfatal: Failed to traverse parents of commit 0123456789012345678901234567890123456789',
    'fatal: unable to read tree 0123456789012345678901234567890123456789',
    'fatal: unable to read tree (0123456789012345678901234567890123456789)',
    'error: object file objects/01/23 is empty\nfatal: loose object 0123456789012345678901234567890123456789 (stored in objects/01/23) is corrupt',
    'error: inflate: data stream error (incorrect header check)\nerror: unable to unpack 0123456789012345678901234567890123456789 header',
    'fatal: packed object 0123456789012345678901234567890123456789 (stored in /m/objects/pack/pack-x.pack) is corrupt',
    'error: packfile /m/objects/pack/pack-x.pack does not match index\nfatal: bad object refs/heads/main',
    'error: packfile /m/objects/pack/pack-x.pack cannot be accessed',
    'error: file /m/objects/pack/pack-x.pack is far too short to be a packfile\nfatal: bad object HEAD',
    'error: index file /m/objects/pack/pack-x.idx is too small\nfatal: bad object HEAD',
    'error: wrong index v2 file size in /m/objects/pack/pack-x.idx\nfatal: bad object HEAD',
    'fatal: bad object refs/heads/main\nerror: https://github.com/o/n did not send all necessary objects',
    'fatal: pack has 3 unresolved deltas\nfatal: fetch-pack: invalid index-pack output',
    "fatal: Unable to create '/m/packed-refs.lock': File exists.\n\nAnother git process seems to be running in this repository",
    "fatal: not a git repository: '/m'",
    'error: hash mismatch 0123456789012345678901234567890123456789',
    'fatal: unexpected line in /m/packed-refs: x',
  ],
  'no-space': [
    'fatal: write error: No space left on device\nfatal: fetch-pack: invalid index-pack output',
    "fatal: sha1 file '/m/objects/pack/tmp_idx_x' write error: No space left on device",
    "fatal: sha1 file '/m/objects/pack/tmp_idx_x' write error. Out of diskspace",
    'error: unable to write file /m/objects/pack/pack-x.idx: Disk quota exceeded',
    "fatal: Unable to create '/m/packed-refs.lock': No space left on device",
    'error: file write error: There is not enough space on the disk',
    'error: RPC failed; curl 23 Failure writing output to destination\nfatal: write error: No space left on device\nfatal: early EOF',
  ],
  unknown: [
    '',
    'fatal: remote error: upload-pack: not our ref 0123456789012345678901234567890123456789',
    'error: Server does not allow request for unadvertised object 0123456789012345678901234567890123456789',
    "fatal: transport 'ext' not allowed",
    'fatal: Out of memory, malloc failed (tried to allocate 8589934592 bytes)',
    "fatal: detected dubious ownership in repository at '/m'",
    'fatal: bad config line 1 in file /root/.gitconfig',
    'error: unknown option `stdin`',
    'fatal: mismatched algorithms: client sha1; server sha256',
    'Unable to negotiate with 192.0.2.1 port 22: no matching host key type found. Their offer: ssh-dss\nfatal: Could not read from remote repository.',
    'FATAL: R any o/n u DENIED by fallthru\nfatal: Could not read from remote repository.',
  ],
  'ssh-unusable': ['No user exists for uid 12345\nfatal: Could not read from remote repository.'],
  timeout: [],
  cancelled: [],
  'empty-upstream': [],
};

function resultOf(stderr: string, changed: Partial<ChildResult> = {}): ChildResult {
  const stdout = Buffer.alloc(0);
  return { ended: 'exited', exitCode: 128, stdout, stderr, durationMs: 61_000, ...changed };
}

describe('words of git', () => {
  const rows = Object.entries(RECORDED).flatMap(([kind, texts]) =>
    texts.map((said): [GitFailureKind, string] => [kind as GitFailureKind, said]),
  );

  test.each(rows)('%s: %j', (kind, said) => {
    expect(new GitFailure(resultOf(said), 'x').code).toBe(kind);
    // Windows ends lines otherwise, and progress comes before and between.
    expect(new GitFailure(resultOf(said.replaceAll('\n', '\r\n')), 'x').code).toBe(kind);
    const progress = 'remote: Counting objects: 100% (3/3), done.\nReceiving objects:  17%\r';
    expect(new GitFailure(resultOf(`${progress}${said}\n`), 'x').code).toBe(kind);
  });

  test.each(rows)('of a command that we ended are no %s: %j', (_, said) => {
    expect(new GitFailure(resultOf(said, { ended: 'timeout', exitCode: 143 }), 'x').code).toBe(
      'timeout',
    );
    expect(new GitFailure(resultOf(said, { ended: 'cancelled', exitCode: 143 }), 'x').code).toBe(
      'cancelled',
    );
  });
});

describe('the message of a failure', () => {
  const what = 'fetching from https://github.com/o/n';
  const messageOf = (...result: Parameters<typeof resultOf>) =>
    new GitFailure(resultOf(...result), what).message;

  test('says what was done, what it means, and what git said', () => {
    const said =
      "remote: Repository not found.\nfatal: repository 'https://github.com/o/n/' not found\n";
    const { code, message } = new GitFailure(resultOf(said), what);
    expect(code).toBe('not-found');
    expect(message).toContain(`${what}: upstream has no such repository`);
    expect(new GitFailure(resultOf(said), what).concern).toBe('repository');
    expect(message).toContain("git says: fatal: repository 'https://github.com/o/n/' not found");
  });

  test('tells how long was waited where a deadline has passed', () => {
    const message = messageOf('Receiving objects: 3%\r', { ended: 'timeout' });
    expect(message).toBe(`${what}: it did not end within 61 s`);
  });

  test('shows the lines that are marked as errors, else the last ones', () => {
    expect(messageOf('warning: x\nfatal: a\nhint: b\nerror: c\n')).toContain('fatal: a | error: c');
    expect(messageOf('one\ntwo\nthree\nfour\n')).toContain('git says: two | three | four');
    expect(messageOf('', { exitCode: 137 })).toBe(`${what}: git ended with exit 137`);
    expect(messageOf('', { ended: 'overflow' })).toContain('it sent too much');
  });

  describe('over SSH', () => {
    const ending =
      'fatal: Could not read from remote repository.\n\nPlease make sure you have the correct access rights\nand the repository exists.\n';

    test.each([
      ['Load key "key": error in libcrypto\r\ng@h: Permission denied (publickey).\r\n', 'ssh-key'],
      ['g@h: Permission denied (publickey).\r\n', 'ssh-user'],
      ['Host key verification failed.\r\n', 'known-hosts'],
      ['ERROR: Repository not found.\n', 'repository'],
      ['No user exists for uid 12345\r\n', undefined],
      ['FATAL: R any o/n u DENIED by fallthru\n', undefined],
    ])('carries the setting to check, and the lines that tell most: %j', (said, concern) => {
      const message = messageOf(said + ending);
      expect(new GitFailure(resultOf(said + ending), what).concern).toBe(concern);
      expect(message).toContain(`git says: ${said.trim().replaceAll('\r\n', ' | ')}`);
      expect(message).not.toMatch(/correct access rights|could not read from/i);
    });

    test('does not blame the key for one that a user has configured', () => {
      const others =
        'Load key "/root/.ssh/id_rsa": bad permissions\r\ng@h: Permission denied (publickey).';
      expect(messageOf(`${others}\r\n${ending}`)).toContain('refused the key');
    });

    test('shows the last words where there are no others', () => {
      expect(messageOf(ending)).toContain(
        'git says: fatal: Could not read from remote repository.',
      );
    });
  });

  test('is one line of bounded length, whatever a server sends', () => {
    for (const stderr of [
      `fatal: ${'x'.repeat(60_000)}`,
      'error: y\r\n'.repeat(5_000),
      `remote: fatal: ::error::z\r\nremote: \u001b[31mred\n`,
    ]) {
      const message = messageOf(stderr);
      expect(message.length).toBeLessThan(1_000);
      expect(message).not.toMatch(/[\r\n]/);
    }
  });
});
