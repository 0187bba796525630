/** A client of the toolkit as the store needs it, for AWS and for what speaks its protocol. */
import { readFile } from 'node:fs/promises';
import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3';
import { describeError } from '../../lib/errors.ts';

export interface S3Access {
  /** Undefined: as the AWS tools resolve it, and if they do not, us-east-1. */
  region: string | undefined;
  /** Undefined: as the AWS tools resolve it, and if they do not, AWS itself. */
  endpoint: string | undefined;
  /** Whether the bucket's name goes into the path and not into the host. */
  isPathStyle: boolean;
  /** Of the job: it names proxies, and perhaps the region and a file of certificates. */
  environment: NodeJS.ProcessEnv;
}

/** Requests at the same time: those of a transfer, and a few others. */
const MAX_SOCKETS = 24;
const CONNECTION_TIMEOUT_MS = 10_000;
/** Silence after which a connection counts as dead; it is not the time that a request may take. */
const SILENCE_MS = 20_000;
/** The first and four more, with pauses that grow to some seconds in all. */
const MAX_ATTEMPTS = 5;
/** What nearly all that speak S3 take, where there are no regions. */
const DEFAULT_REGION = 'us-east-1';

/** The SDK would write to the console, that is into the job's log. */
const QUIET = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

/**
 * Credentials come from the toolkit's own chain; they are asked for by the first request. Throws what
 * makes the machine's settings useless.
 */
export async function createS3Client(access: S3Access): Promise<S3Client> {
  const { environment } = access;
  const authorities = await readAuthorities(environment);
  // The AWS tools know AWS_DEFAULT_REGION; the toolkit does not.
  const named = [access.region, environment['AWS_REGION'], environment['AWS_DEFAULT_REGION']];
  const region = named.find((each) => each !== undefined && each !== '');
  const client = new S3Client(describeClient(access, region, authorities));
  try {
    await client.config.region();
    return client;
  } catch (error) {
    if (!/region is missing/i.test(describeError(error))) throw error;
    client.destroy();
    return new S3Client(describeClient(access, DEFAULT_REGION, authorities));
  }
}

/** As the AWS tools know it, who trust these authorities and no other; the toolkit does not know it. */
async function readAuthorities(environment: NodeJS.ProcessEnv): Promise<string | undefined> {
  const path = environment['AWS_CA_BUNDLE'] ?? '';
  return path === '' ? undefined : readFile(path, 'utf8');
}

/** What a client is made of; its credentials come from the toolkit's own chain. */
export function describeClient(
  { endpoint, isPathStyle, environment }: S3Access,
  region: string | undefined,
  /** Certificates of those who are trusted, in PEM; undefined for those whom Node trusts. */
  authorities?: string,
): S3ClientConfig {
  // HTTP_PROXY, HTTPS_PROXY, NO_PROXY, as Node reads them.
  const agent = { maxSockets: MAX_SOCKETS, keepAlive: true, proxyEnv: environment };
  return {
    ...(region !== undefined && { region }),
    ...(endpoint !== undefined && { endpoint }),
    forcePathStyle: isPathStyle,
    maxAttempts: MAX_ATTEMPTS,
    retryMode: 'standard',
    logger: QUIET,
    // Many servers know no trailers, and some then keep what they cannot check.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    // For it the toolkit would open a connection of its own, which knows no proxy.
    expectContinueHeader: false,
    requestHandler: {
      connectionTimeout: CONNECTION_TIMEOUT_MS,
      socketTimeout: SILENCE_MS,
      httpAgent: agent,
      httpsAgent: { ...agent, ...(authorities !== undefined && { ca: authorities }) },
    },
  };
}
