/**
 * Repositories of any size that look like a project's own: text in folders, of which each commit edits
 * a few files in a few places, some files often and most seldom; large files that do not compress;
 * tags. What makes a clone slow is as in git/git: a text that is edited has 32 KB, its folder 10 KB, and
 * all objects are some 20 times as large as the pack. All versions of a file are imported one after
 * the other, the newest first: as in what git packs, that is whole, and older ones are deltas.
 */
import { dirname } from 'node:path';
import { fixtureEpochSeconds, git } from '../test/support/git.ts';
import { createRandom, type Random } from '../test/support/random.ts';

export interface Shape {
  commits: number;
  /** Of text, with which the history begins. */
  files: number;
  /** Of files that do not compress, written all over the history; a file has ten of them. */
  largeVersions: number;
  largeBytes: number;
  tags: number;
}

/** By what their packs have, about. */
export const SHAPES: Readonly<Record<string, Shape>> = {
  '30 MB': {
    ...{ commits: 6_000, files: 600, largeVersions: 15, largeBytes: 1_000_000 },
    tags: 100,
  },
  '300 MB': {
    ...{ commits: 60_000, files: 4_000, largeVersions: 80, largeBytes: 2_000_000 },
    tags: 1_000,
  },
  '2 GB': {
    ...{ commits: 150_000, files: 12_000, largeVersions: 390, largeBytes: 4_000_000 },
    tags: 2_000,
  },
};

/** A large tree without much history. */
export interface Tree {
  files: number;
  fileBytes: number;
  /** Files that the second of its two days changes. */
  changedFiles: number;
}

export const TREES: Readonly<Record<string, Tree>> = {
  'a tree of 40 MB': { files: 4_000, fileBytes: 10_000, changedFiles: 40 },
  'a tree of 200 MB': { files: 8_000, fileBytes: 25_000, changedFiles: 80 },
  'a tree of 1 GB': { files: 20_000, fileBytes: 50_000, changedFiles: 200 },
};

/** Two days of files that do not compress, in `directory`, bare, with the default branch `main`. */
export async function generateTree(directory: string, tree: Tree): Promise<void> {
  const init = ['init', '--quiet', '--bare', '--template=', '--initial-branch=main', directory];
  await git(dirname(directory), init);
  const options = ['-c', 'fastimport.unpackLimit=1', '-c', 'core.bigFileThreshold=1k'];
  await git(directory, [...options, 'fast-import', '--quiet', '--done'], {
    input: inBatches(describeTree(tree)),
    timeoutMs: 3_600_000,
  });
}

function* describeTree({ files, fileBytes, changedFiles }: Tree): Generator<string | Buffer> {
  const random = createRandom(files);
  for (const [day, count] of [files, changedFiles].entries()) {
    const seconds = fixtureEpochSeconds + day * 24 * 60 * 60;
    yield `commit refs/heads/main\ncommitter Ada Fixture <ada@example.test> ${String(seconds)} +0000\n`;
    yield 'data 4\nday\n\n';
    for (let file = 0; file < count; file += 1) {
      yield `M 100644 inline folder-${String(file % 200)}/file-${String(file)}\n`;
      yield `data ${String(fileBytes)}\n`;
      yield Buffer.from(random.bytes(fileBytes));
      yield '\n';
    }
  }
  yield 'done\n';
}

/** 50 commits a day. */
const SECONDS_BETWEEN = (24 * 60 * 60) / 50;
const MAX_EDITED = 4;
/** Of an edit, places; of a place, lines that go and lines that come. */
const MAX_PLACES = 8;
const MAX_CHANGED_LINES = 8;
/** Of a file that is hardly ever edited, and of one that is edited most, on an average. */
const FEW_LINES = 100;
const MANY_LINES = 1_600;

/** Makes it in `directory`, bare, with the default branch `main`. The same shape makes the same objects. */
export async function generate(directory: string, shape: Shape): Promise<void> {
  const init = ['init', '--quiet', '--bare', '--template=', '--initial-branch=main', directory];
  await git(dirname(directory), init);
  // What does not compress is not tried.
  const options = ['-c', 'fastimport.unpackLimit=1', '-c', 'core.bigFileThreshold=500k'];
  await git(directory, [...options, 'fast-import', '--quiet', '--done'], {
    input: inBatches(new History(shape).describe()),
    timeoutMs: 3_600_000,
  });
  await git(directory, ['pack-refs', '--all']);
}

interface Edit {
  path: string;
  mark: number;
}

class History {
  readonly #shape: Shape;
  readonly #random: Random;
  readonly #vocabulary: string[];
  /** What each commit writes. */
  readonly #edits: Edit[][];
  /** Of blobs: those of commits come before. */
  #mark: number;

