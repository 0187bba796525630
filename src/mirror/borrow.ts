/** A temporary repository that borrows a mirror's objects, for what must not be written into the mirror. */
import { copyFile, mkdtemp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { removeTree } from '../lib/files.ts';
import { SHALLOW_FILE, layOut } from './directory.ts';
import type { Depth, ObjectFormat } from './refs.ts';

/**
 * Makes a repository in `folder` that has the objects of the mirror at `path`, and its limit of history. The caller removes
 * it before the mirror's lock is released.
 */
export async function borrowObjects(
  path: string,
  objectFormat: ObjectFormat,
  depth: Depth,
  folder: string,
): Promise<string> {
  const gitDirectory = await mkdtemp(join(folder, 'commit-'));
  try {
    await layOut(gitDirectory, objectFormat, depth);
    const objects = join(path, 'objects').replaceAll('\\', '/');
    await writeFile(join(gitDirectory, 'objects', 'info', 'alternates'), `${objects}\n`);
    // git would look for the parents of commits that have none here.
    if (depth === 'tip') {
      await copyFile(join(path, SHALLOW_FILE), join(gitDirectory, SHALLOW_FILE));
    }
    return gitDirectory;
  } catch (error) {
    await removeTree(gitDirectory);
    throw error;
  }
}
