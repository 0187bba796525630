/**
 * The machine's lock among real processes, some of them killed or stopped. A soak runs more rounds:
 * MIRROR_LOCK_ROUNDS=500; MIRROR_LOCK_SEED repeats the order of a storm.
 */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { Hold, Lock } from '../../src/locks/lock.ts';
import { createMachineLock } from '../../src/locks/machine.ts';
import { isNetworkShare } from '../../src/locks/network-disks.ts';
import { Holder, type HolderOptions } from '../support/locks/holder.ts';
import { acquire, describeLockContract, take } from './lock-contract.ts';

const ROUNDS = Number(process.env['MIRROR_LOCK_ROUNDS'] ?? 6);
const SEED = Number(process.env['MIRROR_LOCK_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
/** What the rounds of a soak may take in all; a round takes about half a second. */
const ROUNDS_TIMEOUT_MS = 60_000 + ROUNDS * 2_000;
const NOBODY = 65_534;

const isRoot = process.getuid?.() === 0;
const asRoot = isRoot ? test : test.skip;
const hasPidNamespaces =
  spawnSync('unshare', ['--pid', '--fork', '--kill-child', 'true']).status === 0;
const withPidNamespaces = hasPidNamespaces ? test : test.skip;

let root: string;
let file: string;
const holders: Holder[] = [];

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'mirror-lock-'));
  // Another user must reach the lock; what a test writes besides lies outside its folder.
  chmodSync(root, 0o777);
  file = join(root, 'locks', 'mirror.lock');
});

afterEach(async () => {
  const started = holders.splice(0);
  await Promise.all(started.map((holder) => holder.kill()));
  const left = existsSync(dirname(file)) ? readdirSync(dirname(file)) : [];
  const bytes = existsSync(file) ? lstatSync(file).size : 0;
  rmSync(root, { recursive: true });
  // There is nothing next to a lock file, whatever happened to its holders, and it stays empty.
  expect(left.filter((name) => name !== 'mirror.lock')).toEqual([]);
  expect(bytes).toBe(0);
  expect(started.map((holder) => holder.complaints).join('')).toBe('');
});

describeLockContract('the lock on this machine', () => {
  const holds: Hold[] = [];
  const tracked = (path: string): Lock => ({
    async acquire(options) {
      const acquisition = await createMachineLock(path).acquire(options);
      if (acquisition.outcome === 'acquired') holds.push(acquisition.hold);
      return acquisition;
    },
  });
  return Promise.resolve({
    open: () => tracked(file),
    openOther: () => tracked(join(root, 'other.lock')),
    close: async () => {
      for (const hold of holds) await hold.release();
    },
  });
});

