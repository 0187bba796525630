/** How long a claim lives, and how soon its holder must notice that it lost it. */
export interface ClaimTimes {
  /** A claim that was not written for this long is stale, by the store's clock. */
  lifeMs: number;
  /** From one heartbeat to the next. */
  heartbeatMs: number;
  /** From a failed heartbeat to the next attempt. */
  retryMs: number;
  /** A heartbeat without an answer for this long has failed. */
  requestMs: number;
  /** From one look of a waiting job to its next: at first, and at most. */
  firstPollMs: number;
  longestPollMs: number;
}

/**
 * The life must be longer than a living holder can be silent: the rest of a heartbeat's interval (10 s), a host that
 * freezes its machine for maintenance (up to 30 s on Azure, where GitHub's runners are), and a slow request (10 s). A dead
 * holder costs waiting jobs the same time. Half a life, after which a holder has lost, has three heartbeats, so that some
 * may fail.
 */
export const DEFAULT_TIMES: ClaimTimes = {
  lifeMs: 60_000,
  heartbeatMs: 10_000,
  retryMs: 2_000,
  requestMs: 10_000,
  // Making a snapshot takes seconds to minutes. A look costs the store two listings.
  firstPollMs: 1_000,
  longestPollMs: 2_500,
};

/**
 * A holder whose last heartbeat is older than this has lost, even if no other job looks. The rest of the life is the time
 * until another job can have the claim: enough to end git and uploads (2 s), and for clocks that run at different rates.
 */
export function lateAfterMs({ lifeMs }: Pick<ClaimTimes, 'lifeMs'>): number {
  return lifeMs / 2;
}
