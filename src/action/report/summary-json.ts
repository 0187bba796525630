/**
 * The output `summary-json`: one line of JSON for dashboards and later steps. docs/summary-json.md lists
 * its fields, which a test compares with what jobs print. Fields may be added; a field that changes or
 * goes raises VERSION. Fields that are undefined here are left out there. Pure.
 */
import type { Account } from '../../job/account.ts';
import { MirrorError } from '../../lib/errors.ts';
import type { LfsOutcome } from '../../lfs/bring-objects.ts';
import type { PrimeResult } from '../../prime/prime-workspace.ts';
import type { SubmoduleResult } from '../../submodules/restore-submodules.ts';
import type { MainOutcome, MirrorSave, SaveOutcome } from './outcome.ts';

const VERSION = 1;

export const DISABLED = { version: VERSION, step: 'main', outcome: 'disabled' };

export function summarizeMain(outcome: MainOutcome) {
  const { job, mirror, prime, lfs, submodules } = outcome;
  const { provenance, recloned, packBytes, refs, snapshot, waitedMs, isPrivate, claim } = mirror;
  const { bytes, ...measured } = summarizeAccount(job.account);
  return {
    version: VERSION,
    step: 'main',
    outcome: provenance,
    recloned,
    ...measured,
    bytes: { ...bytes, clone: packBytes },
    refs: refs.length,
    snapshot,
    lock: { waitedSeconds: toSeconds(waitedMs), isPrivate },
    claim,
    prime: summarizePrime(prime),
    lfs: lfs && summarizeLfs(lfs),
    submodules: listOf(submodules.map(summarizeSubmodule)),
  };
}

export function summarizePost(
  { result, job: { account } }: MirrorSave,
  submodules: readonly MirrorSave[],
) {
  const head = { version: VERSION, step: 'post', outcome: result.result };
  const summary =
    result.result === 'failed'
      ? summarizeFailed('post', result.error, account)
      : { ...head, ...summarizeAccount(account), snapshot: idOf(result) };
  return { ...summary, submodules: listOf(submodules.map(summarizeSave)) };
}

function listOf<T>(submodules: readonly T[]): readonly T[] | undefined {
  return submodules.length === 0 ? undefined : submodules;
}

function summarizeSubmodule({ path, mirror, account, reason }: SubmoduleResult) {
  const outcome = reason === undefined ? mirror?.provenance : undefined;
  const snapshot = mirror?.snapshot;
  return { path, outcome: outcome ?? 'left', reason, snapshot, ...summarizeShortly(account) };
}

function summarizeSave({ name, result, job }: MirrorSave) {
  const { account } = job;
  const outcome = result.result;
  return { path: name, outcome, snapshot: idOf(result), ...summarizeShortly(account) };
}

function summarizeShortly(account: Account | undefined) {
  if (account === undefined) return {};
  const { fallbacks, bytes } = summarizeAccount(account);
  // Others were at work at the same time.
  return { fallbacks, seconds: toSeconds(account.spanMs), bytes };
}

function idOf(result: SaveOutcome): string | undefined {
  return 'id' in result ? result.id : undefined;
}

/** Of a step that failed; without an account it did not come as far as upstream. */
export function summarizeFailed(
  step: 'main' | 'post',
  error: unknown,
  account: Account | undefined,
) {
  const failure = error instanceof MirrorError ? error.code : 'unknown';
  const measured = account === undefined ? {} : summarizeAccount(account);
  return { version: VERSION, step, outcome: 'failed', failure, ...measured };
}

function summarizeAccount(account: Account) {
  return {
    fallbacks: account.fallbacks.map(({ code }) => code),
    seconds: toSeconds(account.elapsedMs),
    phases: account.allPhases.map((phase) => ({
      name: phase.name,
      seconds: toSeconds(phase.durationMs),
      bytes: phase.bytes ?? 0,
      hasFailed: phase.end !== 'succeeded',
    })),
    bytes: {
      fromUpstream: account.bytesMoved('from upstream'),
      fromStore: account.bytesMoved('from the store'),
      toStore: account.bytesMoved('to the store'),
    },
  };
}

function summarizePrime(prime: PrimeResult) {
  if (prime.result !== 'primed') return { result: prime.result, linkedBytes: 0, copiedBytes: 0 };
  const { bytes, copiedBytes } = prime;
  return { result: prime.result, linkedBytes: bytes - copiedBytes, copiedBytes };
}

function summarizeLfs(lfs: LfsOutcome) {
  const { needed, existing, restored, downloaded, missing, primed, failure } = lfs;
  return {
    objects: needed.objects,
    bytes: needed.bytes,
    existingBytes: existing.bytes,
    restoredBytes: restored.bytes,
    downloadedObjects: downloaded.objects,
    downloadedBytes: downloaded.bytes,
    missingObjects: missing.objects,
    missingBytes: missing.bytes,
    primedObjects: primed?.objects ?? 0,
    primedBytes: primed?.bytes ?? 0,
    copiedBytes: primed?.copiedBytes ?? 0,
    failure,
  };
}

function toSeconds(durationMs: number): number {
  return Math.round(durationMs) / 1_000;
}
