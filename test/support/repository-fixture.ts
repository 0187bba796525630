import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fixtureEpochSeconds, git } from './git.ts';
import { createRandom, type Random } from './random.ts';

export interface ContentOptions {
  /** Commits on the default branch (or on the branch that grows). */
  commits: number;
  files: number;
  /** Size of each file. */
  fileBytes: number;
  /** Files that each commit after the first one rewrites. */
  changedFiles?: number;
  /** `random` does not compress, so sizes are real; `text` makes deltas and thin packs. */
  content?: 'random' | 'text';
  /** The same seed and options give the same object ids. */
  seed?: number;
}

export interface RepositoryOptions extends ContentOptions {
  objectFormat?: 'sha1' | 'sha256';
  bare?: boolean;
  defaultBranch?: string;
  /** Branches in addition to the default one, `branch-1`…, each with a commit of its own. */
  branches?: number;
  /** `annotated-1`… */
  annotatedTags?: number;
  /** `light-1`… */
  lightTags?: number;
  /** `refs/pull/1/head`…, each with a commit of its own. */
  pullRefs?: number;
}

/** Sizes by name; the bytes are those of the packs. */
export const repositorySizes = {
  /** 10 commits, a few KB. */
  tiny: {
    ...{ commits: 10, files: 5, fileBytes: 400, content: 'text' },
    ...{ branches: 2, annotatedTags: 1, lightTags: 1 },
  },
  /** About 1 MB. */
  small: {
    ...{ commits: 50, files: 20, fileBytes: 8_000 },
    ...{ branches: 5, annotatedTags: 3, lightTags: 3 },
  },
  /** About 30 MB. */
  medium: {
    ...{ commits: 300, files: 400, fileBytes: 30_000 },
    ...{ branches: 20, annotatedTags: 10, lightTags: 10 },
  },
  /** About 120 MB. */
  large: {
    ...{ commits: 1_000, files: 1_000, fileBytes: 40_000 },
    ...{ branches: 50, annotatedTags: 20, lightTags: 20 },
  },
} as const satisfies Record<string, RepositoryOptions>;

export interface Tip {
  branch: string;
  /** Object id of the branch's tip. */
  head: string;
}

const scratchRef = 'refs/scratch/pull';

/** Makes a repository in `directory` (created if absent) and returns its default branch. */
export async function createRepository(
  directory: string,
  options: RepositoryOptions,
): Promise<Tip> {
  const branch = options.defaultBranch ?? 'main';
  await mkdir(directory, { recursive: true });
  await git(directory, [
    'init',
    '--quiet',
    '--template=',
    `--initial-branch=${branch}`,
    `--object-format=${options.objectFormat ?? 'sha1'}`,
    ...(options.bare === false ? [] : ['--bare']),
  ]);
  const printed = await fastImport(directory, repositoryStream(branch, options), options.content);
  if (options.pullRefs) await git(directory, ['update-ref', '-d', scratchRef]);
  await git(directory, ['pack-refs', '--all']);
  if (options.pullRefs) await packPullRefs(directory, printed.split('\n'));
  if (options.bare === false) await git(directory, ['reset', '--quiet', '--hard']);
  return { branch, head: await git(directory, ['rev-parse', `refs/heads/${branch}`]) };
}

/**
 * Grows a branch, by default the repository's own: a day of new commits. Only as many files as are named
 * here are rewritten. With `from`, the branch restarts there: a force push.
 */
export async function addCommits(
  directory: string,
  options: Partial<ContentOptions> & { branch?: string; from?: string } = {},
): Promise<Tip> {
  const branch =
    options.branch ?? (await git(directory, ['symbolic-ref', '--short', 'HEAD'])).trim();
  const from = await git(directory, ['rev-parse', options.from ?? `refs/heads/${branch}`]);
  const date = await git(directory, ['log', '-1', '--format=%ct', from]);
  const content = { commits: 1, files: 2, fileBytes: 400, ...options };
  const history = new History(content, `${from}:${content.seed ?? 0}`, Number(date) + 60);
  await fastImport(directory, history.grow(`refs/heads/${branch}`, from, 'news'), options.content);
  return { branch, head: await git(directory, ['rev-parse', `refs/heads/${branch}`]) };
}

/** Returns what the stream asked it to print. */
async function fastImport(
  directory: string,
  stream: Iterable<string | Uint8Array>,
  content: ContentOptions['content'],
): Promise<string> {
  const configuration = [
    // Always a pack, so that a fixture looks like an upstream and not like a work in progress.
    ['-c', 'fastimport.unpackLimit=1'],
    // Deflating random bytes only costs time.
    ['-c', `pack.compression=${content === 'text' ? 6 : 0}`],
  ].flat();
  const command = [...configuration, 'fast-import', '--quiet', '--force', '--done'];
  return git(directory, command, { input: inBatches(stream), timeoutMs: 300_000 });
}

/** A write per line would cost more than the import. */
function* inBatches(stream: Iterable<string | Uint8Array>): Generator<Uint8Array> {
  let batch: Uint8Array[] = [];
  let bytes = 0;
  for (const part of stream) {
    const chunk = typeof part === 'string' ? Buffer.from(part) : part;
    batch.push(chunk);
    bytes += chunk.length;
    if (bytes < 65_536) continue;
    yield Buffer.concat(batch);
    batch = [];
    bytes = 0;
  }
  yield Buffer.concat(batch);
}

