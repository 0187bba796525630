/** Finds a program on PATH, as a shell would. */
import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { delimiter, isAbsolute, join } from 'node:path';

/**
 * The absolute path of a program, or undefined. Folders that cannot be read are skipped, and so are
 * relative ones: the working directory may be the workspace, which holds what a pull request brought.
 */
export async function findExecutable(
  name: string,
  environment: NodeJS.ProcessEnv,
): Promise<string | undefined> {
  const isWindows = process.platform === 'win32';
  const folders = (readVariable(environment, 'PATH') ?? '').split(delimiter);
  const extensions = isWindows ? ['.exe', '.com'] : [''];
  for (const folder of folders.filter(isAbsolute)) {
    for (const extension of extensions) {
      const path = join(folder, name + extension);
      if (await isExecutable(path)) return path;
    }
  }
  return undefined;
}

async function isExecutable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return (await stat(path)).isFile();
  } catch {
    return false;
  }
}

/** Windows has names in any case (`Path`). */
function readVariable(environment: NodeJS.ProcessEnv, name: string): string | undefined {
  const found = Object.entries(environment).find(([each]) => each.toUpperCase() === name);
  return environment[name] ?? found?.[1];
}
