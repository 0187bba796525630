/** Reads pack indexes (gitformat-pack, version 2, which git writes). */
import { readFile } from 'node:fs/promises';
import { MirrorError } from '../lib/errors.ts';
import type { ObjectFormat } from './refs.ts';

const OID_BYTES: Record<ObjectFormat, number> = { sha1: 20, sha256: 32 };
/** `\377tOc`, then the version. */
const HEADER = Buffer.from('ff744f6300000002', 'hex');
/** For each byte, how many ids begin with it or a lower one: 256 numbers of four bytes. */
const FANOUT_BYTES = 256 * 4;

/** The ids of one pack's objects, sorted. */
export class PackIndex {
  readonly #content: Buffer;
  readonly #oidBytes: number;

  private constructor(content: Buffer, oidBytes: number) {
    this.#content = content;
    this.#oidBytes = oidBytes;
  }

  /** Throws `corrupt-mirror` if the file isn't such an index. */
  static async read(path: string, objectFormat: ObjectFormat): Promise<PackIndex> {
    const content = await readFile(path);
    const index = new PackIndex(content, OID_BYTES[objectFormat]);
    const isIndex =
      content.length > HEADER.length + FANOUT_BYTES &&
      content.subarray(0, HEADER.length).equals(HEADER) &&
      content.length > index.#positionOf(index.size);
    if (isIndex) return index;
    throw new MirrorError('corrupt-mirror', `${path} is not an index of a pack`);
  }

  /** Number of objects. */
  get size(): number {
    return this.#countUpTo(255);
  }

  *oids(): Generator<Buffer> {
    for (let index = 0; index < this.size; index += 1) yield this.#oidAt(index);
  }

  has(oid: Buffer): boolean {
    const first = oid[0] ?? 0;
    let low = first === 0 ? 0 : this.#countUpTo(first - 1);
    let high = this.#countUpTo(first);
    while (low < high) {
      const middle = (low + high) >>> 1;
      const order = oid.compare(this.#oidAt(middle));
      if (order === 0) return true;
      if (order < 0) high = middle;
      else low = middle + 1;
    }
    return false;
  }

  #countUpTo(byte: number): number {
    return this.#content.readUInt32BE(HEADER.length + 4 * byte);
  }

  #oidAt(index: number): Buffer {
    const position = this.#positionOf(index);
    return this.#content.subarray(position, position + this.#oidBytes);
  }

  #positionOf(index: number): number {
    return HEADER.length + FANOUT_BYTES + index * this.#oidBytes;
  }
}
