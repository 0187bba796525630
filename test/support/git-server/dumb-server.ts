/** The dumb HTTP protocol: plain files of a repository, as `git update-server-info` prepares them. */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { git } from '../git.ts';
import { LoopbackServer } from '../http/server.ts';

/** Serves the files below a folder, whatever the query asks for. */
export async function startDumbServer(root: string): Promise<DumbServer> {
  const server = new DumbServer(root);
  await server.listen();
  return server;
}

export class DumbServer extends LoopbackServer {
  readonly #root: string;

  constructor(root: string) {
    super();
    this.#root = root;
  }

  protected override async handle({ url = '' }: IncomingMessage, response: ServerResponse) {
    const [path = ''] = url.split('?');
    const file = join(this.#root, path);
    const found = path.includes('..') ? undefined : await stat(file).catch(() => undefined);
    if (found?.isFile() !== true) {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, { 'Content-Length': found.size });
    await pipeline(createReadStream(file), response);
  }
}

/** Makes the repository one that a dumb server can serve: its refs and packs are listed in files. */
export async function prepareFiles(directory: string): Promise<void> {
  await git(directory, ['update-server-info']);
}
