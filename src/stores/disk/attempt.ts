/** Runs the calls of a disk store: each ends in time, and fails with an error of the family. */
import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { join, sep } from 'node:path';
import {
  MirrorError,
  describeError,
  systemCode,
  throwIfCancelled,
  toMirrorError,
} from '../../lib/errors.ts';
import { endWith, unlessSilent } from '../../lib/abort.ts';
import { formatDuration } from '../../lib/durations.ts';
import { giveUpOn, isHung } from '../../lib/hung-calls.ts';
import type { Call } from '../back-end.ts';

/** For a call that moves little: the store only saves time, so a job waits no longer for it. */
const PATIENCE_MS = 20_000;
/** For a transfer in which no byte moves. A slow disk syncs 32 MiB at once. */
const STANDSTILL_MS = 120_000;
/** How long a call that is ended may tidy up. A cancelled job has 7.5 s. */
const END_GRACE_MS = 2_000;

export interface AttemptOptions extends Omit<Call, 'key'> {
  /** The absolute path of the store's own folder. */
  root: string;
}

/** `bounded` fires when the call is cancelled or given up; `note` is called when something moved. */
export type Work<T> = (bounded: AbortSignal, note: () => void) => Promise<T>;

/**
 * Runs one call. A disk that doesn't answer is given up after 20 s in all, in a transfer after 120 s without
 * progress, and asked again only when it has answered: every call that hangs blocks one of four threads.
 */
export async function attempt<T>(options: AttemptOptions, work: Work<T>): Promise<T> {
  const { root, signal, isTransfer = false } = options;
  throwIfCancelled(signal);
  if (isHung(root)) throw silence(options, 'still does not answer');
  const patienceMs = isTransfer ? STANDSTILL_MS : PATIENCE_MS;
  const silent = () => silence(options, `did not answer within ${formatDuration(patienceMs)}`);
  let call: Promise<T> | undefined;
  try {
    return await unlessSilent(signal, patienceMs, silent, (bounded, note) => {
      call = work(bounded, note);
      const message = 'the job was cancelled while the disk did not answer';
      return endWith(call, bounded, { graceMs: END_GRACE_MS, message });
    });
  } catch (error) {
    if (call !== undefined) giveUpOn(call, root);
    throw explain(error, options);
  }
}

/**
 * Throws `invalid-input` unless there is a folder that this user may read: else it is a typo, or a
 * volume that is not mounted. One that doesn't answer is an outage, which each call reports.
 */
export async function checkStoreFolder(root: string): Promise<void> {
  const options = { root, what: 'opening', signal: new AbortController().signal };
  try {
    await attempt(options, async () => {
      if (!(await stat(root)).isDirectory()) throw new Error('it is not a folder');
      await access(root, constants.R_OK | constants.X_OK);
    });
  } catch (error) {
    if (isHung(root)) return;
    const cause = error instanceof MirrorError ? error.cause : error;
    const message = `the disk store ${root} is not an existing folder that this user can read (${describeError(cause)})`;
    throw new MirrorError('invalid-input', message, { cause, concern: 'disk-store' });
  }
}

function silence({ root, what }: AttemptOptions, problem: string): MirrorError {
  return new MirrorError('store-unavailable', `${what}: the disk store ${root} ${problem}`);
}

function explain(error: unknown, { root, what, isWriting = false }: AttemptOptions): MirrorError {
  const where = `${what} in the disk store ${root}`;
  if (!isRefusal(error, root)) return toMirrorError(error, 'store-unavailable', where);
  const cause = withoutPath(error);
  const problem = describeError(cause);
  const options = { cause, concern: 'disk-store' } as const;
  if (!isWriting) {
    const message = `${where}: ${problem}${adviseOn(error, 'read')}`;
    return new MirrorError('store-unavailable', message, options);
  }
  const advice = adviseOn(error, 'read and write');
  const message = `the disk store ${root} can only be read by this job (${problem})${advice}`;
  return new MirrorError('store-read-only', message, options);
}

/** A whole file system is read-only: the path that showed it tells nothing. */
function withoutPath(error: unknown): unknown {
  if (systemCode(error) !== 'EROFS') return error;
  const text = describeError(error).replace(/, .*$/s, '');
  return Object.assign(new Error(text), { code: 'EROFS' });
}

/** Whether the system does not let this user do something in the store. */
function isRefusal(error: unknown, root: string): boolean {
  const code = systemCode(error) ?? '';
  if (code === 'EROFS') return true;
  if (!['EACCES', 'EPERM'].includes(code)) return false;
  const { path = '', dest = '', syscall } = error as NodeJS.ErrnoException & { dest?: string };
  // Windows also says so of a file that something has open; of a new folder it means it.
  if (process.platform === 'win32') return syscall === 'mkdir';
  // The mirror's side of a copy is none of the store's concern.
  return [path, dest].some((each) => join(each, sep).startsWith(join(root, sep)));
}

function adviseOn(error: unknown, rights: string): string {
  if (systemCode(error) === 'EROFS' || process.platform === 'win32') return '';
  const user = `user ${String(process.geteuid?.())}`;
  return `: ${user} needs the right to ${rights} in it, e.g. by a group that all users share and mode 2775`;
}
