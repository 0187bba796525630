import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import type { S3Server } from './servers.ts';

/** A client of the toolkit as it comes, but that it neither adds checksums nor tries again. */
export function s3Client(server: S3Server, endpoint: string = server.endpoint): S3Client {
  const { accessKeyId, secretAccessKey, sessionToken } = server;
  return new S3Client({
    endpoint,
    region: server.region,
    credentials: { accessKeyId, secretAccessKey, ...(sessionToken && { sessionToken }) },
    forcePathStyle: true,
    // What a fault does is what is looked at.
    maxAttempts: 1,
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  });
}

export async function createBucket(server: S3Server): Promise<void> {
  const client = s3Client(server);
  try {
    await client.send(new CreateBucketCommand({ Bucket: server.bucket }));
  } finally {
    client.destroy();
  }
}
