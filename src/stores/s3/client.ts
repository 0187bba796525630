/** The SDK's client as the store needs it, for AWS and for servers that speak its protocol. */
import { readFile } from 'node:fs/promises';
import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3';
import { describeError } from '../../lib/errors.ts';

export interface S3Access {
  /** Undefined: as the AWS tools resolve it; if they can't, us-east-1. */
  region: string | undefined;
  /** Undefined: as the AWS tools resolve it; if they can't, AWS itself. */
  endpoint: string | undefined;
  /** Whether the bucket's name goes into the path and not into the host. */
  isPathStyle: boolean;
}

/** Requests at the same time: those of a transfer, and a few others. */
const MAX_SOCKETS = 24;
const CONNECTION_TIMEOUT_MS = 10_000;
/** A connection without traffic for this long counts as dead. A request may take longer. */
const SILENCE_MS = 20_000;
/** The first and four more, with pauses that grow to some seconds in all. */
const MAX_ATTEMPTS = 5;
/** Nearly all servers without regions accept it. */
const DEFAULT_REGION = 'us-east-1';

/** Without it, the SDK writes to the console, and so into the job's log. */
const QUIET = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

/**
 * Credentials come from the SDK's own chain, when the first request is sent. The job's environment names proxies, and perhaps
 * the region and a file of certificates. Throws if these settings can't be used.
 */
export async function createS3Client(
  access: S3Access,
  environment: NodeJS.ProcessEnv,
): Promise<S3Client> {
  const { AWS_CA_BUNDLE, AWS_REGION, AWS_DEFAULT_REGION } = environment;
  // The AWS tools know AWS_CA_BUNDLE, and trust only what it names; and AWS_DEFAULT_REGION. The SDK knows neither.
  const authorities = AWS_CA_BUNDLE ? await readFile(AWS_CA_BUNDLE, 'utf8') : undefined;
  const region = [access.region, AWS_REGION, AWS_DEFAULT_REGION].find(Boolean);
  const config = { ...access, region: region ?? (await resolveRegion()) };
  return new S3Client(describeClient(config, environment, authorities));
}

/** From the profile, or where the SDK looks otherwise. */
async function resolveRegion(): Promise<string> {
  try {
    return await new S3Client({ logger: QUIET }).config.region();
  } catch (error) {
    if (!/region is missing/i.test(describeError(error))) throw error;
    return DEFAULT_REGION;
  }
}

/** A client's settings, but for its credentials. */
export function describeClient(
  { region, endpoint, isPathStyle }: S3Access,
  environment: NodeJS.ProcessEnv,
  /** Trusted certificates, in PEM; undefined for those that Node trusts. */
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
    // For it the SDK would open a connection of its own, which knows no proxy.
    expectContinueHeader: false,
    requestHandler: {
      connectionTimeout: CONNECTION_TIMEOUT_MS,
      socketTimeout: SILENCE_MS,
      httpAgent: agent,
      httpsAgent: { ...agent, ...(authorities !== undefined && { ca: authorities }) },
    },
  };
}
