import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { LayerFiles } from '../../src/stores/store.ts';

/** Files by name. */
export type Contents = Record<string, string | Uint8Array>;

/** Writes files into a folder, made if need be, and declares them as a layer. */
export async function writeLayer(
  directory: string,
  name: string,
  contents: Contents,
): Promise<LayerFiles> {
  await mkdir(directory, { recursive: true });
  for (const [file, content] of Object.entries(contents)) {
    await writeFile(join(directory, file), content);
  }
  return declareLayer(name, contents);
}

export function declareLayer(name: string, contents: Contents): LayerFiles {
  const files = Object.entries(contents).map(([file, content]) => ({
    name: file,
    bytes: Buffer.byteLength(content),
  }));
  return { name, files };
}

/** What a folder holds, in short: equal if and only if the contents are. */
export async function describeFolder(directory: string): Promise<Record<string, string>> {
  const contents: Contents = {};
  for (const name of await readdir(directory)) {
    contents[name] = await readFile(join(directory, name));
  }
  return describeContents(contents);
}

/** As `describeFolder`, of what a folder should hold. */
export function describeContents(contents: Contents): Record<string, string> {
  const described = Object.entries(contents).map(([name, content]) => {
    const bytes = Buffer.from(content);
    if (bytes.length < 100) return [name, bytes.toString('latin1')];
    const digest = createHash('sha256').update(bytes).digest('hex');
    return [name, `${bytes.length} bytes, ${digest}`];
  });
  return Object.fromEntries(described) as Record<string, string>;
}
