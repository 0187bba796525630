/**
 * The phases of a step as a table with a bar for each, drawn in text. Pure.
 *
 * Not as a Mermaid gantt chart: that draws nothing of a phase of milliseconds, puts labels over each
 * other where phases are short, loads in a frame of its own, and shows its source in mails, in apps
 * and on servers that are not GitHub. Not as HTML: GitHub takes styles out of it, so that a bar has
 * no width. Characters in a code span have the same width everywhere.
 */
import type { Phase } from '../../job/account.ts';
import { formatBytes } from '../../lib/bytes.ts';
import { formatDuration } from '../../lib/durations.ts';

/** With the other columns, as many as fit into the 900 pixels of a summary on one line. */
const BAR_CELLS = 40;

const FULL = '█';
const THIN = '▏';
/** Spaces of a code span are joined or cut where they stand first and last. */
const EMPTY = '\u00a0';

/** Rows of Markdown, without a line for nothing. */
export function drawTimeline(phases: readonly Phase[]): string[] {
  const totalMs = Math.max(...phases.map(({ startedMs, durationMs }) => startedMs + durationMs));
  return [
    `| Phase | Time | Bytes | 0 to ${formatDuration(totalMs)} |`,
    '| :-- | --: | :-- | :-- |',
    ...phases.map((phase) => {
      const bar = drawBar(phase.startedMs, phase.durationMs, totalMs);
      return `| ${phase.label} | ${formatDuration(phase.durationMs)} | ${describeBytes(phase)} | \`${bar}\` |`;
    }),
  ];
}

function describeBytes({ end, bytes = 0, direction }: Phase): string {
  if (end === 'stopped') return end;
  if (end === 'failed') return '**failed**';
  return bytes === 0 ? '' : `${formatBytes(bytes)} ${direction ?? ''}`;
}

/** BAR_CELLS characters; a very short phase is a thin line. */
export function drawBar(startMs: number, durationMs: number, totalMs: number): string {
  const cellsPerMs = totalMs > 0 ? BAR_CELLS / totalMs : 0;
  const first = Math.min(BAR_CELLS - 1, Math.round(startMs * cellsPerMs));
  const length = Math.min(BAR_CELLS - first, durationMs * cellsPerMs);
  const bar = FULL.repeat(Math.round(length)) || THIN;
  return (EMPTY.repeat(first) + bar).padEnd(BAR_CELLS, EMPTY);
}
