/**
 * Hashes a commit's objects again. An index with valid checksums can return other content for an object id; fetch,
 * rev-list and fsck --connectivity-only don't notice.
 */
import { createHash, type Hash } from 'node:crypto';
import { MirrorError } from '../lib/errors.ts';
import type { Git } from '../git/git.ts';
import { WALK_TIMEOUT_MS, readObjects } from './objects.ts';
import type { ObjectFormat } from './refs.ts';

/** Throws `corrupt-mirror` unless the content of the commit, its trees and files matches their ids. */
export async function rehashCommit(
  git: Git,
  directory: string,
  format: ObjectFormat,
  commit: string,
): Promise<void> {
  const listed = await readObjects(
    git,
    {
      gitDirectory: directory,
      args: ['rev-list', '--objects', '--no-object-names', '--no-walk', commit],
      timeoutMs: WALK_TIMEOUT_MS,
    },
    `listing the objects of ${commit}`,
  );
  const listing = listed.toString('latin1');
  const check = new BatchCheck(format);
  await readObjects(
    git,
    {
      gitDirectory: directory,
      args: ['cat-file', '--batch', '--buffer'],
      stdin: listing,
      timeoutMs: WALK_TIMEOUT_MS,
      onOutput: (chunk) => {
        check.update(chunk);
      },
    },
    `reading the objects of ${commit}`,
  );
  check.finish(listing.split('\n').length - 1);
}

/** Checks the stream of `git cat-file --batch` against the ids in it. */
class BatchCheck {
  readonly #format: ObjectFormat;
  #header = '';
  #current: { oid: string; hash: Hash; left: number } | undefined;
  /** The line feed that follows each object's content. */
  #separatorIsDue = false;
  #fault: string | undefined;
  #checked = 0;

  constructor(format: ObjectFormat) {
    this.#format = format;
  }

  update(chunk: Buffer): void {
    let rest = chunk;
    while (rest.length > 0 && this.#fault === undefined) {
      rest = this.#current === undefined ? this.#readHeader(rest) : this.#readContent(rest);
    }
  }

  /** Throws `corrupt-mirror` unless there were `count` complete objects with matching ids. */
  finish(expected: number): void {
    const isWhole = this.#current === undefined && this.#checked === expected;
    const fault =
      this.#fault ?? (isWhole ? undefined : 'not all objects of the commit could be read');
    if (fault !== undefined) throw new MirrorError('corrupt-mirror', fault);
  }

  #readHeader(data: Buffer): Buffer {
    const start = this.#separatorIsDue ? 1 : 0;
    this.#separatorIsDue = false;
    const end = data.indexOf('\n', start);
    if (end < 0) {
      this.#header += data.toString('latin1', start);
      return data.subarray(data.length);
    }
    const header = this.#header + data.toString('latin1', start, end);
    this.#header = '';
    const match = /^([0-9a-f]+) ([a-z]+) (\d+)$/.exec(header);
    if (match === null) this.#fault = `git says: ${header.slice(0, 200)}`;
    else this.#begin(match[1] ?? '', match[2] ?? '', Number(match[3]));
    return data.subarray(end + 1);
  }

  #begin(oid: string, type: string, bytes: number): void {
    const hash = createHash(this.#format).update(`${type} ${String(bytes)}\0`);
    this.#current = { oid, hash, left: bytes };
    if (bytes === 0) this.#end();
  }

  #readContent(data: Buffer): Buffer {
    const current = this.#current;
    if (current === undefined) return data;
    const content = data.subarray(0, current.left);
    current.hash.update(content);
    current.left -= content.length;
    if (current.left === 0) this.#end();
    return data.subarray(content.length);
  }

  #end(): void {
    const { oid, hash } = this.#current ?? {};
    if (hash?.digest('hex') !== oid) this.#fault = `${String(oid)} does not have that content`;
    this.#current = undefined;
    this.#separatorIsDue = true;
    this.#checked += 1;
  }
}
