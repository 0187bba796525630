/** Inputs that say which folders the action writes to: the mirror's place and the primed workspace. */
import { resolve } from 'node:path';
import type { PrimeTarget } from '../../prime/prime-workspace.ts';
import type { StoreChoice } from '../../stores/open.ts';
import { findNamesBelow, isWithin, parseAbsolutePath } from './paths.ts';
import {
  hasControlCharacters,
  invalidInput,
  parseBoolean,
  readAs,
  type ReadInput,
} from './reader.ts';
import type { Runner } from './runner.ts';
import type { Address } from './upstream.ts';

/**
 * A mirror is put in place by renaming a folder, and holds nothing but itself: neither the workspace
 * nor the store may lie in it. In the workspace, actions/checkout would delete it.
 */
export function parseMirrorPath(
  read: ReadInput,
  store: StoreChoice,
  { workspace, home }: Runner,
): string | undefined {
  const text = read('mirror-path');
  if (text === '') return undefined;
  const path = parseAbsolutePath('mirror-path', text, home);
  if (isWithin(path, workspace) || isWithin(workspace, path)) {
    const expected = 'a folder outside the workspace that does not contain it';
    throw invalidInput('mirror-path', text, expected);
  }
  if (store.kind === 'disk' && isWithin(store.path, path)) {
    throw invalidInput('mirror-path', text, 'a folder that does not contain `disk-path`');
  }
  return path;
}

/** Undefined for none. `prime: auto` primes what a checkout without inputs, or `path`, asks for. */
export function parseWorkspace(
  read: ReadInput,
  address: Address,
  { workspace, commit }: Runner,
): PrimeTarget | undefined {
  const isAuto = address.isOwn || read('path') !== '';
  const isWanted = readAs(read, 'prime', 'one of: auto, true, false', (text) =>
    text === 'auto' ? isAuto : parseBoolean(text),
  );
  const folder = parseFolder(read('path'), workspace);
  if (!isWanted) return undefined;
  const { checkoutUrl: remoteUrl, isOwn } = address;
  return { folder, remoteUrl, commit: isOwn ? commit : undefined };
}

/** As actions/checkout has it. */
export function parseSubmodules(read: ReadInput): 'none' | 'direct' | 'recursive' {
  return readAs(read, 'submodules', 'one of: false, true, recursive', (text) => {
    if (text === 'recursive') return text;
    const isWanted = parseBoolean(text);
    return isWanted === undefined ? undefined : isWanted ? 'direct' : 'none';
  });
}

function parseFolder(text: string, workspace: string): string {
  const folder = resolve(workspace, text);
  const names = hasControlCharacters(text) ? undefined : findNamesBelow(folder, workspace);
  // Case-insensitive file systems take .GIT for .git.
  if (names === undefined || names.some((name) => name.toLowerCase() === '.git')) {
    throw invalidInput('path', text, 'a folder in the workspace, outside any .git');
  }
  return folder;
}
