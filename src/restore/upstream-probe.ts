/**
 * The probe as the main step sees it: asked early, answered while a snapshot is restored beside it.
 * Whatever would touch more than a staging directory waits for the answer.
 */
import { bindSignal, type Job } from '../job/job.ts';
import type { ObjectFormat, UpstreamRefs } from '../mirror/refs.ts';
import { probeUpstream } from '../mirror/upstream.ts';

/** Upstream answered, and what it has is not what the key is for. */
export class OtherObjectFormat extends Error {}

export class UpstreamProbe {
  readonly #job: Job;
  readonly #temporaryFolder: string;
  readonly #objectFormat: ObjectFormat;
  readonly #ended = new AbortController();
  #failed = new AbortController();
  #answer: Promise<UpstreamRefs> = Promise.reject(new Error('upstream was not asked yet'));

  /** Asks nothing yet. It is to be ended. */
  constructor(job: Job, temporaryFolder: string, objectFormat: ObjectFormat) {
    this.#job = bindSignal(job, this.#ended.signal);
    this.#temporaryFolder = temporaryFolder;
    this.#objectFormat = objectFormat;
    this.#answer.catch(ignore);
  }

  /** To the last question; rejects with the named failure, or OtherObjectFormat. */
  get answer(): Promise<UpstreamRefs> {
    return this.#answer;
  }

  /** Fires when the last question has failed: what goes on beside it is of no use. */
  get failed(): AbortSignal {
    return this.#failed.signal;
  }

  /** Asks; anew only where the last answer is there. */
  ask(): void {
    const failed = new AbortController();
    this.#failed = failed;
    this.#answer = this.#ask();
    this.#answer.catch(() => {
      failed.abort();
    });
  }

  /** Nothing of it goes on afterwards. Does not throw. */
  async end(): Promise<void> {
    this.#ended.abort();
    await this.#answer.catch(ignore);
  }

  async #ask(): Promise<UpstreamRefs> {
    const job = this.#job;
    const answer = await job.account.measure('probe', () =>
      probeUpstream(job, this.#temporaryFolder),
    );
    if (answer.objectFormat !== this.#objectFormat) throw new OtherObjectFormat();
    return answer;
  }
}

function ignore(): void {
  // Whoever needs the answer hears of it.
}
