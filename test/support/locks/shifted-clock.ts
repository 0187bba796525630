/**
 * To be loaded first (`--import`) into a process whose wall clock is off: by CLOCK_SHIFT_MS, and from a
 * SIGUSR2 on by as much in the other direction. The monotonic clock is as it was.
 */
const RealDate = Date;
let shiftMs = Number(process.env['CLOCK_SHIFT_MS']);

process.on('SIGUSR2', () => {
  shiftMs = -shiftMs;
});

const now = (): number => RealDate.now() + shiftMs;

globalThis.Date = new Proxy(RealDate, {
  construct: (target, given: unknown[], newTarget) =>
    Reflect.construct(target, given.length === 0 ? [now()] : given, newTarget) as Date,
  apply: () => new RealDate(now()).toString(),
  get: (target, name) => (name === 'now' ? now : (Reflect.get(target, name) as unknown)),
});
