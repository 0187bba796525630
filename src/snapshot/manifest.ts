/**
 * The manifest: the small record that names a snapshot's refs and layers. Gzipped JSON, format version 2. Readers
 * reject fields that they don't know. Others may write to the store, so nothing in a manifest is used before
 * `parseManifest` has checked it.
 */
import { sumBytes } from '../lib/bytes.ts';
import { createHash } from 'node:crypto';
import { gunzip, gzip } from 'node:zlib';
import { promisify } from 'node:util';
import * as v from 'valibot';
import { MirrorError, describeError } from '../lib/errors.ts';
import { partnerOf } from '../mirror/packs.ts';
import { digestRefs, findHeadFault, findRefsFault, type Head, type Ref } from '../mirror/refs.ts';
import { createRefFilter } from '../mirror/refspecs.ts';

export const FORMAT_VERSION = 2;

/**
 * Layers have a digest for each 16 MiB, so that ranges of them can be downloaded and verified in parallel, and again
 * on their own.
 */
export const CHUNK_BYTES = 16 * 1024 * 1024;

/** 100,000 refs take about 10 MB of JSON. Ends a decompression bomb. */
const MAX_JSON_BYTES = 128 * 1024 * 1024;
/**
 * A ref, `["refs/a","<40 digits>"],`, has 18 bytes for each structural character, and nothing has fewer. JSON that is
 * nothing but brackets takes 40 times its size in memory, and a process that runs out of memory can't recover.
 */
const BYTES_PER_SIGN = 12;
const MAX_REASON_CHARACTERS = 300;
const MAX_LAYERS = 1_000;
const MAX_FILES = 10_000;

const sha256 = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/));
const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const positive = v.pipe(v.number(), v.safeInteger(), v.minValue(1));
const text = v.pipe(v.string(), v.maxLength(4_096));
/** git's own names: a snapshot holds packs and their indexes and nothing else. */
const fileName = v.pipe(v.string(), v.regex(/^pack-[0-9a-f]{40}(?:[0-9a-f]{24})?\.(?:pack|idx)$/));
/** Digest of the content and nonce of the writer (see layers.ts). */
const layerName = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}-[0-9a-f]{16}$/));

const fileSchema = v.strictObject({
  name: fileName,
  bytes: count,
  /** SHA-256 of each CHUNK_BYTES of the file, the last one shorter. */
  chunks: v.array(sha256),
});

const layerSchema = v.strictObject({
  name: layerName,
  bytes: count,
  files: v.pipe(v.array(fileSchema), v.minLength(1), v.maxLength(MAX_FILES)),
});

const common = {
  version: v.literal(FORMAT_VERSION),
  number: positive,
  createdAt: v.pipe(v.string(), v.isoTimestamp()),
  /** The run that made it, for people. */
  run: text,
  git: text,
  action: text,
};

/** `[name, object id, peeled id of an annotated tag]`, the name as a byte string. */
const refSchema = v.pipe(
  v.strictTuple([v.string(), v.string(), v.optional(v.string())]),
  v.transform(([name, oid, peeled]): Ref => ({ name, oid, peeled })),
);

const headSchema = v.pipe(
  v.nullable(v.union([v.strictObject({ ref: text, oid: text }), v.strictObject({ oid: text })])),
  v.transform((head): Head | undefined => head ?? undefined),
);

const snapshotSchema = v.strictObject({
  ...common,
  kind: v.literal('repository'),
  /** Without credentials. */
  upstream: text,
  objectFormat: v.picklist(['sha1', 'sha256']),
  depth: v.picklist(['full', 'tip']),
  refspecs: v.array(text),
  head: headSchema,
  /** Sorted. */
  refs: v.pipe(v.array(refSchema), v.minLength(1), v.readonly()),
  refsDigest: sha256,
  layers: v.pipe(v.array(layerSchema), v.minLength(1), v.maxLength(MAX_LAYERS)),
  /** The number of saves since all objects were walked; each of them walked what was new. */
  savesSinceFullWalk: count,
  /** About how many bytes of the layers no ref reaches any more: known from refs that were rewritten. */
  unreachableBytes: count,
});

/**
 * Says that this number and all below must not be used: a walk found that an object is missing, which no cheaper
 * check finds. Readers treat it as "no snapshot".
 */
const revocationSchema = v.strictObject({
  ...common,
  kind: v.literal('revocation'),
  reason: text,
});

/**
 * LFS objects of an upstream. A layer is one file, the objects' contents one after the other. Nothing has to be
 * declared of it but the objects: their ids are their SHA-256.
 */
const lfsLayerSchema = v.strictObject({
  name: layerName,
  bytes: count,
  /** `[object id, size]`, in the file's order. */
  objects: v.pipe(v.array(v.strictTuple([sha256, positive])), v.minLength(1)),
});

const lfsSchema = v.strictObject({
  ...common,
  kind: v.literal('lfs-objects'),
  /** Without credentials. */
  upstream: text,
  layers: v.pipe(v.array(lfsLayerSchema), v.minLength(1), v.maxLength(MAX_LAYERS)),
});

const manifestSchema = v.variant('kind', [snapshotSchema, lfsSchema, revocationSchema]);

