/** Servers of the repositories below a folder, for a whole test file: git's own protocol, and plain files. */
import { afterAll, beforeAll } from '@jest/globals';
import { startDumbServer, type DumbServer } from '../support/git-server/dumb-server.ts';
import { startGitServer, type GitServer } from '../support/git-server/server.ts';
import { createTemporaryDirectory, removeDirectory } from '../support/temporary-directory.ts';

export interface Upstreams {
  root: string;
  server: GitServer;
  dumb: DumbServer;
}

/** Call it once at the top of a test file; its fields are set while tests run. */
export function useUpstreams(name: string): Upstreams {
  const upstreams = {} as Upstreams;

  beforeAll(async () => {
    const root = await createTemporaryDirectory(name);
    const [server, dumb] = [await startGitServer({ root }), await startDumbServer(root)];
    Object.assign(upstreams, { root, server, dumb });
  });

  afterAll(async () => {
    await upstreams.server.stop();
    await upstreams.dumb.stop();
    await removeDirectory(upstreams.root);
  });

  return upstreams;
}
