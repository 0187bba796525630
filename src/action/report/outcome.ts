/** What became of a step, in sentences without markup. Pure. */
import { formatBytes } from '../../lib/bytes.ts';
import { formatDuration } from '../../lib/durations.ts';
import type { Job } from '../../job/job.ts';
import type { LfsOutcome } from '../../lfs/bring-objects.ts';
import type { Amount } from '../../lfs/pointers.ts';
import type { PrimeResult } from '../../prime/prime-workspace.ts';
import type { RestoredMirror } from '../../restore/session.ts';
import type { SaveResult } from '../../save/decide.ts';
import type { SubmoduleResult } from '../../submodules/restore-submodules.ts';
import { describeFailure } from './advice.ts';

/** What main did. */
export interface MainOutcome {
  job: Job;
  mirror: RestoredMirror;
  prime: PrimeResult;
  /** Undefined if nobody asked for LFS objects, or if that failed. */
  lfs: LfsOutcome | undefined;
  submodules: readonly SubmoduleResult[];
}

/** owner/name, where the URL has no more than that behind its host. */
export function nameOf(url: string): string {
  return /^(?:https?:\/\/[^/]+\/|[^/]+:)(.+?)(?:\.git)?$/.exec(url)?.[1] ?? url;
}

/** In a word or two. */
export function describeState({ provenance, recloned }: RestoredMirror): string {
  if (provenance === 'existing') return 'updated';
  return recloned ? 'cloned again' : provenance;
}

/** Where snapshots are looked for, the first being where they are saved. */
export function describeStores({
  store,
  otherStores,
  noStoreReason,
}: Pick<Job, 'store' | 'otherStores' | 'noStoreReason'>): string {
  if (store === undefined) return `none: ${noStoreReason}`;
  return [store, ...otherStores].map(({ location }) => location).join(', else ');
}

/** How the mirror came to be and what upstream sent for it: one sentence, without its full stop. */
export function describeMirror(mirror: RestoredMirror, job: Job): string {
  const { account } = job;
  const { provenance, recloned, packBytes } = mirror;
  // They follow when this mirror is up to date.
  const submodules = account.allPhases.find(({ name }) => name === 'submodules')?.durationMs ?? 0;
  const time = formatDuration(account.elapsedMs - submodules);
  const bytes = account.bytesMoved('from upstream');
  const sent = `upstream sent ${bytes === 0 ? 'nothing' : formatBytes(bytes)}`;
  switch (provenance) {
    case 'existing':
      return `Updated the mirror on this machine in ${time}; ${sent} instead of ${formatBytes(packBytes)}`;
    case 'restored': {
      // LFS objects come from the store, too.
      const restored = account.allPhases.findLast(({ name }) => name === 'restore');
      return `Restored ${formatBytes(restored?.bytes ?? 0)} in ${time}; ${sent} instead of ${formatBytes(packBytes)}`;
    }
    case 'cloned': {
      if (recloned) return `Cloned again in ${time}, after a failure; ${sent}`;
      return `Cloned in ${time}, because ${reasonOfClone(job)}; ${sent}`;
    }
  }
}

function reasonOfClone({ store, account }: Job): string {
  if (store === undefined) return 'there is no store';
  const isDown = account.fallbacks.some(({ code }) => code === 'store-unavailable');
  return isDown ? 'the store was not available' : 'no snapshot was available';
}

/**
 * Why a clone was necessary, and when that is wrong; undefined where it wasn't, or where a fallback gives
 * the reason.
 */
export function explainClone(
  { provenance, recloned }: RestoredMirror,
  { store, otherStores, noStoreReason, account }: Job,
): string | undefined {
  const hasReason = account.fallbacks.some(({ code }) => EXPLAINS_CLONE.has(code));
  if (provenance !== 'cloned' || recloned || hasReason) return undefined;
  if (store === undefined) {
    return `Every new machine clones the whole repository, because there is no store: ${noStoreReason}.`;
  }
  const places = [store, ...otherStores].map(({ location }) => location).join(' or ');
  const hint = store.absenceHint === undefined ? '' : `; ${store.absenceHint}`;
  return (
    `No snapshot in ${places} has this key yet. That is normal in the first run. If every run clones, ` +
    'no job saves (the post step says why), or jobs differ in what the key depends on: ' +
    `the repository, \`refs\`, \`fetch-depth\` and \`cache-key\`${hint}.`
  );
}

/** Fallbacks without a usable snapshot. */
const EXPLAINS_CLONE: ReadonlySet<string> = new Set([
  'bad-snapshot',
  'snapshot-revoked',
  'store-unavailable',
  'store-read-only',
  'no-space',
  'unknown',
]);

