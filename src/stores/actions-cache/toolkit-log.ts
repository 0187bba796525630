/** What the toolkit's answers mean: it returns the same for a miss and an outage, and logs the rest. */
import { MirrorError } from '../../lib/errors.ts';
import type { CacheAnswer } from './protocol.ts';

/** What is fit for a message. */
const MAX_CAUSE_LENGTH = 500;
/** Advice that the toolkit gives whatever happens. */
const ADVICE = / If you are using self-hosted runners, please make sure .*/s;
const NO_SPACE = /\bENOSPC\b|\bEDQUOT\b|no space left on device|disk quota exceeded/i;
const SECRETS = [
  /(?<=[?&;]sig=)[^&\s"']+/gi,
  /(?<=\bBearer\s+)\S+/gi,
  /\beyJ[\w-]+\.[\w-]+\.[\w-]*/g,
];

/** The matched key of a look-up; undefined only where the service said that there is none. */
export function matchedKey(answer: CacheAnswer): string | undefined {
  if (typeof answer.result === 'string') return answer.result;
  if (says(answer, /^Cache not found for version /)) return undefined;
  throw outage(answer, 'the Actions cache cannot be read');
}

/** As `matchedKey`, of a restore: `damaged` where there is an entry whose archive is none. */
export function restoredKey(answer: CacheAnswer): { key: string | undefined } | 'damaged' {
  const isArchiveAtFault = says(answer, /^Failed to restore: .*\btar(?:\.exe)?"? failed with /i);
  if (!isArchiveAtFault) return { key: matchedKey(answer) };
  checkSpace(answer, 'the archive cannot be unpacked');
  return 'damaged';
}

/** What became of a save; `unknown` where the entry may be there all the same. */
export type SaveFate = { is: 'saved' } | { is: 'taken' } | { is: 'unknown'; error: MirrorError };

/** Throws `store-read-only`, and what else went wrong where it is certain that nothing was saved. */
export function fateOfSave(answer: CacheAnswer): SaveFate {
  if (typeof answer.result === 'number' && answer.result > 0) return { is: 'saved' };
  if (says(answer, /cache write denied:|does not permit writes/)) {
    const message = `the Actions cache may only be read by this job: ${causeOf(answer)}`;
    throw new MirrorError('store-read-only', message);
  }
  if (says(answer, /^Failed to reserve cache:.*\(409\)/)) return { is: 'taken' };
  const what = 'the Actions cache took no entry';
  checkSpace(answer, what);
  const error = outage(answer, what);
  if (says(answer, /^Failed to reserve cache:|\bPath Validation Error\b/)) throw error;
  return { is: 'unknown', error };
}

/** Whether it is worth another try after a while. */
export function isRateLimit(error: unknown): boolean {
  return error instanceof MirrorError && /\bRate limited\b/.test(error.message);
}

/** Without what would let anybody into the cache, on one line. */
export function scrub(text: string, secrets: readonly string[]): string {
  let scrubbed = text;
  for (const secret of secrets) if (secret !== '') scrubbed = scrubbed.replaceAll(secret, '***');
  for (const pattern of SECRETS) scrubbed = scrubbed.replace(pattern, '***');
  return scrubbed.replace(/[^\x20-\x7e]+/g, ' ');
}

function says({ words }: CacheAnswer, pattern: RegExp): boolean {
  return words.some(({ text }) => pattern.test(text));
}

function checkSpace(answer: CacheAnswer, what: string): void {
  if (!says(answer, NO_SPACE)) return;
  throw new MirrorError('no-space', `${what}: no space left on the disk (${causeOf(answer)})`);
}

function outage(answer: CacheAnswer, what: string): MirrorError {
  checkSpace(answer, what);
  return new MirrorError('store-unavailable', `${what}: ${causeOf(answer)}`);
}

/** The toolkit's warnings, or what it knows besides; its own guess about the cause is none. */
function causeOf({ words }: CacheAnswer): string {
  const telling = words
    .map(({ level, text }) => ({
      level,
      text: text.replace(/^Failed to (?:reserve cache|restore|save): /, '').replace(ADVICE, ''),
    }))
    .filter(({ text }) => !text.includes('another job may be creating this cache'));
  const grave = telling.filter(({ level }) => level !== 'info');
  const texts = (grave.length > 0 ? grave : telling).map(({ text }) =>
    text.replace(/^Error: /, ''),
  );
  const cause = [...new Set(texts)].join('; ').slice(0, MAX_CAUSE_LENGTH);
  return cause === '' ? 'the toolkit does not say why' : cause;
}
