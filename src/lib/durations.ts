const UNITS_MS = { s: 1_000, m: 60_000, h: 3_600_000 } as const;

/** Milliseconds of `90s`, `10m`, `1h` or a number of seconds; undefined for anything else. Pure. */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d{1,7})(s|m|h)?$/.exec(text.trim());
  if (match === null) return undefined;
  const unit = (match[2] ?? 's') as keyof typeof UNITS_MS;
  return Number(match[1]) * UNITS_MS[unit];
}

/** A duration for people: `350 ms`, `4.2 s`, `3 min 5 s`. Pure. */
export function formatDuration(durationMs: number): string {
  // A value that would round up to the next unit is written in it: never `1000 ms` or `60.0 s`.
  if (durationMs < 999.5) return `${String(Math.round(durationMs))} ms`;
  if (durationMs < 59_950) return `${(durationMs / 1_000).toFixed(1)} s`;
  const seconds = Math.round(durationMs / 1_000);
  return `${String(Math.floor(seconds / 60))} min ${String(seconds % 60)} s`;
}