describe('holders that die, stop or wait', () => {
  test('a holder that was killed holds no longer', async () => {
    const holder = await startHolder();
    await holder.take();
    const next = createMachineLock(file);
    expect(await acquire(next, { timeoutMs: 0 })).toMatchObject({ outcome: 'timed-out' });
    await holder.kill();
    const hold = await take(next, { timeoutMs: 0 });
    await hold.release();
  });

  test('a job that waits for a holder that is killed gets the lock', async () => {
    const holder = await startHolder();
    await holder.take();
    const next = await startHolder();
    next.send('acquire 30000');
    await next.expect('waiting');
    await holder.kill();
    await next.expect('acquired');
  });

  test('a holder that is stopped still holds', async () => {
    const holder = await startHolder();
    await holder.take();
    holder.signal('SIGSTOP');
    const next = createMachineLock(file);
    expect(await acquire(next, { timeoutMs: 700 })).toMatchObject({ outcome: 'timed-out' });
    holder.signal('SIGCONT');
    holder.send('release');
    await holder.expect('released');
    await (await take(next, { timeoutMs: 0 })).release();
  });

  test('a process that is cancelled while it waits holds nothing', async () => {
    const holder = await startHolder();
    await holder.take();
    const waiting = await startHolder();
    waiting.send('acquire 30000');
    await waiting.expect('waiting');
    waiting.send('cancel');
    await waiting.expect('cancelled');
    holder.send('release');
    await holder.expect('released');
    await (await take(createMachineLock(file), { timeoutMs: 0 })).release();
  });

  test('a holder that refers to its hold no more holds until it ends', async () => {
    const holder = await startHolder({ nodeOptions: ['--expose-gc'] });
    await holder.take();
    holder.send('forget');
    await holder.expect('forgotten');
    expect(await acquire(createMachineLock(file), { timeoutMs: 0 })).toMatchObject({
      outcome: 'timed-out',
    });
  });

  test('the file says nothing of its holder, so no pid can be mistaken for one', async () => {
    const holder = await startHolder();
    await holder.take();
    expect(readFileSync(file)).toHaveLength(0);
    expect(readdirSync(dirname(file))).toEqual(['mirror.lock']);
    await holder.kill();
    expect(readFileSync(file)).toHaveLength(0);
    expect(readdirSync(dirname(file))).toEqual(['mirror.lock']);
  });

  const where = hasPidNamespaces ? '' : ' (skipped: no right to make them)';
  withPidNamespaces(`two containers that share the folder exclude each other${where}`, async () => {
    const container = ['unshare', '--pid', '--fork', '--kill-child'];
    const holder = await startHolder({ prefix: container });
    const other = await startHolder({ prefix: container });
    await holder.take();
    expect(await other.acquire(0)).toMatchObject({ event: 'timed-out' });
    other.send('acquire 30000');
    await other.expect('waiting');
    await holder.kill();
    await other.expect('acquired');
  });
});

describe('contenders among each other', () => {
  test('attempts of the process that holds do not drop its lock', async () => {
    const hold = await take(createMachineLock(file));
    for (let attempt = 0; attempt < 20; attempt++) {
      expect(await acquire(createMachineLock(file), { timeoutMs: 0 })).toMatchObject({
        outcome: 'timed-out',
      });
    }
    const other = await startHolder();
    expect(await other.acquire(0)).toMatchObject({ event: 'timed-out' });
    await hold.release();
    expect(await other.acquire(0)).toMatchObject({ event: 'acquired' });
  });

  test('12 processes that count in one file lose no count', async () => {
    const counter = join(root, 'counter');
    writeFileSync(counter, '0');
    const counting = await Promise.all(Array.from({ length: 12 }, () => startHolder()));
    for (const process of counting) process.send(`count ${counter} 8`);
    await Promise.all(counting.map((process) => process.expect('counted')));
    expect(readFileSync(counter, 'utf8')).toBe('96');
  });

  test(
    `of 8 contenders for the lock of a dead holder one wins, ${ROUNDS} rounds`,
    async () => {
      let dying = await startHolder();
      await dying.take();
      let contenders = await Promise.all(Array.from({ length: 8 }, () => startHolder()));
      for (let round = 0; round < ROUNDS; round++) {
        const replacement = startHolder();
        // They find it dead already, or see it die while they wait.
        const timeoutMs = round % 2 === 0 ? 0 : 600;
        const death = dying.kill();
        if (timeoutMs === 0) await death;
        const reports = await Promise.all(
          contenders.map((contender) => contender.acquire(timeoutMs)),
        );
        const winners = contenders.filter((_, place) => reports[place]?.event === 'acquired');
        expect({ round, winners: winners.length }).toEqual({ round, winners: 1 });
        dying = winners[0]!;
        contenders = contenders.filter((contender) => contender !== dying);
        contenders.push(await replacement);
      }
    },
    ROUNDS_TIMEOUT_MS,
  );

  test(
    `never two inside while holders are killed at random, ${ROUNDS} kills, seed ${SEED}`,
    async () => {
      const random = randomNumbers(SEED);
      const events = { entered: 0, violated: 0 };
      const startGuard = async () => {
        const guard = await startHolder();
        guard.send(`guard ${join(root, 'owner')}`);
        void guard.watch((report) => {
          if (report.event === 'entered') events.entered++;
          if (report.event === 'violated') events.violated++;
        });
        return guard;
      };
      const guards = await Promise.all(Array.from({ length: 6 }, startGuard));
      for (let kill = 0; kill < ROUNDS; kill++) {
        await sleep(20 + random() * 100);
        const place = Math.floor(random() * guards.length);
        const replacement = startGuard();
        await guards[place]!.kill();
        guards[place] = await replacement;
      }
      await Promise.all(guards.map((guard) => guard.kill()));
      expect(events.violated).toBe(0);
      expect(events.entered).toBeGreaterThan(ROUNDS);
      await (await take(createMachineLock(file), { timeoutMs: 0 })).release();
    },
    ROUNDS_TIMEOUT_MS,
  );
});

