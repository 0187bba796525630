/**
 * The mirror's record: the completion marker in its directory. It says whose mirror it is, what its last successful
 * fetch left, and which snapshot it equals or descends from. It is written last, so a directory without one isn't a
 * mirror of ours. It has its own digest: after a flipped bit it could name another owner, and the mirror would never
 * be replaced.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as v from 'valibot';
import { systemCode } from '../lib/errors.ts';
import { writeWhole } from '../lib/files.ts';

export const RECORD_FILE = 'mirror-action.json';

const VERSION = 1;

const recordSchema = v.strictObject({
  version: v.literal(VERSION),
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
  /** The snapshot that it was restored from or last saved as. Its manifest is next to this record. */
  base: v.nullable(v.strictObject({ number: v.number(), id: v.string(), refsDigest: v.string() })),
  /**
   * The highest number that the store had before the last successful fetch: snapshots with a higher number may be newer
   * than this mirror. Null if the store could not be asked.
   */
  fence: v.nullable(v.number()),
  /** Ids of snapshots that were found to be bad: they must be replaced, even if they have the same refs. */
  rejected: v.array(v.string()),
});

export type MirrorRecord = v.InferOutput<typeof recordSchema>;

/** The record; undefined if there is none, `damaged` if it can't be parsed. */
export async function findRecord(
  directory: string,
): Promise<MirrorRecord | 'damaged' | 'unknown-version' | undefined> {
  let text: string;
  try {
    text = await readFile(join(directory, RECORD_FILE), 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
  return parseRecord(text);
}

function parseRecord(text: string): MirrorRecord | 'damaged' | 'unknown-version' {
  const written = openEnvelope(text);
  const parsed = v.safeParse(recordSchema, written);
  if (parsed.success) return parsed.output;
  const { success, output } = v.safeParse(v.object({ version: v.number() }), written);
  return success && output.version !== VERSION ? 'unknown-version' : 'damaged';
}

const envelopeSchema = v.strictObject({ digest: v.string(), record: v.unknown() });

/** The content, or undefined if its digest differs. All versions of the format share the digest. */
function openEnvelope(text: string): unknown {
  try {
    const { digest, record } = v.parse(envelopeSchema, JSON.parse(text));
    return digest === digestOf(record) ? record : undefined;
  } catch {
    return undefined;
  }
}

/** JSON.parse keeps the order of keys, so a parsed record has the same digest when it is written again. */
function digestOf(record: unknown): string {
  return createHash('sha256')
    .update(JSON.stringify(record ?? null))
    .digest('hex');
}

export async function writeRecord(directory: string, record: MirrorRecord): Promise<void> {
  const envelope = { digest: digestOf(record), record };
  await writeWhole(join(directory, RECORD_FILE), `${JSON.stringify(envelope, null, 2)}\n`);
}
