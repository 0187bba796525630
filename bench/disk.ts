/** Prepares the disk before a measurement, and reads it afterwards. */
import { createReadStream } from 'node:fs';
import { readdir, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';

/** Reads everything into the page cache, so that no method has an advantage. */
export async function readWhole(path: string): Promise<void> {
  for (const file of await listFiles(path)) {
    await finished(createReadStream(file, { highWaterMark: 1 << 20 }).resume());
  }
}

/** Bytes of all files in a folder and below it. */
export async function countAllBytes(folder: string): Promise<number> {
  const sizes = await Promise.all(
    (await listFiles(folder)).map(async (file) => (await stat(file)).size),
  );
  return sizes.reduce((sum, bytes) => sum + bytes, 0);
}

/** Makes everything there a day older. */
export async function ageByDay(folder: string): Promise<void> {
  for (const name of await readdir(folder, { recursive: true })) {
    const path = join(folder, name);
    const { mtimeMs } = await stat(path);
    const before = (mtimeMs - DAY_MS) / 1_000;
    await utimes(path, before, before);
  }
}

const DAY_MS = 24 * 60 * 60_000;
const LARGE_BYTES = 1 << 20;

/** Small files stay: see Contest. */
export async function removeLargeFiles(folder: string): Promise<void> {
  for (const file of await listFiles(folder)) {
    if ((await stat(file)).size >= LARGE_BYTES) await rm(file, { force: true });
  }
}

async function listFiles(path: string): Promise<string[]> {
  if ((await stat(path)).isFile()) return [path];
  const entries = await readdir(path, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name));
}