describe('the lock file', () => {
  test('it and its folder are created, for all users, whatever the umask', async () => {
    const holder = await startHolder({ prefix: withShell('umask 077') });
    await holder.take();
    expect(lstatSync(file).mode & 0o777).toBe(0o666);
  });

  asRoot(`users exclude each other${isRoot ? '' : ' (skipped: needs root)'}`, async () => {
    mkdirSync(dirname(file), { mode: 0o755 });
    const holder = await startHolder({ prefix: withShell('umask 077') });
    const other = await startHolder({ user: NOBODY });
    await holder.take();
    expect(await other.acquire(0)).toMatchObject({ event: 'timed-out' });
    holder.send('release');
    await holder.expect('released');
    expect(await other.acquire(0)).toMatchObject({ event: 'acquired' });
    expect(await holder.acquire(0)).toMatchObject({ event: 'timed-out' });
  });

  test('it needs no space on the disk', async () => {
    // A limit of 0 bytes a file ends the process at its first write.
    const holder = await startHolder({ prefix: withShell('ulimit -f 0') });
    await holder.take();
    holder.send('release');
    await holder.expect('released');
  });

  test('when it is removed while held, the holder learns that it lost the lock', async () => {
    const hold = await take(createMachineLock(file));
    rmSync(file);
    await once(hold.lost, 'abort');
    expect(hold.lost.reason).toMatchObject({
      code: 'lost-lock',
      message: expect.stringContaining(file),
    });
    const next = await take(createMachineLock(file), { timeoutMs: 0 });
    await hold.release();
    expect(await acquire(createMachineLock(file), { timeoutMs: 0 })).toMatchObject({
      outcome: 'timed-out',
    });
    await next.release();
  });

  test('its name may hold what means something in a URL', async () => {
    const odd = join(root, 'a b%41?#é&mode=ro', 'x%2f?.lock');
    const hold = await take(createMachineLock(odd));
    expect(readdirSync(dirname(odd))).toEqual(['x%2f?.lock']);
    await hold.release();
  });
});