  constructor(shape: Shape) {
    this.#shape = shape;
    this.#random = createRandom(shape.commits);
    this.#vocabulary = Array.from({ length: 3_000 }, () => this.#word());
    this.#edits = Array.from({ length: shape.commits }, () => []);
    this.#mark = shape.commits;
  }

  *describe(): Generator<string | Buffer> {
    const { commits, tags, largeVersions, largeBytes } = this.#shape;
    for (const [file, versions] of this.#planVersions().entries()) {
      yield* this.#writeFile(file, versions);
    }
    for (let index = 0; index < largeVersions; index++) {
      yield* this.#blob(
        this.#random.integer(commits),
        `assets/image-${String(Math.floor(index / 10))}.bin`,
        [this.#random.bytes(largeBytes)],
      );
    }
    for (let index = 0; index < commits; index++) yield this.#commit(index);
    for (let index = 0; index < tags; index++) {
      const commit = String(1 + this.#random.integer(commits));
      yield `reset refs/tags/v0.${String(index)}\nfrom :${commit}\n\n`;
    }
    yield 'done\n';
  }

  /** For each file, the commits that write it, the first first. */
  #planVersions(): number[][] {
    const { commits, files } = this.#shape;
    const versions = Array.from({ length: files }, () => [0]);
    for (let commit = 1; commit < commits; commit++) {
      const count = 1 + this.#random.integer(MAX_EDITED);
      // Some files are edited all the time, and most hardly ever.
      const edited = new Set(
        Array.from({ length: count }, () => Math.floor(files * this.#random.next() ** 3)),
      );
      for (const file of edited) versions[file]?.push(commit);
    }
    return versions;
  }

  *#writeFile(file: number, versions: readonly number[]): Generator<string | Buffer> {
    const path = `src/part-${String(file % 20)}/file-${String(file)}.txt`;
    const hotness = (1 - file / this.#shape.files) ** 6;
    const mean = FEW_LINES + (MANY_LINES - FEW_LINES) * hotness;
    const length = Math.floor(mean * (0.5 + this.#random.next()));
    const lines = Array.from({ length }, () => this.#line());
    for (const [index, commit] of versions.toReversed().entries()) {
      if (index > 0) this.#edit(lines);
      yield* this.#blob(commit, path, [lines.join('')]);
    }
  }

  #edit(lines: string[]): void {
    for (let place = this.#random.integer(MAX_PLACES); place >= 0; place--) {
      const at = this.#random.integer(lines.length + 1);
      const length = this.#random.integer(MAX_CHANGED_LINES);
      const added = Array.from({ length }, () => this.#line());
      lines.splice(at, this.#random.integer(MAX_CHANGED_LINES), ...added);
    }
    if (lines.length === 0) lines.push(this.#line());
  }

  *#blob(
    commit: number,
    path: string,
    [content = '']: (string | Buffer)[],
  ): Generator<string | Buffer> {
    const mark = ++this.#mark;
    this.#edits[commit]?.push({ path, mark });
    yield `blob\nmark :${String(mark)}\ndata ${String(content.length)}\n`;
    yield content;
    yield '\n';
  }

  #commit(index: number): string {
    const seconds = fixtureEpochSeconds + index * SECONDS_BETWEEN;
    const person = `Ada Fixture <ada@example.test> ${String(seconds)} +0000`;
    const message = Array.from({ length: 3 }, () => this.#line()).join('');
    return [
      `commit refs/heads/main\nmark :${String(index + 1)}\n`,
      `author ${person}\ncommitter ${person}\ndata ${String(message.length)}\n${message}\n`,
      ...(this.#edits[index] ?? []).map(({ path, mark }) => `M 100644 :${String(mark)} ${path}\n`),
      '\n',
    ].join('');
  }

  #line(): string {
    const indent = ' '.repeat(2 * this.#random.integer(4));
    const words = Array.from(
      { length: 3 + this.#random.integer(6) },
      () =>
        // As in any language, a few words make most of a text.
        this.#vocabulary[Math.floor(this.#vocabulary.length * this.#random.next() ** 2)],
    );
    return `${indent}${words.join(' ')}\n`;
  }

  #word(): string {
    const letters = 'etaoinshrdlucmfwypvbgkjqxz';
    return Array.from(
      { length: 2 + this.#random.integer(9) },
      () => letters[Math.floor(26 * this.#random.next() ** 2)],
    ).join('');
  }
}

/** A write per line would cost more than the import. */
function* inBatches(stream: Iterable<string | Buffer>): Generator<Uint8Array> {
  let batch: Buffer[] = [];
  let bytes = 0;
  for (const part of stream) {
    const chunk = typeof part === 'string' ? Buffer.from(part) : part;
    batch.push(chunk);
    bytes += chunk.length;
    if (bytes < 1 << 20) continue;
    yield Buffer.concat(batch);
    batch = [];
    bytes = 0;
  }
  yield Buffer.concat(batch);
}
