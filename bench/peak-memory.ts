import { readFileSync } from 'node:fs';
import type { RunningStep, StepResult } from '../test/support/running-step.ts';

/**
 * Peak resident memory of a step's own process, without git's, in bytes (Linux: VmHWM). It is read every few
 * milliseconds, because it disappears with the process. Throws if the step fails.
 */
export async function peakMemory(
  step: RunningStep,
): Promise<{ bytes: number; result: StepResult }> {
  let bytes = 0;
  const reading = setInterval(() => {
    bytes = Math.max(bytes, peakOf(step.pid) ?? 0);
  }, 10);
  const result = await step.finished.finally(() => {
    clearInterval(reading);
  });
  if (result.exitCode !== 0) throw new Error(`the step failed: ${result.log}`);
  return { bytes, result };
}

function peakOf(pid: number): number | undefined {
  try {
    const [, kib] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
    return kib === undefined ? undefined : Number(kib) * 1024;
  } catch {
    return undefined; // it has ended
  }
}
