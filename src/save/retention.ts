/**
 * Retention: which manifests and layers of a key are removed from a store.
 *
 * Nothing is removed before RETENTION_GRACE_MS: a manifest only when the ones that replace it have existed
 * that long, a layer only when no remaining manifest names it and it is that old itself.
 *
 * - A restore never loses a layer: it ends within TRANSFER_TIMEOUT_MS, half of that.
 * - A save never loses its new layer, whose upload ends within TRANSFER_TIMEOUT_MS. It may take longer in all,
 *   so it can lose a layer that it names again; but then newer manifests exist, and its own is refused.
 */
import type { Job } from '../job/job.ts';
import { describeError, hasCode, isInterruption } from '../lib/errors.ts';
import type { Store } from '../stores/store.ts';
import { parseManifest } from '../snapshot/manifest.ts';
import { TRANSFER_TIMEOUT_MS } from '../snapshot/transfer.ts';

const RETENTION_GRACE_MS = 2 * TRANSFER_TIMEOUT_MS;

interface RetentionOptions {
  maxSnapshots: number;
  graceMs: number;
  signal: AbortSignal;
}

/** Removes what is no longer needed; returns the numbers of the removed manifests. */
export async function applyRetention(
  store: Store,
  key: string,
  { maxSnapshots, graceMs, signal }: RetentionOptions,
): Promise<number[]> {
  const { manifests, layers, debris } = await store.list(key, signal);
  // A store that evicts on its own lists nothing, so no manifest has to be read.
  if (manifests.length + layers.length + debris.length === 0) return [];
  const settled = manifests.filter(({ ageMs }) => ageMs >= graceMs).map(({ number }) => number);
  const oldestKept = settled.at(-maxSnapshots) ?? 0;
  const numbers = manifests.map(({ number }) => number);
  const removed = numbers.filter((number) => number < oldestKept);
  const named = await findNamedLayers(store, key, oldestKept, signal);
  const isOld = ({ ageMs }: { ageMs: number }) => ageMs >= graceMs;
  await store.remove(
    key,
    {
      manifests: removed,
      layers: layers.filter((layer) => isOld(layer) && !named.has(layer.name)).map(nameOf),
      debris: debris.filter(isOld).map(nameOf),
    },
    signal,
  );
  return removed;
}

/** Layers named by manifests from a number on. A manifest nobody can read names none. */
async function findNamedLayers(
  store: Store,
  key: string,
  from: number,
  signal: AbortSignal,
): Promise<Set<string>> {
  const named = new Set<string>();
  let below = Infinity;
  for (;;) {
    const stored = await store.findManifest(key, { below, signal });
    if (stored === undefined || stored.number < from) return named;
    below = stored.number;
    for (const name of await readLayerNames(stored.content, stored.number)) named.add(name);
  }
}

async function readLayerNames(content: Uint8Array, number: number): Promise<string[]> {
  try {
    const manifest = await parseManifest(content, number);
    return manifest.kind === 'revocation' ? [] : manifest.layers.map(nameOf);
  } catch (error) {
    if (hasCode(error, 'bad-snapshot')) return [];
    throw error;
  }
}

function nameOf({ name }: { name: string }): string {
  return name;
}

/** Removes what a save has made superfluous. A failure is reported and ends nothing. */
export async function retain(
  { account, log, signal }: Pick<Job, 'account' | 'log' | 'signal'>,
  store: Store,
  key: string,
  maxSnapshots: number,
): Promise<void> {
  try {
    const rules = { maxSnapshots, graceMs: RETENTION_GRACE_MS, signal };
    await account.measure('tidy', () => applyRetention(store, key, rules));
  } catch (error) {
    if (isInterruption(error))
      log.info(`Old snapshots are left to the next save: ${error.message}`);
    else account.fallBack(`Old snapshots could not be removed: ${describeError(error)}`, error);
  }
}
