/** The variables of a Node process whose wall clock is off by so much (see shifted-clock.ts). */
export function withClockShiftedBy(shiftMs: number): Record<string, string> {
  const preload = new URL('shifted-clock.ts', import.meta.url).href;
  return { NODE_OPTIONS: `--import=${preload}`, CLOCK_SHIFT_MS: String(shiftMs) };
}
