import { fileURLToPath } from 'node:url';
import type { DownloadOptions } from '@actions/cache';
import { runProcess } from '../processes.ts';

export type ToolkitCall =
  | { kind: 'save'; paths: string[]; key: string }
  | {
      kind: 'restore';
      paths: string[];
      key: string;
      restoreKeys?: string[];
      options?: DownloadOptions;
    };

export interface ToolkitResult {
  /**
   * Call by call: of a save the entry's number or -1, of a restore the matched key or null.
   * Undefined where the toolkit threw, or its process came to an end while it still waited.
   */
  results: (number | string | null)[] | undefined;
  exitCode: number | null;
  /** All that the toolkit wrote, workflow commands included. */
  output: string;
}

/** Calls the real toolkit in a process of its own with `directory` as workspace and temp folder. */
export async function callToolkit(
  calls: readonly ToolkitCall[],
  directory: string,
  environment: Record<string, string>,
): Promise<ToolkitResult> {
  const program = fileURLToPath(new URL('toolkit-child.ts', import.meta.url));
  const { exitCode, stdout, stderr } = await runProcess(
    process.execPath,
    [program, JSON.stringify(calls)],
    {
      cwd: directory,
      environment: {
        PATH: process.env['PATH'] ?? '',
        GITHUB_WORKSPACE: directory,
        RUNNER_TEMP: directory,
        ...environment,
      },
    },
  );
  const last = stdout.trimEnd().split('\n').at(-1) ?? '';
  return {
    results: exitCode === 0 ? (JSON.parse(last) as (number | string | null)[]) : undefined,
    exitCode,
    output: stdout + stderr,
  };
}
