import { setTimeout as sleep } from 'node:timers/promises';

/** What goes wrong on the way of a body; bytes are counted in it. */
export type BodyFault =
  /** Silent and open after that number of bytes, for `forMs` or `until` then; by default for ever. */
  | { kind: 'stall'; afterBytes: number; forMs?: number; until?: Promise<unknown> }
  /** The socket is closed after that number of bytes; with `reset`, by a TCP reset. */
  | { kind: 'cut'; afterBytes: number; reset?: boolean }
  /** It ends properly, but after that number of bytes. */
  | { kind: 'shorten'; afterBytes: number }
  | { kind: 'slow'; bytesPerSecond: number }
  /** Overwrites the stream itself with `Z`, framing and all. */
  | { kind: 'garbage-stream'; afterBytes: number; bytes?: number }
  /** Inverts `bytes` (default 16) bytes of git's pack inside an intact side band. */
  | { kind: 'garbage-pack'; afterBytes: number; bytes?: number };

const KINDS = new Set(['stall', 'cut', 'shorten', 'slow', 'garbage-stream', 'garbage-pack']);

/** What a behaviour does to a body. */
export function bodyFault(behave: { kind: string } | undefined): BodyFault | undefined {
  return behave !== undefined && KINDS.has(behave.kind) ? (behave as BodyFault) : undefined;
}

/** What is declared has to be true even of a body that is cut short, or the client would wait. */
export function shortened(
  declared: string | undefined,
  behave: { kind: string } | undefined,
): string | undefined {
  const fault = bodyFault(behave);
  if (declared === undefined || fault?.kind !== 'shorten') return undefined;
  return String(Math.min(Number(declared), fault.afterBytes));
}

/** Thrown in the middle of a body where the connection is to end. */
export class CutConnection extends Error {
  readonly reset: boolean;

  constructor(reset: boolean) {
    super('the connection is cut on purpose');
    this.reset = reset;
  }
}

/** The body as the fault lets it through; `signal` ends all waiting. */
export function damaged(
  body: AsyncIterable<Buffer>,
  behave: BodyFault | undefined,
  signal: AbortSignal,
): AsyncIterable<Buffer> {
  switch (behave?.kind) {
    case 'stall':
      return stopAfter(body, behave.afterBytes, () =>
        Promise.race([silence(behave.forMs, signal), ...(behave.until ? [behave.until] : [])]),
      );
    case 'cut':
      return stopAfter(body, behave.afterBytes, () =>
        Promise.reject(new CutConnection(behave.reset ?? false)),
      );
    case 'shorten':
      return shorten(body, behave.afterBytes);
    case 'slow':
      return slowly(body, behave.bytesPerSecond, signal);
    case 'garbage-stream':
      return overwrite(body, behave.afterBytes, behave.bytes ?? 16);
    case 'garbage-pack':
      return invertPack(body, behave.afterBytes, behave.bytes ?? 16);
    case undefined:
      return body;
  }
}

/** Forever is until the signal. */
export async function silence(forMs: number | undefined, signal: AbortSignal): Promise<void> {
  await sleep(forMs ?? 2 ** 31 - 1, undefined, { signal });
}

/** Lets `bytes` through, then `stop` decides; an answer shorter than that is stopped at its end. */
async function* stopAfter(
  body: AsyncIterable<Buffer>,
  bytes: number,
  stop: () => Promise<unknown>,
): AsyncGenerator<Buffer> {
  let room = bytes;
  let hasStopped = false;
  for await (const chunk of body) {
    if (hasStopped || chunk.length < room) {
      room -= chunk.length;
      yield chunk;
      continue;
    }
    if (room > 0) yield chunk.subarray(0, room);
    hasStopped = true;
    await stop();
    yield chunk.subarray(room);
  }
  if (!hasStopped) await stop();
}

async function* shorten(body: AsyncIterable<Buffer>, bytes: number): AsyncGenerator<Buffer> {
  let room = bytes;
  for await (const chunk of body) {
    yield chunk.subarray(0, room);
    room -= chunk.length;
    if (room <= 0) return;
  }
}

async function* slowly(
  body: AsyncIterable<Buffer>,
  bytesPerSecond: number,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  const stepBytes = Math.max(1, Math.floor(bytesPerSecond / 20));
  let dueMs = performance.now();
  for await (const chunk of body) {
    for (let offset = 0; offset < chunk.length; offset += stepBytes) {
      const step = chunk.subarray(offset, offset + stepBytes);
      // Timers are late; what they took too long is made up for, but not what the body was late.
      dueMs = Math.max(dueMs, performance.now() - 20) + (1000 * step.length) / bytesPerSecond;
      const waitMs = dueMs - performance.now();
      if (waitMs > 0) await silence(waitMs, signal);
      yield step;
    }
  }
}

async function* overwrite(
  body: AsyncIterable<Buffer>,
  afterBytes: number,
  bytes: number,
): AsyncGenerator<Buffer> {
  let position = 0;
  for await (const chunk of body) {
    const copy = Buffer.from(chunk);
    for (let index = 0; index < copy.length; index++, position++) {
      if (position >= afterBytes && position < afterBytes + bytes) copy[index] = 0x5a;
    }
    yield copy;
  }
}

/** Follows the pkt-lines, so that only bytes of band 1, the pack itself, are touched. */
async function* invertPack(
  body: AsyncIterable<Buffer>,
  afterBytes: number,
  bytes: number,
): AsyncGenerator<Buffer> {
  let prefix = '';
  let remaining = 0;
  let band: number | undefined;
  let position = 0;
  for await (const chunk of body) {
    const copy = Buffer.from(chunk);
    for (const [index, byte] of chunk.entries()) {
      if (remaining === 0) {
        prefix += String.fromCharCode(byte);
        if (prefix.length < 4) continue;
        remaining = Math.max(0, Number.parseInt(prefix, 16) - 4);
        prefix = '';
        band = undefined;
        continue;
      }
      remaining--;
      if (band === undefined) band = byte;
      else if (band === 1) {
        if (position >= afterBytes && position < afterBytes + bytes) copy[index] = byte ^ 0xff;
        position++;
      }
    }
    yield copy;
  }
}
