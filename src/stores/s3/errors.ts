/** What an S3 server, or the way to it, says in errors, told to people. Pure. */
import { MirrorError, systemCode, toMirrorError } from '../../lib/errors.ts';

/** What was tried when it failed. */
export interface S3Attempt {
  /** Such as `listing manifests`. */
  what: string;
  /** The store, as people know it. */
  location: string;
  /** The server's URL, where the settings name it. */
  endpoint: string | undefined;
  /** What a policy must allow for it: `s3:ListBucket`. */
  permission: string;
  isWrite: boolean;
}

/** What the toolkit's errors have in common, whatever they are. */
interface Answer {
  code: string;
  /** Undefined where there was no answer. */
  status: number | undefined;
  /** Where the server says that the bucket is. */
  region: string | undefined;
}

const EXPIRED = new Set([
  'ExpiredToken',
  'ExpiredTokenException',
  'RequestExpired',
  'TokenRefreshRequired',
]);
const UNKNOWN_CREDENTIALS = new Set([
  'InvalidAccessKeyId',
  'InvalidToken',
  'InvalidClientTokenId',
  'SignatureDoesNotMatch',
  'UnrecognizedClientException',
]);
const OTHER_REGION = new Set([
  'AuthorizationHeaderMalformed',
  'IllegalLocationConstraintException',
  'PermanentRedirect',
]);
const FULL = new Set([
  'InsufficientStorage',
  'QuotaExceeded',
  'ServiceQuotaExceeded',
  'StorageFull',
  'XMinioStorageFull',
  'XMinioStorageQuotaExceeded',
]);
/** No way to the server, whatever it would say. */
const UNREACHABLE = new Set([
  'EAI_AGAIN',
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EPROTO',
  'ERR_SSL_WRONG_VERSION_NUMBER',
]);
const WANTS_CERTIFICATE = /^(?:DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_|UNABLE_TO_|CERT_|ERR_TLS_)/;

/** The HTTP status of an answer that the toolkit threw; undefined for everything else. */
export function statusOf(error: unknown): number | undefined {
  return answerOf(error).status;
}

/** S3's own word for what went wrong: `NoSuchKey`; or the name of another error. */
export function codeOf(error: unknown): string {
  return answerOf(error).code;
}

/**
 * The error for people: what failed, where, and what to do. Those of the family pass unchanged; errors
 * of the file system keep their meaning.
 */
export function toS3Error(error: unknown, attempt: S3Attempt): MirrorError {
  const { what, location } = attempt;
  const answer = answerOf(error);
  const explanation = explain(error, answer, attempt);
  if (error instanceof MirrorError || explanation === undefined) {
    return toMirrorError(error, 'store-unavailable', `${what} in ${location}`);
  }
  return new MirrorError(explanation.code, `${what} in ${location}: ${explanation.text}`, {
    cause: error,
  });
}

interface Explanation {
  code: 'store-unavailable' | 'store-read-only' | 'no-space';
  text: string;
}

function explain(
  error: unknown,
  { code, status, region }: Answer,
  { endpoint, permission, isWrite }: S3Attempt,
): Explanation | undefined {
  const unavailable = (text: string): Explanation => ({ code: 'store-unavailable', text });
  const server = endpoint ?? 'the server';
  if (code === 'CredentialsProviderError' || code === 'TokenProviderError') {
    return unavailable(
      'there are no AWS credentials: run aws-actions/configure-aws-credentials before, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY',
    );
  }
  if (EXPIRED.has(code)) {
    return unavailable(
      'the credentials have expired: get new ones in this job, for longer than it runs',
    );
  }
  if (code === 'RequestTimeTooSkewed' || code === 'RequestInTheFuture') {
    return unavailable(
      "this machine's clock and the server's are too far apart: set the machine's clock",
    );
  }
  if (UNKNOWN_CREDENTIALS.has(code)) {
    return unavailable(
      `${server} does not take these credentials: check the access key, its secret and, if there is one, the session token`,
    );
  }
  if (OTHER_REGION.has(code) || status === 301 || status === 307) {
    const right = region === undefined ? 'the region of the bucket' : `"${region}"`;
    return unavailable(
      `the bucket is in another region, or at another address: set \`s3-region\` to ${right}`,
    );
  }
  if (code === 'NoSuchBucket') {
    return unavailable(
      `${server} has no such bucket: check \`s3-bucket\` and \`s3-endpoint\`; it is not created here`,
    );
  }
  if (code === 'InvalidBucketName') {
    return unavailable('the bucket cannot have that name: check `s3-bucket`');
  }
  if (FULL.has(code) || status === 507) {
    return { code: 'no-space', text: 'the store is full, or its quota is used up' };
  }
  if (status === 403 || status === 401) {
    // Where a key may not be listed, one that is missing looks like one that is forbidden.
    const listing = permission === 's3:ListBucket' ? '' : ' and s3:ListBucket on the bucket';
    const text = `these credentials may not do that: allow ${permission}${listing}`;
    return { code: isWrite ? 'store-read-only' : 'store-unavailable', text };
  }
  if (status === 429 || code === 'SlowDown') {
    return unavailable('the server asks to slow down, also after waiting');
  }
  if (status !== undefined && status >= 500 && status !== 501) {
    return unavailable(`the server failed (${String(status)}), also when asked again`);
  }
  if (status !== undefined && status < 300) {
    return unavailable(`${server} does not answer as an S3 server does: check \`s3-endpoint\``);
  }
  if (status === 404 && code !== 'NoSuchKey' && code !== 'NoSuchUpload') {
    return unavailable(`${server} knows no such address: check \`s3-endpoint\` and \`s3-bucket\``);
  }
  const system = findSystemCode(error);
  if (WANTS_CERTIFICATE.test(system)) {
    return unavailable(
      `the certificate of ${server} is not trusted: name its authority's file in AWS_CA_BUNDLE`,
    );
  }
  if (UNREACHABLE.has(system)) {
    return unavailable(
      `${server} cannot be reached: check \`s3-endpoint\`, \`s3-region\` and the proxy`,
    );
  }
  if (code === 'TimeoutError') return unavailable(`${server} does not answer`);
  return undefined;
}

function answerOf(error: unknown): Answer {
  if (!Error.isError(error)) return { code: '', status: undefined, region: undefined };
  const { name, Code, Region, $metadata, $response } = error as Error & {
    Code?: unknown;
    Region?: unknown;
    $metadata?: { httpStatusCode?: number };
    $response?: { statusCode?: number; headers?: Record<string, string> };
  };
  const region = Region ?? $response?.headers?.['x-amz-bucket-region'];
  return {
    code: typeof Code === 'string' ? Code : name,
    status: $metadata?.httpStatusCode ?? $response?.statusCode,
    // A word of somebody else's.
    region: typeof region === 'string' && /^[a-z0-9-]{1,40}$/.test(region) ? region : undefined,
  };
}

/** Of the error or what caused it; several addresses that were tried fail as one. */
function findSystemCode(error: unknown): string {
  if (!Error.isError(error)) return '';
  const own = systemCode(error);
  if (own !== undefined) return own;
  const { errors = [], cause } = error as Error & { errors?: unknown[] };
  return [...errors, cause].map(findSystemCode).find((code) => code !== '') ?? '';
}
