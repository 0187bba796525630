/**
 * The lock on this machine: for runners that share a disk, released by the kernel when its holder
 * dies, however it dies.
 *
 * It is a write transaction of SQLite in an empty file next to the mirror. Nothing is ever committed: the file stays
 * empty, has no pid and needs no disk space. It is never removed: otherwise the next job could lock another file of the
 * same name.
 *
 * Limits:
 * - POSIX drops a process's locks on a file when the process closes any descriptor of that file.
 *   SQLite counts its own; nothing else in this process may open the file.
 * - On network file systems the outcome is `unavailable`. They are recognised on Linux by their type, on Windows by the
 *   share's path. Not detected: macOS, types that the table below doesn't list, and an overlayfs whose upper layer is
 *   remote.
 * - Anybody who may write the file may hold the lock for ever. Waiting always ends at its deadline.
 */
import { closeSync, existsSync, fchmodSync, lstatSync, openSync } from 'node:fs';
import { realpath, statfs } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { performance } from 'node:perf_hooks';
import type * as Sqlite from 'node:sqlite';
import type { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { describeError, MirrorError, systemCode, throwIfCancelled } from '../lib/errors.ts';
import { makeFolder } from '../lib/files.ts';
import type { Acquisition, Hold, Lock } from './lock.ts';

/**
 * Other jobs hold the lock for seconds to minutes, so half a second more matters little; short holds are noticed soon. An
 * attempt blocks the event loop for 0.2 ms. Jitter spreads the attempts of jobs that started together.
 */
const FIRST_POLL_MS = 100;
const LONGEST_POLL_MS = 500;
const POLL_GROWTH = 1.5;

/** How often a holder checks that its file was not replaced. */
const WATCH_INTERVAL_MS = 1_000;

/**
 * The journal is kept in memory, so that a killed holder leaves no file. IMMEDIATE takes in one step the lock that only
 * one process can have. EXCLUSIVE takes a second one: two contenders for a free lock then rejected each other, up to
 * once in seven simultaneous attempts. The write proves that the lock is held: SQLite lets anybody begin in a file that
 * they may not write.
 */
const TAKE = 'PRAGMA journal_mode = MEMORY; BEGIN IMMEDIATE; PRAGMA user_version = 1';

/** Primary result codes of SQLite, the low byte of `errcode` (sqlite.org/rescode.html). */
const SQLITE_BUSY = 5;
const SQLITE_LOCKED = 6;
const SQLITE_READONLY = 8;
const SQLITE_CANTOPEN = 14;

/**
 * Types of file systems that other machines may also write to, as statfs(2) numbers them: the types that coreutils'
 * src/stat.c marks "remote", without those that aren't (aufs, overlayfs, pipefs, control file systems), plus 9p and
 * OrangeFS from Linux's headers. FUSE is included because its type doesn't distinguish sshfs from a local disk.
 */
const NETWORK_FILE_SYSTEMS = new Map([
  [0x0000517b, 'SMB'],
  [0x0000564c, 'NCP'],
  [0x00006969, 'NFS'],
  [0x00c36400, 'Ceph'],
  [0x01021997, '9p'],
  [0x01161970, 'GFS2'],
  [0x013111a8, 'IBRIX'],
  [0x0bd00bd0, 'Lustre'],
  [0x19830326, 'BeeGFS'],
  [0x20030528, 'OrangeFS'],
  [0x47504653, 'GPFS'],
  [0x5346414f, 'AFS'],
  [0x61636673, 'ACFS'],
  [0x65735546, 'FUSE'],
  [0x6b414653, 'AFS'],
  [0x73757245, 'Coda'],
  [0x7461636f, 'OCFS2'],
  [0x786f4256, 'a VirtualBox folder'],
  [0x7c7c6673, 'a Parallels folder'],
  [0xa501fcf5, 'VxFS'],
  [0xaad7aaea, 'PanFS'],
  [0xbacbacbc, 'a VMware folder'],
  [0xbeefdead, 'SNFS'],
  [0xfe534d42, 'SMB'],
  [0xff534d42, 'CIFS'],
]);

export interface MachineLockOptions {
  /** The type of the file system that a folder is on, as statfs(2) numbers it. */
  fileSystemType?: (folder: string) => Promise<number>;
}

/** Distinguishes a file from another one of the same name. */
interface Identity {
  device: bigint;
  inode: bigint;
}

type Attempt =
  | { outcome: 'taken'; database: DatabaseSync; identity: Identity }
  | { outcome: 'busy' }
  | { outcome: 'unavailable'; reason: string };

const BUSY: Attempt = { outcome: 'busy' };

/**
 * Databases that hold a lock. The garbage collector would close a database that nothing references, and so release the
 * lock of a holder that is still working.
 */
const held = new Set<DatabaseSync>();

/** A lock that the processes of one machine contend for at the path `file`, created if absent. */
export function createMachineLock(file: string, options: MachineLockOptions = {}): Lock {
  const path = resolve(file);
  const fileSystemType = options.fileSystemType ?? fileSystemTypeOf;
  return {
    async acquire({ timeoutMs, signal, onWait }): Promise<Acquisition> {
      const startedMs = performance.now();
      throwIfCancelled(signal);
      const obstacle = await prepareFolder(dirname(path), fileSystemType);
      if (obstacle !== undefined) return { outcome: 'unavailable', reason: obstacle };
      let pollMs = FIRST_POLL_MS;
      for (let attempts = 1; ; attempts++) {
        throwIfCancelled(signal);
        const attempt = tryToTake(path);
        const waitedMs = performance.now() - startedMs;
        if (attempt.outcome === 'unavailable') return attempt;
        if (attempt.outcome === 'taken') {
          const hold = createHold(path, attempt.database, attempt.identity);
          // The first look at the folder doesn't count as waiting.
          return { outcome: 'acquired', hold, waitedMs: attempts === 1 ? 0 : waitedMs };
        }
        if (waitedMs >= timeoutMs) return { outcome: 'timed-out', waitedMs };
        if (attempts === 1) onWait?.();
        const jitteredMs = pollMs * (0.5 + Math.random() / 2);
        await pause(Math.min(jitteredMs, timeoutMs - waitedMs), signal);
        pollMs = Math.min(pollMs * POLL_GROWTH, LONGEST_POLL_MS);
      }
    },
  };
}

async function pause(durationMs: number, signal: AbortSignal): Promise<void> {
  try {
    await sleep(durationMs, undefined, { signal });
  } catch (error) {
    throwIfCancelled(signal);
    throw error;
  }
}

/** Creates the folder. Returns why a lock in it would be unreliable, if so. */
async function prepareFolder(
  folder: string,
  fileSystemType: (folder: string) => Promise<number>,
): Promise<string | undefined> {
  try {
    await makeFolder(folder);
    // A drive letter may be mapped to a share; the real path shows that.
    const share = process.platform === 'win32' && isNetworkShare(await realpath(folder));
    // A 32-bit system returns large types as negative numbers.
    const type = share ? 'a share' : NETWORK_FILE_SYSTEMS.get((await fileSystemType(folder)) >>> 0);
    if (type === undefined) return undefined;
    return `the lock's folder ${folder} is on a file system that other machines may share (${type})`;
  } catch (error) {
    return `the lock's folder ${folder} cannot be used: ${describeError(error)}`;
  }
}

async function fileSystemTypeOf(folder: string): Promise<number> {
  return (await statfs(folder)).type;
}

/** Whether a Windows path names a share: `\\server\share` or its long form `\\?\UNC\…`. */
export function isNetworkShare(path: string): boolean {
  return /^[\\/]{2}(?:[^\\/?.]|\?[\\/]UNC[\\/])/i.test(path);
}

/** One attempt, without waiting. It is synchronous, so that none of our own code runs in between. */
function tryToTake(file: string): Attempt {
  let database: DatabaseSync | undefined;
  try {
    const identity = findFile(file) ?? createFile(file);
    if (typeof identity === 'string') return { outcome: 'unavailable', reason: identity };
    if (identity === undefined) return BUSY;
    database = openDatabase(file);
    database.exec(TAKE);
    if (isAt(file, identity)) return { outcome: 'taken', database, identity };
    database.close();
    return BUSY;
  } catch (error) {
    if (database?.isOpen === true) database.close();
    return explain(error, file);
  }
}

/** The identity of the lock file, or why the file isn't one; undefined if there is none. */
function findFile(file: string): Identity | string | undefined {
  // lstat, because a link could point at a user's file, or to another disk.
  const stats = lstatSync(file, { bigint: true, throwIfNoEntry: false });
  if (stats === undefined) return undefined;
  if (!stats.isFile()) return `${file} is not a plain file: remove it, it has the lock's name`;
  // SQLite would open any database of that name, and replay a journal next to it.
  if (stats.size > 0n) return `${file} is not empty, so it is not a lock: remove it`;
  return { device: stats.dev, inode: stats.ino };
}

/**
 * Creates the file for all users of the machine; undefined if it was removed again. It is synchronous: while the file is
 * open, nothing in this process can lock it, so closing it drops no lock.
 */
function createFile(file: string): Identity | string | undefined {
  let descriptor;
  try {
    descriptor = openSync(file, 'wx', 0o666);
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return findFile(file);
    throw error;
  }
  try {
    fchmodSync(descriptor, 0o666);
  } catch {
    // Some file systems have no modes: every user who can open the file contends.
  } finally {
    closeSync(descriptor);
  }
  return findFile(file);
}

function isAt(file: string, identity: Identity): boolean {
  const found = lstatSync(file, { bigint: true, throwIfNoEntry: false });
  return found?.dev === identity.device && found.ino === identity.inode;
}

/** Whether the file was removed or replaced. A disk error doesn't count as that. */
function isGone(file: string, identity: Identity): boolean {
  try {
    return !isAt(file, identity);
  } catch {
    return false;
  }
}

function openDatabase(file: string): DatabaseSync {
  const url = pathToFileURL(file);
  // Never with O_CREAT: SQLite would create the file with mode 0644, and Linux refuses O_CREAT for another user's file in
  // a sticky folder such as /tmp (fs.protected_regular).
  url.searchParams.set('mode', 'rw');
  sqlite ??= loadSqlite();
  return new sqlite.DatabaseSync(url);
}

let sqlite: typeof Sqlite | undefined;

/**
 * `node:sqlite`, loaded when it is first needed, without the warning that Node 24 before 24.15 prints into the job's log.
 * Loading is synchronous, so no other warning is lost.
 */
function loadSqlite(): typeof Sqlite {
  // eslint-disable-next-line @typescript-eslint/unbound-method -- restored below
  const original = process.emitWarning;
  process.emitWarning = (...warning: unknown[]) => {
    if (warning[1] !== 'ExperimentalWarning') Reflect.apply(original, process, warning);
  };
  try {
    return process.getBuiltinModule('node:sqlite');
  } finally {
    process.emitWarning = original;
  }
}

function explain(error: unknown, file: string): Attempt {
  const code = sqliteCode(error);
  if (code === SQLITE_BUSY || code === SQLITE_LOCKED) return BUSY;
  // The file was removed before it was opened. The next attempt creates it.
  if (code === SQLITE_CANTOPEN && !existsSync(file)) return BUSY;
  const isForbidden = code === SQLITE_CANTOPEN || code === SQLITE_READONLY;
  const needs = isForbidden ? ' (it needs read and write permission for this user, mode 0666)' : '';
  return {
    outcome: 'unavailable',
    reason: `the lock ${file} cannot be taken${needs}: ${describeError(error)}`,
  };
}

function sqliteCode(error: unknown): number | undefined {
  if (typeof error !== 'object' || error === null || !('errcode' in error)) return undefined;
  return typeof error.errcode === 'number' ? error.errcode & 0xff : undefined;
}

function createHold(file: string, database: DatabaseSync, identity: Identity): Hold {
  held.add(database);
  const lost = new AbortController();
  const watch = setInterval(() => {
    if (!isGone(file, identity)) return;
    clearInterval(watch);
    const reason = `the lock file ${file} was removed or replaced while it was held`;
    lost.abort(new MirrorError('lost-lock', reason));
  }, WATCH_INTERVAL_MS);
  watch.unref();
  return {
    lost: lost.signal,
    staysTaken: false,
    release: () => {
      clearInterval(watch);
      // Closing rolls back, so the file stays empty.
      if (held.delete(database)) database.close();
      return Promise.resolve();
    },
  };
}
