/**
 * The lock on this machine: for runners that share a disk, released by the kernel when its holder dies, however it
 * dies. It is a write transaction of SQLite in an empty file next to the mirror; docs/locks.md says why each part is
 * as it is, and what it does not guarantee.
 */
import { closeSync, existsSync, fchmodSync, lstatSync, openSync, type BigIntStats } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type * as Sqlite from 'node:sqlite';
import type { DatabaseSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import { describeError, MirrorError, systemCode } from '../lib/errors.ts';
import { makeFolder } from '../lib/files.ts';
import { MONOTONIC_CLOCK } from './clock.ts';
import { createLock, type Sight } from './contest.ts';
import type { Hold, Lock } from './lock.ts';
import { fileSystemTypeOf, findNetworkDisk, type FileSystemType } from './network-disks.ts';

/**
 * Other jobs hold the lock for seconds to minutes, so half a second more matters little; short holds are noticed soon. An
 * attempt blocks the event loop for 0.2 ms.
 */
const POLLS = { firstPollMs: 100, longestPollMs: 500 };

/** How often a holder checks that its file was not replaced. */
const WATCH_INTERVAL_MS = 1_000;

/** docs/locks.md says what each part avoids. */
const TAKE = 'PRAGMA journal_mode = MEMORY; BEGIN IMMEDIATE; PRAGMA user_version = 1';

/** Primary result codes of SQLite, the low byte of `errcode` (sqlite.org/rescode.html). */
const SQLITE_BUSY = 5;
const SQLITE_LOCKED = 6;
const SQLITE_READONLY = 8;
const SQLITE_CANTOPEN = 14;

/**
 * Databases that hold a lock. The garbage collector would close a database that nothing references, and so release the
 * lock of a holder that is still working.
 */
const held = new Set<DatabaseSync>();

/** A lock that the processes of one machine contend for at the path `file`, created if absent. */
export function createMachineLock(file: string, typeOf: FileSystemType = fileSystemTypeOf): Lock {
  const path = resolve(file);
  const look = async (): Promise<Sight> => {
    await prepareFolder(dirname(path), typeOf);
    const hold = tryToTake(path);
    return hold === undefined ? { outcome: 'held' } : { outcome: 'acquired', hold };
  };
  return createLock({ ...POLLS, clock: MONOTONIC_CLOCK, patienceMs: 0, look });
}

/** Creates the folder. Throws a MirrorError if a lock in it would be unreliable. */
async function prepareFolder(folder: string, typeOf: FileSystemType): Promise<void> {
  let disk: string | undefined;
  try {
    await makeFolder(folder);
    disk = await findNetworkDisk(folder, typeOf);
  } catch (error) {
    throw unusable(`the lock's folder ${folder} cannot be used: ${describeError(error)}`);
  }
  if (disk === undefined) return;
  throw unusable(
    `the lock's folder ${folder} is on a file system that other machines may share (${disk})`,
  );
}

/** Undefined if another holder has the lock. Synchronous, so that none of our own code runs in between. */
function tryToTake(file: string): Hold | undefined {
  let database: DatabaseSync | undefined;
  try {
    const identity = findFile(file) ?? createFile(file);
    if (identity === undefined) return undefined;
    database = openDatabase(file);
    database.exec(TAKE);
    if (isAt(file, identity)) return createHold(file, database, identity);
    database.close();
    return undefined;
  } catch (error) {
    if (database?.isOpen === true) database.close();
    if (isBusy(error, file)) return undefined;
    throw explain(error, file);
  }
}

/** The identity of the lock file; undefined if there is none. Throws if the file isn't a lock. */
function findFile(file: string): string | undefined {
  const stats = statFile(file);
  if (stats === undefined) return undefined;
  if (!stats.isFile()) {
    throw unusable(`${file} is not a plain file: remove it, it has the lock's name`);
  }
  // SQLite would open any database of that name, and replay a journal next to it.
  if (stats.size > 0n) throw unusable(`${file} is not empty, so it is not a lock: remove it`);
  return identityOf(stats);
}

function statFile(file: string): BigIntStats | undefined {
  // Not stat, because a link could point at a user's file, or to another disk.
  return lstatSync(file, { bigint: true, throwIfNoEntry: false });
}

/** Distinguishes a file from another one of the same name. */
function identityOf({ dev, ino }: BigIntStats): string {
  return `${dev}:${ino}`;
}

/**
 * Creates the file for all users of the machine; undefined if it was removed again. It is synchronous: while the file is
 * open, nothing in this process can lock it, so closing it drops no lock.
 */
function createFile(file: string): string | undefined {
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

function isAt(file: string, identity: string): boolean {
  const found = statFile(file);
  return found !== undefined && identityOf(found) === identity;
}

/** Whether the file was removed or replaced. A disk error doesn't count as that. */
function isGone(file: string, identity: string): boolean {
  try {
    return !isAt(file, identity);
  } catch {
    return false;
  }
}

function openDatabase(file: string): DatabaseSync {
  const url = pathToFileURL(file);
  // Never with O_CREAT: see docs/locks.md.
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

/** Whether another holder has it, or has just removed the file: the next attempt creates it. */
function isBusy(error: unknown, file: string): boolean {
  const code = sqliteCode(error);
  if (code === SQLITE_CANTOPEN) return !existsSync(file);
  return code === SQLITE_BUSY || code === SQLITE_LOCKED;
}

function explain(error: unknown, file: string): MirrorError {
  if (error instanceof MirrorError) return error;
  const isForbidden = [SQLITE_CANTOPEN, SQLITE_READONLY].includes(sqliteCode(error) ?? 0);
  const needs = isForbidden ? ' (it needs read and write permission for this user, mode 0666)' : '';
  return unusable(`the lock ${file} cannot be taken${needs}: ${describeError(error)}`);
}

function unusable(reason: string): MirrorError {
  return new MirrorError('mirror-refused', reason);
}

function sqliteCode(error: unknown): number | undefined {
  if (typeof error !== 'object' || error === null || !('errcode' in error)) return undefined;
  return typeof error.errcode === 'number' ? error.errcode & 0xff : undefined;
}

function createHold(file: string, database: DatabaseSync, identity: string): Hold {
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
