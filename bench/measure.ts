/** Shared by the benchmarks: folders of their own, medians, tables in Markdown. */
import { cpus } from 'node:os';
import { performance } from 'node:perf_hooks';
import { createTemporaryDirectory, removeDirectory } from '../test/support/temporary-directory.ts';

/** One measurement in a folder of its own, which is then removed. */
export async function inFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await createTemporaryDirectory('bench');
  try {
    return await work(folder);
  } finally {
    await removeDirectory(folder);
  }
}

/** Milliseconds that the work took. */
export async function time(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await work();
  return performance.now() - startedAt;
}

export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;
}

export const TABLE_HEADER = '| method | median, s | range, s | ratio |\n|---|---|---|---|';

/** A row of the table: times in milliseconds, and their median as a ratio to `base`. */
export function row(name: string, values: readonly number[], base: number): string {
  const seconds = (ms: number) => (ms / 1_000).toFixed(ms < 1_000 ? 3 : 1);
  const range = `${seconds(Math.min(...values))} to ${seconds(Math.max(...values))}`;
  const ratio = (median(values) / base).toFixed(2);
  return `| ${name} | ${seconds(median(values))} | ${range} | ${ratio} |`;
}

export function describeMachine(): string {
  return `${String(cpus().length)} cores (${cpus()[0]?.model ?? ''}), Node ${process.version}`;
}
