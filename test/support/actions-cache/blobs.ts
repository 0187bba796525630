import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import type { Readable, Writable } from 'node:stream';
import {
  BlobSASPermissions,
  BlobServiceClient,
  SASProtocol,
  StorageSharedKeyCredential,
  generateBlobSASQueryParameters,
  type ContainerClient,
} from '@azure/storage-blob';
import { endToEnd, passOn } from '../http/pass-on.ts';
import { endProcess } from '../processes.ts';
import type { Answer } from './answer.ts';

export const account = 'productionresultssa0';
const container = 'actions-cache';

/** Azurite that keeps everything in memory, and the service's own view of it. */
export class CacheBlobs {
  readonly port: number;
  readonly #child: AzuriteProcess;
  readonly #credential: StorageSharedKeyCredential;
  readonly #container: ContainerClient;

  private constructor(child: AzuriteProcess, port: number, accountKey: string) {
    this.port = port;
    this.#child = child;
    this.#credential = new StorageSharedKeyCredential(account, accountKey);
    const service = new BlobServiceClient(`http://127.0.0.1:${port}/${account}`, this.#credential);
    this.#container = service.getContainerClient(container);
  }

  static async start(): Promise<CacheBlobs> {
    const accountKey = randomBytes(32).toString('base64');
    const child = spawnAzurite(accountKey);
    try {
      const blobs = new CacheBlobs(child, await listeningPort(child), accountKey);
      await blobs.#container.create();
      return blobs;
    } catch (error) {
      await end(child);
      throw error;
    }
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Path and query at the service's own host; true signatures, which Azurite checks. */
  sign(blob: string, access: 'upload' | 'download'): string {
    const query = generateBlobSASQueryParameters(
      {
        containerName: container,
        blobName: blob,
        permissions: BlobSASPermissions.parse(access === 'upload' ? 'cw' : 'r'),
        protocol: SASProtocol.HttpsAndHttp,
        expiresOn: new Date(Date.now() + 3_600_000),
      },
      this.#credential,
    );
    return `/${container}/${blob}?${query.toString()}`;
  }

  /** Undefined where nothing has been uploaded, or not to its end. */
  async size(blob: string): Promise<number | undefined> {
    const client = this.#container.getBlobClient(blob);
    if (!(await client.exists())) return undefined;
    return (await client.getProperties()).contentLength;
  }

  async read(blob: string): Promise<Buffer> {
    return this.#container.getBlobClient(blob).downloadToBuffer();
  }

  async write(blob: string, content: Buffer): Promise<void> {
    await this.#container.getBlockBlobClient(blob).upload(content, content.length);
  }

  async remove(blob: string): Promise<void> {
    await this.#container.getBlobClient(blob).deleteIfExists();
  }

  /**
   * Sends a request for a blob on to Azurite, with a body that may have been tampered with; `length`
   * replaces the declared length of the body.
   */
  async ask(
    { method, url = '', headers }: IncomingMessage,
    body: AsyncIterable<Buffer>,
    { signal, length }: { signal: AbortSignal; length: string | undefined },
  ): Promise<Answer> {
    const passed = endToEnd({ ...headers, host: undefined });
    if (length !== undefined) passed['content-length'] = length;
    // It takes the account from the path when it is called by address.
    const path = url.startsWith(`/${account}/`) ? url : `/${account}${url}`;
    const { port } = this;
    const answer = await passOn(body, { method, port, path, headers: passed, signal });
    return { status: answer.statusCode ?? 500, headers: endToEnd(answer.headers), body: answer };
  }

  async stop(): Promise<void> {
    await end(this.#child);
  }
}

type AzuriteProcess = ChildProcessByStdio<Writable, Readable, Readable>;

// Should this process die, its end of the pipe is closed, and nobody else would end Azurite.
const endWithParent = 'process.stdin.resume().on("end", () => process.exit())';

function spawnAzurite(accountKey: string): AzuriteProcess {
  const main = createRequire(import.meta.url).resolve('azurite/dist/src/blob/main.js');
  const options = ['--inMemoryPersistence', '--silent', '--disableTelemetry'];
  return spawn(
    process.execPath,
    [
      `--import=data:text/javascript,${encodeURIComponent(endWithParent)}`,
      main,
      ...options,
      // The SDK's protocol version is often newer than the newest one Azurite lists.
      '--skipApiVersionCheck',
      '--blobHost=127.0.0.1',
      '--blobPort=0',
    ],
    {
      cwd: tmpdir(),
      env: { ...process.env, NODE_OPTIONS: '', AZURITE_ACCOUNTS: `${account}:${accountKey}` },
      stdio: ['pipe', 'pipe', 'pipe'],
    },
  );
}

/** Azurite chooses it, and says so on standard output. */
async function listeningPort(child: AzuriteProcess): Promise<number> {
  let output = '';
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', () => {
      reject(new Error(`Azurite ended: ${output}`));
    });
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString();
      const [, port] = /successfully listens on http:\/\/127\.0\.0\.1:(\d+)/.exec(output) ?? [];
      if (port !== undefined) resolve(Number(port));
    });
  });
}

async function end(child: AzuriteProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const closed = once(child, 'close');
  endProcess(child.pid);
  await closed;
}
