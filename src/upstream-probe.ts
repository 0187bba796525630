/**
 * The probe as the main step sees it: asked early, answered while a snapshot is restored beside it.
 * Whatever would touch more than a staging directory waits for the answer.
 */
import { bindSignal, type Job } from './job.ts';
import type { UpstreamRefs } from './mirror/refs.ts';
import { probeUpstream } from './mirror/upstream.ts';

export class UpstreamProbe {
  readonly #job: Job;
  readonly #temporaryFolder: string;
  readonly #ended = new AbortController();
  #failed = new AbortController();
  #answer: Promise<UpstreamRefs> = Promise.reject(new Error('upstream was not asked yet'));

  /** Asks nothing yet. It is to be ended. */
  constructor(job: Job, temporaryFolder: string) {
    this.#job = bindSignal(job, this.#ended.signal);
    this.#temporaryFolder = temporaryFolder;
    this.#answer.catch(ignore);
  }

  /** To the question that was asked last; rejects with the named failure. */
  get answer(): Promise<UpstreamRefs> {
    return this.#answer;
  }

  /** Fires when that question has failed: what goes on beside it is of no use. */
  get failed(): AbortSignal {
    return this.#failed.signal;
  }

  /** Asks, or asks anew. */
  ask(): void {
    const failed = new AbortController();
    const job = this.#job;
    this.#failed = failed;
    this.#answer = job.account.measure('probe', () => probeUpstream(job, this.#temporaryFolder));
    this.#answer.catch(() => {
      failed.abort();
    });
  }

  /** Nothing of it goes on afterwards. Does not throw. */
  async end(): Promise<void> {
    this.#ended.abort();
    await this.#answer.catch(ignore);
  }
}

function ignore(): void {
  // Whoever needs the answer hears of it.
}
