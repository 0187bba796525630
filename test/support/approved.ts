import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { expect } from '@jest/globals';

/**
 * Holds a text against the file that somebody has read and approved. UPDATE_APPROVED=1 writes the
 * file instead, to be read in the diff; a file that is not there is never approved.
 */
export function expectApproved(file: string, text: string): void {
  const ended = text.endsWith('\n') ? text : `${text}\n`;
  if (process.env['UPDATE_APPROVED'] === '1') {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, ended);
    return;
  }
  expect({ file, text: ended }).toEqual({ file, text: readApproved(file) });
}

function readApproved(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new Error(`${file} is not there: look at what UPDATE_APPROVED=1 writes`, {
      cause: error,
    });
  }
}

/** What differs from run to run, in the order in which it is replaced by its placeholder. */
export type Placeholders = readonly (readonly [pattern: RegExp | string, placeholder: string])[];

export function fillIn(text: string, placeholders: Placeholders): string {
  return placeholders.reduce(
    (filled, [pattern, placeholder]) => filled.replaceAll(pattern, placeholder),
    text,
  );
}
