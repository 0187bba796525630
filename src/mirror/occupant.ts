/** What is at a mirror's place, and whether this job may use or replace it. */
import { lstat, readdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { MirrorError, systemCode } from '../lib/errors.ts';
import { findRecord, type MirrorRecord } from './record.ts';

/** What is at the mirror's place, before git has looked at it. */
export type Occupant =
  | { is: 'absent' }
  | { is: 'mirror'; record: MirrorRecord }
  /** An unusable mirror of ours, which may be replaced. */
  | { is: 'unusable'; reason: string };

/**
 * Looks at the mirror's place. Throws `mirror-refused` for anything that this job must not replace: a link, a file, a
 * folder without our record or of another user, and a mirror of another upstream or with other settings, which another
 * workflow may be using.
 */
export async function inspectPlace(path: string, key: string, upstream: string): Promise<Occupant> {
  const found = await findEntry(path);
  if (found === undefined) return { is: 'absent' };
  if (!found.isDirectory()) throw refused(path, 'is not a directory');
  if (isForeign(found.uid)) throw refused(path, `belongs to user ${String(found.uid)}`);
  // A mount point can't be renamed over, and its lock would be outside the mount.
  if (found.dev !== (await stat(dirname(path))).dev) {
    throw refused(path, 'is a mount point, where no mirror can be put');
  }
  const names = new Set(await readdir(path));
  if (names.size === 0) return { is: 'absent' };
  const record = await findRecord(path);
  // A file with the record's name doesn't make a folder ours.
  const isOurs = record !== 'damaged' || (names.has('objects') && names.has('HEAD'));
  if (record === undefined || !isOurs) {
    throw refused(path, 'holds something that is not a mirror of this action');
  }
  if (record === 'damaged') return { is: 'unusable', reason: 'its record is damaged' };
  if (record === 'unknown-version') throw refused(path, 'is of another version of this action');
  if (record.upstream !== upstream) throw refused(path, `is a mirror of ${record.upstream}`);
  if (record.key !== key) throw refused(path, 'is a mirror with other refs or another key');
  return { is: 'mirror', record };
}

async function findEntry(path: string) {
  try {
    return await lstat(path);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw refused(path, 'cannot be read', error);
  }
}

function isForeign(owner: number): boolean {
  return process.getuid !== undefined && process.getuid() !== owner;
}

function refused(path: string, what: string, cause?: unknown): MirrorError {
  return new MirrorError('mirror-refused', `${path} ${what}`, { cause, concern: 'mirror-place' });
}
