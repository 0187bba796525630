/** What a save works with. */
import type { Job } from '../job/job.ts';
import type { MirrorRecord } from '../mirror/record.ts';
import type { Ref } from '../mirror/refs.ts';
import type { MirrorIdentity } from '../snapshot/identity.ts';
import type { Store } from '../stores/store.ts';
import type { SavePolicy } from './decide.ts';

/** A mirror as main left it. */
export interface SavedMirror {
  identity: MirrorIdentity;
  path: string;
  /** A private mirror has no lock: no other job knows it. */
  isPrivate: boolean;
}

export interface SaveOptions extends SavePolicy {
  maxSnapshots: number;
  /** A repack that takes longer is given up, and the packs are saved as they are. */
  repackTimeoutMs: number;
  /** For people: the run that saves, and the version of the action. */
  run: string;
  action: string;
}

/** One save, alone at the mirror's place. */
export interface Save {
  job: Job;
  store: Store;
  mirror: SavedMirror;
  options: SaveOptions;
}

/** The mirror's state that is to be saved. */
export interface Saved {
  record: MirrorRecord;
  refs: readonly Ref[];
  fence: number;
}
