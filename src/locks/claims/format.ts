/**
 * How claims are written, pure:
 *
 *     <number, 10 digits>-<epoch, 6 digits or more>.claim               created if absent
 *     <number, 10 digits>-<epoch, 6 digits or more>.<nonce>.heartbeat   its holder's own
 *
 * The claim holds its holder's nonce and, for people, who that is. The heartbeat's name holds the
 * nonce too, so that nobody can ever write into another's, not even who believes to have created a
 * claim and has not.
 */
import { randomBytes } from 'node:crypto';

const NAME = /^(\d{10})-(\d{6,15})\.(?:(claim)|[0-9a-f]{24}\.heartbeat)$/;
const NONCE = /^[0-9a-f]{24}$/;
/** What is fit for a log, whoever wrote it. */
const HOLDER = /^[\x20-\x7e]{1,200}$/;
const MAX_NUMBER = 9_999_999_999;

/** The heartbeat of a claim that was let go: anyone may succeed it at once. */
export const RELEASED = 'released';

export interface Claim {
  nonce: string;
  /** Who holds it, in their own words; printable ASCII. */
  holder: string | undefined;
}

export interface RecordName {
  name: string;
  number: number;
  epoch: number;
  isClaim: boolean;
}

/** Throws TypeError unless it is an integer from 1 to 9,999,999,999, as a snapshot's number is. */
export function assertNumber(number: number): void {
  if (!Number.isSafeInteger(number) || number < 1 || number > MAX_NUMBER) {
    throw new TypeError(`a claim's number is not allowed: ${number}`);
  }
}

export function newNonce(): string {
  return randomBytes(12).toString('hex');
}

/** What the names of all records of a number begin with. */
export function prefixOf(number: number): string {
  return `${String(number).padStart(10, '0')}-`;
}

export function claimName(number: number, epoch: number): string {
  return `${prefixOf(number)}${String(epoch).padStart(6, '0')}.claim`;
}

export function heartbeatName(number: number, epoch: number, nonce: string): string {
  return `${prefixOf(number)}${String(epoch).padStart(6, '0')}.${nonce}.heartbeat`;
}

/** Undefined for names that are none of ours. */
export function parseName(name: string): RecordName | undefined {
  const match = NAME.exec(name);
  if (match === null) return undefined;
  return {
    name,
    number: Number(match[1]),
    epoch: Number(match[2]),
    isClaim: match[3] !== undefined,
  };
}

/** The highest epoch that was claimed, 0 if none was. */
export function highestEpoch(names: readonly string[], number: number): number {
  const epochs = names
    .map(parseName)
    .map((found) => (found?.isClaim === true && found.number === number ? found.epoch : 0));
  return Math.max(0, ...epochs);
}

export function formatClaim({ nonce, holder }: Claim): Uint8Array {
  return Buffer.from(`${JSON.stringify({ version: 1, nonce, holder })}\n`);
}

/** Undefined for what is cut short or not ours: whoever reads it knows no heartbeat of it, then. */
export function parseClaim(content: Uint8Array | undefined): Claim | undefined {
  const claim = parseJson(content);
  if (typeof claim !== 'object' || claim === null) return undefined;
  if (!('nonce' in claim) || typeof claim.nonce !== 'string' || !NONCE.test(claim.nonce)) {
    return undefined;
  }
  const holder = 'holder' in claim && typeof claim.holder === 'string' ? claim.holder : '';
  return { nonce: claim.nonce, holder: HOLDER.test(holder) ? holder : undefined };
}

function parseJson(content: Uint8Array | undefined): unknown {
  if (content === undefined) return undefined;
  try {
    return JSON.parse(Buffer.from(content).toString());
  } catch {
    return undefined;
  }
}
