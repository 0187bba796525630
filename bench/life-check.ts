/** Whether a snapshot in a disk store equals upstream: by its files alone, without the action. */
import { link, mkdir, readdir, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Snapshot } from '../src/snapshot/manifest.ts';
import { PackIndex } from '../src/mirror/pack-index.ts';
import { git, tryGit } from '../test/support/git.ts';
import { removeDirectory } from '../test/support/temporary-directory.ts';
import { describeRefs } from './history.ts';

/** Links the layers of a snapshot into a repository, and writes its refs. */
export async function assemble(store: string, snapshot: Snapshot, directory: string) {
  await removeDirectory(directory);
  await git(store, ['init', '--quiet', '--bare', '--template=', directory]);
  await mkdir(join(directory, 'objects', 'pack'), { recursive: true });
  const [key = ''] = await readdir(join(store, 'v1'));
  for (const { name, files } of snapshot.layers) {
    for (const file of files) {
      const from = join(store, 'v1', key, 'layers', name, file.name);
      await link(from, join(directory, 'objects', 'pack', file.name));
    }
  }
  const refs = snapshot.refs.map(({ name, oid }) => `create ${name} ${oid}\n`).join('');
  await git(directory, ['update-ref', '--stdin'], { input: refs });
  const { head } = snapshot;
  const target = head === undefined || !('ref' in head) ? '' : `ref: ${head.ref}\n`;
  await writeFile(join(directory, 'HEAD'), target);
}

export async function expectSameRefs(repository: string, upstream: string): Promise<void> {
  if ((await describeRefs(repository)) === (await describeRefs(upstream))) return;
  throw new Error(`the refs of ${repository} are not upstream's`);
}

/** All objects that upstream's refs have reached, compared with the indexes of packs. */
export class Reached {
  readonly #oids: Buffer[] = [];
  #largest = '';
  /** The ids that the largest pack lacks; it is searched again only when it changes. */
  #others: Buffer[] = [];

  get size(): number {
    return this.#oids.length;
  }

  add(oids: readonly string[]): void {
    for (const oid of oids) {
      const id = Buffer.from(oid, 'hex');
      this.#oids.push(id);
      this.#others.push(id);
    }
  }

  /** Throws if one of them is in no pack of the repository. */
  async expectIn(repository: string, snapshot: Snapshot): Promise<void> {
    const files = snapshot.layers.flatMap((layer) => layer.files);
    const bySize = files
      .filter(({ name }) => name.endsWith('.idx'))
      .sort((one, other) => other.bytes - one.bytes);
    for (const { name } of bySize.slice(0, 1)) {
      if (name !== this.#largest) this.#others = await this.#missing(repository, name, this.#oids);
      this.#largest = name;
    }
    let left = this.#others;
    for (const { name } of bySize.slice(1)) left = await this.#missing(repository, name, left);
    const unheld = left.length > 0 ? await this.#missing(repository, this.#largest, left) : left;
    if (unheld.length === 0) return;
    throw new Error(`${unheld.length} objects are missing, ${String(unheld[0]?.toString('hex'))}`);
  }

  async #missing(repository: string, name: string, oids: readonly Buffer[]): Promise<Buffer[]> {
    const path = join(repository, 'objects', 'pack', basename(name));
    const index = await PackIndex.read(path, 'sha1');
    return oids.filter((oid) => !index.has(oid));
  }
}

/**
 * Throws if fsck finds a fault that upstream itself doesn't have. Returns the number of faults in upstream's
 * own history, by name.
 */
export async function expectSound(
  repository: string,
  upstream: string,
): Promise<Record<string, number>> {
  const complaints = await fsck(repository);
  if (complaints.length === 0) return {};
  const known = new Set(await fsck(upstream));
  const own = complaints.filter((line) => !known.has(line));
  if (own.length > 0) throw new Error(`fsck of ${repository}:\n${own.join('\n')}`);
  const counts: Record<string, number> = {};
  for (const line of complaints) {
    const name = /: (\w+): /.exec(line)?.[1] ?? line;
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}

async function fsck(repository: string): Promise<string[]> {
  const options = ['--full', '--strict', '--no-dangling', '--no-progress'];
  const { exitCode, stdout, stderr } = await tryGit(repository, ['fsck', ...options], {
    timeoutMs: 3_600_000,
  });
  const lines = `${stdout}\n${stderr}`.split('\n').filter((line) => line !== '');
  if (exitCode !== 0 && lines.length === 0) throw new Error(`fsck ended with ${exitCode}`);
  return lines;
}
