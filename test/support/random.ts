import { createCipheriv } from 'node:crypto';

/** A small seeded generator (mulberry32): the same seed gives the same numbers on every machine. */
export interface Random {
  readonly seed: number;
  /** A number in [0, 1). */
  next(): number;
  /** A whole number in [0, limit). */
  integer(limit: number): number;
  /** Bytes that do not compress. */
  bytes(count: number): Buffer;
  pick<T>(items: readonly T[]): T;
}

const STEP = 0x6d2b79f5;

export function createRandom(seed: number): Random {
  let state = seed >>> 0;
  const word = (): number => {
    state = (state + STEP) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
  const next = (): number => word() / 2 ** 32;
  const integer = (limit: number): number => Math.floor(next() * limit);
  return {
    seed,
    next,
    integer,
    bytes(count) {
      // A cipher's stream, because fixtures take megabytes, and word by word costs most of their time.
      const key = Buffer.alloc(16);
      key.writeUInt32LE(word());
      // As many numbers as bytes stand for are left out, so that those that follow do not depend on the cipher.
      state = (state + Math.imul(STEP, Math.ceil(count / 4) - 1)) | 0;
      return createCipheriv('aes-128-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(count));
    },
    pick(items) {
      const item = items[integer(items.length)];
      if (item === undefined) throw new Error('cannot pick from nothing');
      return item;
    },
  };
}

let chosenSeed: number | undefined;

/** The seed of this run: TEST_SEED, or the time. Logged once, so that a failure can be replayed. */
export function testSeed(): number {
  if (chosenSeed === undefined) {
    const given = process.env['TEST_SEED'];
    chosenSeed = given === undefined || given === '' ? Date.now() >>> 0 : Number(given) >>> 0;
    process.stderr.write(`TEST_SEED=${chosenSeed}\n`);
  }
  return chosenSeed;
}
