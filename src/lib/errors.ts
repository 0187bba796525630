/**
 * The only family of errors. Code decides by `code`, never by message text. The message is for people:
 * what failed, on what, and what to do next. The first cause is kept in `cause`.
 */

/** What went wrong with upstream, the mirror or the machine while git worked (see git/failure.ts). */
export type GitFailureKind =
  | 'authentication'
  | 'not-found'
  | 'moved'
  | 'network'
  | 'timeout'
  | 'empty-upstream'
  /** upstream can't leave out history */
  | 'depth-refused'
  | 'corrupt-mirror'
  | 'no-space'
  /** ssh, which a key was given for, is absent or cannot be set up */
  | 'ssh-unusable'
  | 'cancelled'
  | 'unknown';

export type ErrorCode =
  | GitFailureKind
  /** upstream lacks a part of its own history */
  | 'shallow-upstream'
  /** another job may have the mirror's lock by now, so this one stopped its work */
  | 'lost-lock'
  /** another job may have the claim by now; the mirror is still this one's */
  | 'lost-claim'
  /** an input or the environment has an invalid value */
  | 'invalid-input'
  /** git is not installed or too old */
  | 'git-unusable'
  /** the mirror's place can't be used, or what is there is not ours to replace */
  | 'mirror-refused'
  /** a snapshot is damaged, incomplete or of another upstream */
  | 'bad-snapshot'
  /** the store could not be read or written; says nothing about what it holds */
  | 'store-unavailable'
  /** this job may read the store but not write it */
  | 'store-read-only';

/**
 * The setting that a person may have to change after a failure. Messages don't name inputs, since an
 * input belongs to one surface (the GitHub Action); a surface names a concern in its own words
 * (action/report/advice.ts).
 */
export type Concern =
  | 'token'
  | 'ssh-key'
  | 'ssh-user'
  | 'known-hosts'
  | 'repository'
  | 'server'
  | 'refs'
  | 'fetch-depth'
  | 'mirror-place'
  | 'cache-key'
  | 'lock-timeout'
  | 'fetch-timeout'
  | 'stall-timeout'
  | 'request-rate'
  | 'store'
  | 'disk-store'
  | 's3-bucket'
  | 's3-endpoint'
  | 's3-region'
  | 's3-credentials';

export class MirrorError extends Error {
  readonly code: ErrorCode;
  /** Undefined if no setting would change the outcome. */
  readonly concern: Concern | undefined;

  constructor(
    code: ErrorCode,
    message: string,
    options: { cause?: unknown; concern?: Concern | undefined } = {},
  ) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.name = 'MirrorError';
    this.code = code;
    this.concern = options.concern;
  }
}

/** Whether it is an error of the family with that code. */
export function hasCode(error: unknown, code: ErrorCode): error is MirrorError {
  return error instanceof MirrorError && error.code === code;
}

/** The message of anything thrown and of its causes, on one line. */
export function describeError(error: unknown): string {
  // Not instanceof: a test runner has a realm of its own, and Node's errors come from another.
  if (!Error.isError(error)) return String(error);
  const own = error.message === '' ? error.name : error.message;
  if (error.cause === undefined) return own;
  const cause = describeError(error.cause);
  return own.includes(cause) ? own : `${own} (${cause})`;
}

/** The system's error code (`ENOENT`, …) of a Node error, or undefined. */
export function systemCode(error: unknown): string | undefined {
  const code = Error.isError(error) ? (error as NodeJS.ErrnoException).code : undefined;
  return typeof code === 'string' ? code : undefined;
}

const FULL_DISK = new Set(['ENOSPC', 'EDQUOT']);

/**
 * Turns an error of the file system into a MirrorError: `no-space` for a full disk or quota, else `code`.
 * A MirrorError passes unchanged.
 */
export function toMirrorError(error: unknown, code: ErrorCode, what: string): MirrorError {
  if (error instanceof MirrorError) return error;
  if (FULL_DISK.has(systemCode(error) ?? '')) {
    return new MirrorError('no-space', `${what}: no space left on the disk`, { cause: error });
  }
  return new MirrorError(code, `${what}: ${describeError(error)}`, { cause: error });
}

/** The named failure of a store, or of this disk, that a job continues after. Throws what ends the job. */
export function toStoreFailure(error: unknown): MirrorError {
  const failure = toMirrorError(error, 'store-unavailable', 'the store');
  if (isInterruption(failure)) throw failure;
  return failure;
}

/** Throws if the signal has fired: its reason if that is of the family, else `cancelled`. */
export function throwIfCancelled(signal: AbortSignal): void {
  if (signal.aborted) throw reasonOf(signal);
}

/** Why a signal has fired; `message` is what a cancelled job says. */
export function reasonOf({ reason }: AbortSignal, message = 'the job was cancelled'): MirrorError {
  return reason instanceof MirrorError ? reason : new MirrorError('cancelled', message);
}

/** Whether a signal has fired because another job may be working at the same place by now. */
export function isPlaceLost({ reason }: AbortSignal): boolean {
  return hasCode(reason, 'lost-lock');
}

/** For work that a cancelled job still does, but not where another job may be. */
export function throwIfPlaceLost(signal: AbortSignal): void {
  if (isPlaceLost(signal)) throw reasonOf(signal);
}

/** Whether work was told to end, and did not fail by itself. */
export function isInterruption(error: unknown): error is MirrorError {
  return (['cancelled', 'lost-lock', 'lost-claim'] as const).some((code) => hasCode(error, code));
}
