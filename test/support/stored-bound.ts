/** What saves store at most, as docs/decisions/0029 derives it. */
export interface Stored {
  /** Bytes that were fetched in all, by the clone too, with indexes. */
  fetched: number;
  /** Of the largest snapshot. */
  largest: number;
  saves: number;
}

const LOWEST_TIER_BYTES = 64 * 1024;

/** Bytes of layers, for saves that each have the one before for their base. */
export function storedBound({ fetched, largest, saves }: Stored): number {
  const tiers = Math.max(0, Math.log(largest / LOWEST_TIER_BYTES) / Math.log(4));
  return fetched * (2 + 7 / 3 + 1.25 * (1 + tiers)) + (saves * LOWEST_TIER_BYTES) / 3;
}
