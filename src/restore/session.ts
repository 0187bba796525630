/** A mirror that is open under its lock, from restore to the end of priming. */
import type { Job } from '../job/job.ts';
import type { Hold } from '../locks/lock.ts';
import type { Head, Ref } from '../mirror/refs.ts';
import type { MirrorIdentity } from '../snapshot/identity.ts';
import type { Provenance } from './lifecycle.ts';
import type { Verification } from './unpack-snapshot.ts';

/** What became of the claim on a clone. */
export type ClaimOutcome = 'acquired' | 'waited' | 'timed-out' | 'unavailable' | 'not-needed';

export interface RestoreOptions {
  /** Whether a clone is published before the step ends, so that waiting for another job's pays. */
  isPublishedEarly: boolean;
  verification: Verification;
  lockTimeoutMs: number;
  /** For each of: a probe, a fetch, a clone. */
  fetchTimeoutMs: number;
  /** How long upstream may show no sign of life. Infinity: as long as it likes. */
  stallTimeoutMs: number;
  /** Where the mirror of a key goes on this machine. */
  placeOf(key: string): string;
  /** Whether a person chose the place: what else is found there is then theirs to sort out. */
  isPlaceChosen: boolean;
}

export interface RestoredMirror {
  identity: MirrorIdentity;
  path: string;
  /** True where the mirror's own place could not be used: this one is gone with the job. */
  isPrivate: boolean;
  provenance: Provenance;
  /** It was cloned because something that existed turned out unusable. */
  recloned: boolean;
  /** Id of the snapshot it was restored from. */
  snapshot: string | undefined;
  head: Head | undefined;
  refs: readonly Ref[];
  refsDigest: string;
  /** Of its packs: about what a clone would have moved. */
  packBytes: number;
  waitedMs: number;
  claim: ClaimOutcome;
}

/** To be disposed of: that leaves the mirror's place and releases the claim. Disposal never fails. */
export interface MirrorSession extends AsyncDisposable {
  mirror: RestoredMirror;
  /** Ends when the mirror's lock is lost, too. */
  job: Job;
  /** The right to publish the clone, where this job acquired it. */
  claim: Hold | undefined;
}
