/**
 * For NODE_OPTIONS of the process that runs the toolkit: shortens the pauses between its attempts, which
 * take 28 s where the service answers with errors only. Timeouts of requests are longer, and stay.
 */
const SHORTEST_MS = 1_000;
const LONGEST_MS = 20_000;
const FACTOR = 20;

const original = globalThis.setTimeout;
const hurried = (callBack: () => void, ms = 0, ...more: []): NodeJS.Timeout =>
  original(callBack, ms >= SHORTEST_MS && ms <= LONGEST_MS ? ms / FACTOR : ms, ...more);
globalThis.setTimeout = Object.assign(hurried, original);
