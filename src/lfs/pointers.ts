/**
 * LFS pointers: the small files that a repository has in place of large ones. A commit's pointers are found
 * with git alone: for 20,000 files that takes half a second, and `git lfs ls-files` ten.
 */
import type { Git } from '../git/git.ts';

/** What a pointer stands for. */
export interface LfsObject {
  /** SHA-256 of its content. */
  oid: string;
  /** In bytes. */
  size: number;
}

export interface Amount {
  objects: number;
  bytes: number;
}

/** git-lfs takes no larger file for a pointer. The shortest pointer of its format has some 120 bytes. */
const MAX_POINTER_BYTES = 1_023;
const MIN_POINTER_BYTES = 100;

/** `<mode> <type> <object id> <size>`, then a tab and the path. */
const PLAIN_FILE = /^100(?:644|755) blob ([0-9a-f]+) +(\d+)\t/;

const POINTER =
  /^version https:\/\/(?:git-lfs\.github\.com\/spec\/v1|hawser\.github\.com\/spec\/v1)\n(?:ext-\d-[^\n]*\n)*oid sha256:([0-9a-f]{64})\nsize (\d{1,15})\n?$/;

/** How many files are read at a time: at most 10 MB of content. */
const BATCH = 10_000;

/** The objects that the files of a commit stand for, each once, sorted by their ids. */
export async function listObjects(
  git: Git,
  gitDirectory: string,
  commit: string,
): Promise<LfsObject[]> {
  const blobs = await listSmallFiles(git, gitDirectory, commit);
  const found = new Map<string, LfsObject>();
  for (let start = 0; start < blobs.length; start += BATCH) {
    const stdin = blobs.slice(start, start + BATCH).map((oid) => `${oid}\n`);
    const command = {
      gitDirectory,
      args: ['cat-file', '--batch', '--buffer'],
      stdin: stdin.join(''),
    };
    const output = await git.read(command, `reading the pointers of ${commit}`);
    for (const content of splitBatch(output.toString('latin1'))) {
      const object = parsePointer(content);
      if (object !== undefined) found.set(object.oid, object);
    }
  }
  return [...found.values()].sort((one, other) => (one.oid < other.oid ? -1 : 1));
}

/** The contents in the output of `cat-file --batch`: `<oid> <type> <size>`, the content, a line end. */
function* splitBatch(output: string): Generator<string> {
  for (let start = 0; start < output.length;) {
    const end = output.indexOf('\n', start);
    if (end < 0) return;
    const size = /^\S+ \S+ (\d+)$/.exec(output.slice(start, end))?.[1];
    start = end + 1;
    if (size === undefined) continue; // `<oid> missing`
    yield output.slice(start, start + Number(size));
    start += Number(size) + 1;
  }
}

/** Object ids of the files that may be pointers by their size. */
async function listSmallFiles(git: Git, gitDirectory: string, commit: string): Promise<string[]> {
  const oids = new Set<string>();
  let rest = '';
  const onOutput = (chunk: Buffer) => {
    const entries = (rest + chunk.toString('latin1')).split('\0');
    rest = entries.pop() ?? '';
    for (const entry of entries) {
      const [, oid = '', size = ''] = PLAIN_FILE.exec(entry) ?? [];
      const bytes = Number(size);
      if (bytes >= MIN_POINTER_BYTES && bytes <= MAX_POINTER_BYTES) oids.add(oid);
    }
  };
  const args = ['ls-tree', '-r', '-l', '-z', commit];
  await git.read({ gitDirectory, args, onOutput }, `listing the files of ${commit}`);
  return [...oids];
}

/** Undefined for a file that is no pointer, and for an empty object, which git-lfs never stores. */
export function parsePointer(content: string): LfsObject | undefined {
  const [, oid = '', size = '0'] = POINTER.exec(content) ?? [];
  return Number(size) === 0 ? undefined : { oid, size: Number(size) };
}

export function formatPointer({ oid, size }: LfsObject): string {
  return `version https://git-lfs.github.com/spec/v1\noid sha256:${oid}\nsize ${String(size)}\n`;
}

export function countBytes(objects: readonly LfsObject[]): number {
  return objects.reduce((sum, { size }) => sum + size, 0);
}

export function amountOf(objects: readonly LfsObject[]): Amount {
  return { objects: objects.length, bytes: countBytes(objects) };
}
