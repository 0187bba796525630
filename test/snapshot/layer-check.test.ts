/** A layer's files compared with its digests, before and after all of them are written. */
import { afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { createHash, randomBytes } from 'node:crypto';
import { open, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MirrorError } from '../../src/lib/errors.ts';
import { ChunkDigester } from '../../src/snapshot/chunks.ts';
import { LayerCheck } from '../../src/snapshot/layer-check.ts';
import { describeLayer } from '../../src/snapshot/layers.ts';
import { CHUNK_BYTES, type Layer } from '../../src/snapshot/manifest.ts';
import { temporaryDirectories } from '../support/temporary-directory.ts';

const directories = temporaryDirectories();
const { signal } = new AbortController();
const pack = 'pack-0000000000000000000000000000000000000000.pack';
const index = pack.replace('.pack', '.idx');
/** Of three chunks, the last one short. */
const packBytes = 2 * CHUNK_BYTES + 1_000;
let packContent: Buffer;
let indexContent: Buffer;
let layer: Layer;

function sealed(body: Buffer): Buffer {
  return Buffer.concat([body, createHash('sha1').update(body).digest()]);
}

beforeAll(async () => {
  packContent = sealed(randomBytes(packBytes - 20));
  indexContent = sealed(Buffer.concat([randomBytes(500), packContent.subarray(-20)]));
  layer = await describeLayer(await makeLayer(), [index, pack], 'sha1', { signal });
});
afterEach(() => directories.removeAll());

/** A folder with all its files. */
async function makeLayer(): Promise<string> {
  const folder = await directories.create('layer');
  await writeFile(join(folder, pack), packContent);
  await writeFile(join(folder, index), indexContent);
  return folder;
}

async function damage(folder: string, position: number): Promise<void> {
  const file = await open(join(folder, pack), 'r+');
  await file.write(Buffer.from([(packContent[position] ?? 0) ^ 1]), 0, 1, position);
  await file.close();
}

/** What it says, or nothing. */
async function judge(check: LayerCheck): Promise<string | undefined> {
  try {
    await check.finish('sha1');
    return undefined;
  } catch (error) {
    expect(error).toMatchObject({ code: 'bad-snapshot' });
    return (error as MirrorError).message;
  } finally {
    await check.end();
  }
}

/** What has come of the pack by then; the rest has not been told of. */
const notes: [string, [number, number][]][] = [
  ['nothing was told of', []],
  ['all was told of', [[0, packBytes]]],
  [
    'all bytes were reported in ranges across chunks',
    [
      [CHUNK_BYTES + 5, packBytes],
      [7, CHUNK_BYTES + 5],
      [0, 7],
    ],
  ],
  ['one chunk was told of', [[CHUNK_BYTES, 2 * CHUNK_BYTES]]],
  ['no chunk was told of as a whole', [[1, CHUNK_BYTES]]],
];

describe.each(notes)('where %s', (_, stretches) => {
  async function begin(): Promise<{ folder: string; check: LayerCheck }> {
    const folder = await makeLayer();
    return { folder, check: new LayerCheck(folder, layer, new ChunkDigester(signal)) };
  }
  const tell = (check: LayerCheck): void => {
    for (const [start, end] of stretches) check.note(pack, start, end);
  };

  test('a sound layer is sound', async () => {
    const { check } = await begin();
    tell(check);
    await expect(check.finish('sha1')).resolves.toBeUndefined();
    await check.end();
  });

  test.each([0, 1, 2])('damage in chunk %d is found', async (chunk) => {
    const { folder, check } = await begin();
    await damage(folder, chunk * CHUNK_BYTES + 500);
    tell(check);
    expect(await judge(check)).toContain(`is damaged in its chunk ${String(chunk)}`);
  });

  test('a file of another size is found', async () => {
    const { folder, check } = await begin();
    tell(check);
    await truncate(join(folder, pack), packBytes + 1);
    expect(await judge(check)).toContain(`has ${String(packBytes + 1)} of`);
  });
});

test('reported bytes that do not exist do no harm if the check is not finished', async () => {
  const check = new LayerCheck(await directories.create('empty'), layer, new ChunkDigester(signal));
  check.note(pack, 0, packBytes);
  await check.end();
});

describe('a digest that is cancelled', () => {
  test('reads no more chunks, and throws the reason', async () => {
    const folder = await makeLayer();
    const cancel = new AbortController();
    let seen = 0;
    const onBytes = (bytes: number): void => {
      seen = bytes;
      cancel.abort(new MirrorError('cancelled', 'enough'));
    };
    const work = describeLayer(folder, [pack, index], 'sha1', { signal: cancel.signal, onBytes });
    await expect(work).rejects.toMatchObject({ code: 'cancelled', message: 'enough' });
    expect(seen).toBe(CHUNK_BYTES);
  });

  test('ends a check of a layer that is there', async () => {
    const folder = await makeLayer();
    const check = new LayerCheck(folder, layer, new ChunkDigester(AbortSignal.abort()));
    await expect(check.finish('sha1')).rejects.toMatchObject({ code: 'cancelled' });
    await check.end();
  });
});