/**
 * 100,000 pull requests are honest, and fast-import would write each as a loose file. So it only
 * prints their commits, and they go straight into packed-refs.
 */
async function packPullRefs(directory: string, objectIds: readonly string[]): Promise<void> {
  const gitDirectory = await git(directory, ['rev-parse', '--absolute-git-dir']);
  const file = join(gitDirectory, 'packed-refs');
  // A line that starts with ^ belongs to the tag before it.
  const [header = '', ...others] = (await readFile(file, 'utf8')).trimEnd().split(/\n(?!\^)/);
  const pulls = objectIds.map((objectId, index) => `${objectId} refs/pull/${index + 1}/head`);
  const name = (entry: string): string => entry.split('\n')[0]?.split(' ')[1] ?? '';
  // The header says that they are sorted by name.
  const entries = [...others, ...pulls].sort((left, right) => (name(left) < name(right) ? -1 : 1));
  await writeFile(file, `${[header, ...entries].join('\n')}\n`);
}

function* repositoryStream(
  branch: string,
  options: RepositoryOptions,
): Generator<string | Uint8Array> {
  const history = new History(options, String(options.seed ?? 1), fixtureEpochSeconds);
  yield* history.grow(`refs/heads/${branch}`, undefined, 'main');
  for (const name of numbered('light', options.lightTags)) {
    yield `reset refs/tags/${name}\nfrom ${history.anyCommit()}\n\n`;
  }
  for (const name of numbered('branch', options.branches)) {
    yield* history.commit(`refs/heads/${name}`, history.anyCommit(), name);
  }
  for (const number of numbered('pull', options.pullRefs)) {
    yield* history.commit(scratchRef, history.anyCommit(), number);
    yield `get-mark ${history.latest}\n`;
  }
  for (const name of numbered('annotated', options.annotatedTags)) {
    yield `tag ${name}\nfrom ${history.anyCommit()}\n`;
    yield `tagger Ada Fixture <ada@example.test> ${history.seconds} +0000\n${data(name)}`;
  }
  yield 'done\n';
}

function numbered(label: string, count = 0): string[] {
  return Array.from({ length: count }, (_, index) => `${label}-${index + 1}`);
}

function data(text: string): string {
  return `data ${Buffer.byteLength(text)}\n${text}\n`;
}

/** Writes the stream of one history; holds nothing but the marks' number, so size costs no memory. */
class History {
  seconds: number;
  readonly #options: ContentOptions;
  readonly #random: Random;
  #mark = 0;
  /** Commits of the first branch, which others start from. */
  #trunk = 0;

  constructor(options: ContentOptions, seed: string, seconds: number) {
    this.#options = options;
    this.#random = createRandom(hash(seed));
    this.seconds = seconds;
  }

  *grow(ref: string, from: string | undefined, label: string): Generator<string | Uint8Array> {
    let parent = from;
    for (let index = 0; index < this.#options.commits; index++) {
      const isFirst = parent === undefined;
      yield* this.commit(ref, parent, `${label} ${index + 1}`, isFirst);
      parent = this.latest;
    }
    this.#trunk = this.#mark;
    if (from !== undefined) yield 'done\n';
  }

  *commit(
    ref: string,
    from: string | undefined,
    message: string,
    writesAll = false,
  ): Generator<string | Uint8Array> {
    const person = `Ada Fixture <ada@example.test> ${this.seconds} +0000`;
    this.seconds += 60;
    this.#mark++;
    yield `commit ${ref}\nmark :${this.#mark}\nauthor ${person}\ncommitter ${person}\n`;
    yield data(message);
    if (from !== undefined) yield `from ${from}\n`;
    const { files, changedFiles = 2 } = this.#options;
    const count = writesAll ? files : Math.min(changedFiles, files);
    const first = writesAll ? 0 : this.#random.integer(files);
    for (let index = 0; index < count; index++) yield* this.#file((first + index) % files);
    yield '\n';
  }

  get latest(): string {
    return `:${this.#mark}`;
  }

  anyCommit(): string {
    return `:${1 + this.#random.integer(this.#trunk)}`;
  }

  *#file(index: number): Generator<string | Uint8Array> {
    const { fileBytes, content = 'random' } = this.#options;
    yield `M 100644 inline folder-${index % 16}/file-${index}\n`;
    yield `data ${fileBytes}\n`;
    yield content === 'random' ? this.#random.bytes(fileBytes) : this.#text(index, fileBytes);
    yield '\n';
  }

  /** The same lines for the same file, but for one that tells the versions apart. */
  #text(index: number, bytes: number): Uint8Array {
    const words = createRandom(index + 1);
    const vocabulary = ['mirror', 'snapshot', 'layer', 'manifest', 'store', 'fetch', 'upstream'];
    let text = `version ${this.#random.integer(2 ** 32)}\n`;
    while (text.length < bytes) {
      text += `${words.pick(vocabulary)} ${words.pick(vocabulary)} ${words.integer(10_000)}\n`;
    }
    return Buffer.from(text.slice(0, bytes));
  }
}

function hash(text: string): number {
  let value = 2_166_136_261;
  for (const character of text) value = Math.imul(value ^ character.charCodeAt(0), 16_777_619);
  return value >>> 0;
}
