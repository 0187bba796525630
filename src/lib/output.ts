/** What a child process prints, within bounded memory. */
import type { ChildProcess } from 'node:child_process';

export interface OutputOptions {
  /** Gets stdout as it comes; it is not collected then, and has no limit. */
  onOutput?: (chunk: Buffer) => void;
  /** Called with each line of stderr as it comes; progress lines end in a carriage return. */
  onErrorLine?: (line: string, isProgress: boolean) => void;
}

/** 120,000 refs are 8 MB; what sends more than this is not a repository's list of refs. */
const STDOUT_BYTES = 256 * 1024 * 1024;
export const STDERR_BYTES = 64 * 1024;

export function collectOutput(
  child: ChildProcess,
  { onOutput }: OutputOptions,
  onOverflow: () => void,
): Buffer[] {
  const chunks: Buffer[] = [];
  if (onOutput !== undefined) {
    child.stdout?.on('data', onOutput);
    return chunks;
  }
  let bytes = 0;
  child.stdout?.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes <= STDOUT_BYTES) chunks.push(chunk);
    else onOverflow();
  });
  return chunks;
}

export function collectLines(child: ChildProcess, { onErrorLine }: OutputOptions): () => string {
  let kept = '';
  let partial = '';
  const take = (piece: string) => {
    const isProgress = piece.endsWith('\r');
    if (!isProgress) kept += piece;
    // Cut seldom: every cut is a copy.
    if (kept.length > 2 * STDERR_BYTES) kept = kept.slice(-STDERR_BYTES);
    const line = piece.trimEnd();
    if (line !== '') onErrorLine?.(line, isProgress);
  };
  child.stderr?.setEncoding('utf8');
  child.stderr?.on('data', (text: string) => {
    partial += text;
    // ssh ends lines with both (git fact 18), so a carriage return at the end may be the first half.
    const pieces = partial.split(/(?<=\n|\r(?!\n|$))/);
    partial = partial.endsWith('\n') ? '' : (pieces.pop() ?? '').slice(-STDERR_BYTES);
    pieces.forEach(take);
  });
  child.stderr?.once('end', () => {
    // The last line need not have an end.
    take(partial);
    partial = '';
  });
  return () => (kept + partial).slice(-STDERR_BYTES);
}
