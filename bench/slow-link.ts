/**
 * A slow network in front of a server, in a process of its own, so that its time doesn't count:
 * `slow-link.ts <URL of the server> <a Link as JSON>` prints the URL to use instead, and ends with its input.
 * It delays bytes and knows nothing of TCP's slow start, so a real network of that speed is slower.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export interface Link {
  roundTripMs: number;
  /** In each direction. */
  bytesPerSecond: number;
  /** Whether each connection has that much, or all together. */
  isForEach?: boolean;
}

/** Between a hosted runner and its server, about. */
export const HOSTED_LINK: Link = { roundTripMs: 20, bytesPerSecond: 125_000_000 };

export interface SlowLink {
  url: string;
  stop(): Promise<void>;
}

export async function startLink(url: string, link: Link): Promise<SlowLink> {
  const args = [fileURLToPath(import.meta.url), url, JSON.stringify(link)];
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  for await (const line of createInterface({ input: child.stdout })) {
    return {
      url: line,
      stop: async () => {
        child.stdin.end();
        await ended;
      },
    };
  }
  throw new Error('the link ended');
}

/** One direction: when everything that was given to it so far has left. */
interface Lane {
  freeAt: number;
}

/** Bytes are taken this long before they can leave, at most. */
const QUEUE_MS = 50;

function carry(from: Socket, to: Socket, lane: Lane, link: Link): void {
  const waiting: Buffer[] = [];
  const after = (ms: number, work: () => void) => setTimeout(work, Math.max(0, ms));
  from.on('data', (chunk: Buffer) => {
    const now = performance.now();
    lane.freeAt = Math.max(lane.freeAt, now) + (chunk.length / link.bytesPerSecond) * 1_000;
    waiting.push(chunk);
    // In their order, whichever timer fires first.
    after(lane.freeAt + link.roundTripMs / 2 - now, () => to.write(waiting.shift() ?? ''));
    const queuedMs = lane.freeAt - now;
    if (queuedMs <= QUEUE_MS) return;
    from.pause();
    after(queuedMs - QUEUE_MS, () => from.resume());
  });
  from.once('end', () => {
    after(lane.freeAt + link.roundTripMs / 2 - performance.now() + 1, () => to.end());
  });
  from.once('error', () => to.destroy());
  from.once('close', () => {
    if (!from.readableEnded) to.destroy();
  });
}

if (import.meta.main) {
  const [url = '', json = ''] = process.argv.slice(2);
  const link = JSON.parse(json) as Link;
  const target = new URL(url);
  const all = { up: { freeAt: 0 }, down: { freeAt: 0 } };
  const server = createServer({ allowHalfOpen: true }, (client) => {
    const { up, down } = link.isForEach ? { up: { freeAt: 0 }, down: { freeAt: 0 } } : all;
    client.pause();
    // The handshake.
    setTimeout(() => {
      const options = { host: target.hostname, port: Number(target.port), allowHalfOpen: true };
      const behind = connect(options);
      behind.setNoDelay();
      client.setNoDelay();
      carry(client, behind, up, link);
      carry(behind, client, down, link);
      client.resume();
    }, link.roundTripMs);
  });
  server.listen(0, '127.0.0.1', () => {
    console.log(`http://127.0.0.1:${String((server.address() as AddressInfo).port)}`);
  });
  process.stdin.resume().once('end', () => process.exit());
}
