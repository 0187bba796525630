/** The only place that knows which back ends there are. */
import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { MirrorError, describeError } from '../errors.ts';
import { createDiskStore } from './disk.ts';
import type { Store } from './store.ts';

/** What the settings say about the store. */
export type StoreChoice = { kind: 'disk'; path: string } | { kind: 'none' };

/**
 * The store that the settings name; undefined for none. A `disk-path` that is no folder to read is
 * a typo or a volume that is not mounted, and throws `invalid-input`: going on without it would look
 * like a healthy run and clone every time.
 */
export async function openStore(choice: StoreChoice): Promise<Store | undefined> {
  switch (choice.kind) {
    case 'disk':
      await checkFolder(choice.path);
      return createDiskStore({ path: choice.path });
    case 'none':
      return undefined;
  }
}

async function checkFolder(path: string): Promise<void> {
  try {
    if (!(await stat(path)).isDirectory()) throw new Error('it is not a folder');
    await access(path, constants.R_OK | constants.X_OK);
  } catch (error) {
    const message = `Input \`disk-path\` is ${JSON.stringify(path)}; allowed is an existing folder that this user can read`;
    throw new MirrorError('invalid-input', `${message} (${describeError(error)})`, {
      cause: error,
    });
  }
}
