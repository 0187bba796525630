/** What the inputs and the event say about saving. Pure. */
import type { Job } from '../job/job.ts';
import type { SaveOptions } from '../save/save.ts';
import type { Settings } from './inputs/settings.ts';
import { VERSION } from './version.ts';

/** Shorter than the default of `lock-timeout`: other jobs wait for the mirror meanwhile. */
export const REPACK_TIMEOUT_MS = 8 * 60_000;

const DAY_MS = 24 * 60 * 60_000;

/** Why this job must not save, or undefined if it may. */
export function findSaveBan({ save, untrustedReason }: Settings): string | undefined {
  if (save === 'never') return '`save` is `never`';
  return save === 'auto' ? untrustedReason : undefined;
}

/** Whether a clone is saved before the main step ends. */
export function isPublishedEarly(settings: Settings): boolean {
  return settings.publish === 'early' && findSaveBan(settings) === undefined;
}

export function saveOptionsOf(settings: Settings, { otherStores }: Job): SaveOptions {
  // Where snapshots are read from other stores as well, few jobs can read what this one saves.
  const isScoped = settings.save === 'auto' && otherStores.length > 0;
  return {
    isForced: settings.save === 'always',
    leastAgeMs: isScoped ? DAY_MS : 0,
    maxSnapshots: settings.maxSnapshots,
    repackTimeoutMs: REPACK_TIMEOUT_MS,
    run: settings.run,
    action: VERSION,
  };
}