/** One line on all submodules; undefined where there are none. */
export function describeSubmodules(submodules: readonly SubmoduleResult[]): string | undefined {
  if (submodules.length === 0) return undefined;
  const primed = submodules.filter(({ reason }) => reason === undefined).length;
  const left = submodules.length - primed;
  const rest = left === 0 ? '' : `, and left ${String(left)} to actions/checkout`;
  return `Primed ${String(primed)} of ${String(submodules.length)} submodules${rest}`;
}

export function describeHead({ head }: RestoredMirror): string {
  if (head === undefined) return 'none';
  // Names are byte strings inside (see mirror/refspecs.ts); people read UTF-8.
  const name = 'ref' in head ? Buffer.from(head.ref, 'latin1').toString('utf8') : 'detached';
  return `${name} at ${head.oid}`;
}

export function describeLock({ isPrivate, waitedMs }: RestoredMirror): string {
  const waited = waitedMs < 1 ? '' : `waited ${formatDuration(waitedMs)} for another job`;
  if (!isPrivate) return waited === '' ? 'free' : waited;
  const reason =
    'the place could not be used: this job made a mirror of its own, which is removed with it';
  return waited === '' ? reason : `${reason}; ${waited}`;
}

/** What became of the claim on making a snapshot; undefined where none was needed. */
export function describeClaim({ claim }: RestoredMirror): string | undefined {
  return CLAIMS[claim];
}

const CLAIMS: Record<RestoredMirror['claim'], string | undefined> = {
  'not-needed': undefined,
  acquired: 'acquired: this job cloned, to save a snapshot for the others',
  waited: 'another job held it, and saved the snapshot that this job waited for',
  'timed-out': 'another job held it until `lock-timeout`: this job continued without it',
  unavailable: 'unavailable: this job continued without it',
};

export function describePrime(prime: PrimeResult): string {
  if (prime.result !== 'primed') return `not primed: ${prime.reason}`;
  const { bytes, copiedBytes, path } = prime;
  const linked = bytes - copiedBytes;
  const ways = [
    ...(linked > 0 ? [`${formatBytes(linked)} by hard links`] : []),
    ...(copiedBytes > 0 ? [`${formatBytes(copiedBytes)} by copying`] : []),
  ];
  return `primed ${path}: ${ways.join(', ')}`;
}

/** Where the LFS objects came from, and what that saved. */
export function describeLfs(lfs: LfsOutcome): string {
  const { needed, existing, restored, downloaded, missing, primed } = lfs;
  if (needed.objects === 0) return 'the commit has no LFS objects';
  const sources = [
    [existing, 'on this machine'],
    [restored, 'from the store'],
    [downloaded, 'downloaded from the LFS server'],
    [missing, 'missing'],
  ] as const;
  const parts = sources
    .filter(([{ objects }]) => objects > 0)
    .map(([amount, where]) => `${describeAmount(amount)} ${where}`);
  const origin = `${needed.objects === 1 ? '1 object' : `${String(needed.objects)} objects`}: ${parts.join(', ')}`;
  if (primed === undefined) return origin;
  const savedBytes = primed.objects === 0 ? 0 : existing.bytes + restored.bytes;
  const saving =
    savedBytes === 0 ? '' : `, which saves ${formatBytes(savedBytes)} of LFS bandwidth`;
  return `${origin}; ${String(primed.objects)} primed${saving}`;
}

function describeAmount({ objects, bytes }: Amount): string {
  return `${String(objects)} (${formatBytes(bytes)})`;
}

/** What post made of a mirror. */
export type SaveOutcome = SaveResult | { result: 'failed'; error: unknown };

export interface MirrorSave {
  /** The path of its submodule in the workspace; empty for the job's own repository. */
  name: string;
  url: string;
  /** With an account of this mirror alone. */
  job: Job;
  result: SaveOutcome;
}

/** One line: why post saved or did not. */
export function describeSave(result: SaveOutcome): string {
  switch (result.result) {
    case 'published':
      return `Saved snapshot ${result.id} (${formatBytes(result.bytes)})`;
    case 'unchanged':
      return `Nothing saved: nothing changed since snapshot ${result.id}`;
    case 'superseded':
      return `Nothing saved: another job saved snapshot ${String(result.number)} first`;
    case 'skipped':
    case 'refused':
      return `Nothing saved: ${result.reason}`;
    case 'corrupt':
      return `Nothing saved, and the mirror was deleted: ${result.reason}`;
    case 'failed':
      return `Nothing saved: ${describeFailure(result.error)}`;
  }
}
