import type { PhaseName } from '../../src/job/account.ts';

/** What goes wrong within the steps of a job; failpoints.ts makes it happen. */
export interface StepFaults {
  main?: StepFault;
  post?: StepFault;
  weakness?: Weakness | undefined;
}

export interface StepFault {
  signal?: PhaseSignal;
  store?: StoreFault;
}

/** The step gets a signal the first time that a phase begins, or has ended. */
export interface PhaseSignal {
  phase: PhaseName;
  when: 'before' | 'after';
  signal: 'SIGKILL' | 'SIGSTOP' | 'SIGINT' | 'SIGTERM';
}

export interface StoreFault {
  method:
    'findManifest' | 'createManifest' | 'hasLayer' | 'getLayer' | 'putLayer' | 'list' | 'remove';
  /** `lost-reply`: it was done, and looks as if it were not; `cut`: half of what there is comes. */
  kind: 'fail' | 'late' | 'lost-reply' | 'cut';
  /** How many calls meet it. */
  times: number;
}

/** Checks that can be taken out, to see that the harness notices. */
export type Weakness =
  | 'digests are not compared'
  | 'a failed fetch is only logged'
  | 'manifests are created over others';

/** Phases by the step that has them. */
export const PHASES_OF = {
  main: ['lock', 'look-up', 'probe', 'check', 'restore', 'claim', 'fetch', 'clone', 'prime'],
  post: ['lock', 'look-up', 'digest', 'walk', 'repack', 'upload', 'tidy'],
} as const satisfies Record<'main' | 'post', readonly PhaseName[]>;

/** What the store is asked by the step. */
export const CALLS_OF = {
  main: ['findManifest', 'getLayer'],
  post: ['findManifest', 'hasLayer', 'putLayer', 'createManifest', 'list', 'remove'],
} as const satisfies Record<'main' | 'post', readonly StoreFault['method'][]>;
