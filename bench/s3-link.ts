/**
 * A slow link to an S3 server, in a process of its own, so that its time doesn't count:
 * `s3-link.ts <an S3Server as JSON> <an S3Link as JSON>` prints its endpoint, and ends with its input.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { startS3Proxy, type S3Link } from '../test/support/s3/proxy.ts';
import type { S3Server } from '../test/support/s3/servers.ts';

export interface SlowLink {
  /** The server behind the link. */
  server: S3Server;
  stop(): Promise<void>;
}

export async function startLink(server: S3Server, link: S3Link): Promise<SlowLink> {
  const args = [fileURLToPath(import.meta.url), JSON.stringify(server), JSON.stringify(link)];
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  for await (const endpoint of createInterface({ input: child.stdout })) {
    return {
      server: { ...server, endpoint },
      stop: async () => {
        child.stdin.end();
        await ended;
      },
    };
  }
  throw new Error('the link ended');
}

if (import.meta.main) {
  const [server = '', link = ''] = process.argv.slice(2);
  const proxy = await startS3Proxy(JSON.parse(server) as S3Server);
  proxy.link = JSON.parse(link) as S3Link;
  process.stdin.resume().once('end', () => {
    void proxy.stop();
  });
  console.log(proxy.endpoint);
}
