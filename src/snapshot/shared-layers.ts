/**
 * Which layers of its base a new snapshot names again, so that a save stores what a fetch brought
 * and not the repository.
 *
 * Layers fall into tiers by their size. A new layer takes in those of its tier and below as soon as
 * they would be FAN_OUT with it; if that lifts it into a higher tier, the same holds there. So a byte
 * is stored about once for each tier that it rises through, 1 + log_4(bytes of all / 64 KiB) times at
 * most, there are at most three layers to a tier, and three of four equal saves store no byte of an
 * older one. Only in the lowest tier some bytes are stored more often: below 192 KiB at every fourth
 * save.
 */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { systemCode } from '../errors.ts';
import { sumBytes, type Layer } from './manifest.ts';

const FAN_OUT = 4;
/** All that is smaller is of the lowest tier: some requests to a store cost as much as these bytes. */
const LOWEST_TIER_BYTES = 64 * 1024;

function tierOf(bytes: number): number {
  return Math.max(0, Math.ceil(Math.log(bytes / LOWEST_TIER_BYTES) / Math.log(FAN_OUT)));
}

/** The layers to be named again beside a new one of so many bytes; it takes in the others. */
export function chooseShared(layers: readonly Layer[], newBytes: number): Layer[] {
  const tier = tierOf(newBytes);
  const peers = layers.filter(({ bytes }) => tierOf(bytes) <= tier);
  if (newBytes === 0 || peers.length + 1 < FAN_OUT) return [...layers];
  const others = layers.filter((layer) => !peers.includes(layer));
  return chooseShared(others, newBytes + sumBytes(peers));
}

/** The layers whose files are all in a folder of packs, as large as they are there. */
export async function findHeld(packs: string, layers: readonly Layer[]): Promise<Layer[]> {
  const held: Layer[] = [];
  for (const layer of layers) if (await holds(packs, layer)) held.push(layer);
  return held;
}

async function holds(packs: string, { files }: Layer): Promise<boolean> {
  for (const { name, bytes } of files) {
    if ((await sizeOf(join(packs, name))) !== bytes) return false;
  }
  return true;
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
