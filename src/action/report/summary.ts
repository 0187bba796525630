/** The sections of the job summary, in Markdown. Pure. */
import type { Account } from '../../job/account.ts';
import { formatBytes } from '../../lib/bytes.ts';
import { formatDuration } from '../../lib/durations.ts';
import type { Job } from '../../job/job.ts';
import type { RestoredMirror } from '../../restore/session.ts';
import type { SubmoduleResult } from '../../submodules/restore-submodules.ts';
import { adviseOn, describeFailure } from './advice.ts';
import { toCode, toMarkdown } from './markdown.ts';
import {
  describeClaim,
  describeHead,
  describeLfs,
  describeLock,
  describeMirror,
  describePrime,
  describeSave,
  describeState,
  describeStores,
  explainClone,
  nameOf,
  type MainOutcome,
  type MirrorSave,
} from './outcome.ts';
import { drawTimeline } from './timeline.ts';

/** Of main, where the mirror is up to date. */
export function summarizeMirror({ job, mirror, prime, lfs, submodules }: MainOutcome): string {
  const { account } = job;
  const { url } = mirror.identity.spec;
  const claim = describeClaim(mirror);
  const explanation = explainClone(mirror, job);
  // A clone is what this action is there to avoid: one in every run must look wrong.
  const isWrong = mirror.provenance === 'cloned' || account.fallbacks.length > 0;
  return join(
    heading('Mirror', url, describeState(mirror), isWrong ? WARNED : ''),
    [`**${toMarkdown(describeMirror(mirror, job))}.**`],
    explanation === undefined ? [] : [toMarkdown(explanation)],
    listFallbacks(account),
    listPhases(account),
    listSubmodules(submodules),
    listDetails({
      Upstream: toCode(url),
      HEAD: toMarkdown(describeHead(mirror)),
      Refs: describeRefs(mirror),
      Snapshot: mirror.snapshot,
      Store: toMarkdown(describeStores(job)),
      Mirror: toCode(mirror.path),
      Lock: toMarkdown(describeLock(mirror)),
      Claim: claim && toMarkdown(claim),
      Workspace: toMarkdown(describePrime(prime)),
      LFS: lfs && toMarkdown(describeLfs(lfs)),
    }),
  );
}

function describeRefs({ refs, identity }: RestoredMirror): string {
  const count = String(refs.length);
  return identity.spec.depth === 'full' ? count : `${count}, without history`;
}

function listSubmodules(submodules: readonly SubmoduleResult[]): string[] {
  if (submodules.length === 0) return [];
  const rows = submodules.map(({ path, mirror, account, reason }) => {
    const state = mirror === undefined ? [] : [describeState(mirror)];
    const left = reason === undefined ? [] : [`left to actions/checkout, because it ${reason}`];
    const measured =
      account === undefined
        ? ['', '', '']
        : [
            formatBytes(account.bytesMoved('from upstream')),
            formatBytes(account.bytesMoved('from the store')),
            formatDuration(account.spanMs),
          ];
    return [toCode(path), toMarkdown([...state, ...left].join('; ')), ...measured];
  });
  return table(['Submodule', 'Mirror', 'From upstream', 'From the store', 'Time'], rows);
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => ':--')), ...rows.map(line)];
}

/** Of main, where it failed; without a job it did not come as far as upstream. */
export function summarizeFailure(
  error: unknown,
  job: Job | undefined,
  url: string | undefined,
): string {
  const advice = adviseOn(error);
  return join(
    heading('Mirror', url, 'failed', FAILED),
    [`> ${toMarkdown(describeFailure(error))}`],
    [advice === undefined ? GO_ON : `**What to do:** ${toMarkdown(advice)} ${GO_ON}`],
    ...(job === undefined || url === undefined
      ? []
      : [
          listFallbacks(job.account),
          listPhases(job.account),
          listDetails({ Upstream: toCode(url), Store: toMarkdown(describeStores(job)) }),
        ]),
  );
}

/** Of post. */
export function summarizeSaves(
  { url, job, result }: MirrorSave,
  submodules: readonly MirrorSave[],
): string {
  const { account } = job;
  const isPublished = result.result === 'published';
  const isBad = ['corrupt', 'refused', 'failed'].includes(result.result);
  const mark = isBad || account.fallbacks.length > 0 ? WARNED : '';
  const state = isPublished ? 'saved' : result.result === 'unchanged' ? 'unchanged' : 'not saved';
  const where = isPublished ? `, to ${toMarkdown(job.store?.location ?? '')}` : '';
  const time = `in ${formatDuration(account.spanMs)}`;
  const verdict = toMarkdown(describeSave(result));
  return join(
    heading('Snapshot', url, state, mark),
    [result.result === 'failed' ? `> ${verdict}` : `**${verdict}**${where}, ${time}.`],
    listFallbacks(account),
    fold('Phases', listPhases(account)),
    submodules.length === 0 ? [] : table(['Submodule', 'Snapshot', 'Time'], rowsOf(submodules)),
  );
}

/** Of LFS objects that post saved, below the section of the mirror. */
export function summarizeLfsSave(line: string): string {
  return join([`LFS objects: ${toMarkdown(line)}.`]);
}

function rowsOf(submodules: readonly MirrorSave[]): string[][] {
  return submodules.map(({ name, result, job }) => [
    toCode(name),
    toMarkdown(describeSave(result)),
    formatDuration(job.account.spanMs),
  ]);
}

const WARNED = '⚠️ ';
const FAILED = '❌ ';

const GO_ON =
  'With <code>continue-on-error: true</code> on this step the job continues without a mirror, and actions/checkout fetches everything itself.';

function heading(what: string, url: string | undefined, state: string, mark: string): string[] {
  const of = url === undefined ? '' : ` of ${toMarkdown(nameOf(url))}`;
  return [`### ${mark}${what}${of}: ${state}`];
}

/** Parts with an empty line between them; parts without lines are left out. */
function join(...parts: readonly (readonly string[])[]): string {
  return parts
    .filter((lines) => lines.length > 0)
    .map((lines) => `${lines.join('\n')}\n`)
    .join('\n');
}

function listFallbacks({ fallbacks }: Account): string[] {
  if (fallbacks.length === 0) return [];
  return [
    'What went wrong and was worked around:',
    '',
    ...fallbacks.map(({ reason }) => `- ${toMarkdown(reason)}`),
  ];
}

function listPhases({ phases }: Account): string[] {
  return phases.length === 0 ? [] : drawTimeline(phases);
}

function fold(title: string, lines: readonly string[]): string[] {
  if (lines.length === 0) return [];
  return [`<details><summary>${title}</summary>`, '', ...lines, '', '</details>'];
}

/** What few people look for. Undefined values are left out. */
function listDetails(facts: Record<string, string | undefined>): string[] {
  const known = Object.entries(facts).filter(([, value]) => value !== undefined);
  return fold(
    'Details',
    known.map(([name, value]) => `- **${name}:** ${String(value)}`),
  );
}
