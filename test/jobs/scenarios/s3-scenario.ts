/** What tests of jobs with a bucket share. */
import type { JobOptions } from '../../support/action-runner.ts';
import type { S3Server } from '../../support/s3/servers.ts';

/** The inputs and variables of a job that keeps snapshots below a prefix. */
export function inBucket(
  server: S3Server,
  prefix: string,
): Required<Pick<JobOptions, 'inputs' | 'environment'>> {
  const { accessKeyId, secretAccessKey, sessionToken } = server;
  return {
    inputs: {
      'disk-path': '',
      's3-bucket': server.bucket,
      's3-prefix': prefix,
      's3-endpoint': server.endpoint,
      's3-region': server.region,
      's3-force-path-style': 'true',
    },
    environment: {
      AWS_ACCESS_KEY_ID: accessKeyId,
      AWS_SECRET_ACCESS_KEY: secretAccessKey,
      ...(sessionToken && { AWS_SESSION_TOKEN: sessionToken }),
    },
  };
}
