/**
 * Which layers of its base a new snapshot can reference again, so that a save stores only what a fetch brought.
 * tiers.ts chooses among them.
 */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { systemCode } from '../lib/errors.ts';
import type { Layer } from './manifest.ts';

/** The layers whose files are all in a folder of packs, with the same sizes. */
export async function findHeld(packs: string, layers: readonly Layer[]): Promise<Layer[]> {
  const held: Layer[] = [];
  for (const layer of layers) if (await holds(packs, layer)) held.push(layer);
  return held;
}

async function holds(packs: string, { files }: Layer): Promise<boolean> {
  try {
    for (const { name, bytes } of files) {
      if ((await stat(join(packs, name))).size !== bytes) return false;
    }
    return true;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false;
    throw error;
  }
}
