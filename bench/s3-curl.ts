/** One plain request on one connection, by curl: the baseline for S3's throughput. */
import { stat } from 'node:fs/promises';
import { runProcess } from '../test/support/processes.ts';
import type { S3Server } from '../test/support/s3/servers.ts';

const TIMEOUT_MS = 10 * 60_000;

/** Downloads an object of at least that many bytes from the server's bucket to a file. */
export async function getByCurl(
  server: S3Server,
  object: string,
  file: string,
  bytes: number,
): Promise<void> {
  await curl(server, object, ['--output', file]);
  const found = (await stat(file)).size;
  if (found < bytes) throw new Error(`curl brought ${String(found)} of ${String(bytes)} bytes`);
}

/** Uploads a file to an object of the server's bucket. */
export async function putByCurl(server: S3Server, object: string, file: string): Promise<void> {
  await curl(server, object, ['--upload-file', file]);
}

async function curl(server: S3Server, object: string, args: readonly string[]): Promise<void> {
  const { endpoint, bucket, region, accessKeyId, secretAccessKey, sessionToken } = server;
  const { exitCode, stderr } = await runProcess(
    'curl',
    [
      ...['--silent', '--show-error', '--fail', '--noproxy', '*'],
      ...['--aws-sigv4', `aws:amz:${region}:s3`, '--user', `${accessKeyId}:${secretAccessKey}`],
      // The store doesn't digest the body twice either.
      ...['--header', 'x-amz-content-sha256: UNSIGNED-PAYLOAD'],
      ...(sessionToken ? ['--header', `x-amz-security-token: ${sessionToken}`] : []),
      ...args,
      `${endpoint}/${bucket}/${object}`,
    ],
    { timeoutMs: TIMEOUT_MS },
  );
  if (exitCode !== 0) throw new Error(`curl: ${stderr}`);
}
