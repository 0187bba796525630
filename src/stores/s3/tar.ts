/**
 * A layer as a tar archive, which anybody can open with `tar xf`: a ustar header of one block before each
 * file, files padded to blocks, two empty blocks at the end. Its bytes follow from the files' names, sizes
 * and contents alone, so a reader knows from the manifest where each file lies, and how its header must be.
 */
import { Header } from 'tar/header';
import { MirrorError } from '../../lib/errors.ts';
import type { LayerFiles } from '../store.ts';

const BLOCK_BYTES = 512;
/** The name's field has 100 bytes, one of which ends it. */
const MAX_NAME_LENGTH = 99;

export interface TarEntry {
  name: string;
  header: Buffer;
  /** In the archive. */
  headerStart: number;
  start: number;
  end: number;
}

export interface Tar {
  entries: readonly TarEntry[];
  /** Of the whole archive. */
  bytes: number;
}

/** A range of the archive: from a byte to before another. */
export interface TarRange {
  start: number;
  end: number;
}

/** Throws `bad-snapshot` where a file's name does not fit a header. */
export function describeTar({ name: layer, files }: LayerFiles): Tar {
  let headerStart = 0;
  const entries = files.map(({ name, bytes }): TarEntry => {
    if (name.length > MAX_NAME_LENGTH) {
      const message = `layer ${layer}: the name ${name} is too long for a tar archive`;
      throw new MirrorError('bad-snapshot', message);
    }
    const start = headerStart + BLOCK_BYTES;
    const entry = {
      name,
      header: encodeHeader(name, bytes),
      headerStart,
      start,
      end: start + bytes,
    };
    headerStart = Math.ceil(entry.end / BLOCK_BYTES) * BLOCK_BYTES;
    return entry;
  });
  return { entries, bytes: headerStart + 2 * BLOCK_BYTES };
}

/**
 * Ranges that hold all headers and contents. Each file is cut at multiples of `maxBytes` from its beginning,
 * as its digests are; what is small is joined with what comes before.
 */
export function cutTar({ entries }: Tar, maxBytes: number): TarRange[] {
  const ranges: TarRange[] = [];
  for (const { headerStart, start, end } of entries) {
    for (let from = headerStart, to = start; from < end; from = to) {
      to = Math.min(end, to + maxBytes);
      const last = ranges.at(-1);
      if (last !== undefined && to - last.start <= maxBytes) last.end = to;
      else ranges.push({ start: from, end: to });
    }
  }
  return ranges;
}

/** A size of 8 GiB and more is written in base 256, as GNU tar does; any tar of today reads it. */
function encodeHeader(path: string, size: number): Buffer {
  const block = Buffer.alloc(BLOCK_BYTES);
  new Header({
    ...{ path, size, type: 'File', mode: 0o444, uid: 0, gid: 0, mtime: new Date(0) },
    ...{ uname: '', gname: '' },
  }).encode(block);
  return block;
}
