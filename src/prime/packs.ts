/** The objects of a primed workspace. */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { linkOrCopy } from '../lib/copy.ts';
import { makeFolder } from '../lib/files.ts';
import { listPackFiles, packDirectory } from '../mirror/packs.ts';

export interface TakenPacks {
  /** Of all packs, linked or copied. */
  bytes: number;
  copiedBytes: number;
}

/** Hard-links the packs of repositories, or copies them where the file system has no links between the two. */
export async function takePacks(
  repositories: readonly string[],
  gitDirectory: string,
  signal: AbortSignal,
): Promise<TakenPacks> {
  const to = packDirectory(gitDirectory);
  const taken = { bytes: 0, copiedBytes: 0 };
  await makeFolder(to);
  for (const from of repositories.map(packDirectory)) {
    for (const name of await listPackFiles(from)) {
      const source = join(from, name);
      const { size } = await stat(source);
      taken.copiedBytes += await linkOrCopy(source, join(to, name), size, signal);
      taken.bytes += size;
    }
  }
  return taken;
}
