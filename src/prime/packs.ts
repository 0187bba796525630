/** The objects of a primed workspace. */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { linkOrCopy } from '../lib/copy.ts';
import { makeFolder } from '../lib/files.ts';
import { listPackFiles } from '../snapshot/layers.ts';
import { packDirectory } from '../mirror/packs.ts';

export interface TakenPacks {
  /** Of all packs, linked or copied. */
  bytes: number;
  copiedBytes: number;
}

/** Hard-links a mirror's packs, or copies them where the file system has no links between the two. */
export async function takePacks(
  mirror: string,
  gitDirectory: string,
  signal: AbortSignal,
): Promise<TakenPacks> {
  const from = packDirectory(mirror);
  const to = packDirectory(gitDirectory);
  const taken = { bytes: 0, copiedBytes: 0 };
  await makeFolder(to);
  for (const name of await listPackFiles(from)) {
    const source = join(from, name);
    const { size } = await stat(source);
    taken.copiedBytes += await linkOrCopy(source, join(to, name), size, signal);
    taken.bytes += size;
  }
  return taken;
}
