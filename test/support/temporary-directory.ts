import { chmod, lstat, mkdtemp, readdir, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface TemporaryDirectories {
  /** A new empty folder; `label` only helps a human who looks at it. */
  create(label?: string): Promise<string>;
  /** For afterEach or afterAll. */
  removeAll(): Promise<void>;
}

/** Folders of one test or suite, to be removed together. */
export function temporaryDirectories(): TemporaryDirectories {
  const made: string[] = [];
  return {
    async create(label = 'test') {
      const directory = await createTemporaryDirectory(label);
      made.push(directory);
      return directory;
    },
    async removeAll() {
      await Promise.all(made.splice(0).map(removeDirectory));
    },
  };
}

/** Its real path, since on macOS the temporary folder lies behind a symbolic link. */
export async function createTemporaryDirectory(label: string): Promise<string> {
  return mkdtemp(join(await realpath(tmpdir()), `mirror-action-${label}-`));
}

/** Removes a folder even if it holds read-only files and folders, as packs and fault tests make. */
export async function removeDirectory(directory: string): Promise<void> {
  // maxRetries: on Windows a process that has just ended may still hold its files.
  const options = { recursive: true, force: true, maxRetries: 5, retryDelay: 100 };
  try {
    await rm(directory, options);
  } catch {
    await makeWritable(directory);
    await rm(directory, options);
  }
}

async function makeWritable(path: string): Promise<void> {
  const status = await lstat(path).catch(() => undefined);
  // Never through a symbolic link: what it points at is not ours.
  if (status === undefined || status.isSymbolicLink()) return;
  await chmod(path, status.isDirectory() ? 0o700 : 0o600);
  if (!status.isDirectory()) return;
  for (const name of await readdir(path)) await makeWritable(join(path, name));
}
