import {
  appendFileSync,
  chmodSync,
  closeSync,
  openSync,
  readSync,
  rmSync,
  statSync,
  truncateSync,
  writeSync,
} from 'node:fs';
import type { Random } from './random.ts';

/** Inverts one bit (0 to 7) of the byte at `offset`; a negative offset counts from the end. */
export function flipBit(file: string, offset: number, bit = 0): void {
  const position = offset < 0 ? statSync(file).size + offset : offset;
  damage(file, () => {
    const handle = openSync(file, 'r+');
    try {
      const byte = Buffer.alloc(1);
      if (readSync(handle, byte, 0, 1, position) !== 1) {
        throw new RangeError(`${file} has no byte ${position}`);
      }
      byte.writeUInt8(byte.readUInt8() ^ (1 << bit));
      writeSync(handle, byte, 0, 1, position);
    } finally {
      closeSync(handle);
    }
  });
}

/** Keeps the first `bytes` bytes; a negative number cuts that many off the tail. */
export function truncate(file: string, bytes: number): void {
  const size = statSync(file).size;
  const kept = bytes < 0 ? size + bytes : bytes;
  if (kept < 0 || kept >= size) throw new RangeError(`${file} has ${size} bytes, keep ${kept}?`);
  damage(file, () => {
    truncateSync(file, kept);
  });
}

export function empty(file: string): void {
  truncate(file, 0);
}

export function lengthen(file: string, extra: Uint8Array): void {
  damage(file, () => {
    appendFileSync(file, extra);
  });
}

export function remove(file: string): void {
  // Windows refuses to remove a read-only file.
  chmodSync(file, 0o600);
  rmSync(file);
}

/** A position in [fromBytes, size of the file - tailBytes): say, past a header, before a trailer. */
export function randomOffset(random: Random, file: string, fromBytes = 0, tailBytes = 0): number {
  const room = statSync(file).size - fromBytes - tailBytes;
  if (room <= 0) throw new RangeError(`${file} is too short to hit between header and trailer`);
  return fromBytes + random.integer(room);
}

/** Git writes packs as 0444. The mode is put back: a damaged disk does not change modes either. */
function damage(file: string, change: () => void): void {
  const { mode } = statSync(file);
  chmodSync(file, mode | 0o200);
  try {
    change();
  } finally {
    chmodSync(file, mode);
  }
}
