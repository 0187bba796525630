/**
 * The mirror's record: the completion marker in its directory. It says whose mirror it is, what its
 * last successful fetch left, and which snapshot it equals or descends from. Written last, so a
 * directory without one is not a mirror of ours.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as v from 'valibot';
import { systemCode } from '../errors.ts';
import { writeWhole } from '../files.ts';

export const RECORD_FILE = 'mirror-action.json';

const recordSchema = v.strictObject({
  version: v.literal(1),
  key: v.string(),
  /** Without credentials. */
  upstream: v.string(),
  /** Where upstream's HEAD pointed at the last successful fetch. */
  head: v.nullable(
    v.union([
      v.strictObject({ ref: v.string(), oid: v.string() }),
      v.strictObject({ oid: v.string() }),
    ]),
  ),
  /** Digest of the refs that the last successful fetch left; other refs are never published. */
  refsDigest: v.string(),
  /** Digest of the refs when everything they reach was last walked, or null. */
  walkedRefsDigest: v.nullable(v.string()),
  /** The snapshot it was restored from or saved as last; its manifest lies beside this record. */
  base: v.nullable(v.strictObject({ number: v.number(), id: v.string() })),
  /**
   * The highest number that the store had before the last successful fetch: whatever has a higher
   * one may be newer than this mirror. Null where the store could not be asked.
   */
  fence: v.nullable(v.number()),
});

export type MirrorRecord = v.InferOutput<typeof recordSchema>;

/** The record, `damaged` for one that cannot be read as one, undefined where there is none. */
export async function findRecord(directory: string): Promise<MirrorRecord | 'damaged' | undefined> {
  let text: string;
  try {
    text = await readFile(join(directory, RECORD_FILE), 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
  try {
    return v.parse(recordSchema, JSON.parse(text));
  } catch {
    return 'damaged';
  }
}

export async function writeRecord(directory: string, record: MirrorRecord): Promise<void> {
  await writeWhole(join(directory, RECORD_FILE), `${JSON.stringify(record, null, 2)}\n`);
}
