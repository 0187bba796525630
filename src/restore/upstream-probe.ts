/**
 * The probe as a restore sees it: started early, answered while a snapshot is restored in parallel.
 * Whatever would touch more than a staging directory waits for the answer.
 */
import { bindSignal, type Job } from '../job/job.ts';
import { createDeadline } from '../lib/deadline.ts';
import type { ObjectFormat, UpstreamRefs } from '../mirror/refs.ts';
import { probeUpstream, type Upstream } from '../mirror/upstream.ts';
import type { MirrorIdentity, MirrorSpec } from '../snapshot/identity.ts';
import type { RestoreOptions } from './session.ts';

/** Upstream answered, and its object format is not the one that the key is for. */
export class OtherObjectFormat extends Error {
  readonly objectFormat: ObjectFormat;

  constructor(objectFormat: ObjectFormat) {
    super(`upstream's object format is ${objectFormat}`);
    this.objectFormat = objectFormat;
  }
}

export interface UpstreamProbe {
  /** Rejects with the named failure, or OtherObjectFormat. */
  answer: Promise<UpstreamRefs>;
  /** Fires when the probe has failed: what runs in parallel is of no use any more. */
  failed: AbortSignal;
  /** Ends it, and returns when nothing of it runs any more. Does not throw. */
  end(): Promise<void>;
}

export function upstreamOf(job: Job, { url, refspecs, depth }: MirrorSpec): Upstream {
  return { access: job.accessOf(url), refspecs, depth };
}

/** Starts to ask upstream for its refs. The caller has to end it. */
export function startProbe(
  job: Job,
  { spec, objectFormat }: MirrorIdentity,
  { fetchTimeoutMs, stallTimeoutMs }: Pick<RestoreOptions, 'fetchTimeoutMs' | 'stallTimeoutMs'>,
): UpstreamProbe {
  const ended = new AbortController();
  const failed = new AbortController();
  const answer = ask(bindSignal(job, ended.signal));
  answer.catch(() => {
    failed.abort();
  });
  return {
    answer,
    failed: failed.signal,
    end: async () => {
      ended.abort();
      await answer.catch(() => undefined);
    },
  };

  async function ask(bound: Job): Promise<UpstreamRefs> {
    const deadline = createDeadline(fetchTimeoutMs, stallTimeoutMs);
    const upstream = upstreamOf(job, spec);
    const found = await job.account.measure('probe', () =>
      probeUpstream({ ...bound, upstream }, job.temporaryFolder, deadline),
    );
    if (found.objectFormat !== objectFormat) throw new OtherObjectFormat(found.objectFormat);
    return found;
  }
}
