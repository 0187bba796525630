/**
 * The output `summary-json`: one line of JSON for dashboards and later steps. docs/summary-json.md lists
 * its fields, which a test compares with this file. Fields may be added; a field that changes or goes
 * raises VERSION. Pure.
 */
import type { Account } from '../../job/account.ts';
import { MirrorError } from '../../lib/errors.ts';
import type { LfsOutcome } from '../../lfs/bring-objects.ts';
import type { PrimeResult } from '../../prime/prime-workspace.ts';
import type { RestoredMirror } from '../../restore/session.ts';
import type { SubmoduleResult } from '../../submodules/restore-submodules.ts';
import type { MirrorSave, SaveOutcome } from './outcome.ts';

const VERSION = 1;

export interface StepSummary {
  version: typeof VERSION;
  step: 'main' | 'post';
  outcome: RestoredMirror['provenance'] | SaveOutcome['result'] | 'disabled';
  /** Code of the error that ended the step. */
  failure?: string;
  recloned?: boolean;
  /** Codes of what went wrong and was worked around, in order. */
  fallbacks?: readonly string[];
  seconds?: number;
  phases?: readonly PhaseSummary[];
  bytes?: { fromUpstream: number; fromStore: number; toStore: number; clone?: number };
  refs?: number;
  snapshot?: string;
  lock?: { waitedSeconds: number; isPrivate: boolean };
  claim?: RestoredMirror['claim'];
  prime?: { result: PrimeResult['result']; linkedBytes: number; copiedBytes: number };
  /** Of `lfs: true`. */
  lfs?: LfsSummary;
  submodules?: readonly SubmoduleSummary[];
}

interface LfsSummary {
  objects: number;
  bytes: number;
  existingBytes: number;
  restoredBytes: number;
  downloadedObjects: number;
  downloadedBytes: number;
  missingObjects: number;
  missingBytes: number;
  primedObjects: number;
  primedBytes: number;
  /** Of the primed ones; the others are hard links. */
  copiedBytes: number;
  /** Why objects are missing. */
  failure?: string;
}

interface SubmoduleSummary {
  path: string;
  outcome: RestoredMirror['provenance'] | SaveOutcome['result'] | 'left';
  /** Why it is left to the checkout. */
  reason?: string;
  snapshot?: string;
  fallbacks?: readonly string[];
  seconds?: number;
  bytes?: { fromUpstream: number; fromStore: number; toStore: number };
}

interface PhaseSummary {
  name: string;
  seconds: number;
  bytes: number;
  hasFailed: boolean;
}

export const DISABLED: StepSummary = { version: VERSION, step: 'main', outcome: 'disabled' };

export function summarizeMain(
  mirror: RestoredMirror,
  prime: PrimeResult,
  account: Account,
  lfs?: LfsOutcome,
  submodules: readonly SubmoduleResult[] = [],
): StepSummary {
  const { provenance, recloned, packBytes, refs, snapshot, waitedMs, isPrivate, claim } = mirror;
  const { bytes, ...measured } = summarizeAccount(account);
  return {
    ...{ version: VERSION, step: 'main', outcome: provenance, recloned, ...measured },
    bytes: { ...bytes, clone: packBytes },
    refs: refs.length,
    ...(snapshot === undefined ? {} : { snapshot }),
    lock: { waitedSeconds: toSeconds(waitedMs), isPrivate },
    claim,
    prime: summarizePrime(prime),
    ...(lfs === undefined ? {} : { lfs: summarizeLfs(lfs) }),
    ...listOf(submodules.map(summarizeSubmodule)),
  };
}

export function summarizePost(
  { result, job: { account } }: MirrorSave,
  submodules: readonly MirrorSave[],
): StepSummary {
  const head = { version: VERSION, step: 'post', outcome: result.result } as const;
  const summary: StepSummary =
    result.result === 'failed'
      ? summarizeFailed('post', result.error, account)
      : { ...head, ...summarizeAccount(account), ...snapshotOf(result) };
  return { ...summary, ...listOf(submodules.map(summarizeSave)) };
}

function listOf(submodules: readonly SubmoduleSummary[]): Pick<StepSummary, 'submodules'> {
  return submodules.length === 0 ? {} : { submodules };
}

function summarizeSubmodule({ path, mirror, account, reason }: SubmoduleResult): SubmoduleSummary {
  const isLeft = mirror === undefined || reason !== undefined;
  return {
    path,
    outcome: isLeft ? 'left' : mirror.provenance,
    ...(reason === undefined ? {} : { reason }),
    ...(mirror?.snapshot === undefined ? {} : { snapshot: mirror.snapshot }),
    ...(account === undefined ? {} : summarizeShortly(account)),
  };
}

function summarizeSave({ name, result, job }: MirrorSave): SubmoduleSummary {
  const head = { path: name, outcome: result.result };
  return { ...head, ...snapshotOf(result), ...summarizeShortly(job.account) };
}

function summarizeShortly(account: Account) {
  const { fallbacks, bytes } = summarizeAccount(account);
  // Others were at work at the same time.
  return { fallbacks, seconds: toSeconds(account.spanMs), bytes };
}

function snapshotOf(result: SaveOutcome): { snapshot?: string } {
  return 'id' in result ? { snapshot: result.id } : {};
}

/** Of a step that failed; without an account it did not come as far as upstream. */
export function summarizeFailed(
  step: StepSummary['step'],
  error: unknown,
  account: Account | undefined,
): StepSummary {
  const failure = error instanceof MirrorError ? error.code : 'unknown';
  const measured = account === undefined ? {} : summarizeAccount(account);
  return { version: VERSION, step, outcome: 'failed', failure, ...measured };
}

function summarizeAccount(account: Account) {
  return {
    fallbacks: account.fallbacks.map(({ code }) => code),
    seconds: toSeconds(account.elapsedMs),
    phases: account.allPhases.map((phase): PhaseSummary => ({
      name: phase.name,
      seconds: toSeconds(phase.durationMs),
      bytes: phase.bytes ?? 0,
      hasFailed: phase.hasFailed || phase.isStopped,
    })),
    bytes: {
      fromUpstream: account.bytesMoved('from upstream'),
      fromStore: account.bytesMoved('from the store'),
      toStore: account.bytesMoved('to the store'),
    },
  };
}

function summarizePrime(prime: PrimeResult): NonNullable<StepSummary['prime']> {
  if (prime.result !== 'primed') return { result: prime.result, linkedBytes: 0, copiedBytes: 0 };
  const { bytes, copiedBytes } = prime;
  return { result: prime.result, linkedBytes: bytes - copiedBytes, copiedBytes };
}

function summarizeLfs(lfs: LfsOutcome): LfsSummary {
  const { needed, existing, restored, downloaded, missing, primed, failure } = lfs;
  return {
    ...{ objects: needed.objects, bytes: needed.bytes },
    ...{ existingBytes: existing.bytes, restoredBytes: restored.bytes },
    ...{ downloadedObjects: downloaded.objects, downloadedBytes: downloaded.bytes },
    ...{ missingObjects: missing.objects, missingBytes: missing.bytes },
    ...{ primedObjects: primed?.objects ?? 0, primedBytes: primed?.bytes ?? 0 },
    copiedBytes: primed?.copiedBytes ?? 0,
    ...(failure === undefined ? {} : { failure }),
  };
}

function toSeconds(durationMs: number): number {
  return Math.round(durationMs) / 1_000;
}
