/**
 * What must hold after every step, whatever went wrong:
 *
 * 1. A mirror that main hands on is what upstream has, or had while the job ran; else main fails.
 * 2. What a job publishes is whole: its layers are as the manifest says, git finds every object, and
 *    its refs are some that upstream had at one time. What is published under a number never changes.
 * 3. The token is nowhere.
 * 4. No step takes longer than its deadline.
 * 5. Nothing outside the folders of the action changes.
 */
import { createHash } from 'node:crypto';
import { copyFile, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ChunkDigester } from '../../src/snapshot/chunks.ts';
import { LayerCheck } from '../../src/snapshot/layer-check.ts';
import { parseManifest } from '../../src/snapshot/manifest.ts';
import { listManifests, listRefs, type StoredFile } from '../jobs/scenarios/scenario.ts';
import { git } from '../support/git.ts';
import { createTemporaryDirectory, removeDirectory } from '../support/temporary-directory.ts';

export class Violation extends Error {
  constructor(invariant: 1 | 2 | 3 | 4 | 5, what: string, options: { cause?: unknown } = {}) {
    super(`invariant ${String(invariant)}: ${what}`, options);
    this.name = 'Violation';
  }
}

/** Refs with peeled tags, and what HEAD names; one text for a state of a repository. */
export async function stateOf(repository: string): Promise<string> {
  const head = await readFile(join(repository, 'HEAD'), 'utf8');
  return [head.trim(), ...(await listRefs(repository))].join('\n');
}

/** The files of HEAD, as an archive of them. */
export async function digestFiles(repository: string): Promise<string> {
  const archive = await git(repository, [`--git-dir=${repository}`, 'archive', 'HEAD']);
  return createHash('sha256').update(archive).digest('hex');
}

/** What a store holds under its numbers: digests of manifests. */
export async function readNumbers(store: string): Promise<Map<number, string>> {
  const numbers = new Map<number, string>();
  for (const { number, file } of await listManifests(store)) {
    numbers.set(
      number,
      createHash('sha256')
        .update(await readFile(file))
        .digest('hex'),
    );
  }
  return numbers;
}

/**
 * Throws unless a snapshot is sound by itself; gives the state that it is of. `isDamaged` tells of
 * layers that were damaged on purpose, and are not compared with their description.
 */
export async function checkSnapshot(
  { folder, file, number }: StoredFile,
  isDamaged: (layer: string) => boolean,
): Promise<string | undefined> {
  const manifest = await parseManifest(await readFile(file), number);
  if (manifest.kind !== 'repository') return undefined;
  const { layers, refs, head, objectFormat } = manifest;
  const scratch = await createTemporaryDirectory('snapshot');
  try {
    await layOutBare(scratch, objectFormat);
    for (const layer of layers) {
      const stored = join(folder, 'layers', layer.name);
      if (isDamaged(layer.name)) continue;
      const check = new LayerCheck(stored, layer, new ChunkDigester(new AbortController().signal));
      await check.finish(objectFormat).finally(() => check.end());
      for (const name of await readdir(stored)) {
        await copyFile(join(stored, name), join(scratch, 'objects', 'pack', name));
      }
    }
    const lines = refs.map(({ name, oid }) => `${oid} ${name}\n`);
    await writeFile(join(scratch, 'packed-refs'), lines.join(''), 'latin1');
    const target = head === undefined ? undefined : 'ref' in head ? `ref: ${head.ref}` : head.oid;
    await writeFile(join(scratch, 'HEAD'), `${target ?? 'ref: refs/heads/none'}\n`, 'latin1');
    const options = [`--git-dir=${scratch}`, 'fsck', '--full', '--strict', '--no-progress'];
    if (!layers.some(({ name }) => isDamaged(name))) await git(scratch, options);
    return layers.some(({ name }) => isDamaged(name)) ? undefined : await stateOf(scratch);
  } finally {
    await removeDirectory(scratch);
  }
}

async function layOutBare(directory: string, objectFormat: string): Promise<void> {
  await mkdir(join(directory, 'objects', 'pack'), { recursive: true });
  await mkdir(join(directory, 'refs'), { recursive: true });
  const isSha1 = objectFormat === 'sha1';
  const format = isSha1 ? '' : `[extensions]\n\tobjectformat = ${objectFormat}\n`;
  const version = isSha1 ? 0 : 1;
  await writeFile(
    join(directory, 'config'),
    `[core]\n\tbare = true\n\trepositoryformatversion = ${String(version)}\n${format}`,
  );
}

/** Files below a folder that hold the token. */
export async function filesThatTell(folder: string, token: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const spellings = [token, Buffer.from(`x-access-token:${token}`).toString('base64')];
  const telling: string[] = [];
  for (const entry of entries.filter((each) => each.isFile())) {
    const path = join(entry.parentPath, entry.name);
    // Lock files of jobs that run may go while they are read.
    const content = await readFile(path).catch(() => Buffer.alloc(0));
    if (spellings.some((spelling) => content.includes(spelling))) telling.push(path);
  }
  return telling;
}
