/** Whether a repository should adopt the action, from one run of each method. Pure. */
import { formatBytes } from '../../src/lib/bytes.ts';
import { formatDuration } from '../../src/lib/durations.ts';

/** What one method costs. */
export interface Run {
  /** Until all files are in the workspace. */
  ms: number;
  /** Of the post step. */
  postMs?: number;
  /** Of packs and objects that upstream sent. */
  bytes: number;
}

export interface Comparison {
  /** actions/checkout alone. */
  deep: Run;
  shallow: Run;
  /** mirror-action and actions/checkout with full history. */
  cold: Run;
  warm: Run;
}

const NAMES: readonly [keyof Comparison, string][] = [
  ['deep', 'actions/checkout, fetch-depth: 0'],
  ['shallow', 'actions/checkout, fetch-depth: 1 (no history)'],
  ['cold', 'mirror-action, cold: the first job clones and saves'],
  ['warm', 'mirror-action, warm: every later job'],
];

/** A table that is Markdown and can be read in a terminal. */
export function drawComparison(comparison: Comparison): string {
  const rows = NAMES.map(([key, name]) => {
    const { ms, postMs, bytes } = comparison[key];
    const post = postMs === undefined ? '' : formatDuration(postMs);
    return [name, formatDuration(ms), post, formatBytes(bytes)];
  });
  const head = ['to a checked-out tree', 'time', 'at the end of the job', 'from upstream'];
  const widths = head.map((title, column) =>
    Math.max(...[head, ...rows].map((row) => (row[column] ?? title).length)),
  );
  const draw = (cells: readonly string[]) =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`;
  const rule = widths.map((width) => '-'.repeat(width));
  return [head, rule, ...rows].map(draw).join('\n');
}

/** A smaller gain is not worth another step in a workflow. */
const LEAST_GAIN_MS = 500;
const LEAST_GAIN = 0.2;

/** Sentences, the verdict first. */
export function judge({ deep, shallow, cold, warm }: Comparison): string[] {
  const gainMs = deep.ms - warm.ms;
  const times = `${formatDuration(warm.ms)} instead of ${formatDuration(deep.ms)}`;
  const bytes = `upstream sends ${formatBytes(warm.bytes)} instead of ${formatBytes(deep.bytes)}`;
  const isWorthIt = gainMs >= LEAST_GAIN_MS && gainMs >= LEAST_GAIN * deep.ms;
  return [
    isWorthIt
      ? `Worth it where jobs use fetch-depth: 0: ${times}, and ${bytes}.`
      : `Not worth it for its time: ${times}. (For each job ${bytes}.)`,
    warm.ms < shallow.ms
      ? `A warm job is also faster than fetch-depth: 1, which takes ${formatDuration(shallow.ms)}.`
      : `Where jobs need no history, keep fetch-depth: 1, which takes ${formatDuration(shallow.ms)}.`,
    ...(isWorthIt ? [describeFirstJob(deep, cold, gainMs)] : []),
  ];
}

function describeFirstJob(deep: Run, cold: Run, gainMs: number): string {
  const lossMs = cold.ms + (cold.postMs ?? 0) - deep.ms;
  if (lossMs < LEAST_GAIN_MS) return 'The first job costs nothing more.';
  const jobs = Math.ceil(lossMs / gainMs);
  return `The first job takes ${formatDuration(lossMs)} longer. ${String(jobs)} warm job${jobs === 1 ? ' makes' : 's make'} up for that.`;
}
