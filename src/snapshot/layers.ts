/**
 * Layers: immutable sets of pack files. A save describes them (sizes, digests, name), and a restore compares them with
 * that description (layer-check.ts).
 */
import { sumBytes } from '../lib/bytes.ts';
import { createHash, randomBytes } from 'node:crypto';
import { open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { MirrorError } from '../lib/errors.ts';
import { partnerOf } from '../mirror/packs.ts';
import type { ObjectFormat } from '../mirror/refs.ts';
import type { OnBytes } from '../lib/progress.ts';
import { readInto } from '../lib/files.ts';
import { ChunkDigester, type OnChunk } from './chunks.ts';
import { CHUNK_BYTES, type Layer, type LayerFile } from './manifest.ts';

/** A pack and an index end in checksums of the repository's object format. */
const TRAILER_BYTES: Record<ObjectFormat, number> = { sha1: 20, sha256: 32 };

/**
 * Describes files as a new layer. It also recomputes the checksum that git wrote at the end of each file, because
 * digests of damaged bytes would make them look valid; throws `corrupt-mirror`. The name ends in a nonce: a fresh
 * clone can produce the same packs, and a damaged layer in the store must never be mistaken for its replacement.
 */
export async function describeLayer(
  directory: string,
  names: readonly string[],
  objectFormat: ObjectFormat,
  { signal, onBytes }: { signal: AbortSignal; onBytes?: OnBytes },
): Promise<Layer> {
  const files: LayerFile[] = [];
  const count = counter(onBytes);
  const digester = new ChunkDigester(signal);
  for (const name of names) {
    files.push(await describeFile(join(directory, name), name, objectFormat, digester, count));
  }
  await checkPairs(directory, names, objectFormat, 'corrupt-mirror');
  return { name: nameLayer(files), bytes: sumBytes(files), files };
}

/** A new name for a layer of this content: it ends in a nonce, since names are never used twice. */
export function nameLayer(content: unknown): string {
  const digest = createHash('sha256').update(JSON.stringify(content)).digest('hex');
  return `${digest}-${randomBytes(8).toString('hex')}`;
}

/** Adds up chunks. */
function counter(onBytes: OnBytes | undefined): OnChunk {
  let done = 0;
  return ({ length }) => {
    done += length;
    onBytes?.(done);
  };
}

async function describeFile(
  path: string,
  name: string,
  objectFormat: ObjectFormat,
  digester: ChunkDigester,
  count: OnChunk,
): Promise<LayerFile> {
  await using file = await open(path, 'r');
  const { size: bytes } = await file.stat();
  const bodyBytes = bytes - TRAILER_BYTES[objectFormat];
  const hash = createHash(objectFormat);
  let position = 0;
  const onChunk: OnChunk = (chunk) => {
    hash.update(chunk.subarray(0, Math.max(0, bodyBytes - position)));
    position += chunk.length;
    count(chunk);
  };
  const digests: Promise<string>[] = [];
  for (let start = 0; start < bytes; start += CHUNK_BYTES) {
    digests.push(digester.digest(file, start, Math.min(CHUNK_BYTES, bytes - start), onChunk));
  }
  // The file must stay open until all reads have ended.
  await Promise.allSettled(digests);
  const chunks = await Promise.all(digests);
  const trailer = await readEnd(file, TRAILER_BYTES[objectFormat]);
  if (bodyBytes <= 0 || position !== bytes || !hash.digest().equals(trailer)) {
    throw new MirrorError('corrupt-mirror', `${name} in the mirror does not have its own checksum`);
  }
  return { name, bytes, chunks };
}

/** Throws `code` unless each index belongs to its pack, whose checksum it has just before its own. */
export async function checkPairs(
  directory: string,
  names: readonly string[],
  objectFormat: ObjectFormat,
  code: 'bad-snapshot' | 'corrupt-mirror',
): Promise<void> {
  const length = TRAILER_BYTES[objectFormat];
  for (const name of names.filter((each) => each.endsWith('.pack'))) {
    await using packFile = await open(join(directory, name), 'r');
    await using indexFile = await open(join(directory, partnerOf(name)), 'r');
    const pack = await readEnd(packFile, length);
    const index = await readEnd(indexFile, 2 * length);
    if (pack.length !== length || !pack.equals(index.subarray(0, length))) {
      throw new MirrorError(code, `${name} and its index do not belong together`);
    }
  }
}

async function readEnd(file: FileHandle, bytes: number): Promise<Buffer> {
  const { size } = await file.stat();
  const length = Math.min(bytes, size);
  return readInto(Buffer.alloc(length), file, size - length);
}
