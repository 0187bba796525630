/** Paths in inputs, and how they relate to each other. */
import { realpathSync } from 'node:fs';
import { basename, dirname, isAbsolute, join, relative, resolve, sep } from 'node:path';
import { hasControlCharacters, invalidInput, type InputName } from './reader.ts';

/** An absolute path. `~` is the user's home, and nothing else in the text is expanded. */
export function parseAbsolutePath(name: InputName, text: string, home: string | undefined): string {
  const expected = 'an absolute path, or one that begins with ~/';
  if (hasControlCharacters(text)) {
    throw invalidInput(name, text, `${expected}, without control characters`);
  }
  if (/\$\{?[A-Za-z_]/.test(text)) {
    throw invalidInput(name, text, `${expected}; variables are not expanded`);
  }
  const isInHome = text === '~' || text.startsWith('~/') || text.startsWith(`~${sep}`);
  if (isInHome && home === undefined) {
    throw invalidInput(name, text, 'an absolute path, because this user has no home folder');
  }
  const path = isInHome ? `${home ?? ''}${text.slice(1)}` : text;
  if (!isAbsolute(path)) throw invalidInput(name, text, expected);
  return resolve(path);
}

/** Whether a path is a folder or lies in it, either as written or after following links. */
export function isWithin(path: string, folder: string): boolean {
  return isBelow(path, folder) || isBelow(followLinks(path), followLinks(folder));
}

/** The names that lead from a folder to a path that is within it both ways, else undefined. */
export function findNamesBelow(path: string, folder: string): string[] | undefined {
  const [realPath, realFolder] = [followLinks(path), followLinks(folder)];
  if (!isBelow(path, folder) || !isBelow(realPath, realFolder)) return undefined;
  return relative(realFolder, realPath).split(sep);
}

function isBelow(path: string, folder: string): boolean {
  const names = relative(folder, path);
  return names !== '..' && !names.startsWith(`..${sep}`) && !isAbsolute(names);
}

/** The real path of the part that exists, in the case that the disk has it in, followed by the rest as written. */
function followLinks(path: string): string {
  try {
    // Node's own implementation keeps the case as written, which macOS ignores.
    return realpathSync.native(path);
  } catch {
    const parent = dirname(path);
    return parent === path ? path : join(followLinks(parent), basename(path));
  }
}
