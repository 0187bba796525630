/** The dumb HTTP protocol: plain files of a repository, as `git update-server-info` prepares them. */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { git } from '../git.ts';

export interface DumbServer {
  url: string;
  stop(): Promise<void>;
}

/** Serves the files below a folder, whatever the query asks for. */
export async function startDumbServer(root: string): Promise<DumbServer> {
  const server = createServer((request, response) => {
    void serve(root, request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const stop = async (): Promise<void> => {
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
  };
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, stop };
}

async function serve(root: string, request: IncomingMessage, response: ServerResponse) {
  const [path = ''] = (request.url ?? '').split('?');
  const file = join(root, path);
  const found = path.includes('..') ? undefined : await stat(file).catch(() => undefined);
  if (found?.isFile() !== true) {
    response.writeHead(404).end();
    return;
  }
  response.writeHead(200, { 'Content-Length': found.size });
  createReadStream(file).pipe(response);
}

/** Makes the repository one that a dumb server can serve: its refs and packs are listed in files. */
export async function prepareFiles(directory: string): Promise<void> {
  await git(directory, ['update-server-info']);
}
