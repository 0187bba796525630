/** What the toolkit's answers mean: it returns the same for a miss and an outage, and logs the rest. */
import { MirrorError } from '../../lib/errors.ts';
import type { CacheAnswer } from './protocol.ts';

/** What is fit for a message. */
const MAX_CAUSE_LENGTH = 500;
/** Programs that complain of their options, or of what they read. */
const TAR = /^(?:\S*\/)?(?:g?tar|bsdtar|\w*zstd\w*|gzip|busybox|sh)(?:\.exe)?: /;
const MAX_TAR_LINES = 3;
/** Advice that the toolkit gives whatever happens. */
const ADVICE = / If you are using self-hosted runners, please make sure .*/s;
/** How the toolkit called the service, and that it would have tried again. */
const NOISE =
  /^Failed to \w+: (?:Received non-retryable error: )?(?=Failed request: |Rate limited: )|\. Retrying request in \d+ ms\.\.\.$|\.$/g;
const NO_SPACE = /\bENOSPC\b|\bEDQUOT\b|no space left on device|disk quota exceeded/i;
/** A policy; a 403 of the storage itself is something else. */
const READ_ONLY = /cache write denied:|does not permit writes|^Failed to reserve cache:.*\(403\)/;
/** A download's failure that another attempt would meet as well. */
const FINAL =
  /^Failed to restore: .*(?:AuthenticationFailed|Authoriz|Permission|NotFound|not exist|\b4(?:0[0-79]|1\d)\b|\bEACCES\b|\bENOSPC\b)/;
const RATE_LIMIT = /\bRate limited\b/;
const SECRETS = [
  /(?<=[?&;]sig=)[^&\s"']+/gi,
  /(?<=\bBearer\s+)\S+/gi,
  /\beyJ[\w-]+\.[\w-]+\.[\w-]*/g,
];

/** A failure that another attempt may not meet. */
export class TransientFailure extends MirrorError {
  /** How long the service wants to be left alone, where it says so. */
  readonly retryAfterMs: number | undefined;

  constructor(message: string, retryAfterMs?: number) {
    super('store-unavailable', message);
    this.retryAfterMs = retryAfterMs;
  }
}

/** The matched key of a look-up; undefined only where the service said that there is none. */
export function parseMatchedKey(answer: CacheAnswer): string | undefined {
  if (typeof answer.result === 'string') return answer.result;
  if (says(answer, /^Cache not found for version /)) return undefined;
  const what = 'the Actions cache cannot be read';
  const isBroken = says(answer, /^Cache hit for/) && !says(answer, FINAL);
  throw isBroken ? new TransientFailure(`${what}: ${causeOf(answer)}`) : outage(answer, what);
}

/** Whether an archive came that could not be unpacked. Throws `no-space` if that is why. */
export function failedToUnpack(answer: CacheAnswer): boolean {
  const hasFailed = says(answer, /^Failed to restore: .*\btar(?:\.exe)?"? failed with /i);
  if (hasFailed) checkSpace(answer, 'the archive cannot be unpacked');
  return hasFailed;
}

/** What became of a save; `unknown` where the entry may be there all the same. */
export type SaveResult = { is: 'saved' } | { is: 'taken' } | { is: 'unknown'; error: MirrorError };

/** Throws `store-read-only`, and what else went wrong where it is certain that nothing was saved. */
export function parseSaveResult(answer: CacheAnswer): SaveResult {
  if (typeof answer.result === 'number' && answer.result > 0) return { is: 'saved' };
  if (says(answer, READ_ONLY)) {
    const message = `the Actions cache can only be read by this job: ${causeOf(answer)}`;
    throw new MirrorError('store-read-only', message);
  }
  if (says(answer, /^Failed to reserve cache:.*\(409\)/)) return { is: 'taken' };
  const error = outage(answer, 'the Actions cache took no entry');
  if (says(answer, /^Failed to reserve cache:|\bPath Validation Error\b/)) throw error;
  return { is: 'unknown', error };
}

/** Without what would let anybody into the cache, on one line. */
export function scrub(text: string, token: string): string {
  let scrubbed = token === '' ? text : text.replaceAll(token, '***');
  for (const pattern of SECRETS) scrubbed = scrubbed.replace(pattern, '***');
  return scrubbed.replace(/[^\x20-\x7e]+/g, ' ');
}

/** What the toolkit says, without what concerns nobody. */
export function clean(text: string): string {
  return text.replace(NOISE, '');
}

function says({ lines }: CacheAnswer, pattern: RegExp): boolean {
  return lines.some(({ text }) => pattern.test(text));
}

function checkSpace(answer: CacheAnswer, what: string): void {
  if (!says(answer, NO_SPACE)) return;
  throw new MirrorError('no-space', `${what}: no space left on the disk (${causeOf(answer)})`);
}

function outage(answer: CacheAnswer, what: string): MirrorError {
  checkSpace(answer, what);
  if (!says(answer, RATE_LIMIT)) {
    return new MirrorError('store-unavailable', `${what}: ${causeOf(answer)}`);
  }
  const said = answer.lines.map(({ text }) => text).join('\n');
  const seconds = /rate limit will reset in (\d+) seconds/.exec(said)?.[1];
  const message = `${what}: it limits the rate of requests (200 uploads a minute for a repository): ${causeOf(answer)}`;
  return new TransientFailure(message, seconds === undefined ? undefined : Number(seconds) * 1_000);
}

/** The toolkit's warnings with what tar said, or all it knows; its own guess about the cause is none. */
export function causeOf({ lines }: CacheAnswer): string {
  const telling = lines
    .map(({ level, text }) => ({
      level,
      text: text.replace(/^Failed to (?:reserve cache|restore|save): /, '').replace(ADVICE, ''),
    }))
    .filter(({ text }) => !text.includes('another job may be creating this cache'));
  const grave = telling.filter(({ level }) => level !== 'info');
  const ofTar = telling.filter(({ text }) => TAR.test(text)).slice(0, MAX_TAR_LINES);
  const texts = (grave.length > 0 ? [...grave, ...ofTar] : telling).map(({ text }) =>
    clean(text.replace(/^Error: /, '')),
  );
  const cause = [...new Set(texts)].join('; ').slice(0, MAX_CAUSE_LENGTH);
  return cause === '' ? 'the toolkit does not say why' : cause;
}