export type LayerFile = v.InferOutput<typeof fileSchema>;
export type Layer = v.InferOutput<typeof layerSchema>;
export type Revocation = v.InferOutput<typeof revocationSchema>;
export type Snapshot = v.InferOutput<typeof snapshotSchema>;
export type LfsLayer = v.InferOutput<typeof lfsLayerSchema>;
export type LfsSnapshot = v.InferOutput<typeof lfsSchema>;
export type Manifest = Snapshot | LfsSnapshot | Revocation;

export async function encodeManifest(manifest: Manifest): Promise<Uint8Array> {
  const written = manifest.kind === 'repository' ? toWritten(manifest) : manifest;
  return promisify(gzip)(Buffer.from(JSON.stringify(written), 'utf8'));
}

function toWritten(snapshot: Snapshot) {
  const refs = snapshot.refs.map(({ name, oid, peeled }) =>
    peeled === undefined ? [name, oid] : [name, oid, peeled],
  );
  return { ...snapshot, head: snapshot.head ?? null, refs };
}

/** Throws `bad-snapshot` for whatever is not a whole, consistent manifest of this number. */
export async function parseManifest(content: Uint8Array, number: number): Promise<Manifest> {
  const manifest = await decode(content);
  const fault =
    manifest.number === number
      ? findFault(manifest)
      : `it says it is number ${String(manifest.number)}`;
  if (fault !== undefined) throw badManifest(fault);
  return manifest;
}

function findFault(manifest: Manifest): string | undefined {
  switch (manifest.kind) {
    case 'repository':
      return findSnapshotFault(manifest);
    case 'lfs-objects':
      return findLfsFault(manifest);
    case 'revocation':
      return undefined;
  }
}

/** What people and the output `snapshot` call it: its number and the start of its digest. */
export function snapshotId(number: number, content: Uint8Array): string {
  return `${String(number)}-${createHash('sha256').update(content).digest('hex').slice(0, 12)}`;
}

async function decode(content: Uint8Array): Promise<Manifest> {
  try {
    const json = await promisify(gunzip)(content, { maxOutputLength: MAX_JSON_BYTES });
    if (isAllStructure(json)) throw new RangeError('it has more structure than content');
    // Ended at the first issue: there may be one for each of millions of items.
    return v.parse(manifestSchema, JSON.parse(json.toString('utf8')), { abortEarly: true });
  } catch (error) {
    throw badManifest(explain(error), error);
  }
}

function isAllStructure(json: Uint8Array): boolean {
  const [quote, backslash, comma, bracket, brace] = Buffer.from('"\\,[{');
  let signs = 0;
  let isString = false;
  for (let index = 0; index < json.length; index += 1) {
    const byte = json[index];
    if (byte === quote) isString = !isString;
    else if (byte === backslash) index += 1;
    else if (!isString && (byte === comma || byte === bracket || byte === brace)) signs += 1;
  }
  return signs > 1_000 + json.length / BYTES_PER_SIGN;
}

function explain(error: unknown): string {
  if (!v.isValiError<typeof manifestSchema>(error)) return describeError(error);
  const issue = error.issues[0];
  return `${v.getDotPath(issue) ?? 'it'}: ${issue.message}`;
}

function badManifest(reason: string, cause?: unknown): MirrorError {
  const shown = reason.slice(0, MAX_REASON_CHARACTERS);
  return new MirrorError('bad-snapshot', `the manifest is not usable: ${shown}`, { cause });
}

function findSnapshotFault(snapshot: Snapshot): string | undefined {
  const { head, refs, objectFormat, refsDigest, layers } = snapshot;
  const filter = createRefFilter(snapshot, head);
  const stray = refs.find(({ name }) => !filter(name));
  if (stray !== undefined) return `${JSON.stringify(stray.name)} is not among its refspecs`;
  if (digestRefs(head, refs) !== refsDigest) return 'its refs do not have its digest';
  return (
    findHeadFault(head, objectFormat) ??
    findRefsFault(refs, objectFormat) ??
    findLayersFault(layers)
  );
}

function findLayersFault(layers: readonly Layer[]): string | undefined {
  const files = layers.flatMap((layer) => layer.files);
  const names = new Set(files.map(({ name }) => name));
  if (names.size !== files.length) return 'two layers hold a file of one name';
  const unpaired = layers.map(findUnpaired).find((name) => name !== undefined);
  if (unpaired !== undefined) return `${unpaired} has no ${partnerOf(unpaired)} in its layer`;
  const odd = files.find(({ bytes, chunks }) => chunks.length !== Math.ceil(bytes / CHUNK_BYTES));
  if (odd !== undefined) {
    const needed = Math.ceil(odd.bytes / CHUNK_BYTES);
    return `${odd.name} has ${String(odd.chunks.length)} chunk digests; its size needs ${String(needed)}`;
  }
  const wrong = layers.find(({ files, bytes }) => bytes !== sumBytes(files));
  return wrong === undefined ? undefined : `${wrong.name} is not as large as its files`;
}

function findLfsFault({ layers }: LfsSnapshot): string | undefined {
  const oids = layers.flatMap(({ objects }) => objects.map(([oid]) => oid));
  if (new Set(oids).size !== oids.length) return 'two layers hold the same object';
  const wrong = layers.find(
    ({ objects, bytes }) => bytes !== objects.reduce((sum, [, size]) => sum + size, 0),
  );
  return wrong === undefined ? undefined : `${wrong.name} is not as large as its objects`;
}

function findUnpaired({ files }: Layer): string | undefined {
  const names = new Set(files.map(({ name }) => name));
  return [...names].find((name) => !names.has(partnerOf(name)));
}
