/**
 * A layer as a tar archive, which anybody can open with `tar xf`: a ustar header of one block before each
 * file, files padded to blocks, two empty blocks at the end. Its bytes follow from the files' names, sizes
 * and contents alone, so a reader knows from the manifest where each file lies, and how its header must be.
 */
import type { FileHandle } from 'node:fs/promises';
import { Header } from 'tar/header';
import { MirrorError } from '../../lib/errors.ts';
import type { LayerFiles } from '../store.ts';

const BLOCK_BYTES = 512;

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

/** An entry whose content is in an open file. */
export interface TarFile extends TarEntry {
  handle: FileHandle;
}

/** A range of the archive: from a byte to before another. */
export interface TarRange {
  start: number;
  end: number;
}

/** The archive of a layer, whose files' names have at most 99 characters. */
export function describeTar({ files }: LayerFiles): Tar {
  let headerStart = 0;
  const entries = files.map(({ name, bytes }): TarEntry => {
    const start = headerStart + BLOCK_BYTES;
    const end = start + bytes;
    const entry = { name, header: encodeHeader(name, bytes), headerStart, start, end };
    headerStart = Math.ceil(end / BLOCK_BYTES) * BLOCK_BYTES;
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

/** How many bytes of a range are content of files. */
export function contentBytes(entries: readonly TarEntry[], range: TarRange): number {
  const parts = entries.map((entry) => overlap(range, entry));
  return parts.reduce((sum, { start, end }) => sum + end - start, 0);
}

/** Makes a range of the archive, at the beginning of a buffer. Throws `bad-snapshot` if a file is too short. */
export async function readTar(
  files: readonly TarFile[],
  range: TarRange,
  buffer: Buffer,
): Promise<Buffer> {
  const bytes = buffer.subarray(0, range.end - range.start).fill(0);
  for (const { name, header, headerStart, start, end, handle } of files) {
    const head = overlap(range, { start: headerStart, end: start });
    header
      .subarray(head.start - headerStart, head.end - headerStart)
      .copy(bytes, head.start - range.start);
    const content = overlap(range, { start, end });
    for (let at = content.start; at < content.end;) {
      const target = bytes.subarray(at - range.start, content.end - range.start);
      const { bytesRead } = await handle.read(target, { position: at - start });
      if (bytesRead === 0) {
        throw new MirrorError('bad-snapshot', `${name} changed while it was stored`);
      }
      at += bytesRead;
    }
  }
  return bytes;
}

/** Writes pieces of the archive, from one byte on, to its files. Throws `bad-snapshot` if a header isn't as expected. */
export async function writeTar(
  files: readonly TarFile[],
  from: number,
  pieces: readonly Buffer[],
): Promise<void> {
  const range = { start: from, end: pieces.reduce((sum, { length }) => sum + length, from) };
  for (const { name, header, headerStart, start, end, handle } of files) {
    if (end < range.start || headerStart >= range.end) continue;
    const head = overlap(range, { start: headerStart, end: start });
    const expected = header.subarray(head.start - headerStart, head.end - headerStart);
    if (!Buffer.concat(cut(pieces, head.start - from, head.end - from)).equals(expected)) {
      throw new MirrorError('bad-snapshot', `the header of ${name} differs from what was declared`);
    }
    const content = overlap(range, { start, end });
    for (let at = content.start; at < content.end;) {
      const rest = cut(pieces, at - from, content.end - from);
      at += (await handle.writev(rest, at - start)).bytesWritten;
    }
  }
}

/** The bytes of some pieces, one after the other, from one to before another. */
function cut(pieces: readonly Buffer[], start: number, end: number): Buffer[] {
  let at = 0;
  const wanted: Buffer[] = [];
  for (const piece of pieces) {
    const part = piece.subarray(Math.max(0, start - at), Math.max(0, end - at));
    if (part.length > 0) wanted.push(part);
    at += piece.length;
  }
  return wanted;
}

/** What is in both; it ends where it starts if nothing is. */
export function overlap(one: TarRange, other: TarRange): TarRange {
  const start = Math.max(one.start, other.start);
  return { start, end: Math.max(start, Math.min(one.end, other.end)) };
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
