/**
 * Layers: immutable sets of pack files. Described (sizes, digests, name) when they are saved, held
 * against their description when they are restored.
 *
 * Chunk digests go through WebCrypto, which hashes on Node's thread pool, several chunks at once;
 * at most PARALLEL_CHUNKS of them are in memory.
 */
import { createHash, randomBytes, webcrypto } from 'node:crypto';
import { open, readdir, stat, type FileHandle } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { MirrorError } from '../errors.ts';
import type { ObjectFormat } from '../mirror/refs.ts';
import type { OnBytes } from '../progress.ts';
import { CHUNK_BYTES, partnerOf, sumBytes, type Layer, type LayerFile } from './manifest.ts';

const PARALLEL_CHUNKS = Math.max(2, Math.min(4, availableParallelism()));

/** A pack and an index end in checksums of the repository's object format. */
const TRAILER_BYTES: Record<ObjectFormat, number> = { sha1: 20, sha256: 32 };

const PACK_FILE = /^pack-[0-9a-f]+\.(?:pack|idx)$/;

/** Names of the packs in a folder and their indexes, sorted; what else git keeps there is left out. */
export async function listPackFiles(directory: string): Promise<string[]> {
  const names = (await readdir(directory)).filter((name) => PACK_FILE.test(name));
  const whole = new Set(names);
  return names.filter((name) => whole.has(partnerOf(name))).sort();
}

/**
 * Describes files as a new layer. The checksum that git put at the end of each is recomputed on the
 * way, since digests over bytes already damaged would make them look sound: throws
 * `corrupt-mirror`. The name ends in a nonce: a fresh clone gives packs of the same content, and a
 * layer that was damaged in the store must never be taken for the one that replaces it.
 */
export async function describeLayer(
  directory: string,
  names: readonly string[],
  objectFormat: ObjectFormat,
  onBytes?: OnBytes,
): Promise<Layer> {
  const files: LayerFile[] = [];
  const count = counter(onBytes);
  for (const name of names) {
    files.push(await describeFile(join(directory, name), name, objectFormat, count));
  }
  await checkPairs(directory, names, objectFormat, 'corrupt-mirror');
  const digest = createHash('sha256').update(JSON.stringify(files)).digest('hex');
  const nonce = randomBytes(8).toString('hex');
  return { name: `${digest}-${nonce}`, bytes: sumBytes(files), files };
}

/** Holds a folder's files against a layer's sizes and digests; throws `bad-snapshot`. */
export async function verifyLayer(
  directory: string,
  layer: Layer,
  objectFormat: ObjectFormat,
  onBytes?: OnBytes,
): Promise<void> {
  const count = counter(onBytes);
  for (const { name, bytes, chunks } of layer.files) {
    const path = join(directory, name);
    const found = (await stat(path)).size;
    if (found !== bytes)
      throw badFile(layer, name, `has ${String(found)} of ${String(bytes)} bytes`);
    const digests = await digestChunks(path, count);
    const wrong = chunks.findIndex((chunk, index) => chunk !== digests[index]);
    if (wrong >= 0) throw badFile(layer, name, `is damaged in its chunk ${String(wrong)}`);
  }
  const names = layer.files.map(({ name }) => name);
  await checkPairs(directory, names, objectFormat, 'bad-snapshot');
}

/** Adds up chunks. */
function counter(onBytes: OnBytes | undefined): (chunk: Buffer) => void {
  let done = 0;
  return ({ length }) => {
    done += length;
    onBytes?.(done);
  };
}

function badFile(layer: Layer, name: string, what: string): MirrorError {
  return new MirrorError('bad-snapshot', `${name} in layer ${layer.name.slice(0, 12)} ${what}`);
}

async function describeFile(
  path: string,
  name: string,
  objectFormat: ObjectFormat,
  count: (chunk: Buffer) => void,
): Promise<LayerFile> {
  const bytes = (await stat(path)).size;
  const bodyBytes = bytes - TRAILER_BYTES[objectFormat];
  const hash = createHash(objectFormat);
  let position = 0;
  const chunks = await digestChunks(path, (chunk) => {
    hash.update(chunk.subarray(0, Math.max(0, bodyBytes - position)));
    position += chunk.length;
    count(chunk);
  });
  const trailer = await readEnd(path, TRAILER_BYTES[objectFormat]);
  if (bodyBytes <= 0 || position !== bytes || !hash.digest().equals(trailer)) {
    throw new MirrorError('corrupt-mirror', `${name} in the mirror does not have its own checksum`);
  }
  return { name, bytes, chunks };
}

/** SHA-256 of each CHUNK_BYTES of a file, in hexadecimal; `onChunk` sees the chunks in order. */
async function digestChunks(path: string, onChunk?: (chunk: Buffer) => void): Promise<string[]> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    const digests: Promise<string>[] = [];
    for (let position = 0; position < size; position += CHUNK_BYTES) {
      const chunk = await readChunk(file, position, Math.min(CHUNK_BYTES, size - position));
      onChunk?.(chunk);
      digests.push(digest(chunk));
      await digests[digests.length - PARALLEL_CHUNKS];
    }
    return await Promise.all(digests);
  } finally {
    await file.close();
  }
}

/** That many bytes, fewer only where the file ends before them. */
async function readChunk(
  file: FileHandle,
  position: number,
  bytes: number,
): Promise<Buffer<ArrayBuffer>> {
  const chunk = Buffer.alloc(bytes);
  let filled = 0;
  while (filled < bytes) {
    const { bytesRead } = await file.read(chunk, filled, bytes - filled, position + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return chunk.subarray(0, filled);
}

async function digest(chunk: Buffer<ArrayBuffer>): Promise<string> {
  return Buffer.from(await webcrypto.subtle.digest('SHA-256', chunk)).toString('hex');
}

/** An index names the checksum of its pack just before its own: they must belong together. */
async function checkPairs(
  directory: string,
  names: readonly string[],
  objectFormat: ObjectFormat,
  code: 'bad-snapshot' | 'corrupt-mirror',
): Promise<void> {
  const length = TRAILER_BYTES[objectFormat];
  for (const name of names.filter((each) => each.endsWith('.pack'))) {
    const pack = await readEnd(join(directory, name), length);
    const index = await readEnd(join(directory, partnerOf(name)), 2 * length);
    if (pack.length !== length || !pack.equals(index.subarray(0, length))) {
      throw new MirrorError(code, `${name} and its index do not belong together`);
    }
  }
}

async function readEnd(path: string, bytes: number): Promise<Buffer> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    const length = Math.min(bytes, size);
    return await readChunk(file, size - length, length);
  } finally {
    await file.close();
  }
}
