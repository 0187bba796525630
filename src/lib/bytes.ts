const UNITS = ['KiB', 'MiB', 'GiB', 'TiB'];

/** Bytes for people, in powers of 1024: `512 B`, `1.5 KiB`, `312 MiB`. Pure. */
export function formatBytes(bytes: number): string {
  if (bytes < 1024) return `${String(Math.round(bytes))} B`;
  let value = bytes / 1024;
  let unit = 0;
  // A value that would round up to the next unit is written in it: never `1024 KiB`.
  while (value >= 1023.5 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value < 99.95 ? value.toFixed(1) : value.toFixed(0)} ${UNITS[unit] ?? ''}`;
}

/** Bytes of all of them. Pure. */
export function sumBytes(all: readonly { bytes: number }[]): number {
  return all.reduce((sum, { bytes }) => sum + bytes, 0);
}

/** A rate for people: `12.3 MiB/s`. Pure. */
export function formatRate(bytes: number, durationMs: number): string {
  return `${formatBytes((bytes / durationMs) * 1_000)}/s`;
}
