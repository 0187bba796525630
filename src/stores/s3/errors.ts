/** What an S3 server, or the way to it, says in errors, explained for people. Pure. */
import { MirrorError, systemCode, toMirrorError, type Concern } from '../../lib/errors.ts';

/** What was tried when it failed. */
export interface S3Attempt {
  /** Such as `listing manifests`. */
  what: string;
  /** The store, as people know it. */
  location: string;
  /** What a policy must allow for it: `s3:ListBucket`. */
  permission: string;
}

/** Something that is no S3 server has answered. */
export class NotS3Error extends Error {
  override name = 'NotS3Error';
}

/** What all errors of the SDK have in common. */
interface Answer {
  code: string;
  /** Undefined where there was no answer. */
  status: number | undefined;
  /** Where the server says that the bucket is. */
  region: string | undefined;
}

interface Explanation {
  text: string;
  concern?: Concern;
  /** `store-unavailable` if left out. */
  code?: 'store-read-only' | 'no-space';
}

const EXPLANATIONS: readonly (Explanation & { codes: string[] })[] = [
  {
    codes: ['CredentialsProviderError', 'TokenProviderError'],
    text: 'there are no AWS credentials: run aws-actions/configure-aws-credentials before, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY',
    concern: 's3-credentials',
  },
  {
    codes: ['ExpiredToken', 'ExpiredTokenException', 'RequestExpired', 'TokenRefreshRequired'],
    text: 'the credentials have expired: get new ones in this job, for longer than it runs',
    concern: 's3-credentials',
  },
  {
    codes: [
      'InvalidAccessKeyId',
      'InvalidToken',
      'InvalidClientTokenId',
      'SignatureDoesNotMatch',
      'UnrecognizedClientException',
    ],
    text: 'the server does not take these credentials (the access key, its secret and, if there is one, the session token)',
    concern: 's3-credentials',
  },
  {
    codes: ['RequestTimeTooSkewed', 'RequestInTheFuture'],
    text: "this machine's clock and the server's are too far apart: set the machine's clock",
  },
  {
    codes: ['BadDigest', 'XAmzContentSHA256Mismatch'],
    text: 'the bytes changed on their way to the server',
  },
  {
    codes: [
      'InsufficientStorage',
      'QuotaExceeded',
      'ServiceQuotaExceeded',
      'StorageFull',
      'XMinioStorageFull',
      'XMinioStorageQuotaExceeded',
    ],
    text: 'the store is full, or its quota is used up',
    code: 'no-space',
  },
  {
    codes: ['NoSuchBucket'],
    text: 'the server has no such bucket; it is not created here',
    concern: 's3-bucket',
  },
  {
    codes: ['InvalidBucketName'],
    text: 'a bucket cannot have that name',
    concern: 's3-bucket',
  },
  { codes: ['SlowDown'], text: 'the server asks to slow down, even after waiting' },
  { codes: ['TimeoutError'], text: 'the server does not answer', concern: 's3-endpoint' },
];
const BY_CODE = new Map(EXPLANATIONS.flatMap((each) => each.codes.map((code) => [code, each])));
/** What a status says that comes without a code of its own. */
const CODES: Record<number, string> = { 429: 'SlowDown', 507: 'StorageFull' };

const OTHER_REGION = new Set([
  'AuthorizationHeaderMalformed',
  'IllegalLocationConstraintException',
  'PermanentRedirect',
]);
/** There is no way to the server, whatever it would say. */
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

/** The HTTP status of an answer that is a failure; undefined for everything else. */
export function statusOf(error: unknown): number | undefined {
  return answerOf(error).status;
}

/** Tells errors with that code, S3's own word for what went wrong. */
export function isCode(code: string): (error: unknown) => boolean {
  return (error) => answerOf(error).code === code;
}

/** Whether the server says that it has no such request. */
export function isUnsupported(error: unknown): boolean {
  const { code, status } = answerOf(error);
  return code === 'NotImplemented' || status === 405 || status === 501;
}

/** Whether the server may have refused a request for its condition, not for what else is wrong with it. */
export function isRefusal(error: unknown): boolean {
  const { code, status } = answerOf(error);
  const isOther = BY_CODE.has(code) || OTHER_REGION.has(code);
  return isUnsupported(error) || status === 304 || (status === 400 && !isOther);
}

/**
 * The error for people: what failed, where, and what to do. Those of the family pass unchanged; errors
 * of the file system keep their meaning.
 */
export function toS3Error(error: unknown, attempt: S3Attempt): MirrorError {
  const what = `${attempt.what} in ${attempt.location}`;
  const explanation = error instanceof MirrorError ? undefined : explain(error, attempt);
  if (explanation === undefined) return toMirrorError(error, 'store-unavailable', what);
  const { text, concern, code = 'store-unavailable' } = explanation;
  return new MirrorError(code, `${what}: ${text}`, { cause: error, concern });
}

function explain(error: unknown, attempt: S3Attempt): Explanation | undefined {
  if (error instanceof NotS3Error) return { text: error.message, concern: 's3-endpoint' };
  const answer = answerOf(error);
  const known = BY_CODE.get(answer.code) ?? BY_CODE.get(CODES[answer.status ?? 0] ?? '');
  return known ?? explainStatus(answer, attempt) ?? explainSystem(error);
}

function explainStatus(
  { code, status, region }: Answer,
  { permission }: S3Attempt,
): Explanation | undefined {
  if (OTHER_REGION.has(code) || status === 301 || status === 307) {
    const where = region === undefined ? 'another region' : `the region "${region}"`;
    return { text: `the bucket is in ${where}, or at another address`, concern: 's3-region' };
  }
  if (status === undefined) return undefined;
  if (status === 401 || status === 403) {
    // Where a key may not be listed, one that is missing looks like one that is forbidden.
    const listing = permission === 's3:ListBucket' ? '' : ' and s3:ListBucket on the bucket';
    const text = `these credentials may not do that: allow ${permission}${listing}`;
    return /^s3:(?:Get|List)/.test(permission) ? { text } : { text, code: 'store-read-only' };
  }
  if (status >= 500 && status !== 501) {
    return { text: `the server failed (${String(status)}), even after retries` };
  }
  if (status < 300) {
    return { text: 'the server does not answer as an S3 server does', concern: 's3-endpoint' };
  }
  if (status === 404 && code !== 'NoSuchKey' && code !== 'NoSuchUpload') {
    return { text: 'the server knows no such address', concern: 's3-endpoint' };
  }
  return undefined;
}

function explainSystem(error: unknown): Explanation | undefined {
  const system = findSystemCode(error);
  if (WANTS_CERTIFICATE.test(system)) {
    const text =
      "the server's certificate is not trusted: name its authority's file in AWS_CA_BUNDLE";
    return { text };
  }
  if (!UNREACHABLE.has(system)) return undefined;
  return { text: 'the server cannot be reached', concern: 's3-endpoint' };
}

/** Of an error of the SDK, also of one that was explained. */
function answerOf(error: unknown): Answer {
  if (error instanceof MirrorError) return answerOf(error.cause);
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
    // Somebody else's text.
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
