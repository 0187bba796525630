/** What a piece of work costs: time, processor time, memory, and bytes by where they went. */
import { readFileSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import type { RunningStep, StepResult } from '../test/support/running-step.ts';
import { median } from './measure.ts';
import { peakMemory } from './peak-memory.ts';

export interface Cost {
  ms: number;
  /** Of this process and of its children that have ended; NaN if the system doesn't report it. */
  cpuMs: number;
  upstreamBytes: number;
  /** Read from or written to a store or an archive. */
  storeBytes: number;
  /** Peak of the action's own process. */
  peakBytes: number;
  /** Milliseconds by the phases' names in the log. */
  phases: Readonly<Record<string, number>>;
}

/** The costs that the work itself measures. */
export type Known = Partial<Pick<Cost, 'ms' | 'storeBytes' | 'peakBytes' | 'phases'>>;

export async function costOf(
  bytesSent: () => Promise<number>,
  work: () => Promise<Known>,
): Promise<Cost> {
  const bytesBefore = await bytesSent();
  const cpuBefore = cpuTime();
  const startedAt = performance.now();
  const known = await work();
  const ms = performance.now() - startedAt;
  const cpuMs = cpuTime() - cpuBefore;
  const upstreamBytes = (await bytesSent()) - bytesBefore;
  return { storeBytes: 0, peakBytes: 0, phases: {}, ms, ...known, cpuMs, upstreamBytes };
}

export function medianOf(
  costs: readonly Cost[],
  figure: Exclude<keyof Cost, 'phases'> = 'ms',
): number {
  return median(costs.map((cost) => cost[figure]));
}

/** Runs a step of the action, which must succeed. */
export async function runStep(step: RunningStep): Promise<Known & { result: StepResult }> {
  const { bytes, result } = await peakMemory(step);
  const phases = Object.fromEntries(
    [...result.log.matchAll(PHASE)].map(([, name = '', time = '']) => [name, parseTime(time)]),
  );
  const stored = [...result.log.matchAll(STORED)];
  const storeBytes = stored.reduce((sum, [, number, unit = '']) => {
    return sum + Number(number) * (UNITS[unit] ?? NaN);
  }, 0);
  return { peakBytes: bytes, phases, storeBytes, result };
}

const PHASE = /^([A-Z][A-Za-z-]+): (\d+ ms|[\d.]+ s|\d+ min \d+ s)(?:,|$)/gm;
const STORED = /^(?:Restore|Save): [^,]+, ([\d.]+) (B|KiB|MiB|GiB)/gm;
const UNITS: Readonly<Record<string, number>> = { B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 };

function parseTime(text: string): number {
  const [, minutes = '0', seconds = text] = /^(\d+) min (\d+ s)$/.exec(text) ?? [];
  const ms = parseFloat(seconds) * (seconds.endsWith(' ms') ? 1 : 1_000);
  return ms + Number(minutes) * 60_000;
}

const TICK_MS = 10;

/** Linux: the kernel adds the time of children that ended to the process that waited for them. */
function cpuTime(): number {
  const { user, system } = process.cpuUsage();
  let children = NaN;
  try {
    const fields = readFileSync('/proc/self/stat', 'latin1')
      .replace(/^.*\) /s, '')
      .split(' ');
    children = (Number(fields[13]) + Number(fields[14])) * TICK_MS;
  } catch {
    // Another system.
  }
  return (user + system) / 1_000 + children;
}
