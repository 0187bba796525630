/** One save, once it is decided: packs, checks, uploads, and removes old snapshots. Under the mirror's lock. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MirrorError, describeError, hasCode, throwIfPlaceLost } from '../lib/errors.ts';
import { BASE_MANIFEST_FILE, wipe } from '../mirror/directory.ts';
import { writeRecord, type MirrorRecord } from '../mirror/record.ts';
import { listNeededOids } from '../mirror/refs.ts';
import { limitHistory } from '../mirror/shallow.ts';
import type { Layer, Snapshot } from '../snapshot/manifest.ts';
import { withTransferDeadline } from '../snapshot/transfer.ts';
import type { Lineage, SaveResult } from './decide.ts';
import {
  describeNewPacks,
  measureUnreachable,
  planPacking,
  repackAsPlanned,
  type Content,
} from './packing.ts';
import {
  checkConnectivity,
  describeWriter,
  hasHole,
  publishManifest,
  publishSnapshot,
} from './publish.ts';
import { retain } from './retention.ts';
import type { Save, Saved } from './save.ts';

/** Wipes the mirror where it finds damage. */
export async function packAndPublish(
  save: Save,
  saved: Saved,
  lineage: Lineage,
): Promise<SaveResult> {
  const { account, git, signal } = save.job;
  const { path, identity } = save.mirror;
  const { record, refs, fence } = saved;
  const { base, layers } = lineage;
  const { depth } = identity.spec;
  const oids = listNeededOids(record.head ?? undefined, refs);
  let hasSoundPacks = false;
  let content: Content;
  try {
    await limitHistory(git, path, depth, oids);
    const unreachableBytes = await measureUnreachable(save, base, oids);
    const planned = await planPacking(save, layers, unreachableBytes);
    const layer = await describeNewPacks(save, planned.shared);
    hasSoundPacks = true;
    const walked = await account.measure('walk', () =>
      checkConnectivity(git, path, depth, record, base),
    );
    const found = { shared: planned.shared, layer, walked, unreachableBytes };
    content = await repackAsPlanned(save, found, planned, oids);
  } catch (error) {
    if (!hasCode(error, 'corrupt-mirror')) throw error;
    throwIfPlaceLost(signal);
    if (hasSoundPacks && base !== undefined) await revokeIfDamaged(save, base, fence);
    await wipe(path);
    return { result: 'corrupt', reason: error.message };
  }
  return publish(save, record, describeSnapshot(save, saved, content), content.layer);
}

async function publish(
  save: Save,
  record: MirrorRecord,
  snapshot: Snapshot,
  layer: Layer,
): Promise<SaveResult> {
  const { job, store, mirror } = save;
  const { account, log, signal } = job;
  const { path, identity } = mirror;
  const publication = await account.measure(
    'upload',
    () =>
      withTransferDeadline(signal, (bounded) =>
        publishSnapshot(store, identity.key, path, snapshot, layer, { log, signal: bounded }),
      ),
    () => layer.bytes,
  );
  if (publication.is === 'superseded') return { result: 'superseded', number: publication.number };
  const { number, id, content } = publication;
  const isWalked = snapshot.savesSinceFullWalk === 0;
  try {
    throwIfPlaceLost(signal);
    // The record names the base after it.
    await writeFile(join(path, BASE_MANIFEST_FILE), content);
    await writeRecord(path, {
      ...record,
      base: { number, id, refsDigest: record.refsDigest },
      walkedRefsDigest: isWalked ? record.refsDigest : record.walkedRefsDigest,
      fence: number,
      rejected: [],
    });
  } catch (error) {
    // Everybody can restore it by now. The next save from this mirror only has to do more.
    account.recover(`Snapshot ${id} is not noted in ${path}: ${describeError(error)}`, error);
  }
  await retain(job, store, identity.key, save.options.maxSnapshots);
  return { result: 'published', id, bytes: layer.bytes + content.length };
}

function describeSnapshot(
  save: Save,
  { record, refs, fence }: Saved,
  { shared, layer, walked, unreachableBytes }: Content,
): Snapshot {
  const { spec, objectFormat } = save.mirror.identity;
  return {
    ...describeWriter(save.job, save.options, fence + 1),
    kind: 'repository',
    upstream: spec.url,
    objectFormat,
    depth: spec.depth,
    refspecs: [...spec.refspecs],
    head: record.head ?? undefined,
    refs,
    refsDigest: record.refsDigest,
    // Refs can move without new objects.
    layers: layer.files.length === 0 ? shared : [...shared, layer],
    savesSinceFullWalk: walked,
    unreachableBytes,
  };
}

/** If the damage came with the base, tells every reader not to use that or any before. Never throws. */
async function revokeIfDamaged(save: Save, base: Snapshot, fence: number): Promise<void> {
  const { job, store, mirror, options } = save;
  try {
    if (!(await hasHole(job.git, mirror.path, base))) return;
    const reason = 'an object is missing that its refs need';
    const writer = describeWriter(job, options, fence + 1);
    const revocation = { ...writer, kind: 'revocation' as const, reason };
    const publication = await publishManifest(store, mirror.identity.key, revocation, job.signal);
    if (publication.is === 'published') return;
    const { number } = publication;
    throw new MirrorError('bad-snapshot', `another job saved snapshot ${String(number)} first`);
  } catch (error) {
    const what = `Snapshot ${String(base.number)} may be damaged, and was not revoked`;
    job.account.fallBack(`${what}: ${describeError(error)}`, error);
  }
}