describe('where no lock is available, the outcome is at once `unavailable`', () => {
  const user = isRoot ? NOBODY : undefined;

  test('a file that this user may not write', async () => {
    mkdirSync(dirname(file));
    writeFileSync(file, '');
    chmodSync(file, 0o444);
    const holder = await startHolder({ user });
    const report = await holder.acquire(30_000);
    expect(report).toMatchObject({ event: 'unavailable' });
    expect(report.reason).toContain(file);
    expect(report.reason).toContain('permission');
  });

  test('a file that this user may not read', async () => {
    mkdirSync(dirname(file));
    writeFileSync(file, '');
    chmodSync(file, 0o200);
    const holder = await startHolder({ user });
    const report = await holder.acquire(30_000);
    expect(report).toMatchObject({ event: 'unavailable' });
    expect(report.reason).toContain('permission');
  });

  test('a folder in which this user may not create it', async () => {
    mkdirSync(dirname(file));
    chmodSync(dirname(file), 0o555);
    const holder = await startHolder({ user });
    const report = await holder.acquire(30_000);
    expect(report).toMatchObject({ event: 'unavailable' });
    expect(report.reason).toContain(file);
    chmodSync(dirname(file), 0o755);
  });

  const obstacles: [string, (path: string) => void][] = [
    [
      'a symbolic link to an empty file',
      (path) => {
        writeFileSync(`${path}.target`, '');
        symlinkSync(`${path}.target`, path);
      },
    ],
    [
      'a symbolic link to nothing',
      (path) => {
        symlinkSync(`${path}.target`, path);
      },
    ],
    [
      'a folder',
      (path) => {
        mkdirSync(path);
      },
    ],
    [
      'a named pipe',
      (path) => {
        expect(spawnSync('mkfifo', [path]).status).toBe(0);
      },
    ],
    [
      'a file with text',
      (path) => {
        writeFileSync(path, 'not a lock');
      },
    ],
    [
      'a database of somebody',
      (path) => {
        const { DatabaseSync } = process.getBuiltinModule('node:sqlite');
        const database = new DatabaseSync(path);
        database.exec('CREATE TABLE precious (value)');
        database.close();
      },
    ],
  ];
  test.each(obstacles)('%s in its place, which stays as it was', async (_, place) => {
    const path = join(root, 'taken');
    place(path);
    const before = contentsOf(root);
    const acquisition = await acquire(createMachineLock(path));
    expect(acquisition).toMatchObject({ outcome: 'unavailable' });
    expect(acquisition).toHaveProperty('reason', expect.stringContaining(path));
    expect(contentsOf(root)).toEqual(before);
  });

  test('a file where its folder should be', async () => {
    writeFileSync(join(root, 'plain'), '');
    const acquisition = await acquire(createMachineLock(join(root, 'plain', 'mirror.lock')));
    expect(acquisition).toMatchObject({ outcome: 'unavailable' });
  });

  test.each([
    ['NFS', 0x6969],
    ['SMB', 0xfe534d42],
    ['SMB', 0xfe534d42 | 0],
    ['FUSE', 0x65735546],
    ['9p', 0x01021997],
  ])('a folder on %s (%d)', async (name, type) => {
    const lock = createMachineLock(file, () => Promise.resolve(type));
    const acquisition = await acquire(lock);
    expect(acquisition).toMatchObject({ outcome: 'unavailable' });
    expect(acquisition).toHaveProperty('reason', expect.stringContaining(`(${name})`));
    expect(existsSync(file)).toBe(false);
  });

  test.each([
    ['ext4', 0xef53],
    ['overlayfs', 0x794c7630],
    ['tmpfs', 0x01021994],
    ['Windows, which gives none', 0],
  ])('but not on %s', async (_, type) => {
    const lock = createMachineLock(file, () => Promise.resolve(type));
    await (await take(lock)).release();
  });

  test.each([
    [String.raw`\\server\share\mirror`, true],
    ['//server/share/mirror', true],
    [String.raw`\\?\UNC\server\share`, true],
    [String.raw`\\?\C:\mirror`, false],
    [String.raw`\\.\C:\mirror`, false],
    [String.raw`C:\mirror`, false],
    [String.raw`\mirror`, false],
  ])('the Windows path %s is a share: %s', (path, expected) => {
    expect(isNetworkShare(path)).toBe(expected);
  });
});

async function startHolder(options: HolderOptions = {}): Promise<Holder> {
  const holder = new Holder({ kind: 'machine', file }, options);
  holders.push(holder);
  await holder.expect('ready');
  return holder;
}

function withShell(command: string): string[] {
  return ['sh', '-c', `${command} && exec "$@"`, 'sh'];
}

/** What lies in a folder: each name with its kind and bytes. */
function contentsOf(folder: string): [string, number, string][] {
  return readdirSync(folder).map((name) => {
    const stats = lstatSync(join(folder, name));
    const bytes = stats.isFile() ? readFileSync(join(folder, name), 'base64') : '';
    return [name, stats.mode, bytes];
  });
}

/** mulberry32: the same numbers between 0 and 1 for the same seed. */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
