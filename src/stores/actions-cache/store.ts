/**
 * The store in GitHub's Actions cache: an entry for each manifest and each layer. Keys are immutable, so `createManifest`
 * is atomic, and entries are visible only when they are complete.
 *
 * What it can't promise, because the service or its toolkit doesn't:
 * - Nothing is removed by us. The platform evicts entries by age and by the size of all; a manifest may outlive its layers,
 *   which is then a bad snapshot.
 * - A number that was reserved by a writer that died, or whose answers were lost, is refused for a day although no manifest
 *   is found under it. A write that was cancelled, or whose answer was lost, may become visible later.
 * - Entries have a version: runners with zstd, runners without, and Windows don't see each other's. They may use the same
 *   number twice, which does no harm.
 * - Where an event lets a job read another branch's entries, those of its own ref come first. So a scope is a part of a
 *   manifest's key, and each scope is a store of its own. Layers have names that are given once, and are found in whatever
 *   scope the job may read.
 * - The toolkit unpacks an archive to wherever its names point, before our code can check it. GitHub trusts everybody who
 *   may write to the cache of a branch that far. The unpacked files are used only if they are exactly the declared ones.
 */
import { sumBytes } from '../../lib/bytes.ts';
import { MirrorError } from '../../lib/errors.ts';
import type { OnBytes } from '../../lib/progress.ts';
import { createStore } from '../back-end.ts';
import type { LayerFiles, Store } from '../store.ts';
import { layOut, moveEntryFiles } from './folder.ts';
import { findHighest, layerKey, manifestKey, manifestPrefix } from './keys.ts';
import type { ActionsCache, CacheSession, OnShare } from './session.ts';

const ABSENCE_HINT =
  'a job sees snapshots of its own branch, its base branch and the default branch only, and GitHub evicts entries after 7 days without use';

export interface ActionsCacheStoreOptions {
  cache: ActionsCache;
  /** Whose snapshots these are: a ref, or any other name. Only those of its own can a job save. */
  scope: string;
}

interface Call {
  session: CacheSession;
  key: string;
  signal: AbortSignal;
}

/** The snapshots of a scope. The first request is sent when the store is used. */
export function createActionsCacheStore({ cache, scope }: ActionsCacheStoreOptions): Store {
  return createStore<Call>({
    location: `the Actions cache (${scope})`,
    absenceHint: ABSENCE_HINT,

    attempt: ({ key, ...call }, work) =>
      cache.call(call, (session) => work({ session, key, signal: call.signal })),

    async findManifest({ session, key }, below, vanished) {
      const folder = manifestPrefix(key, scope);
      const limit = Math.min(below, ...vanished) - 1;
      const number = await findHighest(limit, async (prefixes) => {
        const found = await session.lookUp(prefixes.map((prefix) => folder + prefix));
        return found?.startsWith(folder) === true ? found.slice(folder.length) : found;
      });
      if (number === undefined) return undefined;
      return { number, content: await session.read(manifestKey(key, scope, number)) };
    },

    async createManifest({ session, key }, number, content) {
      const name = manifestKey(key, scope, number);
      return !(await session.has(name)) && (await session.create(name, content));
    },

    hasLayer: ({ session, key }, name) => session.has(layerKey(key, name)),

    /** Throws `bad-snapshot` also where the archive holds more than the layer declares. */
    async getLayer({ session, key, signal }, layer, directory, { onBytes }) {
      const outcome = await session.restore(layerKey(key, layer.name), tellBytes(layer, onBytes));
      if (outcome !== 'restored') {
        const problem =
          outcome === 'missing' ? 'is not there' : 'is damaged: it cannot be unpacked';
        throw new MirrorError('bad-snapshot', `the archive of layer ${layer.name} ${problem}`);
      }
      await moveEntryFiles(layer, session.folder.entry, directory, signal);
      onBytes?.(sumBytes(layer.files));
    },

    async putLayer({ session, key, signal }, layer, directory, { onBytes }) {
      await layOut(layer, directory, session.folder.entry, signal);
      const name = layerKey(key, layer.name);
      const result = await session.save(name, tellBytes(layer, onBytes));
      if (result.is === 'taken') throw new Error('a layer of this name was begun');
      // Names are never used twice: an existing entry is ours, and complete.
      if (result.is === 'unknown' && !(await session.has(name))) throw result.error;
      onBytes?.(sumBytes(layer.files));
    },

    removal: undefined,
  });
}

/** Reports the archive's share as bytes of the layer: packs don't compress. The caller reports the last byte, at the end. */
function tellBytes(layer: LayerFiles, onBytes: OnBytes | undefined): OnShare {
  const all = sumBytes(layer.files);
  let told = 0;
  return (share) => {
    told = Math.max(told, Math.min(all - 1, Math.floor(share * all)));
    onBytes?.(told);
  };
}
