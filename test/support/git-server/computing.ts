import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { waitUntil } from '../processes.ts';

/**
 * How a server shows that it computes: `progress` has lines about it, `keep-alive` only the empty packets
 * that a git server sends every second, `nothing` neither.
 */
export type SignOfLife = 'progress' | 'keep-alive' | 'nothing';

/** A real git that computes a pack for as long as a test wants, as for a large repository. POSIX. */
export interface Computing {
  /** Of the serving git. */
  configuration: Record<string, string>;
  /** Resolves when a pack is being computed. */
  started(): Promise<void>;
  /** Packs are computed at once from now on. */
  finish(): void;
}

/** Keeps its files in a folder of its own, which must not be there yet. */
export function createComputing(folder: string, sign: SignOfLife): Computing {
  mkdirSync(folder);
  const hook = join(folder, 'hook');
  const say = sign === 'progress' ? `printf 'Computing: still at it\\r' >&2` : ':';
  // It ends with the server, which may not end it.
  const script = `#!/bin/sh
touch '${folder}/started'
while kill -0 "$PPID" 2>/dev/null && [ ! -e '${folder}/finished' ]; do
  ${say}
  sleep 0.2
done
exec "$@"
`;
  writeFileSync(hook, script, { mode: 0o755 });
  return {
    configuration: {
      'uploadpack.packObjectsHook': hook,
      'uploadpack.keepAlive': sign === 'keep-alive' ? '1' : '0',
    },
    async started() {
      const isThere = () => existsSync(join(folder, 'started'));
      await waitUntil(isThere, { timeoutMs: 30_000, what: 'a server that computes' });
    },
    finish() {
      writeFileSync(join(folder, 'finished'), '');
    },
  };
}
