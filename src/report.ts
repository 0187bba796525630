/** The only writer of outputs, job summary, masks and the step's outcome. */
import { info, setFailed, setOutput, setSecret, summary, warning } from '@actions/core';
import { formatDuration } from './durations.ts';
import { describeError } from './errors.ts';
import { basicCredential } from './git/environment.ts';
import type { Account, Job } from './job.ts';
import type { RestoredMirror } from './restore-mirror.ts';
import type { SaveResult } from './save-snapshot.ts';

/** Keeps a token out of the log, raw and as HTTP sends it. */
export function maskToken(token: string): void {
  if (token === '') return;
  setSecret(token);
  setSecret(basicCredential(token));
}

export function reportOutputs(mirror: RestoredMirror): void {
  setOutput('mirror-path', mirror.path);
  setOutput('provenance', mirror.provenance);
  setOutput('cache-hit', mirror.provenance === 'restored');
  setOutput('recloned', mirror.recloned);
  setOutput('snapshot', mirror.snapshot ?? '');
  setOutput('head', mirror.head?.oid ?? '');
  setOutput('refs-digest', mirror.refsDigest);
}

/** What people see of main: the log's last lines and the job summary. */
export async function reportMirror(mirror: RestoredMirror, job: Job): Promise<void> {
  const { url } = job.upstream.access;
  const outcome = describeOutcome(mirror);
  info(`${outcome}: ${url} at ${mirror.path}`);
  await writeSummary(`Mirror of ${url}`, job.account, [
    ['Mirror', outcome],
    ['Refs', String(mirror.refCount)],
    ['HEAD', describeHead(mirror)],
    ['Lock on this machine', describeLock(mirror)],
  ]);
}

/** What people see where main failed, as far as it came. */
export async function reportFailure(error: unknown, job: Job | undefined): Promise<void> {
  const cause = describeError(error);
  setFailed(cause);
  if (job === undefined) return;
  const { url } = job.upstream.access;
  await writeSummary(`Mirror of ${url}: failed`, job.account, [['Cause', cause]]);
}

/** What people see of post: one line that says why it saved or did not. */
export async function reportSave(result: SaveResult, { account, upstream }: Job): Promise<void> {
  const line = describeSave(result);
  if (result.result === 'corrupt') warning(line);
  else info(line);
  await writeSummary(`Snapshot of ${upstream.access.url}`, account, [['Post', line]]);
}

/** Post's line where it could not begin or failed: a warning with its cause, never a failed job. */
export async function reportNotSaved(cause: unknown, job: Job | undefined): Promise<void> {
  const line = `Nothing saved: ${describeError(cause)}`;
  warning(line);
  if (job === undefined) return;
  await writeSummary(`Snapshot of ${job.upstream.access.url}`, job.account, [['Post', line]]);
}

/** Post's line where main left nothing to save. */
export function reportNothingToSave(): void {
  info('Nothing saved: the fetch did not succeed');
}

/** One line: why post saved or did not. */
export function describeSave(result: SaveResult): string {
  switch (result.result) {
    case 'published':
      return `Saved snapshot ${result.id} (${formatBytes(result.bytes)})`;
    case 'unchanged':
      return `Nothing saved: nothing changed since snapshot ${result.id}`;
    case 'superseded':
      return `Nothing saved: another job saved snapshot ${String(result.number)} meanwhile`;
    case 'skipped':
      return `Nothing saved: ${result.reason}`;
    case 'corrupt':
      return `Nothing saved, and the mirror was deleted: ${result.reason}`;
  }
}

function describeOutcome({ provenance, recloned, snapshot }: RestoredMirror): string {
  switch (provenance) {
    case 'existing':
      return 'Updated the mirror on this machine';
    case 'restored':
      return `Restored snapshot ${String(snapshot)} and updated it`;
    case 'cloned':
      return recloned ? 'Cloned afresh, after a failure' : 'Cloned: no snapshot was used';
  }
}

function describeHead({ head }: RestoredMirror): string {
  if (head === undefined) return 'none';
  // Names are byte strings inside (see mirror/refspecs.ts); people read UTF-8.
  const name = 'ref' in head ? Buffer.from(head.ref, 'latin1').toString('utf8') : 'detached';
  return `${name} at ${head.oid}`;
}

function describeLock({ isPrivate, waitedMs }: RestoredMirror): string {
  if (isPrivate) return 'not had: this job made a mirror of its own';
  return waitedMs < 1 ? 'free' : `waited ${formatDuration(waitedMs)} for another job`;
}

/** Bytes for people, in powers of 1024. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? String(value) : value.toFixed(1)} ${units[unit] ?? ''}`;
}

async function writeSummary(
  heading: string,
  { phases, fallbacks }: Account,
  facts: [string, string][],
): Promise<void> {
  // Outside Actions, and where the runner has none, there is no file to write to.
  if ((process.env['GITHUB_STEP_SUMMARY'] ?? '') === '') return;
  summary
    .addHeading(heading, 3)
    .addTable(facts.map(([name, value]) => [escape(name), escape(value)]));
  if (phases.length > 0) {
    const header = ['Phase', 'Time', 'Bytes'].map((data) => ({ data, header: true }));
    const rows = phases.map(({ name, durationMs, bytes }) => [
      name,
      formatDuration(durationMs),
      bytes === undefined ? '' : formatBytes(bytes),
    ]);
    summary.addTable([header, ...rows]);
  }
  if (fallbacks.length > 0) {
    summary.addRaw('What went wrong on the way:', true).addList(fallbacks.map(escape));
  }
  try {
    await summary.write();
  } catch (error) {
    // The step has done its work; that nobody can read about it does not undo that.
    warning(`The job summary could not be written: ${describeError(error)}`);
  }
}

/** The summary is HTML, and messages hold what servers sent. */
function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
